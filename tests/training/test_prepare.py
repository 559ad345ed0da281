"""`vdub train prepare`: folders of clips become datasets, and a run that was stopped or damaged goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie, write_wav

from training.data.discover import find_sources
from training.data.packed import INDEX, SUFFIX, Dataset, read_whole
from training.data.prepare import (
    REFUSED,
    Part,
    Settings,
    prepare_dataset,
)
from training.data.splits import check_validation, read_validation, share_frames
from training.data.workers import Workers
from visualdub.actor.library import forget
from visualdub.box import Box
from visualdub.cli import run
from visualdub.errors import BadInput, Interrupted, OutputError, VisualDubError
from visualdub.stages import Progress
from visualdub.storage import content_hash

pytestmark = pytest.mark.slow  # the module's fixtures take seconds themselves

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of anna, one of ben, one of a wall, one that is cut short, and a text called .mp4."""
    folder = tmp_path_factory.mktemp("people")
    (folder / "ben").mkdir()
    pictures = portrait_pictures(40)
    write_movie(folder / "anna_1.mkv", pictures, audio=write_wav(folder / "hum.wav", 1.6))
    write_movie(folder / "anna_2.mkv", pictures[5:38])
    write_movie(folder / "ben" / "one.mkv", [np.ascontiguousarray(p[:, ::-1]) for p in pictures])
    write_movie(folder / "wall.mkv", [np.full((376, 320, 3), 90 + i, np.uint8) for i in range(30)])
    whole = write_movie(folder / "cut.mp4", pictures[:30])
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "text.mp4").write_text("no movie at all\n" * 100)
    return folder


