"""Speech activity: gaps, bursts and edges, worked by hand at 50 steps per second."""

import numpy as np
import pytest

from visualdub.speech.activity import drop_bursts, fill_gaps, speech_activity_envelope


def bits(text: str) -> np.ndarray:
    return np.array([c == "1" for c in text])


@pytest.mark.parametrize(
    ("before", "longest", "after"),
    [
        ("0110011000", 2, "0111111000"),
        ("0110001100", 2, "0110001100"),
        ("0000110000", 3, "0000110000"),
        ("1000000001", 8, "1111111111"),
        ("0110", 0, "0110"),
        ("0000", 5, "0000"),
    ],
)
def test_fill_gaps(before: str, longest: int, after: str) -> None:
    assert (fill_gaps(bits(before), longest) == bits(after)).all()


@pytest.mark.parametrize(
    ("before", "shortest", "after"),
    [("0100110111", 2, "0000110111"), ("0100110111", 3, "0000000111"), ("", 3, ""), ("010", 1, "010")],
)
def test_drop_bursts(before: str, shortest: int, after: str) -> None:
    assert (drop_bursts(bits(before), shortest) == bits(after)).all()


def test_speech_is_whole_and_silence_is_nothing() -> None:
    """Twenty steps of lengthening, then a window of 41: forty steps, 0.8 s, from rest to speech."""
    scores = np.zeros(300)
    scores[120:160] = 0.9
    activity = speech_activity_envelope(scores)
    assert activity[120:160] == pytest.approx(np.ones(40))
    assert (activity[:80] == 0).all() and (activity[200:] == 0).all()
    assert (np.diff(activity[79:121]) > 0).all()


def test_a_click_opens_nothing_and_a_stop_closes_nothing() -> None:
    scores = np.zeros(300)
    scores[50:52] = 1.0
    scores[160:190] = scores[214:230] = 1.0
    activity = speech_activity_envelope(scores)
    assert (activity[:120] == 0).all()
    assert activity[160:230].min() == pytest.approx(1.0)


def test_no_steps() -> None:
    assert len(speech_activity_envelope(np.zeros(0))) == 0
