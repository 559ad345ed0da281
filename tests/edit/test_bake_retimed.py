"""Where a program's clips take no dub of source frames, retimed ones get a frame for each of the edit's."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from otio_text import clip, media, timeline, track, warp, write

from visualdub.edit.media import MediaFinder
from visualdub.edit.plan import BAKE, DUB, EditPlan, PlanOptions, plan_edit
from visualdub.edit.reading import read_edit
from visualdub.edit.request import EditRequest, EditWords, EditWritten, plan_request

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
RATE = 25.0


def edit_of(folder: Path, movie: Path, speed: float) -> Path:
    reference = media(str(movie), 0, 40, RATE)
    effects = [] if speed == 1 else [warp(speed)]
    shot = clip("a", 4, 8, RATE, reference=reference, effects=effects)
    words = clip("new", 0, 40, RATE, reference=reference)
    return write(folder / "cut.otio", timeline(track(shot), track(words, kind="Audio", name="new")))


def planned(edit: Path, host: str | None) -> EditPlan:
    words, written = EditWords(track="new"), EditWritten(host=host)
    return plan_request(EditRequest(edit, "anna.actor", words, written))[0]


@pytest.mark.parametrize(("speed", "plain", "baked"), [(1, DUB, DUB), (2, DUB, BAKE), (0.8, DUB, BAKE)])
def test_retimed_clips_are_baked_for_resolve(
    talking: Path, tmp_path: Path, speed: float, plain: str, baked: str
) -> None:
    edit = edit_of(tmp_path, talking, speed)
    assert [s.action for s in planned(edit, None).shots] == [plain]
    (shot,) = planned(edit, "resolve").shots
    assert (shot.action, shot.timeline) == (baked, (0, 8))
    if baked == BAKE:
        assert shot.reason == "the program's clips take no dub at another speed (linear)"
        (cue,) = shot.speaking[0].cues
        assert cue.place_s == 0 and cue.duration_s == Fraction(8, 25)


def test_media_of_another_rate_are_baked_too(talking: Path, tmp_path: Path) -> None:
    edit = read_edit(edit_of(tmp_path, talking, 1))
    other = replace(edit, rate=Fraction(50), bake_retimed=True)
    (shot,) = plan_edit(other, MediaFinder(edit.path), [], PlanOptions()).shots
    assert shot.map is not None and shot.map.kind == "plain" and shot.map.needs_baking
