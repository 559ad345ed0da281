"""Gain, smoothing and offset of a predicted mouth."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from speech_scene import counting, scene_track

from visualdub.dub import dialogue_motion
from visualdub.errors import BadInput
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.media.movie_writer import picture_info
from visualdub.speech.performance import (
    AS_PREDICTED,
    PerformanceAdjustments,
    blend_performance,
    motion_at,
    smooth_motion,
)
from visualdub.speech.predict import SpeechMotion, predict_motion
from visualdub.speech.style import SpeechStyle

N_SPEECH = face_model(DEFAULT_FACE_MODEL).n_speech


def random_motion(speech: np.ndarray) -> SpeechMotion:
    values = np.random.default_rng(3).normal(0, 1, (len(speech), 1 + N_SPEECH))
    return SpeechMotion(values[:, 0], values[:, 1:], speech.astype(float), np.zeros(len(speech)))


def table(motion: SpeechMotion) -> np.ndarray:
    return np.column_stack([motion.jaw, motion.expression])


# ---- smoothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deviation", [0.5, 2.0, 12.0])
def test_each_stretch_keeps_its_mean_and_varies_less(deviation: float) -> None:
    speech = np.array([0] * 5 + [1] * 20 + [0] * 3 + [0.5] * 4 + [0] * 2 + [1] * 10)
    before = random_motion(speech)
    after = smooth_motion(before, deviation)
    for a, b in ((5, 25), (28, 32), (34, 44)):
        assert table(after)[a:b].mean(0) == pytest.approx(table(before)[a:b].mean(0), abs=1e-12)
        assert (table(after)[a:b].std(0) < table(before)[a:b].std(0)).all()
    silent = speech == 0
    assert (table(after)[silent] == table(before)[silent]).all() and (
        after.speech_activity == before.speech_activity
    ).all()


def test_no_stretch_affects_another() -> None:
    speech = np.array([1] * 10 + [0] + [1] * 10)
    motion = random_motion(speech)
    louder = replace(motion, jaw=np.where(np.arange(21) < 10, 100.0, motion.jaw))
    a, b = smooth_motion(motion, 5.0), smooth_motion(louder, 5.0)
    assert (a.jaw[10:] == b.jaw[10:]).all() and (a.jaw[:10] != b.jaw[:10]).all()


def test_a_gaussian_of_the_deviation_asked_for() -> None:
    pulse = np.zeros(81)
    pulse[40] = 1.0
    smoothed = smooth_motion(SpeechMotion(pulse, np.zeros((81, 1)), np.ones(81), np.zeros(81)), 3.0).jaw
    assert np.sqrt((smoothed * (np.arange(81) - 40.0) ** 2).sum()) == pytest.approx(3.0, rel=0.01)


def test_none_changes_nothing() -> None:
    motion = random_motion(np.ones(9))
    assert smooth_motion(motion, 0.0) is motion


# ---- offset ------------------------------------------------------------------------------------------------


def test_between_frames_and_outside() -> None:
    motion = SpeechMotion(
        np.array([0.0, 1.0, 3.0]), np.array([[0.0], [10.0], [30.0]]), np.array([1.0, 1.0, 1.0]), np.zeros(3)
    )
    moved = motion_at(motion, np.array([-0.5, 0.0, 0.5, 1.25, 2.0, 2.25]))
    assert moved.jaw.tolist() == [0.0, 0.0, 0.5, 1.5, 3.0, 3.0]
    assert moved.expression[:, 0].tolist() == [0.0, 0.0, 5.0, 15.0, 30.0, 30.0]
    assert moved.speech_activity.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(("offset_ms", "frames"), [(80.0, 2), (-120.0, -3), (1000.0, 25)])
def test_the_mouth_moves_by_whole_frames(offset_ms: float, frames: int) -> None:
    info = picture_info(Path("clip.mkv"), 64, 64, Fraction(25), 100)
    audio = counting()
    as_predicted, moved = (
        dialogue_motion(audio, info),
        dialogue_motion(audio, info, PerformanceAdjustments(offset_ms=offset_ms)),
    )
    later = slice(max(frames, 0) + 2, 90 + min(frames, 0))
    before = slice(later.start - frames, later.stop - frames)
    # The encoder sees ten seconds at once; with a little more of the recording before it, the values differ,
    # by 0.33 at most and by 0.1 in one of 350.
    difference = np.abs(table(moved)[later] - table(as_predicted)[before])
    assert difference.max() < (1e-3 if frames > 0 else 0.5) and np.mean(difference > 0.1) < 0.01
    assert np.abs(table(moved)[later] - table(as_predicted)[later]).max() > 0.5
    if frames > 0:
        assert (moved.speech_activity[:frames] == 0).all()
    else:
        assert (
            moved.speech_activity[-3:] > 0
        ).all()  # the dialogue goes on after the last frame, and so does the mouth


def test_half_a_frame_is_the_mouth_between_frames() -> None:
    """Not the mean of two frames, which would open closed lips."""
    info = picture_info(Path("clip.mkv"), 64, 64, Fraction(25), 110)
    moved, twice = (
        dialogue_motion(counting(), info, PerformanceAdjustments(offset_ms=20)),
        predict_motion(counting(), Fraction(50), 220),
    )
    np.testing.assert_allclose(table(moved)[1:], table(twice)[1:-1:2], atol=1e-3)
    as_predicted = table(dialogue_motion(counting(), info))
    assert np.abs(table(moved)[1:] - (as_predicted[1:] + as_predicted[:-1]) / 2).max() > 0.1


# ---- gain --------------------------------------------------------------------------------------------------


STYLE = SpeechStyle(
    tuple([0.05] + [0.5] * N_SPEECH), tuple([0.02] + [1.0] * N_SPEECH), 5.0, DEFAULT_FACE_MODEL
)
REST_JAW, REST = 0.004, np.full(N_SPEECH, -0.5)


def spoken(gain: float, motion: SpeechMotion) -> np.ndarray:
    track = scene_track(0.1 + 0.08 * np.sin(np.arange(len(motion))))
    done = blend_performance(track, motion, STYLE, REST_JAW, REST, gain)
    assert (done.expression[:, N_SPEECH:] == track.expression[:, N_SPEECH:]).all() and (done.draw == 1).all()
    return np.column_stack([done.jaw, done.expression[:, :N_SPEECH]])


def test_gain_scales_the_way_from_rest() -> None:
    motion, rest = random_motion(np.ones(40)), np.concatenate([[REST_JAW], REST])
    once = spoken(1.0, motion)
    assert spoken(0.0, motion) == pytest.approx(np.tile(rest, (40, 1)))
    assert spoken(1.5, motion) - rest == pytest.approx(1.5 * (once - rest))


def test_a_mouth_that_closes_stays_closed() -> None:
    rest_z = np.concatenate([[(REST_JAW - 0.05) / 0.02], REST - 0.5])
    motion = random_motion(np.ones(40))
    motion.jaw[10], motion.expression[10] = rest_z[0], rest_z[1:]
    assert spoken(3.0, motion)[10] == pytest.approx(np.concatenate([[REST_JAW], REST]))


# ---- ranges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gain": -0.1}, "--mouth-gain -0.1 was asked for; expected 0 to 3"),
        ({"gain": 3.1}, "--mouth-gain"),
        ({"gain": float("nan")}, "--mouth-gain nan"),
        ({"smooth_ms": -1.0}, "--smooth -1"),
        ({"smooth_ms": 501.0}, "--smooth 501 was asked for; expected 0 to 500"),
        ({"offset_ms": 1001.0}, "--offset-ms 1001 was asked for; expected -1000 to 1000"),
        ({"offset_ms": float("-inf")}, "--offset-ms -inf"),
    ],
)
def test_ranges(values: dict[str, float], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        PerformanceAdjustments(**values)


def test_the_report_says_what_was_adjusted() -> None:
    assert AS_PREDICTED.describe() == "as predicted"
    assert (
        PerformanceAdjustments(1.2, 40, -30).describe()
        == "gain 1.2, smoothed over 40 ms, 30 ms earlier than predicted"
    )


# ---- repeated frames ---------------------------------------------------------------------------------------


def test_frames_after_a_repeated_one_have_the_mouth_of_their_own_time() -> None:
    """Frame 3 stays on screen for three periods, so that frame 4 comes where frame 6 would."""
    even = picture_info(Path("x.mkv"), 64, 64, Fraction(25), 30)
    repeated = replace(even, frame_count=28, repeated=((3, 2),))
    a, b = dialogue_motion(counting(), even), dialogue_motion(counting(), repeated)
    rows = [0, 1, 2, 3, *range(6, 30)]
    for name in ("jaw", "expression", "speech_activity", "closure"):
        assert np.array_equal(getattr(b, name), getattr(a, name)[rows]), name
    assert not np.array_equal(b.jaw, a.jaw[:28])
