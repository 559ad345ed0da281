"""Nothing is carried over a cut: neither by the fit nor by the crop, the performance or the renderer."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from test_fit import MODEL, N, acted, as_track

from visualdub.face.crop import stable_crop
from visualdub.face.fit import fit_shot, held_rows, shown_parts, smooth_parts, whittaker
from visualdub.face.track import Performance, Track
from visualdub.speech.activity import mouth_activity
from visualdub.speech.performance import blend_performance
from visualdub.speech.predict import SpeechMotion
from visualdub.speech.style import SpeechStyle
from visualdub.timing import FrameRange

CUT, NEARER = 30, 1.6


def punched_in() -> NDArray[np.float32]:
    """A face that from frame CUT on is seen NEARER times as large."""
    points = acted()[0].copy()
    points[CUT:, :468] = (points[CUT:, :468] - 256) * np.float32(NEARER) + 256
    return points


def cut_track() -> Track:
    points = punched_in()
    fit = fit_shot(MODEL, points, (CUT,))
    shown = replace(as_track(acted()[0]), landmarks=points, cuts=(CUT,))
    return replace(
        shown,
        scale=fit.pose.scale,
        rotation=fit.pose.rotation,
        translation=fit.pose.translation[:, :2],
        identity=fit.identity,
        jaw=fit.jaw,
        expression=fit.expression,
    )


# ---- smoothing ---------------------------------------------------------------------------------------------


def test_parts_are_smoothed_by_themselves_and_held_at_their_ends() -> None:
    values = np.concatenate([np.zeros(10), np.full(10, 100.0)])[:, None]
    weights = np.ones(20)
    weights[[10, 11, 18, 19]] = 0
    values[[10, 11, 18, 19]] = -7
    parts = (slice(0, 10), slice(10, 20))
    assert shown_parts(weights, parts) == [slice(0, 10), slice(12, 18)]
    smooth = smooth_parts(values, weights, 8.0, parts)
    assert smooth[:10] == pytest.approx(0, abs=1e-9) and smooth[10:] == pytest.approx(100)
    assert smooth_parts(values, weights, 8.0, (slice(0, 20),)) == pytest.approx(
        whittaker(values, weights, 8.0)
    )


def test_a_shot_without_a_face_repeats_the_nearest_one() -> None:
    parts = (slice(0, 4), slice(4, 7), slice(7, 9))
    assert held_rows(parts, [slice(1, 3), slice(5, 6)]).tolist() == [1, 1, 2, 2, 5, 5, 5, 5, 5]
    assert held_rows(parts, [slice(1, 3), slice(8, 9)]).tolist() == [1, 1, 2, 2, 2, 8, 8, 8, 8]


def test_the_fit_does_not_swell_beside_a_punch_in() -> None:
    pose, fit = acted()[2], fit_shot(MODEL, punched_in(), (CUT,))
    expected = pose.scale * np.where(np.arange(N) < CUT, 1, NEARER)
    ratio = fit.pose.scale / expected
    assert np.ptp(ratio) < 0.01  # 0.004 measured; 0.3 without the cut
    assert np.ptp(fit_shot(MODEL, punched_in()).pose.scale / expected) > 0.1


def test_one_shot_is_fitted_as_ever() -> None:
    points = acted()[0]
    a, b = fit_shot(MODEL, points), fit_shot(MODEL, points, ())
    assert np.array_equal(a.pose.scale, b.pose.scale) and np.array_equal(a.expression, b.expression)


def test_the_crop_changes_at_once() -> None:
    track = cut_track()
    scale = stable_crop(track).scale
    assert scale[CUT - 1] / scale[CUT] == pytest.approx(NEARER, rel=0.05)
    assert scale[CUT - 2] / scale[CUT - 1] == pytest.approx(1, abs=0.01)


# ---- tracks ------------------------------------------------------------------------------------------------


def test_shots_parts_and_spans_of_a_track() -> None:
    track = replace(cut_track(), start=100, cuts=(110, 130))
    assert [str(s) for s in track.shots] == ["100:110", "110:130", "130:160"]
    assert track.parts == (slice(0, 10), slice(10, 30), slice(30, 60))
    assert track.span(FrameRange(110, 131)).cuts == (130,)
    assert track.span(FrameRange(130, 150)).cuts == ()


# ---- performance -------------------------------------------------------------------------------------------


def motion(activity: NDArray[np.float64]) -> SpeechMotion:
    n = len(activity)
    return SpeechMotion(np.zeros(n), np.zeros((n, MODEL.n_speech)), activity, np.zeros(n))


def test_a_mouth_does_not_fade_towards_frames_behind_a_cut() -> None:
    """The second shot has no usable face; without a cut the first one fades out before it."""
    track = cut_track()
    track = replace(track, confidence=np.where(np.arange(N) < CUT, 1, 0).astype(np.float32))
    style = SpeechStyle((0.05, *[0.0] * MODEL.n_speech), (0.04, *[0.5] * MODEL.n_speech), 0.0, MODEL.name)

    def drawn(shown: Track) -> list[float]:
        rest = np.zeros(MODEL.n_expression)
        return blend_performance(shown, motion(np.ones(N)), style, 0.0, rest).draw.tolist()

    assert drawn(track) == [1.0] * CUT + [0.0] * (N - CUT)
    faded = drawn(replace(track, cuts=()))
    assert faded[: CUT - 4] == [1.0] * (CUT - 4) and faded[CUT - 1] == pytest.approx(0.25)


def test_a_mouth_that_is_open_before_a_cut_is_not_active_after_it() -> None:
    points = acted()[0].copy()
    points[:] = points[0]
    points[:CUT, 14, 1] += 30  # wide open
    track = replace(as_track(points), cuts=(CUT,))
    assert mouth_activity(track).tolist() == [True] * CUT + [False] * (N - CUT)
    assert mouth_activity(replace(track, cuts=()))[CUT]
    assert len(Performance.of_track(track)) == N and track.rate == Fraction(25)
