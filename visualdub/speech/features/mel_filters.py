"""Triangular mel filters, the one definition behind all mel spectrograms of the project."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def mel_of_hertz(hertz: NDArray[np.floating[Any]] | float) -> Values:
    """Hertz to mel (O'Shaughnessy)."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz, np.float64) / 700.0))


def hertz_of_mel(mel: NDArray[np.floating[Any]] | float) -> Values:
    """Mel to hertz, the inverse of `mel_of_hertz`."""
    return np.asarray(700.0 * (10.0 ** (np.asarray(mel, np.float64) / 2595.0) - 1.0))


def mel_edges(low_hz: float, high_hz: float, bands: int) -> Values:
    """(bands + 2,) edges in mel, evenly spaced from `low_hz` to `high_hz`: band k rises from edge k to its
    peak at edge k + 1 and falls to edge k + 2.
    """
    return np.linspace(mel_of_hertz(low_hz), mel_of_hertz(high_hz), bands + 2)


def bin_hertz(rate: int, fft: int) -> Values:
    """(fft / 2 + 1,) frequency in hertz of each bin of a real transform of `fft` samples at `rate` per
    second.
    """
    return np.arange(fft // 2 + 1) * (rate / fft)


def triangles(bins: Values, edges: Values) -> Values:
    """(bins, bands) weights of triangular filters, 1 at the peak, 0 outside.

    bins (bins,) and edges (bands + 2,) are in the same unit, in which the flanks are straight: hertz or mel.
    """
    at = bins[:, None]
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


SLANEY_HZ, SLANEY_MEL = 1000.0, 15.0  # up to here the scale is linear, above it logarithmic
SLANEY_STEP = np.log(6.4) / 27  # nepers of frequency in one mel above SLANEY_HZ


def slaney_edges(low_hz: float, high_hz: float, bands: int) -> Values:
    """(bands + 2,) edges in hertz, evenly spaced in Slaney's mel ("Auditory Toolbox", 1998), which Whisper
    takes: 200 / 3 Hz for each mel up to 1 kHz, logarithmic above.
    """

    def mel(hertz: float) -> float:
        linear = hertz * SLANEY_MEL / SLANEY_HZ
        return linear if hertz < SLANEY_HZ else SLANEY_MEL + float(np.log(hertz / SLANEY_HZ)) / SLANEY_STEP

    mels = np.linspace(mel(low_hz), mel(high_hz), bands + 2)
    above = SLANEY_HZ * np.exp((np.maximum(mels, SLANEY_MEL) - SLANEY_MEL) * SLANEY_STEP)
    return np.where(mels < SLANEY_MEL, mels * SLANEY_HZ / SLANEY_MEL, above)
