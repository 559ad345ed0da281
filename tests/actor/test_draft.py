"""A draft: the person of a clip drawn out of its own frames, before anything is adapted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import planes_of, write_wav

from visualdub.actor.draft import DraftActor, draft_actor
from visualdub.actor.record import Consent
from visualdub.cli import run
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.errors import NoFace
from visualdub.face.occlusion import OBJECT
from visualdub.face.track import Performance
from visualdub.records import read_provenance
from visualdub.render.holdout import Holdouts
from visualdub.render.occluders import nothing_found
from visualdub.render.quality import DRAFT
from visualdub.render.shot_renderer import RenderedFrame, ShotRenderer, render_options
from visualdub.timing import FrameRange

CONSENT = Consent("Ada", "today", "tests")


@pytest.fixture(scope="module")
def tracked(talking: Path) -> TrackedShot:
    return track_shot(plan_shot(talking))


def drafted(
    tracked: TrackedShot,
    performance: Performance,
    frames: FrameRange | None = None,
    actor: DraftActor | None = None,
    holdouts: Holdouts | None = None,
) -> list[RenderedFrame]:
    actor = actor or draft_actor(tracked.shot.source, tracked.track, CONSENT)
    renderer = ShotRenderer(
        tracked.shot,
        actor,
        track=tracked.track,
        performance=performance,
        options=render_options(DRAFT, watermark=False),
        holdouts=holdouts,
    )
    return list(renderer.frames(frames))


def test_a_draft_of_what_was_filmed_looks_like_it(tracked: TrackedShot) -> None:
    """Frames far enough away show about the same; the mask's own pixels are not their source."""
    own = Performance.of_track(tracked.track)
    assert draft_actor(tracked.shot.source, tracked.track, CONSENT).style.seconds > 0.5
    for frame in drafted(tracked, own, FrameRange(4, 8)):
        plate, matte = frame.inputs.frame.planes[0].astype(int), frame.matte == 255
        difference = np.abs(frame.frame.planes[0].astype(int) - plate)
        assert matte.sum() > 2000 and 0 < difference[matte].mean() < 4
        assert (difference[frame.matte == 0] == 0).all()


def test_the_mouth_does_what_it_is_commanded(tracked: TrackedShot) -> None:
    """With the widest mouth of the clip in every frame, all frames come to look alike inside it."""
    track = tracked.track
    widest = int(np.argmax(track.jaw))
    own = Performance.of_track(track)
    still = replace(
        own,
        jaw=np.full_like(own.jaw, track.jaw[widest]),
        expression=np.tile(track.expression[widest], (len(track), 1)),
    )
    opened, filmed = drafted(tracked, still), drafted(tracked, own)
    closed = int(np.argmin(track.jaw))
    apart = np.abs(opened[closed].frame.planes[0].astype(int) - filmed[closed].frame.planes[0])
    inside = opened[closed].matte == 255
    assert apart[inside].max() > 30  # teeth or the dark of the mouth where lips met
    assert opened[closed].inputs.carried is not None and opened[closed].raw is not None


def test_a_frame_is_not_drawn_out_of_itself_and_its_neighbours(tracked: TrackedShot) -> None:
    """Of 40 frames those less than 13 away lend nothing: any other picture in their place changes nothing."""
    actor = draft_actor(tracked.shot.source, tracked.track, CONSENT)
    own, one = Performance.of_track(tracked.track), FrameRange(20, 21)
    (before,) = drafted(tracked, own, one, actor)
    for reach, same in ((10, True), (39, False)):  # colour is matched over two neighbours on either side
        near = [abs(n - 20) <= reach for n in actor.kept.number]
        (after,) = drafted(tracked, own, one, times(0.0, actor, near))
        assert (before.frame.planes[0] == after.frame.planes[0]).all() == same, reach