@pytest.fixture(scope="module")
def dataset(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of `people`: ben held out for validation, 60 frames a person."""
    folder = tmp_path_factory.mktemp("made") / "set"
    prepare_dataset([people], folder, SETTINGS)
    return folder


SETTINGS = Settings(frames=60, validation=("ben",), jobs=1)


def test_parts_that_several_machines_pack_make_the_dataset_of_one(
    people: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALDUB_CACHE", str(dataset.parent.parent / "cache"))
    folder = tmp_path / "set"
    made = [
        prepare_dataset([people], folder, replace(SETTINGS, part=Part(number, 3))) for number in (2, 1, 3)
    ]
    assert sum(len(m.clips) for m in made) == len(Dataset(dataset).clips)
    assert all(m.reused == 0 for m in made) and len(made[0].clips) == 1
    assert not json.loads((folder / INDEX).read_text())["complete"]
    whole = prepare_dataset([people], folder, SETTINGS)
    assert whole.reused == len(whole.clips) and _bytes(folder) == _bytes(dataset)
    with pytest.raises(BadInput, match=r"--part 4/3 is none of several parts; expected one such as 2/8"):
        Part.parse("4/3")
    assert Part.parse("2/8") == Part(2, 8)


def _copy(dataset: Path, target: Path) -> Path:
    target.mkdir()
    for path in dataset.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


# ---- what is made ------------------------------------------------------------------------------------------


def test_clips_are_packed_by_speaker_and_the_rest_is_refused(dataset: Path) -> None:
    found = Dataset(dataset)
    assert [(c.name, c.speaker, c.split, c.frames, c.sound) for c in found.clips] == [
        ("anna_1", "anna", "train", 30, True),
        ("anna_2", "anna", "train", 30, False),
        ("ben-one", "ben", "validation", 40, False),
    ]
    assert sorted(p.name for p in dataset.iterdir()) == [
        "anna_1.shard",
        "anna_2.shard",
        "ben-one.shard",
        INDEX,
        REFUSED,
    ]  # 60 frames of anna, half from each clip
    index = json.loads((dataset / INDEX).read_text())
    assert (index["quality"], index["frames_per_person"], index["validation"], index["complete"]) == (
        90,
        60,
        ["ben"],
        True,
    )
    with (dataset / REFUSED).open() as f:
        rows = list(csv.DictReader(f))
    assert rows == index["refused"] and [r["clip"] for r in rows] == ["cut.mp4", "text.mp4", "wall.mkv"]
    assert "no face" in rows[2]["reason"] and str(dataset) not in rows[0]["reason"]
    for clip in found.clips:
        assert (
            0.8 < found.open(clip, Box(0, 0, 256, 256)).view([5]).crops.std() / 60 < 1.5
        )  # a picture, not black


def test_two_processes_make_the_same_bytes_as_one(people: Path, dataset: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def on_stage(stage: str, done: int, total: int) -> None:
        if stage == "packing":
            seen.append((done, total))

    settings = Settings(60, 90, ("ben",), jobs=2)
    made = prepare_dataset([people], tmp_path / "set", settings, Progress(on_stage))
    assert made.reused == 0 and _bytes(tmp_path / "set") == _bytes(dataset)
    assert seen[-1] == (130, 130) and seen == sorted(seen)
    assert any("1 person to train on" in note for note in made.notes)


def test_equal_shares_and_what_short_clips_leave_goes_to_longer_ones() -> None:
    assert share_frames([501, 751, 500, 500], 1500) == [375, 375, 375, 375]
    assert share_frames([100, 900, 700], 1500) == [100, 700, 700]
    assert share_frames([900, 100, 800], 1500) == [700, 100, 700]
    assert share_frames([40, 30], 1500) == [40, 30]
    assert share_frames([60, 60], 50) == [0, 50]  # too few for two clips of 30: one gives all
    assert share_frames([100] * 6, 89) == [0, 44, 0, 0, 45, 0]
    assert sum(share_frames([333, 334, 335, 1000], 1001)) == 1001


# ---- going on ----------------------------------------------------------------------------------------------


def test_whole_shards_stay_damaged_ones_are_made_again_and_splits_follow_the_list(
    people: Path, dataset: Path, tmp_path: Path
) -> None:
    folder = _copy(dataset, tmp_path / "set")
    damaged = folder / f"anna_2{SUFFIX}"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 255
    damaged.write_bytes(data)
    (folder / f"ben-one{SUFFIX}").write_bytes(b"cut short")
    kept = (folder / f"anna_1{SUFFIX}").stat().st_mtime_ns
    made = prepare_dataset([people], folder, Settings(60, 90, ("anna",)))
    assert made.reused == 1 and (folder / f"anna_1{SUFFIX}").stat().st_mtime_ns == kept
    assert {p: b for p, b in _bytes(folder).items() if p != INDEX} == {
        p: b for p, b in _bytes(dataset).items() if p != INDEX
    }
    assert {(c.speaker, c.split) for c in Dataset(folder).clips} == {("anna", "validation"), ("ben", "train")}


def test_another_quality_or_cap_makes_shards_again_and_left_ones_are_named(
    people: Path, dataset: Path, tmp_path: Path
) -> None:
    folder = _copy(dataset, tmp_path / "set")
    made = prepare_dataset([people / "ben"], folder, Settings(30, 50))
    assert made.reused == 0 and [(c.name, c.speaker, c.frames) for c in made.clips] == [("one", "one", 30)]
    assert read_whole(folder / f"one{SUFFIX}")[0]["quality"] == "50"
    assert any(note.startswith("3 shards of clips that are no longer in the dataset") for note in made.notes)


def test_a_process_that_is_ended_from_outside_says_so() -> None:
    with pytest.raises(VisualDubError, match="a process was ended from outside"), Workers(1) as workers:
        list(workers.run(os._exit, [3], Progress()))


def test_cancelled_from_another_thread_it_keeps_what_is_finished(people: Path, tmp_path: Path) -> None:
    clips, folder = tmp_path / "clips", tmp_path / "set"
    clips.mkdir()
    (clips / "anna_1.mkv").symlink_to(people / "anna_1.mkv")
    write_movie(clips / "zoe.mkv", portrait_pictures(40)[::-1] * 2)
    progress = Progress()

    def cancel_once_a_shard_is_there() -> None:
        deadline = time.monotonic() + 60
        while not list(folder.glob(f"*{SUFFIX}")) and time.monotonic() < deadline:
            time.sleep(0.01)
        progress.cancel()

    thread = threading.Thread(target=cancel_once_a_shard_is_there)
    thread.start()
    with pytest.raises(
        Interrupted, match=r"1 of 2 clips are packed in .*the same command goes on from there"
    ):
        prepare_dataset([clips], folder, Settings(60), progress)
    thread.join()
    index = json.loads((folder / INDEX).read_text())
    assert not index["complete"] and [c["name"] for c in index["clips"]] == ["anna_1"]


def _vdub(args: list[str]) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal starts it: Ctrl-C reaches all of the group."""
    ears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [sys.executable, "-m", "visualdub.cli", "train", "prepare", *args],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=ears,
        process_group=0,
        cwd=ROOT,
    )


