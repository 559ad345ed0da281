"""Log-mel features of speech, computed in blocks that do not depend on how the recording is cut."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from visualdub.errors import BadInput

NAME = "mel64-1"  # name and version of these features; a model trained on others is refused
RATE = 16000  # samples per second
HOP = 160  # samples: 100 features per second
WINDOW = 400  # samples, 25 ms
FFT = 512
BANDS = 64
LOW_HZ, HIGH_HZ = 60.0, 7600.0
POWER_FLOOR = 1e-10  # of one band, about -100 dBFS
DEPTH = 7.0  # nepers of power kept below the loud frames' mean; what is fainter counts as this faint
LOUD = 3.0  # nepers of power: frames this close to the loudest ones make the mean
SAMPLED_SECONDS = 60  # at most this much of a recording is looked at for its level
SILENT_DB = -65.0  # a recording whose loud frames lie below this holds no speech


def mel_of_hertz(hertz: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Hertz to mel (O'Shaughnessy)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz, np.float64) / 700.0)


@cache
def filterbank() -> NDArray[np.float32]:
    """(FFT/2 + 1, BANDS) triangular filters, equally wide in mel, each with unit sum."""
    edges = np.linspace(mel_of_hertz(LOW_HZ), mel_of_hertz(HIGH_HZ), BANDS + 2)
    bins = mel_of_hertz(np.arange(FFT // 2 + 1) * (RATE / FFT))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    centre = np.abs(bins - edges[1:-1]).argmin(0)  # a low band narrower than a bin takes the nearest bin
    empty = weights.sum(0) == 0
    weights[centre[empty], np.flatnonzero(empty)] = 1.0
    return (weights / weights.sum(0)).astype(np.float32)


def feature_count(samples: int) -> int:
    """Features of a recording of `samples` samples: one every HOP, the first centred on sample 0."""
    return -(-samples // HOP)


def log_mel(audio: NDArray[np.float32], first: int, count: int) -> NDArray[np.float32]:
    """Natural log of mel power for features `first` .. `first + count - 1`; feature k is centred on sample k * HOP.

    audio: (n,) in -1..1 at RATE. Outside the recording there is silence, so any `first` is allowed. Returns (count, BANDS).
    """
    start, length = first * HOP - WINDOW // 2, (count - 1) * HOP + WINDOW
    piece = np.zeros(length, np.float32)
    a, b = max(start, 0), min(start + length, len(audio))
    if b > a:
        piece[a - start:b - start] = audio[a:b]
    frames = np.lib.stride_tricks.sliding_window_view(piece, WINDOW)[::HOP] * np.hanning(WINDOW).astype(np.float32)
    power = np.abs(rfft(frames, FFT, axis=1)).astype(np.float32) ** 2 * (4.0 / WINDOW**2)
    return np.log(np.maximum(power @ filterbank(), POWER_FLOOR))


def recording_level(audio: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """(BANDS,) mean log-mel of the loud frames, which removes gain and microphone; None where nothing is loud enough.

    Looks at `SAMPLED_SECONDS` at most, in seconds spread evenly over the recording, so that memory stays bounded.
    """
    seconds = max(1, feature_count(len(audio)) // 100)
    starts = np.unique(np.linspace(0, seconds - 1, min(seconds, SAMPLED_SECONDS)).astype(int))
    mel = np.concatenate([log_mel(audio, int(s) * 100, 100) for s in starts])
    loudness = np.log(np.exp(mel).sum(1))
    top = np.percentile(loudness, 98)
    if top * 10 / np.log(10) < SILENT_DB:
        return None
    return mel[loudness >= top - LOUD].mean(0)


def normalise(mel: NDArray[np.float32], level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel relative to the recording's own level, floored at -DEPTH, scaled to about -1..1. (n, BANDS) -> the same."""
    return (np.maximum(mel - level, -DEPTH) / DEPTH).astype(np.float32)


def check_audio(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """The recording as float32; raises `BadInput` unless it is one row of finite numbers."""
    found = np.asarray(audio, np.float32)
    if found.ndim != 1:
        raise BadInput(f"dialogue has the shape {found.shape}; expected one channel of samples at {RATE} Hz")
    if not np.isfinite(found).all():
        raise BadInput("dialogue holds samples that are not numbers; expected -1..1")
    return found
