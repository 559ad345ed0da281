"""What the last task writes is what `vdub dub` writes: the edit, its own format, report and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import pytest
from farm_helpers import RATE, Run, edit_request
from helpers import write_wav
from otio_text import clip, media, timeline, track, warp, write

from farm import tasks
from farm.asked import write_bundle
from farm.bundle import BundleOptions
from farm.commands import named_folder
from visualdub.edit.formats import convert_edit
from visualdub.edit.request import EditRequest, EditWords, EditWritten, dub_plans, plan_request
from visualdub.errors import BadInput
from visualdub.stages import Progress

pytest.importorskip("otio_fcp_adapter", reason="the adapter of FCP7 XML is not installed (the extra `edits`)")


def as_the_farm(text: str, folder: Path) -> str:
    """The text of a local result as the farm should write it, of `folder` and of the edit's copy."""
    return text.replace(str(folder / "local"), str(folder / "b" / "output"))


def small_edit(folder: Path, movie: Path, suffix: str) -> Path:
    """An edit of six frames of a movie that speak, and of five that are kept, in another program's format; in
    OpenTimelineIO's own, the six are shown backwards.
    """
    effects = [warp(-1)] if suffix == ".otio" else []
    shots = [
        clip("a", 5, 6, RATE, reference=media(str(movie), 0, 40, RATE), effects=effects),
        clip("b", 20, 5, RATE, reference=media(str(movie), 0, 40, RATE)),
    ]
    edit = write(folder / ("made.otio" if effects else "cut.otio"), timeline(track(*shots)))
    if effects:
        return edit
    ((made, *_), _) = convert_edit(edit, folder / f"made{suffix}")
    return made


def request_of(edit: Path, actor: Path) -> EditRequest:
    words = edit.parent / "words"
    words.mkdir()
    write_wav(words / "a.wav", 6 / RATE)
    return replace(edit_request(edit, actor), words=EditWords(folder=words))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".xml", ".otioz", ".otio"])
def test_all_that_a_local_dub_writes_is_written(
    talking: Path, flat_actor: Path, tmp_path: Path, suffix: str
) -> None:
    edit = small_edit(tmp_path, talking, suffix)
    asked = request_of(edit, flat_actor)
    local = replace(asked, written=EditWritten(tmp_path / "local"))
    said: list[str] = []
    dub_plans(local, plan_request(local), say=said.append)
    run = Run(write_bundle(asked, BundleOptions(tmp_path / "b", chunk=4), Progress()).folder)
    assert not list(run.folder.rglob("*partial*"))
    run.all()
    names = {str(p.relative_to(tmp_path / "local")) for p in (tmp_path / "local").rglob("*")}
    there = {str(p.relative_to(run.output)) for p in run.output.rglob("*")}
    assert {n for n in names if not n.startswith("dialogue/")} <= there  # its sound lies with the shot's work
    assert ("made.dub.xml" in there) == (suffix == ".xml") and "pictures/0001_a.jpg" in there
    texts = ("made.otio", "made.dub.xml", "made.otio.report.html")
    for name in (*texts, "made.otio.sheet.jpg", "shots/0001_a.mkv"):
        ours, theirs = run.output / name, tmp_path / "local" / name
        if name not in texts:
            assert ours.read_bytes() == theirs.read_bytes()
        elif theirs.exists():
            assert ours.read_text() == as_the_farm(theirs.read_text(), tmp_path), name
    heard: list[str] = []
    tasks.assemble(run.file, say=heard.append)
    assert [as_the_farm(t, tmp_path) for t in said if "loses" in t] == heard

    away = PureWindowsPath("D:\\dubs")
    tasks.assemble(run.file, away)
    report = json.loads((run.output / "made.otio.report.json").read_text())
    first, second = report["shots"]
    assert first["output"] == "D:\\dubs\\shots\\0001_a.mkv" and report["output"] == "D:\\dubs\\made.otio"
    assert first["picture"] == "D:\\dubs\\pictures\\0001_a.jpg" and second["output"] is None
    page = (run.output / "made.otio.report.html").read_text()
    assert page.count('<img src="pictures/') == 2  # beside the page, wherever that lies
    assert "D:/dubs/shots/0001_a.mkv" in (run.output / "made.otio").read_text().replace("\\\\", "/")


def test_a_folder_as_another_machine_names_it_is_whole() -> None:
    assert named_folder("C:\\out") / "a" == PureWindowsPath("C:\\out\\a")
    assert str(named_folder("//server/out")) == "//server/out"
    assert str(named_folder("/mnt/out") / "a") == "/mnt/out/a"
    with pytest.raises(BadInput, match=r"--shown-as out: this is no whole path"):
        named_folder("out")
