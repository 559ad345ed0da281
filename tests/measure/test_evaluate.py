"""Evaluation as it streams: rendered frames against measures of whole arrays, and whose mouth is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from array_reference import array_table, numbers_of
from helpers import portrait_pictures

from visualdub.actor.package import Actor, load_actor
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.errors import NoFace
from visualdub.face.detect import find_faces
from visualdub.face.landmarks import lip_opening
from visualdub.face.track import Performance, Track
from visualdub.measure.evaluate import OutputFaces, evaluated_frames, measure, other_segment
from visualdub.measure.mouth import lip_distances
from visualdub.stages import StageClock
from visualdub.timing import FrameRange


@pytest.fixture(scope="module")
def scene(talking: Path, flat_actor: Path) -> tuple[TrackedShot, Actor]:
    return track_shot(plan_shot(talking)), load_actor(flat_actor)


def own_performance(track: Track) -> Performance:
    """The performance of a track, except that three frames in the middle pass through."""
    performance = Performance.of_track(track)
    draw = performance.draw.copy()
    draw[11:14] = 0
    return replace(performance, draw=draw)


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False])
def test_streamed_measures_are_those_of_the_whole_shot(scene: tuple[TrackedShot, Actor], own: bool) -> None:
    """Worst difference measured: 2e-14."""
    tracked, actor = scene
    performance = own_performance(tracked.track)
    frames = list(evaluated_frames(tracked, performance, actor, StageClock()))
    kept = [f.measured for f in frames if f.measured is not None]
    assert [f.number for f in kept] == [*range(11), *range(14, 40)] and len(frames) == 40
    (face,), count = find_faces(iter([f.rgb for f in frames]), None)
    output = face.dense(count)[[f.number for f in kept]]
    expected = numbers_of(array_table(kept, output, actor.renderer.window, own))
    table = measure(tracked, performance, actor, StageClock(), own_performance=own)
    assert table.pop("plate")["flicker"] > 0  # its figures: test_plate.py
    streamed = numbers_of(table)
    assert streamed == pytest.approx(expected, abs=1e-9) and None not in streamed.values()


def test_a_shot_of_which_nothing_is_rendered_is_refused(scene: tuple[TrackedShot, Actor]) -> None:
    tracked, actor = scene
    performance = Performance.of_track(tracked.track)
    nothing = replace(performance, draw=np.zeros(len(performance)))
    with pytest.raises(NoFace, match=r"talking\.mkv: none of frames 0:40 was rendered"):
        measure(tracked, nothing, actor, StageClock(), own_performance=True)


def test_the_mouth_is_that_of_the_tracked_face(scene: tuple[TrackedShot, Actor]) -> None:
    """Two faces side by side: the right one is the tracked one, the left one moves otherwise."""
    track = scene[0].track.span(FrameRange(0, 12))
    pictures = portrait_pictures(12)
    width = pictures[0].shape[1]
    both = [np.concatenate(pair, 1) for pair in zip(pictures[::-1], pictures, strict=True)]
    moved = track.landmarks + np.array([width, 0, 0], np.float32)
    with OutputFaces(replace(track, landmarks=moved)) as faces:
        for picture in both:
            faces.add(picture)
        mouth = faces.mouth([3, 7, 99])
    assert np.isnan(mouth.opening[2]) and np.isnan(mouth.lip_distance[2])  # not a frame of the shot
    assert mouth.lip_distance[:2].max() < 5  # % of the face width; the other face is over 100 away
    expected = lip_opening(track.landmarks[[3, 7]].astype(np.float64))
    assert mouth.opening[:2] == pytest.approx(expected, abs=0.05)


def test_output_faces_are_measured_as_landmarks_are(scene: tuple[TrackedShot, Actor]) -> None:
    track = scene[0].track.span(FrameRange(0, 10))
    pictures = portrait_pictures(10)
    with OutputFaces(track) as faces:
        for picture in pictures:
            faces.add(picture)
        mouth = faces.mouth(list(range(10)))
    (face,), count = find_faces(iter(pictures), None)
    landmarks = face.dense(count)
    np.testing.assert_allclose(mouth.opening, lip_opening(landmarks.astype(np.float64)), atol=1e-12)
    np.testing.assert_allclose(mouth.lip_distance, lip_distances(track.landmarks, landmarks), atol=1e-12)


def test_without_a_face_there_is_no_mouth(scene: tuple[TrackedShot, Actor]) -> None:
    with OutputFaces(scene[0].track) as faces:
        faces.add(np.full((376, 320, 3), 90, np.uint8))
        assert np.isnan(faces.mouth([0]).opening).all()


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (FrameRange(10, 20), FrameRange(0, 10)),
        (FrameRange(9, 19), FrameRange(19, 29)),
        (FrameRange(20, 40), FrameRange(0, 20)),
        (FrameRange(15, 35), None),
    ],
)
def test_the_other_segment_does_not_overlap(frames: FrameRange, expected: FrameRange | None) -> None:
    assert other_segment(frames, 40) == expected
