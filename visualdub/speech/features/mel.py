"""Log-mel of a recording relative to its level, and the interface of all kinds of input features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.ndimage import minimum_filter1d

from visualdub.arrays import padded_slice
from visualdub.errors import BadInput
from visualdub.speech.features.mel_filters import bin_hertz, mel_edges, mel_of_hertz, triangles
from visualdub.speech.features.typical import MEL

RATE = 16000  # samples per second
HOP = 320  # samples: 50 features per second
WINDOW = 640  # samples, 40 ms
FFT = 1024
BANDS = 40
LOW_HZ, HIGH_HZ = 60.0, 7600.0
POWER_FLOOR = 1e-10  # of one band, about -100 dBFS
DEPTH = 7.0  # nepers of power below the mean of the loud frames; what is fainter is raised to this
LOUDNESS = -5.5  # nepers of power that the loud frames are brought to, about -24 dBFS
CONTEXT = 8  # features of audio on either side that one feature depends on, rounded up
FAINT = -0.9  # mean over the bands below which a feature is silence
LOUD = 3.0  # nepers of power: frames this close to the loudest ones make the mean
ENOUGH = 50  # loud frames, 1 s of speech; a level of fewer is drawn toward the typical one
TYPICAL_SHARE = 0.6  # of the typical level where there is next to no speech
SAMPLED_SECONDS = 60  # at most this much of a recording is read to measure its level
SUSTAINED_STEPS = 5  # 0.1 s, longer than a click
RARE_DB, STEADY_DB = 15.0, 10.0
SILENT_DB = -65.0  # a recording whose loud frames lie below this holds no speech


@cache
def filterbank() -> NDArray[np.float32]:
    """(FFT/2 + 1, BANDS) triangular filters with straight flanks in mel, each with unit sum."""
    edges, bins = mel_edges(LOW_HZ, HIGH_HZ, BANDS), mel_of_hertz(bin_hertz(RATE, FFT))
    weights = triangles(bins, edges)
    centre = np.abs(bins[:, None] - edges[1:-1]).argmin(0)  # a band narrower than a bin takes the nearest bin
    empty = weights.sum(0) == 0
    weights[centre[empty], np.flatnonzero(empty)] = 1.0
    return np.asarray(weights / weights.sum(0), np.float32)


def feature_count(samples: int) -> int:
    """Features of a recording of `samples` samples: one every HOP, the first centred on sample 0."""
    return -(-samples // HOP)


def log_mel(audio: NDArray[np.float32], first: int, count: int) -> NDArray[np.float32]:
    """(count, BANDS) natural log of mel power for features `first` .. `first + count - 1`.

    Feature k is centred on sample k * HOP. audio: (n,) in -1..1 at RATE. Outside the recording there is
    silence, so any `first` is allowed.
    """
    piece = padded_slice(audio, first * HOP - WINDOW // 2, (count - 1) * HOP + WINDOW)
    frames = np.lib.stride_tricks.sliding_window_view(piece, WINDOW)[::HOP] * np.hanning(WINDOW).astype(
        np.float32
    )
    power = np.abs(rfft(frames, FFT, axis=1)).astype(np.float32) ** 2 * (4.0 / WINDOW**2)
    return np.asarray(np.log(np.maximum(power @ filterbank(), POWER_FLOOR)), np.float32)


@dataclass(frozen=True)
class Level:
    """What gain, microphone and room add to a whole recording, so that it can be removed."""

    gain: float  # samples are multiplied by this first, which makes all recordings equally loud
    mel: NDArray[np.float32]  # (BANDS,) mean log-mel of the loud frames
    typical: float  # share of the typical level in `mel`, 0 where there is enough speech


def recording_level(audio: NDArray[np.float32]) -> Level | None:
    """The level of a recording (n,); None where nothing in it is loud enough to be speech.

    It is measured on `SAMPLED_SECONDS` at most, so that memory stays bounded: single seconds spread evenly
    over the recording or, where a few words stand in a long silence, over the seconds that hold them.
    The mean of a single word is the word, relative to which nothing is left of it: where there is little
    speech, the level is drawn toward the typical one.
    """
    per_second = RATE // HOP
    mel = np.concatenate([log_mel(audio, first, per_second) for first in measured_seconds(audio)])
    loudness = np.log(np.exp(mel).sum(1))
    top = np.percentile(loudness, 98)
    if top * 10 / np.log(10) < SILENT_DB:
        return None
    typical = TYPICAL_SHARE * max(0.0, 1 - float((loudness >= top - LOUD).sum()) / ENOUGH)
    quietest = np.float32(np.log(POWER_FLOOR) + DEPTH)  # so that digital silence is silent in every band
    loud = np.maximum(mel[loudness >= top - LOUD].mean(0) + np.float32(LOUDNESS - top), quietest)
    return Level(float(np.exp((LOUDNESS - top) / 2)), loud + np.float32(typical) * (MEL - loud), typical)


def measured_seconds(audio: NDArray[np.float32]) -> list[int]:
    """The first feature of each second of a recording (n,) on which its level is measured, ascending."""
    seconds = _seconds_with_sound(audio)
    spread = np.linspace(0, len(seconds) - 1, min(len(seconds), SAMPLED_SECONDS)).astype(int)
    return [int(s) for s in seconds[np.unique(spread)] * (RATE // HOP)]


def _seconds_with_sound(audio: NDArray[np.float32]) -> NDArray[np.int64]:
    """The seconds of a recording whose level counts: all, or those with the only sound in a long silence.

    Speech that fills less than two hundredths of a recording is not among its loud frames. It is known by a
    level that lasts for SUSTAINED_STEPS and lies RARE_DB above them, while they are hardly louder than the
    quiet ones.
    """
    per_second = RATE // HOP
    seconds = np.arange(max(1, feature_count(len(audio)) // per_second))
    steps = audio[: len(audio) // HOP * HOP].reshape(-1, HOP)
    if len(steps) < SUSTAINED_STEPS:
        return seconds
    power = np.einsum("ij,ij->i", steps, steps, dtype=np.float64) / HOP
    levels = minimum_filter1d(10 * np.log10(np.maximum(power, POWER_FLOOR)), SUSTAINED_STEPS)
    loud, quiet = np.percentile(levels, [98, 10])
    if levels.max() - loud < RARE_DB or loud - quiet > STEADY_DB:
        return seconds
    holding = np.unique(np.flatnonzero(levels > levels.max() - STEADY_DB) // per_second)
    return holding[holding < len(seconds)] if holding[0] < len(seconds) else seconds


def scaled_piece(audio: NDArray[np.float32], gain: float, first: int, count: int) -> NDArray[np.float32]:
    """The samples that features `first` .. `first + count - 1` depend on, times `gain`.

    CONTEXT features of audio, or silence outside the recording, are included on either side: in the result,
    feature `first` has the number CONTEXT.
    """
    return padded_slice(audio, (first - CONTEXT) * HOP, (count + 2 * CONTEXT) * HOP) * np.float32(gain)


def relative_mel(audio: NDArray[np.float32], level: Level, first: int, count: int) -> NDArray[np.float32]:
    """(count, BANDS) log-mel relative to the recording's level, at least -DEPTH, scaled to about -1..1."""
    mel = log_mel(scaled_piece(audio, level.gain, first, count), CONTEXT, count)
    return np.asarray(np.maximum(mel - level.mel, -DEPTH) / DEPTH, np.float32)


