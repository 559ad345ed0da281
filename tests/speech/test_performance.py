"""The performance of a dub on synthetic tracks at 25 frames/s: ease 5 frames, fade 3, hold 10."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from speech_scene import scene_track

from visualdub.arrays import smoothstep
from visualdub.errors import BadInput, InternalError
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.face.track import Performance, Track
from visualdub.speech.activity import mouth_activity, tracked_opening
from visualdub.speech.closure import lip_offsets
from visualdub.speech.performance import blend_performance, frames_to, passing_frames
from visualdub.speech.predict import SpeechMotion
from visualdub.speech.style import SpeechStyle

N_SPEECH = face_model(DEFAULT_FACE_MODEL).n_speech
STYLE = SpeechStyle(
    tuple([0.05] + [0.5] * N_SPEECH), tuple([0.02] + [1.0] * N_SPEECH), 5.0, DEFAULT_FACE_MODEL
)
REST_JAW, REST = 0.004, np.full(N_SPEECH, -0.5)


def motion_of(speech: np.ndarray) -> SpeechMotion:
    n = len(speech)
    return SpeechMotion(np.full(n, 2.0), np.full((n, N_SPEECH), -1.0), speech.astype(float), np.zeros(n))


def dub(track: Track, speech: np.ndarray) -> Performance:
    return blend_performance(track, motion_of(speech), STYLE, REST_JAW, REST)


def gap_of(performance: Performance, track: Track) -> np.ndarray:
    values = np.column_stack([performance.jaw, performance.expression[:, :N_SPEECH]])
    return lip_offsets(face_model(DEFAULT_FACE_MODEL), track.identity, values)[..., 0].mean(1)


def still(n: int) -> np.ndarray:
    return np.full(n, 0.01)


def talking(n: int) -> np.ndarray:
    return 0.1 + 0.08 * np.sin(np.arange(n))


def test_speech_replaces_speech_parameters_only() -> None:
    track = scene_track(talking(60))
    done = dub(track, np.ones(60))
    assert done.jaw == pytest.approx(np.full(60, 0.05 + 0.02 * 2.0))
    assert done.expression[:, :N_SPEECH] == pytest.approx(np.full((60, N_SPEECH), 0.5 - 1.0))
    assert (done.expression[:, N_SPEECH:] == track.expression[:, N_SPEECH:]).all()
    assert (done.draw == 1).all()


def test_lips_touch_where_the_motion_says_so_and_only_there() -> None:
    track, closure = scene_track(talking(60)), np.zeros(60)
    closure[20:24] = 1
    motions = [replace(motion_of(np.ones(60)), closure=c) for c in (0 * closure, closure)]
    apart, together = (blend_performance(track, motion, STYLE, REST_JAW, REST) for motion in motions)
    gap = gap_of(together, track)
    assert np.abs(gap[20:24]).max() < 0.002 < gap[0] / 10
    elsewhere = closure == 0
    assert (together.jaw[elsewhere] == apart.jaw[elsewhere]).all()
    louder = blend_performance(
        track, replace(motion_of(np.ones(60)), closure=closure), STYLE, REST_JAW, REST, gain=1.5
    )
    assert np.abs(gap_of(louder, track)[20:24]).max() < 0.003 < gap[0] / 10


def test_silence_over_a_moving_mouth_closes_it_to_rest() -> None:
    done = dub(scene_track(talking(60)), np.zeros(60))
    assert done.jaw == pytest.approx(np.full(60, REST_JAW))
    assert done.expression[:, :N_SPEECH] == pytest.approx(np.full((60, N_SPEECH), -0.5))
    assert (done.draw == 1).all()


def test_both_silent_passes_through() -> None:
    track = scene_track(still(60))
    done = dub(track, np.zeros(60))
    assert (done.draw == 0).all()
    assert (done.jaw == track.jaw).all() and (done.expression == track.expression).all()


def test_pixels_fade_only_where_parameters_are_the_tracked_ones() -> None:
    track = scene_track(still(120))
    speech = np.zeros(120)
    speech[50:70] = 1.0
    done = dub(track, speech)
    between = (done.draw > 0) & (done.draw < 1)
    assert between.sum() == 6 and (done.jaw[between] == track.jaw[between]).all()
    assert (done.draw[42:78] > 0).all() and (done.draw[:42] == 0).all() and (done.draw[78:] == 0).all()
    assert done.draw[42:46] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    # five frames of ease before the first spoken one: the parameters leave the tracked ones and reach the
    # rest pose
    weight = smoothstep(np.arange(1, 6) / 6)
    assert done.jaw[45:50] == pytest.approx(weight * REST_JAW + (1 - weight) * track.jaw[45:50])
    assert done.jaw[50] == pytest.approx(0.09)


def test_a_short_silence_is_drawn_at_rest() -> None:
    speech = np.ones(100)
    speech[40:60] = 0.0  # shorter than two eases, two fades and the hold
    done = dub(scene_track(still(100)), speech)
    assert (done.draw == 1).all()
    assert done.jaw[40:60] == pytest.approx(np.full(20, REST_JAW))


def test_frames_without_a_face_pass_through_and_are_eased_into() -> None:
    usable = np.ones(80, bool)
    usable[40:45] = False
    track = scene_track(talking(80), usable=usable)
    done = dub(track, np.ones(80))
    assert (done.draw[40:45] == 0).all() and (np.delete(done.draw, np.arange(40, 45)) > 0).all()
    assert (done.jaw[37:40] == track.jaw[37:40]).all()
    assert done.jaw[[31, 53]] == pytest.approx([0.09, 0.09])
    assert np.isfinite(done.jaw).all()


def test_a_face_nowhere_passes_through() -> None:
    done = dub(scene_track(talking(30), usable=np.zeros(30, bool)), np.ones(30))
    assert (done.draw == 0).all()


def test_one_frame() -> None:
    assert len(dub(scene_track(still(1)), np.ones(1))) == 1


def test_lengths_must_agree() -> None:
    with pytest.raises(InternalError, match="7 frames; expected the track's 9"):
        dub(scene_track(still(9)), np.ones(7))


def test_rest_must_have_the_mouth_s_parameters() -> None:
    with pytest.raises(BadInput, match="mouth parameters"):
        blend_performance(scene_track(still(9)), motion_of(np.ones(9)), STYLE, 0.0, np.zeros(3))


@pytest.mark.parametrize(
    ("busy", "passes"),
    [
        ("0000001100000000", "1111000000111111"),  # margin 2 around, the rest passes
        ("1100000000001111", "0000000000000000"),  # a gap of 10 is no longer than 2 * 2 + 6: bridged
        ("1100000000000000", "0000111111111111"),
        ("0000100000000000", "1111111111111111"),  # one frame alone is noise
    ],
)
def test_passing_frames(busy: str, passes: str) -> None:
    passing = passing_frames(np.array([c == "1" for c in busy]), np.ones(16, bool), 2, 6)
    assert "".join("01"[int(p)] for p in passing) == passes


def test_a_longer_gap_passes() -> None:
    passing = passing_frames(np.array([c == "1" for c in "11" + "0" * 11 + "11"]), np.ones(15, bool), 2, 6)
    assert np.flatnonzero(passing).tolist() == [4, 5, 6, 7, 8, 9, 10]


def test_frames_to() -> None:
    assert frames_to(np.array([False, False, True, False])).tolist() == [2, 1, 0, 1]
    assert np.isinf(frames_to(np.zeros(3, bool))).all()


def test_mouth_activity_is_found_at_any_rate() -> None:
    for rate in (Fraction(25), Fraction(60000, 1001)):
        opening = np.full(200, 0.02)
        opening[100:110] = 0.1
        moving = mouth_activity(scene_track(opening, rate))
        assert moving[100:110].all() and not moving[:80].any() and not moving[130:].any()


def test_a_mouth_held_open_is_active() -> None:
    assert mouth_activity(scene_track(np.full(50, 0.3))).all()


def test_opening_bridges_lost_frames() -> None:
    usable = np.array([True, False, False, True])
    track = scene_track(np.array([0.1, 9.0, 9.0, 0.4]), usable=usable)
    assert tracked_opening(track) == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-6)
