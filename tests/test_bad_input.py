"""Bad input gets one line that names it, and status 2; nothing half is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie, write_wav

from visualdub import dub
from visualdub.actor.package import load_actor
from visualdub.cli import run
from visualdub.edit import plan_shot
from visualdub.errors import Interrupted, OutputError
from visualdub.records import read_provenance
from visualdub.stages import Progress
from visualdub.timing import FrameRange


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "new.wav", 1.0)


def refused(args: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, expect status 2 and one line; the line."""
    capsys.readouterr()
    assert run([str(a) for a in args]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vdub: ")]
    assert len(lines) == 1 and "Traceback" not in lines[0]
    return lines[0]


def dub_args(clip: Path, wav: Path, actor: Path, out: Path) -> list[str | Path]:
    return ["dub", clip, "--dialogue", wav, "--actor", actor, "-o", out]


def only(folder: Path, *names: str) -> bool:
    return sorted(p.name for p in folder.iterdir()) == sorted(names)


# ---- the clip ----------------------------------------------------------------------------------------------


def test_no_face_in_the_clip(
    tmp_path: Path, wav: Path, flat_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = [np.full((120, 160, 3), 40 + i, np.uint8) for i in range(12)]
    clip = write_movie(tmp_path / "wall.mkv", grey)
    for args in (
        ["track", clip, "-o", tmp_path / "t.npz"],
        dub_args(clip, wav, flat_actor, tmp_path / "out.mkv"),
    ):
        line = refused(args, capsys)
        assert "wall.mkv" in line and "face" in line
    assert only(tmp_path, "wall.mkv", "new.wav")


def test_a_text_file_named_mp4(
    tmp_path: Path, wav: Path, flat_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "poem.mp4"
    clip.write_text("Tyger Tyger, burning bright\n" * 100)
    assert "poem.mp4" in refused(["track", clip, "-o", tmp_path / "t.npz"], capsys)
    assert "poem.mp4" in refused(dub_args(clip, wav, flat_actor, tmp_path / "out.mkv"), capsys)
    assert "poem.mp4" in refused(
        dub_args(tmp_path / "new.wav", clip, flat_actor, tmp_path / "out.mkv"), capsys
    )


def test_a_missing_file(
    tmp_path: Path, wav: Path, flat_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "gone.mp4" in refused(
        dub_args(tmp_path / "gone.mp4", wav, flat_actor, tmp_path / "out.mkv"), capsys
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_file(
    suffix: str, tmp_path: Path, wav: Path, flat_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_movie(tmp_path / f"whole{suffix}", portrait_pictures(20))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    assert f"cut{suffix}" in refused(dub_args(cut, wav, flat_actor, tmp_path / "out.mkv"), capsys)
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("frames", "said"), [("7:7", "empty"), ("9:3", "empty"), ("banana", "A:B"), ("30:41", "40 frames")]
)
def test_an_empty_or_impossible_range(
    frames: str,
    said: str,
    talking: Path,
    flat_actor: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for args in (
        ["track", talking, "--frames", frames, "-o", tmp_path / "t.npz"],
        ["reenact", talking, "--actor", flat_actor, "--frames", frames, "-o", tmp_path / "o.mkv"],
        ["evaluate", talking, "--actor", flat_actor, "--frames", frames],
    ):
        assert said in refused(args, capsys)
    assert only(tmp_path)


# ---- the dialogue ------------------------------------------------------------------------------------------


def test_dialogue_without_an_audio_stream(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = write_movie(tmp_path / "silent.mkv", [np.zeros((32, 32, 3), np.uint8)] * 5)
    line = refused(dub_args(talking, silent, flat_actor, tmp_path / "out.mkv"), capsys)
    assert "silent.mkv" in line and "audio" in line


def test_a_recording_of_zero_length(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write_wav(tmp_path / "empty.wav", 0.0)
    assert "empty.wav" in refused(dub_args(talking, empty, flat_actor, tmp_path / "out.mkv"), capsys)
    (tmp_path / "nothing.wav").write_bytes(b"")
    assert "nothing.wav" in refused(
        dub_args(talking, tmp_path / "nothing.wav", flat_actor, tmp_path / "out.mkv"), capsys
    )


# ---- the actor ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["renderer.onnx", "identity.npz", "actor.json", "style.safetensors"])
@pytest.mark.parametrize("fault", ["missing", "foreign"])
def test_an_actor_folder_with_a_missing_or_foreign_file(
    name: str,
    fault: str,
    talking: Path,
    wav: Path,
    flat_actor: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    actor = Path(shutil.copytree(flat_actor, tmp_path / "ada.actor"))
    (actor / name).unlink()
    if fault == "foreign":
        (actor / name).write_text("a shopping list")
    assert name in refused(dub_args(talking, wav, actor, tmp_path / "out.mkv"), capsys)
    assert not (tmp_path / "out.mkv").exists()


def test_a_folder_that_is_no_actor(
    talking: Path, wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "holiday").mkdir()
    assert "holiday" in refused(dub_args(talking, wav, tmp_path / "holiday", tmp_path / "out.mkv"), capsys)


# ---- the output --------------------------------------------------------------------------------------------


def test_the_source_is_never_written_to(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = Path(shutil.copy(talking, tmp_path / "clip.mkv"))
    before = clip.read_bytes()
    assert "source" in refused(dub_args(clip, wav, flat_actor, clip), capsys)
    assert clip.read_bytes() == before


def test_an_unknown_kind_of_output(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "out.gif" in refused(dub_args(talking, wav, flat_actor, tmp_path / "out.gif"), capsys)


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own; skips where that is not allowed."""
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a tmpfs needs root and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_output_folder(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if not os.access(folder, os.W_OK):
        assert "locked" in refused(dub_args(talking, wav, flat_actor, folder / "out.mkv"), capsys)
        return
    folder.rmdir()  # root may write anywhere but on a read-only file system
    with tmpfs(folder, "ro,size=64k"):
        for args in (
            dub_args(talking, wav, flat_actor, folder / "out.mkv"),
            ["track", talking, "-o", folder / "t.npz"],
        ):
            line = refused(args, capsys)
            assert "locked" in line and "read-only" in line


@pytest.mark.slow
def test_a_full_disk(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tmpfs(tmp_path / "small", "size=64k") as folder:
        line = refused(dub_args(talking, wav, flat_actor, folder / "out.mkv"), capsys)
        assert "out.mkv" in line and "space" in line.lower()
        assert only(folder)


# ---- before the work ---------------------------------------------------------------------------------------

LONG = "完" * 74  # 222 bytes, and a suffix
DUB = "dub {clip} --dialogue {wav}"
OWN = f'{DUB} -o {{out}}/a.mkv --consent "a, b, c"'
REENACT = "reenact {clip} --actor {actor} --frames 0:5"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{DUB} -o {{out}}/a.mkv", "needs consent"),
        (f"{DUB} -o {{out}}/a.mkv --consent Ada", "who, when, scope"),
        (f"{OWN} --frames 9:3", "empty"),
        (f"{DUB} -o {{out}}/a.mkv --quality draft", "needs consent"),
        (f"{OWN} --quality rough", "--quality rough is not known; expected final or draft"),
        (OWN.replace("{clip}", "{taken}"), "taken.actor is there already"),
        (OWN.replace("{out}/a.mkv", "{out}/nowhere/a.mkv"), "nowhere is not a folder"),
        (OWN.replace("{wav}", "{out}/note.txt"), "note.txt"),
        (f"{DUB} --actor {{actor}} -o {{out}}/a.gif", "a.gif ends in '.gif'"),
        (f"{DUB} --actor {{actor}} -o {{out}}/a.mkv --codec h265", "'h265' is not known"),
        (f"{DUB} --actor {{actor}} -o {{out}}/a.mkv --codec prores", "prores is not written to .mkv"),
        (f"{DUB} --actor {{actor}} -o {{out}}/a.mkv --matte {{out}}/m.png", "m.png ends in '.png'"),
        (f"{DUB} --actor {{actor}} -o {{out}}/a.mkv --matte {{out}}/no/m.mkv", "no is not a folder"),
        (f"{DUB} --actor {{actor}} -o {{out}}/{LONG}.mkv", "the name has 226 bytes; expected at most 221"),
        (
            f"{DUB} --actor {{actor}} -o {{out}}/a.mkv --performance {{out}}/{LONG * 2}",
            "expected at most 237",
        ),
        (f"{DUB} --actor {{actor}} -o {{out}}/a.mkv --performance {{out}}", "out, which is written too"),
        (f"{DUB} --actor {{out}}/taken.actor -o {{out}}/a.mkv", "holds no actor.json"),
        (f"{REENACT} -o {{out}}/a.gif", "a.gif ends in '.gif'"),
        (f"{REENACT} -o {{out}}/nowhere/a.mkv", "nowhere is not a folder"),
        (f"{REENACT} -o {{out}}/{LONG}.mkv", "the name has 226 bytes"),
        ("evaluate {clip} --actor {actor} --frames 0:5 --json {out}/no/a.json", "no is not a folder"),
        (
            "evaluate {clip} --actor {actor} --frames 0:5 --lpips {wav}",
            "new.wav is not a network of LPIPS",
        ),
        ("evaluate {clip} --actor {actor} --frames 0:5 --fid {wav} --json {wav}", "new.wav, which is read"),
        ("track {clip} -o {out}/a.npz --overlay {out}/a.gif", "a.gif ends in '.gif'"),
        ("track {clip} -o {out}/no/a.npz", "no is not a folder"),
        ("sync {clip} --plot {out}/no/a.png", "no is not a folder"),
        ("adapt {clip} --actor ada --consent a,b,c -o {out}", "out exists and is not an actor package"),
        ("adapt {clip} --actor ada --consent a,b,c -o {wav}", "new.wav exists and is not an actor package"),
        ("adapt {clip} --actor ada --consent a,b,c -o {wav}/x.actor", "new.wav is not a folder"),
        ("adapt {clip} --actor ada -o {out}/ada.actor", "needs the consent"),
        ("train speech {out} -o {out}/no/a.onnx", "no is not a folder"),
        ("train prior {clip} -o {out}/no/a.safetensors", "no is not a folder"),
    ],
)
def test_what_cannot_end_well_is_refused_before_tracking(
    command: str,
    said: str,
    talking: Path,
    wav: Path,
    flat_actor: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("the clip is tracked")

    monkeypatch.setattr("visualdub.face.tracker.track_clip", forbidden)
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    (out / "taken.actor").mkdir(parents=True)
    (out / "note.txt").write_text("words")
    taken = Path(shutil.copy(talking, tmp_path / "taken.mkv"))
    names = {"clip": talking, "wav": wav, "actor": flat_actor, "out": out, "taken": taken}
    args = [token.format(**names) for token in shlex.split(command)]
    assert said in refused(args, capsys)
    assert only(out, "note.txt", "taken.actor")


@pytest.mark.slow
def test_a_name_that_is_no_text_is_a_name(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mkv"))
    shutil.copy(talking, clip)
    args = [*map(str, dub_args(clip, wav, flat_actor, tmp_path / "out.mkv")), "--frames", "0:5"]
    command = [sys.executable, "-m", "visualdub.cli", *args, "--json"]  # with the streams of a terminal
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"][0]["source"] == str(clip)
    assert read_provenance(tmp_path / "out.mkv").source == clip.name
    assert "caf" in refused(dub_args(clip, wav, flat_actor, clip), capsys)


# ---- stopped by the user -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["stopped", "no room for the record", "the movie is held open"])
def test_a_dub_that_fails_leaves_the_earlier_movie_with_its_records(
    fault: str, talking: Path, flat_actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    shot, actor = dub.track_shot(plan_shot(talking, FrameRange(0, 10))), load_actor(flat_actor)
    output = dub.Output(folder / "out.mkv", matte=folder / "matte.mkv")
    dub.dub_shot(shot, write_wav(tmp_path / "one.wav", 1.0), actor, output)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert len(before) == 4

    def stop(stage: str, done: int, total: int) -> None:
        if done == 5 and fault == "stopped":
            progress.cancel()

    def full(*args: object, **kwargs: object) -> None:
        raise OutputError("no room")

    def held_open(self: Path, target: Path) -> None:
        if target.name == "out.mkv":
            raise PermissionError(13, "Permission denied", str(self))
        os.replace(self, target)

    progress = Progress(stop)
    if fault == "no room for the record":
        monkeypatch.setattr("visualdub.dub.write_provenance", full)
    elif fault == "the movie is held open":  # as by a player on Windows
        monkeypatch.setattr(Path, "replace", held_open)
    with pytest.raises((Interrupted, OutputError)):
        dub.dub_shot(shot, write_wav(tmp_path / "two.wav", 1.5), actor, output, progress=progress)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that is drawn for seconds, once it is tracked."""
    return write_movie(tmp_path_factory.mktemp("long") / "long.mkv", portrait_pictures(20) * 6)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_during_a_dub_leaves_no_half_file(
    sent: signal.Signals, long: Path, wav: Path, flat_actor: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    args = [
        sys.executable,
        "-m",
        "visualdub.cli",
        *(str(a) for a in dub_args(long, wav, flat_actor, folder / "out.mkv")),
    ]
    # a test run in the background of a shell inherits an ignored SIGINT; a terminal's process does not
    process = subprocess.Popen(
        args, stderr=subprocess.PIPE, text=True, preexec_fn=partial(signal.signal, sent, signal.SIG_DFL)
    )
    try:
        deadline = time.monotonic() + 120
        while not list(folder.iterdir()) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert list(folder.iterdir()), "the dub never began to write"
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + sent
    assert "Traceback" not in said and said.strip().splitlines()[-1].startswith("vdub: ")
    assert only(folder)
