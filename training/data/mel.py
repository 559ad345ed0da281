"""Mel spectrograms for the audio code: 80 bands x 16 columns around each frame, at 16 kHz (DESIGN.md 2.3)."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

from visualdub.speech.features.mel_filters import bin_hertz, hertz_of_mel, mel_edges, triangles

RATE = 16000  # samples per second
HOP, FFT = 200, 800  # samples: 80 columns a second
BANDS, COLUMNS = 80, 16
LOW_HZ, HIGH_HZ = 55.0, 7600.0
FLOOR = 1e-5  # amplitude below which everything counts as silence


@cache
def audio_code_filters() -> NDArray[np.float32]:
    """(BANDS, FFT / 2 + 1) triangular filters, evenly spaced in mel, with straight flanks in hertz, each of
    unit sum.
    """
    filters = triangles(bin_hertz(RATE, FFT), hertz_of_mel(mel_edges(LOW_HZ, HIGH_HZ, BANDS)))
    rows = np.ascontiguousarray(filters.T)
    return np.asarray(rows / np.maximum(rows.sum(1, keepdims=True), 1e-9), np.float32)


def frame_mels(audio: NDArray[np.float32], rate: Fraction, start: int, count: int) -> NDArray[np.float32]:
    """Log-mel spectrogram around the middle of each frame.

    audio: (n,) mono, 16 kHz, -1..1, whose first sample belongs to the clip's first frame. The frames are
    `start` .. `start + count - 1` at `rate` frames per second. Returns (count, 80, 16), where 0 is silence
    and about 1 is full scale; past the ends of the audio there is silence.
    """
    filters, window = audio_code_filters(), np.hanning(FFT).astype(np.float32)
    centres = [round(float((start + i + Fraction(1, 2)) / rate) * RATE) for i in range(count)]
    half = ((COLUMNS - 1) * HOP + FFT) // 2
    padded = np.pad(audio, (half, half + FFT))
    mels = np.zeros((count, BANDS, COLUMNS), np.float32)
    for i, centre in enumerate(centres):
        if centre >= len(audio):
            continue
        columns = np.stack([padded[centre + k * HOP : centre + k * HOP + FFT] for k in range(COLUMNS)])
        magnitude = np.abs(np.fft.rfft(columns * window)).astype(np.float32) * (2 / window.sum())
        mels[i] = 1 + np.log10(np.maximum(filters @ magnitude.T, FLOOR)) / -math.log10(FLOOR)
    return mels