def test_a_part_of_a_clip_is_drawn_out_of_what_is_as_far_away(tracked: TrackedShot) -> None:
    """However few frames are drawn: what a frame may be made of is a matter of those that were read."""
    actor = draft_actor(tracked.shot.source, tracked.track, CONSENT)
    part, one = tracked.trim(FrameRange(15, 25)), FrameRange(20, 21)
    own = Performance.of_track(part.track)
    (before,) = drafted(part, own, one, actor)
    (after,) = drafted(part, own, one, times(0.0, actor, [abs(n - 20) <= 10 for n in actor.kept.number]))
    assert (before.frame.planes[0] == after.frame.planes[0]).all()


def test_a_draft_cuts_a_crop_only_where_an_object_covers_the_mouth(tracked: TrackedShot) -> None:
    """Its outline is found by colour, and the mouth is not drawn on it."""
    own, nothing = Performance.of_track(tracked.track), nothing_found(tracked.track)
    kind, covered = nothing.kind.copy(), np.zeros((1, len(tracked.track.model.face_triangles)), np.bool_)
    kind[21], covered[0, ::2] = OBJECT, True
    found = replace(nothing, kind=kind, object_frames=np.array([21]), covered=covered)
    bare, behind = drafted(tracked, own, FrameRange(20, 22), holdouts=Holdouts(occlusion=found))
    assert bare.inputs.plate is None and bare.inputs.holdout is None
    assert behind.inputs.plate is not None and behind.inputs.holdout is not None


def test_a_draft_has_the_light_of_its_frame(tracked: TrackedShot) -> None:
    """Darker pictures are brought to the light around the mask."""
    actor = draft_actor(tracked.shot.source, tracked.track, CONSENT)
    dark = times(0.9, actor, [True] * len(actor.kept))
    (frame,) = drafted(tracked, Performance.of_track(tracked.track), FrameRange(20, 21), dark)
    plate = frame.inputs.frame.planes[0].astype(int)
    apart = (frame.frame.planes[0] - plate)[frame.matte == 255]
    assert abs(apart.mean()) < 4  # and 10 without it


def times(gain: float, actor: DraftActor, where: list[bool]) -> DraftActor:
    """The actor with some of the pictures darker."""
    pictures = []
    for picture, change in zip(actor.kept.pictures, where, strict=True):
        shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        dark = np.rint(shown * gain).astype(np.uint8)
        pictures.append(cv2.imencode(".jpg", dark)[1].tobytes() if change else picture)
    return replace(actor, kept=replace(actor.kept, pictures=tuple(pictures)))


def test_any_range_of_a_draft_is_the_whole_drafts(tracked: TrackedShot) -> None:
    own = Performance.of_track(tracked.track)
    whole = drafted(tracked, own)
    for frames in (FrameRange(0, 3), FrameRange(17, 22), FrameRange(39, 40)):
        for part, number in zip(drafted(tracked, own, frames), frames, strict=True):
            for a, b in zip(part.frame.planes, whole[number].frame.planes, strict=True):
                np.testing.assert_array_equal(a, b)


def test_nobody_is_drafted_where_no_face_is_usable(tracked: TrackedShot) -> None:
    track = replace(tracked.track, confidence=np.zeros(len(tracked.track)))
    with pytest.raises(NoFace, match="for a draft"):
        draft_actor(tracked.shot.source, track, CONSENT)


@pytest.mark.slow
def test_the_command_drafts_without_an_actor(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("visualdub.services.adapt_service", lambda: pytest.fail("a draft adapts nobody"))
    wav, out = write_wav(tmp_path / "new.wav", 1.2), tmp_path / "out.mkv"
    args = ["dub", str(talking), "--dialogue", str(wav), "-o", str(out), "--consent", "Ada, today, tests"]
    assert run([*args, "--quality", "draft"]) == 0
    assert "drawn out of" in capsys.readouterr().out
    record = read_provenance(out)
    assert record.consent["who"] == "Ada" and record.drawn == 40
    assert record.renderer == {"provider": "none", "mode": "draft"}
    names = ["new.wav", "out.mkv", "out.mkv.provenance.json", "out.mkv.report.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert "a draft" in json.loads((tmp_path / names[3]).read_text())["notes"][-1]
    assert any((a != b).any() for a, b in zip(planes_of(talking)[9], planes_of(out)[9], strict=True))
