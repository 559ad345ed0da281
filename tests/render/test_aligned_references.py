"""Aligned references: which frames, how they look, and how confident they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import write_flat_actor, write_reference_renderer
from numpy.typing import NDArray
from render_scene import painted

from visualdub.actor.footage import DetailClip, add_detail
from visualdub.actor.package import load_actor
from visualdub.dub import TrackedShot
from visualdub.errors import BadInput
from visualdub.face.crop import VIEW, crop_of, stable_crop
from visualdub.face.geometry import mask_of
from visualdub.face.track import Performance
from visualdub.media.source import open_source
from visualdub.render.aligned_references import SOFT_EDGE, AlignedReferences
from visualdub.render.detail_frames import DetailFrames, margin_among
from visualdub.render.near_frames import NearFrames
from visualdub.render.shot_renderer import RenderOptions, ShotRenderer
from visualdub.timing import FrameRange

FRAME = 20  # of the 40 of the clip
RED = (1.0, 0.0, 0.0)


def aligned(shot: TrackedShot, frames: DetailFrames, i: int = FRAME) -> NDArray[np.uint8]:
    track = shot.track
    near = NearFrames(frames, track, Performance.of_track(track), stable_crop(track))
    return AlignedReferences(near).of_frame(i)


def test_the_nearest_frames_look_like_the_frame(tracked: TrackedShot, footage: DetailFrames) -> None:
    picture = aligned(tracked, footage)
    crop, track = stable_crop(tracked.track), tracked.track
    with open_source(tracked.shot.source) as source:
        plates = list(source.frames(track.frames))
    plate = crop_of(plates[FRAME], crop.stored_affine[FRAME])
    inside = (mask_of(track, crop, FRAME) > 0) & (picture[..., 3] > 0)
    assert inside.sum() > 0.9 * (mask_of(track, crop, FRAME) > 0).sum()
    shown, filmed = (x[inside].astype(float).ravel() for x in (picture[..., :3], plate))
    assert np.abs(shown - filmed).mean() < 8, "codes of 255"
    assert np.corrcoef(shown, filmed)[0, 1] > 0.95
    outside = np.ones(picture.shape[:2], np.bool_)
    outside[VIEW[0] : VIEW[1], VIEW[2] : VIEW[3]] = False
    assert not picture[outside].any()


def test_a_frame_is_never_its_own_reference(tracked: TrackedShot, footage: DetailFrames) -> None:
    """Of 40 frames those less than 13 away: a red picture in their place is not seen, one of others is."""
    before, away = aligned(tracked, footage), np.abs(footage.number - FRAME)
    assert margin_among(len(footage)) == 13
    assert np.array_equal(aligned(tracked, painted(footage, away < 13, RED)), before)
    assert not np.array_equal(aligned(tracked, painted(footage, away >= 13, RED)), before)


def test_frames_of_another_clip_may_be_near(tracked: TrackedShot, footage: DetailFrames) -> None:
    other = replace(footage, source_hash=("other",) * len(footage))
    near = np.abs(other.number - FRAME) < 13
    assert not np.array_equal(aligned(tracked, painted(other, near, RED)), aligned(tracked, other))


def test_far_frames_have_less_confidence(tracked: TrackedShot, footage: DetailFrames) -> None:
    turned, _ = cv2.Rodrigues(np.array([0.0, 0.4, 0.0]))
    far = replace(footage, rotation=footage.rotation @ turned)
    near, distant = aligned(tracked, footage)[..., 3], aligned(tracked, far)[..., 3]
    assert distant.max() < near.max() - 20 and distant.max() > 0


def test_without_a_reference_the_confidence_is_zero(tracked: TrackedShot, footage: DetailFrames) -> None:
    same = replace(footage, number=np.full(len(footage), FRAME))
    assert not aligned(tracked, same).any()


def test_the_network_is_given_them(tracked: TrackedShot, tmp_path: Path) -> None:
    """Of a network that shows its references the picture is made of them, and the frame's key knows them."""
    source, keys = tracked.shot.source, []
    for count in (40, 30):
        folder = write_flat_actor(tmp_path / f"a{count}.actor", tracked.track, write_reference_renderer)
        kept = add_detail(folder, [DetailClip(source, tracked.track.span(FrameRange(0, count)))])
        renderer = ShotRenderer(
            tracked.shot,
            load_actor(folder),
            track=tracked.track,
            performance=Performance.of_track(tracked.track),
            options=RenderOptions(detail=False, light=False),
        )
        (frame,) = renderer.frames(FrameRange(FRAME, FRAME + 1))
        assert frame.raw is not None
        expected = aligned(tracked, kept)[..., :3] / 255
        assert np.abs(frame.raw - expected).max() < 1e-6 and expected.any()
        keys.append(renderer.key(FRAME))
    assert keys[0] != keys[1]


def test_the_margin_shrinks_with_the_footage() -> None:
    assert [margin_among(n) for n in (2, 25, 60, 150)] == [0, 8, 20, 20]


def test_footage_of_another_face_model_is_refused(tracked: TrackedShot, footage: DetailFrames) -> None:
    with pytest.raises(BadInput, match="4 vertices"):
        aligned(tracked, replace(footage, mesh=footage.mesh[:, :4]))


def test_confidence_rises_from_where_nothing_is_known(tracked: TrackedShot, footage: DetailFrames) -> None:
    view = aligned(tracked, footage)[VIEW[0] : VIEW[1], VIEW[2] : VIEW[3], 3]
    known = view > 0
    beside = known & (cv2.dilate((~known).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
    assert beside.sum() > 50 and view[beside].max() < 0.35 * view.max()
    inner = cv2.distanceTransform(known.astype(np.uint8), cv2.DIST_L2, 5) > SOFT_EDGE + 1
    assert np.median(view[inner]) > 0.8 * view.max()
