"""The double of Resolve does what was measured of the program, and nothing that is not documented."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import write_movie, write_wav
from resolve_double import Program, free_21_0, free_21_1, studio
from resolve_editing import add_clip, add_line
from resolve_state import CLIP_COLOURS, Project
from resolve_surface import UndocumentedCall, surface

API = Path(__file__).resolve().parents[3] / "shared" / "host_api" / "resolve_api.json"


def movie(folder: Path, name: str = "a.mkv", frames: int = 20) -> Path:
    return write_movie(folder / name, [np.full((48, 64, 3), 9 * i, np.uint8) for i in range(frames)])


@pytest.fixture
def program(tmp_path: Path) -> Program:
    made = studio()
    add_line(made)
    add_clip(made, movie(tmp_path), 0, 4, 10)
    add_clip(made, write_wav(tmp_path / "a.wav", 0.8), 0, 0, 20)
    return made


def timeline(program: Program) -> Any:
    return program.scripting().GetProjectManager().GetCurrentProject().GetCurrentTimeline()


def pool(program: Program) -> Any:
    return program.scripting().GetProjectManager().GetCurrentProject().GetMediaPool()


def first_item(program: Program) -> Any:
    return timeline(program).GetItemListInTrack("video", 1)[0]


# ---- what is documented ------------------------------------------------------------------------------------


def test_the_surface_is_the_vendors() -> None:
    if not API.is_file():
        pytest.skip("shared/host_api is not beside the checkout; it holds the documented calls of Resolve")
    theirs = json.loads(API.read_text(encoding="utf-8"))
    assert surface()["source"] == theirs["source"]
    for name, methods in theirs["classes"].items():
        assert surface()["classes"][name] == {m: [o["params"] for o in os] for m, os in methods.items()}
    assert set(surface()["constants"]) == {c for c in theirs["constants"] if c.startswith("EXPORT_")}


WRONG: dict[str, Callable[[Program], object]] = {
    "no such method": lambda p: timeline(p).GetTimelineByName("a"),
    "too few arguments": lambda p: first_item(p).AddTake("x"),
    "too many arguments": lambda p: timeline(p).GetName(1),
    "by name": lambda p: timeline(p).GetTrackCount(trackType="video"),
    "a text for a list": lambda p: pool(p).ImportMedia("/a.mov"),
    "a text for a dictionary": lambda p: timeline(p).AddTrack("video", 3),
    "a number for Bool": lambda p: timeline(p).DeleteClips([first_item(p)], 0),
    "half a frame": lambda p: timeline(p).DeleteMarkerAtFrame(0.5),
    "of another class": lambda p: first_item(p).GetTrackCount("video"),
    "of a later version": lambda p: first_item(p).GetSpeed(),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_call_that_is_not_documented_raises(program: Program, what: str) -> None:
    with pytest.raises(UndocumentedCall):
        WRONG[what](program)


def test_hasattr_is_always_true_and_dir_tells_the_truth(program: Program) -> None:
    line = timeline(program)
    assert hasattr(line, "Razor") and "Razor" not in dir(line) and "GetSelectedClips" in dir(line)
    older = free_21_0()
    add_line(older)
    assert "GetSelectedClips" not in dir(timeline(older))


def test_the_free_edition_from_21_1_on_runs_no_python() -> None:
    assert not free_21_1().runs_python
    with pytest.raises(UndocumentedCall, match="lists no script of Python"):
        free_21_1().scripting()


def test_a_call_of_studio_alone_breaks_those_after_it_in_a_free_edition(program: Program) -> None:
    program.studio = False
    assert timeline(program).GetName() == "Cut"
    assert timeline(program).DetectSceneCuts() is False and program.dialog
    resolve = program.scripting()
    assert resolve.GetProductName() == "DaVinci Resolve"
    assert resolve.OpenPage("edit") is False and resolve.GetProjectManager() is False


# ---- what was measured -------------------------------------------------------------------------------------


def test_a_project_written_down_is_the_same_project(program: Program) -> None:
    first_item(program).AddMarker(0, "Red", "a", "b", 1, "c")
    text = program.project.as_bytes()
    assert Project.of_bytes(text).as_bytes() == text


def test_an_export_wants_the_live_constants(program: Program, tmp_path: Path) -> None:
    resolve, path = program.scripting(), tmp_path / "a.otio"
    assert timeline(program).Export(str(path), "EXPORT_OTIO", "EXPORT_NONE") is False and not path.exists()
    assert timeline(program).Export(str(path), resolve.EXPORT_OTIO, resolve.EXPORT_NONE) is True
    edit = json.loads(path.read_text())
    (clip,) = edit["tracks"]["children"][0]["children"]
    assert edit["global_start_time"]["value"] == 90000.0 and clip["OTIO_SCHEMA"] == "Clip.2"
    assert clip["source_range"]["start_time"]["value"] == 4.0
    reference = clip["media_references"]["DEFAULT_MEDIA"]
    assert reference["target_url"] == str(tmp_path / "a.mkv")
    assert clip["effects"][0]["metadata"]["Resolve_OTIO"]["Name"] == "Transform"


def test_appending_counts_from_midnight_to_an_end_outside_and_the_earlier_item_wins(
    program: Program, tmp_path: Path
) -> None:
    (media,) = pool(program).ImportMedia([str(tmp_path / "a.mkv")])
    info = {"mediaPoolItem": media, "startFrame": 2, "endFrame": 7, "trackIndex": 1, "mediaType": 1}
    (item,) = pool(program).AppendToTimeline([{**info, "recordFrame": 90020}])
    assert (item.GetStart(False), item.GetDuration(False), item.GetLeftOffset(False)) == (90020, 5, 2)
    (lost,) = pool(program).AppendToTimeline([{**info, "recordFrame": 90008}])
    assert lost.GetUniqueId() == "" and len(timeline(program).GetItemListInTrack("video", 1)) == 2
    assert pool(program).AppendToTimeline([{**info, "recordFrame": 90040, "trackIndex": 9}]) == [None]


def test_media_land_in_the_current_folder(program: Program, tmp_path: Path) -> None:
    folder = pool(program).AddSubFolder(pool(program).GetRootFolder(), "Ours")
    assert pool(program).GetCurrentFolder().GetName() == "Ours"
    (media,) = pool(program).ImportMedia([str(movie(tmp_path, "b.mkv"))])
    assert [c.GetName() for c in folder.GetClipList()] == ["b.mkv"] == [media.GetName()]
    assert pool(program).ImportMedia([str(tmp_path / "none.mkv")]) == []


def test_clips_are_deleted_on_the_edit_page_alone_and_their_sound_stays(program: Program) -> None:
    program.project.page = "fairlight"
    items = [first_item(program)]
    assert timeline(program).DeleteClips(items, False) is False
    program.scripting().OpenPage("edit")
    program.flaky_delete = 1
    assert timeline(program).DeleteClips(items, False) is False
    assert timeline(program).DeleteClips(items, False) is True
    assert timeline(program).GetItemListInTrack("video", 1) == []
    assert len(timeline(program).GetItemListInTrack("audio", 1)) == 1


def test_sixteen_colours_are_taken_and_a_title_keeps_none(program: Program) -> None:
    item = first_item(program)
    assert [c for c in ("Red", "Cyan", "") if item.SetClipColor(c)] == []
    assert all(item.SetClipColor(c) and item.GetClipColor() == c for c in CLIP_COLOURS)
    program.line.of_kind("video")[0].clips[0].title = True
    item.ClearClipColor()
    assert item.SetClipColor("Teal") is True and item.GetClipColor() == ""


@pytest.mark.parametrize(("exclusive", "end"), [(True, 12), (False, 11)])
def test_takes_keep_the_original_and_end_in_one_of_two_ways(
    program: Program, tmp_path: Path, exclusive: bool, end: int
) -> None:
    program.take_end_exclusive = exclusive
    item, (media,) = first_item(program), pool(program).ImportMedia([str(movie(tmp_path, "b.mkv"))])
    assert (item.GetTakesCount(), item.GetSelectedTakeIndex()) == (0, 0)
    assert item.AddTake(media, 0, 30) is False
    assert item.AddTake(media, 2, end) is True
    assert (item.GetTakesCount(), item.GetSelectedTakeIndex()) == (2, 1)
    assert item.SelectTakeByIndex(2) and item.GetDuration(False) == 10 and item.GetLeftOffset(False) == 2
    assert item.DeleteTakeByIndex(2) is False  # the selected one
    assert item.SelectTakeByIndex(1) and item.DeleteTakeByIndex(2) and item.FinalizeTake()
    assert (item.GetTakesCount(), item.GetLeftOffset(False)) == (0, 4)


WRONG_EDITS: tuple[Callable[[Any, Any], object], ...] = (
    lambda edit, clip: clip["media_references"]["DEFAULT_MEDIA"].update(target_url="file:///a.mkv"),
    lambda edit, clip: clip.pop("enabled"),
    lambda edit, clip: clip.update(OTIO_SCHEMA="Clip.1"),
    lambda edit, clip: clip["source_range"]["start_time"].update(value=-1.0),
    lambda edit, clip: edit.pop("global_start_time"),
)


def test_importing_an_edit_fails_in_silence_and_links_unless_told_not_to(
    program: Program, tmp_path: Path
) -> None:
    resolve, path = program.scripting(), tmp_path / "a.otio"
    timeline(program).Export(str(path), resolve.EXPORT_OTIO, resolve.EXPORT_NONE)
    assert pool(program).ImportTimelineFromFile(str(path), {"timelineName": "Cut"}) is None  # it is there
    back = pool(program).ImportTimelineFromFile(str(path), {"timelineName": "Again"})
    assert back.GetName() == "Again" and back.GetStartFrame() == 90000
    (item,) = back.GetItemListInTrack("video", 1)
    assert item.GetMediaPoolItem().GetName() == "a.mkv" and item.GetLeftOffset(False) == 4
    off = {"timelineName": "Offline", "importSourceClips": False}
    (item,) = pool(program).ImportTimelineFromFile(str(path), off).GetItemListInTrack("video", 1)
    assert item.GetMediaPoolItem() is None
    text = path.read_text()
    for wrong in WRONG_EDITS:
        edit = json.loads(text)
        wrong(edit, edit["tracks"]["children"][0]["children"][0])
        path.write_text(json.dumps(edit))
        assert pool(program).ImportTimelineFromFile(str(path), {"timelineName": "Broken"}) is None
