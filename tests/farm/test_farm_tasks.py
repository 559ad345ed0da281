"""The tasks of a job give the frames of a local dub, however they are cut, killed, repeated and mixed up."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from farm_helpers import Run, Suite, bundle_of, frame_hashes
from PIL import Image

import farm.pieces
from farm import tasks
from farm.pieces import Pieces, made_from, read_record
from visualdub.errors import BadInput
from visualdub.stages import Progress
from visualdub.timing import FrameRange


@pytest.fixture
def run(read_only: Path, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(read_only, tmp_path / "cut")))


def same_as_local(run: Run, suite: Suite) -> None:
    movies = sorted(p.name for p in (suite.local / "shots").glob("*.mkv"))
    assert movies == sorted(p.name for p in (run.output / "shots").glob("*.mkv")) and len(movies) == 2
    for name in movies:
        ours, theirs = run.output / "shots" / name, suite.local / "shots" / name
        assert frame_hashes(ours) == frame_hashes(theirs), name
        records = [p.with_name(p.name + ".provenance.json") for p in (ours, theirs)]
        first, second = (json.loads(p.read_text()) for p in records)
        assert {**first, "created": ""} == {**second, "created": ""}


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [4, 7, 150])
def test_any_chunks_give_the_frames_of_a_local_dub(suite: Suite, tmp_path: Path, chunk: int) -> None:
    run = Run(bundle_of(suite.edit, suite.actor, tmp_path / "b", chunk=chunk).folder)
    assert len(run.chunks()) == {4: 3 + 5, 7: 2 + 3, 150: 2}[chunk]
    assert run.all().endswith("2 shots")
    same_as_local(run, suite)
    ours, theirs = (
        json.loads((folder / "cut.otio.report.json").read_text()) for folder in (run.output, suite.local)
    )
    for mine, local in zip(ours["shots"], theirs["shots"], strict=True):
        assert all(mine[name] == local[name] for name in ("action", "drawn", "frames", "timeline"))
    jobs = [(f / "shots" / "0001_a.mkv.job.json").read_text() for f in (run.output, suite.local)]
    assert jobs[0] == jobs[1]  # a later `vdub dub` of the edit finds the shot done


@pytest.mark.slow
def test_killed_tasks_go_on_and_repeated_ones_skip_whole_frames(run: Run, suite: Suite) -> None:
    run.prepare()
    random, killed = np.random.default_rng(17), 0
    for number, frames in run.chunks():
        for _ in range(2):
            die_after = int(random.integers(1, len(frames)))

            def show(stage: str, done: int, total: int, limit: int = die_after) -> None:
                if stage == "rendering" and done >= limit:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                tasks.render(run.file, number, frames, Progress(show))
            killed += 1
            parts = sorted((tasks.shot_folder(run.file, number) / tasks.FRAMES).glob("*.part"))
            newest = max(parts, key=lambda p: p.stat().st_mtime_ns)
            with newest.open("r+b") as f:  # the machine died inside a write
                f.truncate(newest.stat().st_size - int(random.integers(1, 200)))
    assert killed == 10
    said = run.render()
    again = run.render()
    assert any(" 0 there already" not in line for line in said)
    assert all(" 0 rendered" in line for line in again), again
    run.finish()
    same_as_local(run, suite)
    stamps = {p: p.stat().st_mtime_ns for p in run.output.rglob("*.mkv")}
    run.all()
    assert stamps == {p: p.stat().st_mtime_ns for p in run.output.rglob("*.mkv")}


@pytest.mark.slow
def test_two_machines_render_one_chunk_without_harm(run: Run, suite: Suite) -> None:
    first, second = Run(run.folder), Run(run.folder)
    threads = [threading.Thread(target=r.prepare) for r in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    threads = [threading.Thread(target=r.render) for r in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tasks.read_made(p, run.file) is not None for p in run.folder.rglob("prepared.json")}) == 1
    run.finish()
    same_as_local(run, suite)


def pieces_of(run: Run, number: int) -> Pieces:
    shot = run.file.shot(number)
    ready = tasks.prepared_render(run.file, shot, tasks.output_of(run.file, shot), Progress())
    assert not isinstance(ready, str)
    return Pieces(tasks.shot_folder(run.file, number) / tasks.FRAMES, made_from(ready.renderer))


def other_performance(run: Run) -> None:
    (path,) = tasks.shot_folder(run.file, 1).glob("prepared-*/performance.npz")
    with np.load(path) as z:
        values = dict(z)
    values["jaw"] = values["jaw"] + 0.01
    np.savez(path, **values)


@pytest.mark.slow
def test_results_for_another_performance_are_refused_at_assembly(run: Run) -> None:
    run.prepare()
    run.render()
    other_performance(run)
    with pytest.raises(BadInput, match=r"10 frames of 5:15 are not rendered .* has performance .* expected"):
        tasks.movie(run.file, 1, Progress())
    assert not list(run.output.rglob("0001*"))
    for number, frames in run.chunks():
        tasks.render(run.file, number, frames, Progress())
    assert tasks.movie(run.file, 1, Progress()).endswith("is written")


@pytest.mark.parametrize("name", ["version", "precision", "library"])
def test_results_of_another_version_or_precision_are_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run.prepare()
    real = farm.pieces.made_from
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(tasks, "made_from", lambda renderer: {**real(renderer), name: "another"})
        for number, frames in run.chunks()[:1]:
            tasks.render(run.file, number, frames, Progress())
    tasks.render(run.file, 1, FrameRange(12, 15), Progress())
    with pytest.raises(BadInput, match=rf"frame \d+ in 5-12.* has {name} another, expected"):
        tasks.movie(run.file, 1, Progress())


@pytest.mark.slow
def test_a_damaged_frame_is_rendered_again(run: Run, suite: Suite) -> None:
    run.prepare()
    run.render()
    pieces = pieces_of(run, 1)
    record = next(r for r in pieces.records() if r.number == 7)
    data = bytearray(record.path.read_bytes())
    data[record.offset + 900] ^= 255
    record.path.write_bytes(data)
    with pytest.raises(BadInput, match="frame 7 is damaged"):
        read_record(record)
    with pytest.raises(BadInput, match="frame 7 is damaged; render it again"):
        tasks.movie(run.file, 1, Progress())
    assert tasks.render(run.file, 1, FrameRange(5, 12), Progress()).startswith(
        "shot 1, frames 5:12: 1 rendered"
    )
    run.finish()
    same_as_local(run, suite)


def test_a_missing_chunk_is_named(run: Run) -> None:
    with pytest.raises(BadInput, match=r"shot 1 is not prepared; run its prepare task"):
        tasks.render(run.file, 1, FrameRange(5, 12), Progress())
    run.prepare()
    tasks.render(run.file, 1, FrameRange(5, 12), Progress())
    with pytest.raises(BadInput, match=r"3 frames of 12:15 are not rendered; run the render tasks"):
        tasks.movie(run.file, 1, Progress())
    with pytest.raises(BadInput, match="shot 1 has no movie yet"):
        tasks.assemble(run.file)


def test_a_shot_without_a_face_is_kept_with_its_reason(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any) -> Any:
        raise BadInput("no face is usable")

    real = tasks._prepare
    monkeypatch.setattr(
        tasks, "_prepare", lambda file, shot, *a: (nobody if shot.number == 1 else real)(file, shot, *a)
    )
    run.all()
    report = json.loads((run.output / "cut.otio.report.json").read_text())
    assert [(s["action"], s["reason"]) for s in report["shots"]] == [
        ("keep", "no face is usable"),
        ("dub", ""),
    ]
    with Image.open(run.output / "pictures" / "0001_a.jpg") as picture:
        shown = np.asarray(picture)[10:200, 130:300]
    assert shown.std() > 10  # a frame of its media, which are in the bundle


def test_a_job_of_another_version_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.job.tool_version", lambda: "9.9")
    with pytest.raises(BadInput, match=r"job\.json is of version .* this machine has 9\.9"):
        _ = run.file


def test_paths_of_a_job_do_not_lead_out_of_its_folders(run: Run) -> None:
    path = run.folder / "inputs" / "job.json"
    text = path.read_text()
    path.write_text(text.replace("Inputs/media/", "Inputs/../media/"))
    with pytest.raises(BadInput, match=r"'Inputs/\.\./media/.*' *, which lies in none of its folders"):
        run.file.shot(1)
