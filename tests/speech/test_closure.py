"""Lips that close: no gap, the smallest change, none at all where no closure is asked for."""

import numpy as np
import pytest

from visualdub.face.models import DEFAULT_FACE_MODEL, face_model, posed_openings
from visualdub.speech.closure import close_lips, lip_offsets, offset_slopes, part_lips

MODEL = face_model(DEFAULT_FACE_MODEL)
M = 1 + MODEL.n_speech
SCALE = np.array([0.03] + [0.6] * MODEL.n_speech)


def spoken(n: int = 40) -> np.ndarray:
    values = np.random.default_rng(0).normal(0, 0.4, (n, M)) * SCALE
    values[:, 0] = 0.08  # the jaw holds the mouth open
    return values


def test_the_offset_is_the_opening_where_the_lips_lie_straight_below_one_another() -> None:
    values = np.zeros((1, M))
    values[0, 0] = 0.1
    expression = np.zeros((1, MODEL.n_expression))
    opening = float(posed_openings(MODEL, MODEL.template, values[:, 0], expression)[0])
    down, back = lip_offsets(MODEL, MODEL.template, values)[0].mean(0)
    assert np.hypot(down, back) == pytest.approx(opening, rel=0.01)


def test_touching_lips_have_no_gap_and_others_stay() -> None:
    values, closure = spoken(), np.zeros(40)
    closure[10:15], closure[20] = 1, 0.5
    closed = close_lips(MODEL, MODEL.template, values, closure, SCALE)
    before, after = (lip_offsets(MODEL, MODEL.template, v)[..., 0].mean(1) for v in (values, closed))
    assert before[10:15].min() > 0.05 and np.abs(after[10:15]).max() < 0.004
    assert after[20] == pytest.approx(before[20] / 2, abs=0.004)
    assert (closed[closure == 0] == values[closure == 0]).all()


def test_the_change_is_smaller_than_closing_the_jaw_and_everything_else_to_rest() -> None:
    values = spoken()
    closed = close_lips(MODEL, MODEL.template, values, np.ones(40), SCALE)
    change, to_rest = (np.linalg.norm(v / SCALE, axis=1) for v in (closed - values, values))
    assert (change < to_rest).all()


def test_a_jaw_that_opens_has_a_slope_that_opens() -> None:
    slopes = offset_slopes(MODEL, MODEL.template, np.zeros(M), SCALE)
    assert slopes.shape == (M, 3, 2) and (slopes[0, :, 0] > 0).all()


def test_nothing_to_touch_is_nothing_to_do() -> None:
    values = spoken()
    assert close_lips(MODEL, MODEL.template, values, np.zeros(40), SCALE) is values


def test_lips_part_where_they_are_tighter_than_asked_for() -> None:
    """Frames that are open already, and those that nobody asked for, keep every bit."""
    values, parted = spoken(), np.zeros(40)
    values[5:15] = close_lips(MODEL, MODEL.template, values[5:15], np.ones(10), SCALE)
    parted[:10] = 1
    done = part_lips(MODEL, MODEL.template, values, parted, 0.03, SCALE)
    before, after = (lip_offsets(MODEL, MODEL.template, v)[..., 0].mean(1) for v in (values, done))
    assert before[5:15].max() < 0.005 and before[:5].min() > 0.03
    assert after[5:10] == pytest.approx(np.full(5, 0.032), abs=0.004)
    assert (done[:5] == values[:5]).all() and (done[10:] == values[10:]).all()