def test_ctrl_c_stops_in_one_line_and_the_same_command_goes_on(
    people: Path, dataset: Path, tmp_path: Path
) -> None:
    clips, folder = tmp_path / "clips", tmp_path / "set"
    clips.mkdir()
    for name in ("anna_1.mkv", "anna_2.mkv"):
        (clips / name).symlink_to(people / name)
    write_movie(clips / "zoe.mkv", portrait_pictures(40)[::-1] * 2)  # long enough to be stopped in
    args = [str(clips), "-o", str(folder), "--validation", "zoe", "--frames", "60", "--jobs", "1"]
    process = _vdub(args)
    try:
        deadline = time.monotonic() + 90
        while (
            len(list(folder.glob(f"*{SUFFIX}"))) < 2
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in said
    assert "clips are packed in" in said.strip().splitlines()[-1] and "the same command goes on" in said
    index = json.loads((folder / INDEX).read_text())
    assert not index["complete"]
    times = {p: p.stat().st_mtime_ns for p in folder.glob(f"*{SUFFIX}")}
    assert sorted(p.name for p in times) == ["anna_1.shard", "anna_2.shard"]
    done = _vdub(args)
    told, _ = done.communicate(timeout=120)
    assert done.returncode == 0
    assert told.strip().endswith(f"{folder}: 3 clips packed (2 of them by an earlier run)")
    assert all(p.stat().st_mtime_ns == when for p, when in times.items())
    assert all(p.read_bytes() == (dataset / p.name).read_bytes() for p in times)
    assert not list(folder.glob(".*.partial"))


# ---- forgetting --------------------------------------------------------------------------------------------


@pytest.fixture
def anna(flat_actor: Path, people: Path, tmp_path: Path) -> Path:
    """An actor that was adapted on one clip of anna."""
    actor: Path = shutil.copytree(flat_actor, tmp_path / "anna.actor")
    record = json.loads((actor / "actor.json").read_text())
    record["frames"][0]["source_hash"] = content_hash(people / "anna_1.mkv")
    (actor / "actor.json").write_text(json.dumps(record))
    return actor


def test_an_actor_that_is_forgotten_leaves_the_datasets_that_are_named(
    anna: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _copy(dataset, tmp_path / "set")
    (folder / "old.shard").write_bytes((folder / "anna_1.shard").read_bytes())  # that no index lists
    kept = {n: b for n, b in _bytes(folder).items() if n in ("anna_2.shard", "ben-one.shard")}
    capsys.readouterr()
    assert run(["actor", "forget", str(anna), "--dataset", str(folder)]) == 2  # nobody is there to ask
    assert "old.shard" in capsys.readouterr().err and anna.is_dir()
    assert run(["actor", "forget", str(anna), "--dataset", str(folder), "--yes"]) == 0
    said = capsys.readouterr().out
    assert all(f"removed {p}" in said for p in (folder / "anna_1.shard", folder / "old.shard", anna))
    assert {n: b for n, b in _bytes(folder).items() if n.endswith(SUFFIX)} == kept and not anna.exists()
    assert [c.name for c in Dataset(folder).clips] == ["anna_2", "ben-one"]


def test_what_is_no_dataset_is_refused_before_anything_is_forgotten(
    anna: Path, dataset: Path, tmp_path: Path
) -> None:
    folder = _copy(dataset, tmp_path / "set")
    (folder / "cut.shard").write_bytes((folder / "anna_1.shard").read_bytes()[:50])
    with pytest.raises(BadInput, match=r"cut\.shard cannot be read"):
        forget(anna, [folder])
    (folder / "cut.shard").unlink()
    with pytest.raises(BadInput, match=r"dataset\.json cannot be read"):
        forget(anna, [folder, tmp_path])
    assert anna.is_dir() and (folder / "anna_1.shard").is_file()


# ---- bad input ---------------------------------------------------------------------------------------------


def test_a_typo_in_the_validation_list_stops_everything(people: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="names the speaker 'bem', who is in no clip; the nearest are ben"):
        prepare_dataset([people], tmp_path / "set", Settings(validation=("anna", "bem")))
    assert not (tmp_path / "set").exists()


def test_validation_is_a_list_or_a_file(tmp_path: Path) -> None:
    assert read_validation("a, b,a") == ("a", "b") and read_validation("") == ()
    names = tmp_path / "held.txt"
    names.write_text("# held out\nhill\n\n  roskam  # podium\nno#comment\n")
    assert read_validation(str(names)) == ("hill", "roskam", "no#comment")
    names.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(BadInput, match=r"held\.txt cannot be read as text"):
        read_validation(str(names))


def test_nothing_that_is_no_dataset_is_written_to(people: Path, tmp_path: Path) -> None:
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    (holiday / "photo.jpg").write_bytes(b"dear")
    with pytest.raises(BadInput, match=r"holiday is not empty and no dataset"):
        prepare_dataset([people], holiday, SETTINGS)
    (holiday / INDEX).write_text('{"name": "of another program"}')
    with pytest.raises(BadInput, match=r"dataset\.json"):
        prepare_dataset([people], holiday, SETTINGS)
    assert len(list(holiday.iterdir())) == 2
    with pytest.raises(OutputError, match=r"photo\.jpg is a file"):
        prepare_dataset([people], holiday / "photo.jpg", SETTINGS)
    with pytest.raises(OutputError, match="is not a folder"):
        prepare_dataset([people], tmp_path / "no" / "set", SETTINGS)


def test_folders_without_clips_and_files_are_refused(people: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no clips"):
        prepare_dataset([people, tmp_path], tmp_path / "set", SETTINGS)
    with pytest.raises(BadInput, match=r"wall\.mkv is not a folder"):
        prepare_dataset([people / "wall.mkv"], tmp_path / "set", SETTINGS)
    for settings in ({"frames": 24}, {"quality": 0}, {"quality": 101}, {"jobs": 0}):
        with pytest.raises(BadInput, match=f"--{next(iter(settings))} "):
            Settings(**settings)


def test_where_nothing_can_be_packed_the_first_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.mp4").write_text("no movie")
    with pytest.raises(BadInput, match=r"none of 1 clips could be packed \(text\.mp4: .*refused\.csv"):
        prepare_dataset([tmp_path / "in"], tmp_path / "set", Settings())


# ---- who is who --------------------------------------------------------------------------------------------


def test_speakers_come_from_the_list_the_folder_or_the_name(tmp_path: Path) -> None:
    for name in (
        "a_1.mp4",
        "a_02.MOV",
        "b2.mkv",
        "_7.mp4",
        "c/x/1.mp4",
        "c/2.mp4",
        "d_1.mp4",
        "d_1.mkv",
        ".hidden.mp4",
        "notes.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "clips.json").write_text(
        json.dumps(
            [
                {"file": "b2.mkv", "speaker": "bea", "speech": "other", "av_offset_ms": -40},
                {"file": "gone.mp4", "speaker": "a", "speech": "original"},
            ]
        )
    )
    found = {s.label: s for s in find_sources([tmp_path, tmp_path / "c"])}
    assert {k: s.speaker for k, s in found.items()} == {
        "a_1.mp4": "a",
        "a_02.MOV": "a",
        "b2.mkv": "bea",
        "_7.mp4": "_7",
        "c/x/1.mp4": "c",
        "c/2.mp4": "c",
        "d_1.mp4": "d",
        "d_1.mkv": "d",
        "gone.mp4": "a",
    }
    assert not found["b2.mkv"].speaker_audible and found["a_1.mp4"].speaker_audible
    assert found["b2.mkv"].av_offset_ms == -40 and found["a_1.mp4"].av_offset_ms is None
    assert "missing" in found["gone.mp4"].refused
    assert {found["d_1.mp4"].name, found["d_1.mkv"].name} == {"d_1", "d_1-2"} and found[
        "c/x/1.mp4"
    ].name == "c-x-1"
    assert check_validation(list(found.values()), ["bea"]) == {"bea"}


@pytest.mark.parametrize(
    "text",
    ["{", "{}", "[1]", '[{"file": "a.mp4"}]', '[{"file": "a.mp4", "speaker": "a", "av_offset_ms": "late"}]'],
)
def test_a_list_of_another_form_names_itself(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "clips.json").write_text(text)
    with pytest.raises(BadInput, match=r"clips\.json is not a list of clips"):
        find_sources([tmp_path])


def test_a_copy_of_a_validation_clip_stays_out_of_training(people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("adam.mkv", "ben.mkv"):
        (folder / name).write_bytes((people / "ben" / "one.mkv").read_bytes())
    made = prepare_dataset([folder], tmp_path / "set", Settings(30, validation=("ben",)))
    assert [(c.speaker, c.split) for c in made.clips] == [("ben", "validation")]
    assert [(r.clip, r.reason) for r in made.refused] == [("adam.mkv", "the same pictures as ben.mkv")]
    assert any("no people to train on" in note for note in made.notes)


def test_preparing_loads_neither_torch_nor_mediapipe() -> None:
    loaded = "print({'torch', 'mediapipe'} & set(sys.modules))"
    script = f"import sys, training.commands, training.data.prepare; {loaded}"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
