"""Mel-spectrograms for the audio code: 80 bands x 16 columns around each frame, 16 kHz (DESIGN.md 2.3)."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

RATE = 16000  # samples per second
HOP, FFT = 200, 800  # samples: 80 columns a second
BANDS, COLUMNS = 80, 16
FLOOR = 1e-5  # amplitude below which everything is silence


def filterbank() -> NDArray[np.float32]:
    """(BANDS, FFT/2 + 1) triangular filters from 55 to 7600 Hz, evenly spaced in mel, each of unit sum."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (55.0, 7600.0))
    mel = np.linspace(low, high, BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.linspace(0, RATE / 2, FFT // 2 + 1)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    bank = np.maximum(0, np.minimum(rise, fall))
    return np.asarray(bank / np.maximum(bank.sum(1, keepdims=True), 1e-9), np.float32)


def frame_mels(audio: NDArray[np.float32], rate: Fraction, start: int, count: int) -> NDArray[np.float32]:
    """Log-mel around the middle of each frame.

    audio: (n,) mono 16 kHz in -1..1, aligned to the clip's first frame. Frames `start` .. `start + count - 1`
    at `rate`. Returns (count, 80, 16), 0 = silence, about 1 = full scale; past the ends of the audio there is
    silence.
    """
    bank, window = filterbank(), np.hanning(FFT).astype(np.float32)
    centres = [round(float((start + i + Fraction(1, 2)) / rate) * RATE) for i in range(count)]
    half = ((COLUMNS - 1) * HOP + FFT) // 2
    padded = np.pad(audio, (half, half + FFT))
    out = np.zeros((count, BANDS, COLUMNS), np.float32)
    for i, centre in enumerate(centres):
        if centre >= len(audio):
            continue
        columns = np.stack([padded[centre + k * HOP : centre + k * HOP + FFT] for k in range(COLUMNS)])
        magnitude = np.abs(np.fft.rfft(columns * window)).astype(np.float32) * (2 / window.sum())
        out[i] = 1 + np.log10(np.maximum(bank @ magnitude.T, FLOOR)) / -math.log10(FLOOR)
    return out
