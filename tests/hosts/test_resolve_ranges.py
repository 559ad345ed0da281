"""Ranges of a timeline and folders of runs: plain values of the plug-in for Resolve."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from plugin_resolve.otio_copy import media_of, only_ranges
from plugin_resolve.ranges import frame_of, outside, parse_ranges
from plugin_resolve.runs import (
    KEEP,
    PLACED,
    REQUEST,
    UNPLACED_S,
    UNUSED_S,
    drop_old_runs,
    mark_placed,
    runs_of,
)
from plugin_resolve.service import folders_of

# ---- ranges ------------------------------------------------------------------------------------------------


def test_both_timecodes_of_a_range_are_inside_it_and_ranges_that_meet_are_one() -> None:
    assert parse_ranges("", 90000, "25") == () == parse_ranges(" , ", 90000, "25")
    text = "01:00:02:00-01:00:02:09, 01:00:00:10-01:00:00:12,01:00:02:10"
    assert parse_ranges(text, 90000, "25") == ((10, 13), (50, 61))
    assert outside(((10, 13), (50, 61)), 0, 55) == [(0, 10), (13, 50)]
    assert outside(((10, 13),), 10, 13) == [] and outside((), 3, 5) == [(3, 5)]
    assert outside(((10, 13),), 20, 25) == [(20, 25)] == outside(((40, 50),), 20, 25)


def test_drop_frame_leaves_two_numbers_out_every_minute_but_each_tenth() -> None:
    """Frames from midnight as SMPTE 12M counts them: an hour has 107892 frames of 29.97."""
    assert frame_of("01:00:00;00", "29.97 DF") == 107892 == frame_of("01:00:00:00", "29.97 DF")
    assert frame_of("00:01:00;02", "29.97 DF") == 1800 and frame_of("00:00:59;29", "29.97 DF") == 1799
    assert frame_of("01:00:00;00", "59.94 DF") == 2 * 107892
    assert frame_of("01:00:00:00", "29.97") == 108000 and frame_of("01:00:00:00", "23.976") == 86400


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("100-120", "'100-120' is no range of the timeline; expected one like 01:00:04:10-01:00:06:00"),
        ("01:00:00:25", "does not exist at 25 frames a second"),
        ("00:59:59:24", "begins before the timeline does"),
        ("01:00:02:00-01:00:01:00", "ends before it begins"),
    ],
)
def test_what_is_no_range_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_ranges(text, 90000, "25")
    with pytest.raises(ValueError, match="does not exist in drop frame"):
        parse_ranges("00:01:00;00", 0, "29.97 DF")


# ---- the copy of the edit ----------------------------------------------------------------------------------


def time_of(value: float, rate: float) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": value}


def clip(start: float, length: float, rate: float = 25.0, *effects: dict[str, Any]) -> dict[str, Any]:
    span = {"start_time": time_of(start, rate), "duration": time_of(length, rate)}
    return {"OTIO_SCHEMA": "Clip.2", "source_range": span, "effects": list(effects)}


def marked(item: dict[str, Any]) -> list[tuple[float, float, float]]:
    spans = [m["marked_range"] for m in item.get("markers", ()) if m["metadata"]["visualdub"]["skip"]]
    return [(s["start_time"]["value"], s["duration"]["value"], s["duration"]["rate"]) for s in spans]


def skipped(item: dict[str, Any]) -> bool:
    return bool(item.get("metadata", {}).get("visualdub", {}).get("skip", False))


def test_what_lies_outside_the_ranges_is_marked_in_the_times_of_the_media() -> None:
    warp = {"OTIO_SCHEMA": "LinearTimeWarp.1", "time_scalar": -1.0}
    clips = [
        clip(100, 20),  # frames 0 to 19 of the timeline
        clip(500, 48, 50.0),  # 20 to 43
        clip(40, 24, 24.0),  # 44 to 68
        clip(30, 10, 25.0, warp),  # 69 to 78
        clip(0, 10),  # 79 to 88
    ]
    edit = {"tracks": {"children": [{"kind": "Video", "children": clips}]}}
    only_ranges(edit, ((10, 30), (70, 73)), 25.0)
    assert marked(clips[0]) == [(100, 10, 25.0)]
    assert marked(clips[1]) == [(520, 28, 50.0)]
    assert [skipped(c) for c in clips] == [False, False, True, False, True]
    assert marked(clips[3]) == [(39, 1, 25.0), (30, 6, 25.0)]  # reversed: its first frame is the media's last


def test_no_ranges_mark_nothing_and_what_has_no_one_speed_is_left_alone_as_a_whole() -> None:
    ramp, freeze = {"OTIO_SCHEMA": "TimeEffect.1"}, {"OTIO_SCHEMA": "FreezeFrame.1", "time_scalar": 0.0}
    clips = [clip(0, 10, 25.0, ramp), clip(0, 10, 25.0, freeze)]
    edit = {"tracks": {"children": [{"kind": "Video", "children": clips}]}}
    only_ranges(edit, (), 25.0)
    only_ranges(edit, ((5, 15),), 25.0)
    assert [(skipped(c), marked(c)) for c in clips] == [(False, [])] * 2
    only_ranges(edit, ((0, 3),), 25.0)
    assert [skipped(c) for c in clips] == [False, True]


# ---- folders -----------------------------------------------------------------------------------------------


def test_the_folders_of_media_are_named_once_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "show" / "day 1").mkdir(parents=True)
    (tmp_path / "show2").mkdir()
    paths = ["show/day 1/a.mov", "show/b.mov", "show2/gone.mov", "nowhere/c.mov", "show"]
    found = folders_of([*(str(tmp_path / p) for p in paths), "", "relative.mov"])
    assert found == [os.path.realpath(tmp_path / p) for p in ("show", "show2")]
    assert media_of(
        {"a": [{"target_url": "/x.mov"}, {"target_url_base": "/y/"}], "b": {"target_url": None}}
    ) == [
        "/y/",
        "/x.mov",
    ]


def old_run(folder: Path, number: int, age_s: float, projects: tuple[str, ...] = ()) -> Path:
    run = folder / f"run-{number:04d}"
    (run / "dubbed" / "shots").mkdir(parents=True)
    (run / REQUEST).write_text("{}")
    for project in projects:
        mark_placed(run, project)
    then = time.time() - age_s
    for path in (run / REQUEST, run / PLACED):
        if path.exists():
            os.utime(path, (then, then))
    return run


def test_old_runs_go_but_never_one_that_something_may_still_show(tmp_path: Path) -> None:
    long_ago = 3 * UNUSED_S
    stopped = old_run(tmp_path, 1, UNPLACED_S + 60)
    fresh = old_run(tmp_path, 2, UNPLACED_S - 600)
    shown = old_run(tmp_path, 3, long_ago, ("p",))
    unused = old_run(tmp_path, 4, UNUSED_S + 60, ("p",))
    young = old_run(tmp_path, 5, UNUSED_S - 600, ("p",))
    shared = old_run(tmp_path, 6, long_ago, ("p", "copy"))
    kept = old_run(tmp_path, 7, long_ago)
    (kept / KEEP).touch()
    foreign = tmp_path / "run-0008"
    foreign.mkdir()
    newest = [old_run(tmp_path, n, long_ago) for n in (9, 10, 11)]
    movie = shown / "dubbed" / "shots" / "0001.mov"
    assert drop_old_runs(tmp_path, "p", [str(movie)]) == [stopped, unused]
    assert runs_of(tmp_path) == [fresh, shown, young, shared, kept, foreign, *newest]
    assert drop_old_runs(tmp_path, "p", []) == []  # it was in use a moment ago
    assert drop_old_runs(tmp_path, "p", [], time.time() + UNUSED_S + 60) == [fresh, shown, young]