@dataclass(frozen=True)
class FeatureKind(ABC):
    """One kind of input features: RATE / HOP a second; feature k is centred on sample k * HOP at RATE."""

    name: str  # includes a version; a model that was trained on another one is refused
    width: int  # how many numbers a feature has

    def level(self, audio: NDArray[np.float32]) -> Level | None:
        """The level of a whole recording (n,), for `features` and `audible`; None where it is silent."""
        return recording_level(audio)

    @abstractmethod
    def features(
        self, audio: NDArray[np.float32], level: Level, first: int, count: int
    ) -> NDArray[np.float32]:
        """(count, width) features `first` .. `first + count - 1` of a recording (n,) in -1..1.

        Outside the recording they are zeros, so any `first` is allowed.
        """

    def audible(self, audio: NDArray[np.float32], level: Level, first: int, count: int) -> NDArray[np.bool_]:
        """(count,) False where the audio is too quiet for speech, given how loud the recording is."""
        return np.asarray(relative_mel(audio, level, first, count).mean(1) > FAINT)


def check_audio(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """The recording (n,) as float32. Raises `BadInput` unless it is one row of finite numbers."""
    samples = np.asarray(audio, np.float32)
    if samples.ndim != 1:
        raise BadInput(
            f"dialogue has the shape {samples.shape}; expected one channel of samples at {RATE} Hz"
        )
    if not np.isfinite(samples).all():
        raise BadInput("dialogue holds samples that are not numbers; expected -1..1")
    return samples
