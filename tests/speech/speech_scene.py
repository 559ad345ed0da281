"""Inputs that the speech tests make: tracks of a mouth with a given opening, and recordings."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import visualdub.demo
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.face.track import Track
from visualdub.media.audio import read_audio

RECORDINGS = Path(visualdub.demo.__file__).parent / "data"


def counting(language: str = "en") -> NDArray[np.float32]:
    """Five seconds of a synthesised voice that counts to five."""
    return read_audio(RECORDINGS / f"counting_{language}.wav")


def write_wav(path: Path, channels: NDArray[np.float32], rate: int) -> Path:
    """A 16-bit WAV of `channels` (n,) or (n, C)."""
    samples = (np.clip(channels, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes(samples.tobytes())
    return path


def scene_track(
    opening: NDArray[np.floating], rate: Fraction = Fraction(25), usable: NDArray[np.bool_] | None = None
) -> Track:
    """A track whose inner lips are `opening` (n,) eye distances apart, jaw a third of that in radians,
    expression 0.25.
    """
    n, model = len(opening), face_model(DEFAULT_FACE_MODEL)
    landmarks = np.zeros((n, 478, 3), np.float32)
    landmarks[:, 33, 0], landmarks[:, 263, 0] = 0.0, 100.0
    for upper, lower in ((13, 14), (82, 87), (312, 317)):
        landmarks[:, upper, 1], landmarks[:, lower, 1] = 200.0, 200.0 + 100.0 * np.asarray(opening)
    confidence = np.ones(n, np.float32) if usable is None else usable.astype(np.float32)
    landmarks[confidence == 0] = np.nan
    rotation, translation, expression = (
        np.tile(np.eye(3), (n, 1, 1)),
        np.zeros((n, 2)),
        np.full((n, model.n_expression), 0.25),
    )
    return Track(
        "scene.mp4",
        "0" * 64,
        (640, 480),
        rate,
        0,
        landmarks,
        confidence,
        np.full(n, 100.0),
        rotation,
        translation,
        model.template,
        np.asarray(opening, float) / 3,
        expression,
        model.name,
    )
