"""Movies at a rate of their own, dissolves and compound clips, in the double of Resolve."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import write_movie
from resolve_double import Program, studio
from resolve_editing import add_clip, add_compound, add_dissolve, add_line

from plugin_resolve.host import HostError, ResolveHost
from plugin_resolve.matching import changes_of
from plugin_resolve.takes import apply_changes, restore_originals
from plugin_resolve.values import DUBBED, PARTLY, Change


def movie(path: Path, frames: int, rate: Fraction) -> Path:
    return write_movie(path, [np.full((48, 64, 3), 5 * i, np.uint8) for i in range(frames)], rate)


def scene(folder: Path, rate: Fraction, length: int, exclusive: bool = True) -> tuple[Program, ResolveHost]:
    """A timeline of 25 frames a second with one clip at another rate, from its frame 12 on."""
    program = studio(take_end_exclusive=exclusive)
    add_line(program)
    add_clip(program, movie(folder / "source.mkv", 60, rate), 4, 12, length)
    return program, ResolveHost(program.scripting())


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(
    ("rate", "lead", "take"),  # lead: frames of the timeline before the clip's first. take: of the movie
    [
        (Fraction(50), 0, (0, 40)),
        (Fraction(50), 3, (6, 46)),
        (Fraction(24), 0, (0, 19)),
        (Fraction(30000, 1001), 4, (5, 29)),
    ],
)
def test_a_take_counts_in_the_frames_of_its_movie(
    rate: Fraction, lead: int, take: tuple[int, int], exclusive: bool, tmp_path: Path
) -> None:
    program, host = scene(tmp_path, rate, 20, exclusive)
    before = program.project.as_bytes()
    dub = movie(tmp_path / "dub.mov", 60, rate)
    (item,) = host.items()
    change = Change(item, DUBBED, "", str(dub), lead, 20, item.start)
    (done,) = apply_changes(host, host.timeline(), [change], "fr", tmp_path)
    clip = program.line.of_kind("video")[0].clips[0]
    assert done.state == DUBBED and (clip.start, clip.duration, clip.take) == (90004, 20, 2)
    begin, end = take
    assert clip.takes[1].start == begin and abs(clip.takes[1].end - end) <= 1
    restore_originals(host, host.timeline(), None, tmp_path)
    assert program.project.as_bytes() == before


def test_a_movie_at_another_rate_fills_its_place_above(tmp_path: Path) -> None:
    program, host = scene(tmp_path, Fraction(25), 20)
    host.place_above(str(movie(tmp_path / "dub.mov", 60, Fraction(50))), 4, 2, 20)
    (clip,) = program.line.of_kind("video")[1].clips
    assert (clip.start, clip.duration, clip.left) == (90004, 20, 4)


def test_a_movie_that_is_too_short_is_no_take_and_leaves_no_selector(tmp_path: Path) -> None:
    program, host = scene(tmp_path, Fraction(50), 20)
    (item,) = host.items()
    before = program.line.of_kind("video")[0].clips[0].takes
    with pytest.raises(HostError, match="Resolve adds no take to this clip"):
        host.add_take(item.uid, str(movie(tmp_path / "dub.mov", 30, Fraction(50))), 0, 20)
    assert program.line.of_kind("video")[0].clips[0].takes == before == []


def test_a_dissolve_is_no_clip_and_a_dub_above_says_that_it_lacks_it(tmp_path: Path) -> None:
    program, host = scene(tmp_path, Fraction(25), 10)
    add_clip(program, tmp_path / "source.mkv", 14, 20, 3)  # shorter than its dissolve
    add_dissolve(program, 14, 4, 4)
    line = program.scripting().GetProjectManager().GetCurrentProject().GetCurrentTimeline()
    names = [i.GetName() for i in line.GetItemListInTrack("video", 1)]
    assert names == ["source.mkv", "Cross Dissolve", "source.mkv"]
    items = host.items()
    assert [(i.start, i.end) for i in items] == [(4, 14), (14, 17)]
    shot = {"number": 1, "clip": "c", "track": "V1", "timeline": [4, 18], "reason": ""}
    (change,) = changes_of([{**shot, "action": "bake", "movie": "/m.mov"}], items, {})
    assert (change.above, change.at, change.length, change.state) == (True, 4, 10, PARTLY)
    assert change.reason == "its dissolve is not in the dub that lies above; make it there again"
    (change,) = changes_of([{**shot, "action": "dub", "movie": "/m.mov"}], items, {})
    assert (change.above, change.state, change.reason) == (False, DUBBED, "")  # a take goes on under it


def test_a_compound_clip_is_exported_with_what_lies_in_it(tmp_path: Path) -> None:
    program, host = scene(tmp_path, Fraction(50), 20)
    add_compound(program, "Reel", 30, 10, tmp_path / "source.mkv", 5)
    add_dissolve(program, 30, 2, 2)
    path = tmp_path / "cut.otio"
    host.export_otio(str(path))
    otio = pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
    track = otio.adapters.read_from_file(str(path)).video_tracks()[0]
    kinds = [type(child).__name__ for child in track]
    assert kinds == ["Gap", "Clip", "Gap", "Transition", "Stack"]
    assert track[1].source_range.duration == otio.opentime.RationalTime(40, 50)  # in the media's own rate
    (inner,) = track[4][0]
    assert inner.source_range.start_time.value == 5
    assert track.range_of_child(track[4]).start_time.to_seconds() * 25 == 30
