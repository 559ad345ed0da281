"""The inside of the mouth: whose it is, and what of it goes into the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import write_flat_actor
from numpy.typing import NDArray
from render_scene import painted

from visualdub.actor.footage import DetailClip, add_detail
from visualdub.actor.package import load_actor
from visualdub.box import Box
from visualdub.dub import TrackedShot
from visualdub.face.crop import stable_crop
from visualdub.face.track import Performance
from visualdub.media.source import open_source
from visualdub.render.detail_frames import DetailFrames
from visualdub.render.mouth_interior import Interior, MouthInterior
from visualdub.render.near_frames import NearFrames
from visualdub.render.shot_renderer import ShotRenderer
from visualdub.timing import FrameRange

FRAME = 2  # of the 40 of the clip
GREEN, BLUE = (0.1, 0.7, 0.1), (0.1, 0.1, 0.7)


def interior(
    shot: TrackedShot, frames: DetailFrames, drawn: tuple[float, float, float], jaw: float = 0.0
) -> Interior | None:
    """Of frame `FRAME`, whose network drew one colour."""
    track, crop = shot.track, stable_crop(shot.track)
    performance = Performance.of_track(track)
    widest = int(np.argmax(performance.jaw))
    performance.jaw[FRAME] = performance.jaw[widest] + jaw
    performance.expression[FRAME] = performance.expression[widest]
    found = MouthInterior(NearFrames(frames, track, performance, crop))
    with open_source(shot.shot.source) as source:
        (frame,) = source.frames(FrameRange(FRAME, FRAME + 1))
    rgb = np.full((crop.size, crop.size, 3), drawn, np.float32)
    return found.of_frame(frame, FRAME, rgb)


def colour(found: Interior | None) -> NDArray[np.float64]:
    assert found is not None and found.weight.max() > 0.5
    return np.asarray(found.picture[found.seen > 0.9].mean(0), np.float64)


def test_the_frames_that_look_like_what_was_drawn_lend_their_inside(
    tracked: TrackedShot, footage: DetailFrames
) -> None:
    even = footage.number % 2 == 0
    other = replace(footage, source_hash=("another clip",) * len(footage))
    frames = painted(painted(other, even, GREEN), ~even, BLUE)
    assert np.allclose(colour(interior(tracked, frames, GREEN)), GREEN, atol=0.02)
    assert np.allclose(colour(interior(tracked, frames, BLUE)), BLUE, atol=0.02)


def test_a_frame_never_lends_to_itself_or_its_neighbours(tracked: TrackedShot, footage: DetailFrames) -> None:
    near = np.abs(footage.number - FRAME) < 20
    frames = painted(painted(footage, near, GREEN), ~near, BLUE)
    assert np.allclose(colour(interior(tracked, frames, GREEN)), BLUE, atol=0.02)
    assert interior(tracked, replace(footage, number=np.full(len(footage), FRAME)), GREEN) is None


def test_there_is_none_in_a_shut_mouth(tracked: TrackedShot, footage: DetailFrames) -> None:
    assert interior(tracked, footage, GREEN, jaw=-0.3) is None


def test_fine_things_are_the_footages_and_broad_colours_as_drawn() -> None:
    size, box = 40, Box(100, 50, 140, 90)
    stripes = 0.5 + 0.3 * (np.indices((size, size))[1] // 2 % 2 - 0.5)
    picture = np.repeat(stripes[..., None], 3, -1).astype(np.float32)
    seen = np.zeros((size, size), np.float32)
    seen[10:30, 10:30] = 1
    found = Interior(box, picture * seen[..., None], seen, seen, sigma=4.0)
    drawn = np.full((60, 60, 3), (0.25, 0.2, 0.15), np.float32)
    out = found.over(drawn, Box(90, 40, 150, 100))
    inside = out[20:40, 20:40]
    assert np.array_equal(out[:20], drawn[:20]) and np.array_equal(out[:, 40:], drawn[:, 40:])
    assert np.allclose(inside[5:-5, 4:-4].mean((0, 1)), drawn[0, 0], atol=0.01)
    assert 0.05 < inside[..., 0].std() < 0.1  # 0.15 in the footage, which is 2.5 times as light
    assert found.over(drawn, Box(0, 0, 60, 60)) is drawn  # elsewhere


def test_a_dub_shows_it(
    tracked: TrackedShot, footage: DetailFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network that draws one colour: with the inside of the mouth the pixels between the lips differ."""
    folder = write_flat_actor(tmp_path / "a.actor", tracked.track)
    add_detail(folder, [DetailClip(tracked.shot.source, tracked.track)])
    performance = Performance.of_track(tracked.track)
    performance.jaw[:] = performance.jaw.max()

    def finished() -> NDArray[np.generic]:
        renderer = ShotRenderer(
            tracked.shot, load_actor(folder), track=tracked.track, performance=performance
        )
        (frame,) = renderer.frames(FrameRange(FRAME, FRAME + 1))
        return frame.frame.planes[0]

    shown = finished()
    monkeypatch.setattr(MouthInterior, "of_frame", lambda *_: None)
    changed = shown != finished()
    assert 10 < changed.sum() < 0.05 * changed.size
