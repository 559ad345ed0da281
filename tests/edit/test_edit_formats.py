"""Edits are written in other programs' formats, and what those lose is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from otio_text import clip, gap, media, stack, time, timeline, track, transition, warp, write

from visualdub.cli import run
from visualdub.edit.formats import convert_edit, what_is_lost
from visualdub.edit.reading import read_edit
from visualdub.errors import BadInput, OutputError

otio = pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
ADAPTERS = set(otio.adapters.available_adapter_names())


def edit_of(folder: Path) -> Path:
    """An edit that asks much of a format: rates, a freeze, a dissolve, two tracks, a second reference."""
    ours = {**media("/dubs/0001_a.mov", 5, 20), "name": "0001_a.mov"}
    both = {"DEFAULT_MEDIA": media(), "visualdub": ours}
    dubbed = clip("a", 5, 20, media_references=both, active_media_reference_key="visualdub")
    pictures = track(
        dubbed,
        transition(3, 3),
        clip("b", 50, 24, 25.0, reference=media(rate=25.0)),
        gap(8),
        clip("frozen", 7, 12, effects=[warp(0)]),
        stack(track(clip("inner", 0, 6)), name="compound"),
    )
    over = track(gap(2), clip("baked", 0, 10))
    words = track(clip("new", 0, 60), kind="Audio", name="new")
    return write(folder / "cut.otio", timeline(pictures, over, words, start=time(86400)))


@pytest.mark.skipif("cmx_3600" not in ADAPTERS, reason="otio-cmx3600-adapter is not installed")
def test_an_edl_is_written_for_each_track(tmp_path: Path) -> None:
    path = edit_of(tmp_path)
    files, lost = convert_edit(path, tmp_path / "out.edl")
    assert [f.name for f in files] == ["out.V1.edl", "out.V2.edl"]
    assert "0001_a.mov" in files[0].read_text()
    for what in (
        "1 of 1 sound tracks",
        "1 of 1 compound clips",
        "1 of 1 kept originals",
        "the start timecode",
    ):
        assert what in lost, lost
    places = {(c.name, c.start, c.length) for c in read_edit(files[0], 24.0).clips}
    assert ("frozen", 51, 12) in places and ("a", 0, 17) in places  # an EDL's dissolve is its second clip's


@pytest.mark.skipif("fcp_xml" not in ADAPTERS, reason="otio-fcp-adapter is not installed")
def test_an_edit_is_written_as_fcp7_xml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = edit_of(tmp_path)
    assert run(["edit", "convert", str(path), str(tmp_path / "out.xml")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path / 'out.xml'}: loses ") and said.count("\n") == 1
    assert (
        "1 of 1 kept originals" in said and "1 of 1 changes of speed" in said and "start timecode" not in said
    )
    found = {c.name: c for c in read_edit(tmp_path / "out.xml").clips}
    reference = found["a"].reference()
    assert reference is not None and reference["url"].endswith("/dubs/0001_a.mov")
    assert (found["b"].start, found["b"].length) == (20, 23) and found["baked"].track == "V2"


@pytest.mark.skipif("AAF" not in ADAPTERS, reason="otio-aaf-adapter is not installed")
def test_an_edit_is_written_as_aaf(tmp_path: Path) -> None:
    files, lost = convert_edit(edit_of(tmp_path), tmp_path / "out.aaf")
    assert files == [tmp_path / "out.aaf"] and files[0].read_bytes()[:4] == b"\xd0\xcf\x11\xe0"
    assert "1 of 1 transitions" in lost and "sound tracks" not in lost


def test_what_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    path = edit_of(tmp_path)
    with pytest.raises(BadInput, match=r"cannot be written as \.txt; expected \.edl \.xml"):
        convert_edit(path, tmp_path / "out.txt")
    with pytest.raises(OutputError, match="is not a folder"):
        convert_edit(path, tmp_path / "nowhere" / "out.edl")
    with pytest.raises(BadInput, match="a source is never written to"):
        convert_edit(path, path)


def test_what_a_format_loses_is_counted(tmp_path: Path) -> None:
    edit = read_edit(edit_of(tmp_path))
    assert what_is_lost(edit, [edit]) == ""
    fewer = replace(edit, clips=edit.clips[1:], start_frame=None)
    lost = what_is_lost(edit, [fewer])
    assert lost.startswith("1 of 6 clips") and lost.endswith("the places of 1 of 5 clips, the start timecode")
