"""Which clip each shot of a result belongs to, what happens to it, and what an export leaves alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin_resolve.matching import QUIET, ShotFacts, changes_of, shot_facts
from plugin_resolve.otio_copy import only_these, read_copy
from plugin_resolve.runs import next_run, safe_name
from plugin_resolve.session import DUBBED_FOLDER, rate_of, summary
from plugin_resolve.values import DUBBED, PARTLY, REFUSED, WHOLE, Choices, Item

ROOT = Path(__file__).resolve().parents[2]


def item(uid: str, track: int, start: int, end: int, **more: Any) -> Item:
    usual = {
        "left": 0,
        "color": "",
        "enabled": True,
        "locked": False,
        "takes": 0,
        "take": 0,
        "movie": "/a.mov",
    }
    return Item(uid, f"{uid}.mov", track, start, end, **{**usual, **more})


def shot(number: int, track: str, low: int, high: int, **more: Any) -> dict[str, Any]:
    usual = {"action": "dub", "movie": f"/dubs/{number}.mov", "reason": "", "language": None}
    return {"number": number, "clip": "c", "track": track, "timeline": [low, high], **usual, **more}


def test_a_shot_of_a_whole_clip_is_a_take_and_its_handles_are_left_out() -> None:
    (change,) = changes_of([shot(1, "V1", 8, 22)], [item("a", 1, 10, 20)], {})
    assert (change.state, change.first, change.length, change.at, change.above) == (DUBBED, 2, 10, 10, False)


def test_baked_shots_and_clips_that_are_seen_in_part_lie_above() -> None:
    items = [item("a", 1, 0, 10), item("b", 1, 10, 30)]
    baked, part = changes_of([shot(1, "V1", 0, 10, action="bake"), shot(2, "V1", 14, 30)], items, {})
    assert (baked.above, baked.at, baked.first, baked.length) == (True, 0, 0, 10)
    assert (part.above, part.at, part.first, part.length) == (True, 14, 0, 16)


def test_one_dub_inside_a_compound_clip_lies_above_it_and_several_are_refused() -> None:
    items = [item("a", 1, 0, 10), item("compound", 1, 10, 30)]
    first, second = shot(1, "V1/Reel/V1", 10, 18), shot(2, "V1/Reel/V2", 18, 30)
    (change,) = changes_of([first, shot(2, "V1/Reel/V2", 18, 30, movie=None, reason="no face")], items, {})
    assert (change.item.uid, change.state, change.above, change.at, change.length) == (
        *("compound", DUBBED, True, 10, 8),
    )
    assert change.reason == "it lies above the compound clip"
    (change,) = changes_of([first, second], items, {})
    assert change.state == REFUSED and not change.movie and "open it in its timeline" in change.reason


def test_what_lies_above_a_baked_shot_is_not_hidden_by_it() -> None:
    low, over = item("a", 1, 0, 10), item("t", 2, 4, 6)
    shots = [shot(1, "V1", 0, 10, action="bake")]
    (change,) = changes_of(shots, [low, over], {})
    assert change.state == REFUSED and "a clip above hides a part" in change.reason
    (change,) = changes_of(shots, [low, over], {}, frozenset({"t"}))  # it is a dub of ours
    assert change.above and change.movie
    (change,) = changes_of(shots, [low, replace(over, enabled=False)], {})
    assert change.above and change.movie


def test_the_clip_of_a_shot_is_the_one_that_shares_most_of_it() -> None:
    items = [item("a", 1, 0, 10), item("b", 1, 10, 20), item("c", 2, 8, 22)]
    (change,) = changes_of([shot(1, "V1", 8, 20)], items, {})
    assert change.item.uid == "b"
    assert changes_of([shot(2, "V3", 0, 5)], items, {}) == []


def test_refusals_that_somebody_asked_for_are_told_and_the_others_are_not() -> None:
    items = [item("a", 1, 0, 10), item("b", 1, 10, 20)]
    kept = [shot(n, "V1", 10 * (n - 1), 10 * n, movie=None, action="keep") for n in (1, 2)]
    (change,) = changes_of([{**kept[0], "reason": QUIET[0]}, {**kept[1], "reason": "no face"}], items, {})
    assert (change.item.uid, change.state, change.reason) == ("b", REFUSED, "no face")
    (change,) = changes_of([shot(1, "V1", 0, 10)], [item("a", 1, 0, 10, locked=True)], {})
    assert (change.state, change.reason) == (REFUSED, "its track is locked")


def test_the_quiet_reasons_are_those_of_the_plan() -> None:
    text = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "visualdub" / "edit").glob("*.py"))
    assert [reason for reason in QUIET if f'"{reason}"' not in text] == []


def test_a_clip_of_which_some_frames_are_left_is_partly_dubbed() -> None:
    report = {
        "shots": [
            {"number": 1, "frames": "5:15", "drawn": 10, "action": "dub", "timeline": [0, 10]},
            {"number": 2, "frames": "5:15", "drawn": 4, "action": "dub", "timeline": [10, 20]},
            {"number": 3, "frames": "5:6", "drawn": 8, "action": "bake", "timeline": [20, 28]},
            {
                **{"number": 5, "frames": "0:20", "drawn": 14, "action": "dub", "timeline": [30, 50]},
                "skipped": ["0:4", "18:20"],
            },
            {"number": 4, "frames": None, "drawn": 0, "action": "keep", "timeline": [28, 30]},
        ]
    }
    facts = shot_facts(report)
    assert facts == {1: ShotFacts(10, 10), 2: ShotFacts(4, 10), 3: ShotFacts(8, 8), 5: ShotFacts(14, 14)}
    items = [item("a", 1, 0, 10), item("b", 1, 10, 20)]
    whole, part = changes_of([shot(1, "V1", 0, 10), shot(2, "V1", 10, 20)], items, facts)
    assert (whole.state, part.state, part.reason) == (DUBBED, PARTLY, "4 of its 10 frames are redrawn")
    assert summary([whole, part]).startswith("1 dubbed, 1 partly dubbed. \nb.mov: 4 of its")
    assert shot_facts({}) == {} and "Nothing was dubbed" in summary([])


# ---- the exported edit, folders and rates ------------------------------------------------------------------


def node(schema: str, length: float, rate: float = 25.0) -> dict[str, Any]:
    return {"OTIO_SCHEMA": schema, "source_range": {"duration": {"value": length, "rate": rate}}}


def test_clips_that_nobody_chose_are_left_alone_in_the_copy(tmp_path: Path) -> None:
    fade = {"OTIO_SCHEMA": "Transition.1"}
    first = [node("Gap.1", 10), node("Clip.2", 20), fade, node("Clip.2", 10, 50.0), node("Stack.1", 5)]
    tracks = [
        {"kind": "Video", "children": first},
        {"kind": "Audio", "children": [node("Clip.2", 40)]},
        {"kind": "Video", "children": [node("Clip.2", 3)]},
    ]
    path = tmp_path / "e.otio"
    path.write_text(json.dumps({"tracks": {"children": tracks}, "exact": 0.1 + 0.2}))
    edit = read_copy(path)
    only_these(edit, {(1, 30), (2, 0)}, 25.0)
    left = [
        c.get("metadata", {}).get("visualdub", {}).get("skip", False)
        for t in edit["tracks"]["children"]
        for c in t["children"]
    ]
    assert left == [False, True, False, False, True, False, False] and edit["exact"] == 0.1 + 0.2
    path.write_text("{}")
    with pytest.raises(ValueError, match="no edit as Resolve exports it"):
        read_copy(path)
    with pytest.raises(ValueError, match="no edit as Resolve exports it: KeyError"):
        only_these({"tracks": {}}, set(), 25.0)


def test_a_run_goes_on_where_it_asks_for_the_same_and_else_has_a_folder_of_its_own(tmp_path: Path) -> None:
    choices = Choices(WHOLE, "A", "ada")
    first = next_run(tmp_path, b"edit", choices)
    assert next_run(tmp_path, b"edit", choices) == first == tmp_path / "run-0001"
    second = next_run(tmp_path, b"edit", replace(choices, language="fr"))
    assert second.name == "run-0002" and next_run(tmp_path, b"other", choices).name == "run-0003"
    assert next_run(tmp_path, b"edit", choices).name == "run-0004"  # the last one alone goes on
    assert DUBBED_FOLDER == "dubbed"


def test_rates_and_names_are_read_as_resolve_writes_them() -> None:
    assert [rate_of(t) for t in ("25", "23.976", "29.97 DF")] == [25.0, 23.976, 29.97]
    with pytest.raises(Exception, match="frames a second of this timeline"):
        rate_of("")
    assert [safe_name(n) for n in ("Reel 3/b", "...", "é_1")] == ["Reel_3_b", "timeline", "é_1"]
