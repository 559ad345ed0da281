"""The common wishes for a predicted mouth: more or less of it, smoother, earlier or later than the sound."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter1d, label

from visualdub.errors import BadInput
from visualdub.speech.predict import SpeechMotion

MOST_GAIN = 3.0
MOST_SMOOTH_MS = 500.0
MOST_OFFSET_MS = 1000.0


@dataclass(frozen=True)
class Shaping:
    """What is done to the prediction before it is merged with the track. Raises `BadInput` outside the ranges."""

    gain: float = 1.0  # 0..MOST_GAIN, of the way from the rest pose to the predicted mouth
    smooth_ms: float = 0.0  # 0..MOST_SMOOTH_MS, standard deviation of a Gaussian over time
    offset_ms: float = 0.0  # -MOST_OFFSET_MS..MOST_OFFSET_MS, positive = the mouth comes later

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--mouth-gain", self.gain, 0.0, MOST_GAIN),
            ("--smooth", self.smooth_ms, 0.0, MOST_SMOOTH_MS),
            ("--offset-ms", self.offset_ms, -MOST_OFFSET_MS, MOST_OFFSET_MS),
        ):
            if not low <= value <= high:  # also not a number
                raise BadInput(f"{name} {value:g} was asked for; expected {low:g} to {high:g}")

    def describe(self) -> str:
        """What is changed, for the report."""
        parts = []
        if self.gain != 1:
            parts.append(f"gain {self.gain:g}")
        if self.smooth_ms:
            parts.append(f"smoothed over {self.smooth_ms:g} ms")
        if self.offset_ms:
            parts.append(f"{abs(self.offset_ms):g} ms {'later' if self.offset_ms > 0 else 'earlier'} than predicted")
        return ", ".join(parts) or "as predicted"


AS_PREDICTED = Shaping()


def smooth_motion(motion: SpeechMotion, deviation: float) -> SpeechMotion:
    """`motion` low-passed by a Gaussian of standard deviation `deviation` in frames, within each stretch of speech by itself.

    A stretch keeps its mean, no other is felt in it, and the voice and with it the edges of silence stay as they are.
    """
    if deviation == 0:
        return motion
    values = np.column_stack([motion.jaw, motion.expression])
    stretches, _ = label(motion.voice > 0)
    for (stretch,) in find_objects(stretches):
        values[stretch] = gaussian_filter1d(values[stretch], deviation, axis=0, mode="reflect")
    return replace(motion, jaw=values[:, 0], expression=values[:, 1:])


def motion_at(motion: SpeechMotion, positions: NDArray[np.float64]) -> SpeechMotion:
    """`motion` of n frames at fractional frames `positions` (m,), linearly between them; silence outside 0..n-1."""
    frames = np.arange(len(motion))

    def at(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(positions, frames, values)

    voice = np.interp(positions, frames, motion.voice, left=0.0, right=0.0)
    expression = np.stack([at(column) for column in motion.expression.T], 1)
    contact = np.interp(positions, frames, motion.contact, left=0.0, right=0.0)
    return replace(motion, jaw=at(motion.jaw), expression=expression, voice=voice, contact=contact)
