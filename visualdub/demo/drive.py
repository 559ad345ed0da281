"""What the portrait does while it counts: the speech model's mouth, and a head that is never quite still."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.demo.portrait import Motion
from visualdub.face.models import load_face_model
from visualdub.media.audio import read_audio
from visualdub.speech.predict import model_record, predict_motion

RECORDING_RATE = 16000  # Hz
EMPHASIS = 1.25  # of the speech model's average person, so that a small picture shows what is said
TURN = np.radians([1.4, 2.6, 0.8])  # widest nod, shake and tilt of the head
SHIFT = np.array([2.2, 1.3])  # pixels the head wanders
PERIODS = ((3.1, 1.9), (4.3, 2.3), (3.7, 1.3), (4.7, 2.9), (3.9, 1.7))  # seconds: two waves each for nod, shake, tilt, x, y


def counting_motion(recording: Path, rate: Fraction, frame_count: int) -> Motion:
    """The motion of a portrait that speaks `recording` for `frame_count` frames at `rate` frames per second."""
    model, generic = load_face_model(), model_record()["generic"]
    spoken = predict_motion(read_audio(recording, RECORDING_RATE), rate, frame_count)
    z = np.column_stack([spoken.jaw, spoken.expression])
    mouth = spoken.voice[:, None] * (np.array(generic["lift"]) + EMPHASIS * np.array(generic["gain"]) * z)
    expression = np.zeros((frame_count, model.n_expression))
    expression[:, : mouth.shape[1] - 1] = mouth[:, 1:]
    wander = np.stack([_wander(long, short, rate, frame_count) for long, short in PERIODS], 1)
    return Motion(mouth[:, 0], expression, wander[:, :3] * TURN, wander[:, 3:] * SHIFT)


def _wander(long: float, short: float, rate: Fraction, frame_count: int) -> NDArray[np.float64]:
    """Two sines, at most 1 in all, 0 in the first frame. (frame_count,)."""
    t = np.arange(frame_count) / float(rate)
    return np.asarray(0.7 * np.sin(2 * np.pi * t / long) + 0.3 * np.sin(2 * np.pi * t / short))
