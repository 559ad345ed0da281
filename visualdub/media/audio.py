"""Sound as mono float samples, aligned to the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import MediaError
from visualdub.media.sound_decoder import AudioMissing, DecodedSound, Samples, at_rate

__all__ = ["AudioMissing", "read_audio"]

FRAMES_PER_SECOND = 50  # stretches whose power is measured
QUIETEST_VOICE = 0.1  # of the loudest channel's power of voice; a quieter channel is left out of the mix
CANCELLED = 0.6  # of the power that unrelated channels would mix to; below it, they cancel each other
SLOPE_HZ = 8000  # a difference over one period of it weighs 60 Hz down by 26 dB, 500 Hz by 8 dB


def read_audio(path: Path, rate: int = 16000, chosen: Sequence[int] = ()) -> NDArray[np.float32]:
    """Mono samples (n,) in -1..1 at `rate` Hz: the mean of the channels that carry the voice.

    Channels that are steady (silence, hum, noise, a timecode's tone) or much quieter than the loudest are
    left out, so that a voice on one of sixteen channels keeps its level; where the rest cancel each other,
    the loudest is taken alone. Where a layout names a centre and it carries the voice, as in a film's mix,
    it is taken alone. chosen: the channels that count, from 0, where somebody says so. Sample 0 is at time 0
    as `visualdub.media.sound_decoder` has it: in a clip it is heard when the first frame is shown, sound
    before that is cut, a late start is filled with silence. Raises `AudioMissing` without an audio stream or
    samples, `MediaError` for a file that cannot be read, for samples that are not numbers and for a channel
    that is not there.
    """
    path = Path(path)
    if chosen:
        with DecodedSound(path) as sound:
            return _mixed(sound, channel_weights(sound, chosen, path), rate)
    with DecodedSound(path) as sound:
        channels = sound.channels
        statistics = _ChannelStatistics(sound.rate, sound.channel_names) if channels > 1 else None
        even = np.full(channels, np.float32(1 / channels), np.float32)
        mono = _mixed(sound, even, rate, statistics)
    if statistics is None:
        return mono
    weights = statistics.weights()
    if np.array_equal(weights, even):
        return mono
    with DecodedSound(path) as sound:  # read again, so that never more than one channel is held
        return _mixed(sound, weights, rate)


def read_span(path: Path, rate: int, start_s: Fraction, seconds: float) -> NDArray[np.float32]:
    """Mono samples (n,) at `rate` Hz of a stretch of a file, mixed as `read_audio` does from what is heard in
    it; the memory it takes does not grow with the file. Raises as `read_audio` does.
    """
    blocks, left = list[Samples](), 0
    with DecodedSound(path, start_s=start_s) as sound:
        left, statistics = round(seconds * sound.rate), _ChannelStatistics(sound.rate, sound.channel_names)
        for block in sound.blocks():
            blocks.append(block[:left])
            statistics.add(blocks[-1])
            left -= len(blocks[-1])
            if left <= 0:
                break
        weights = statistics.weights()
        pieces = [
            p[:, 0] for p in at_rate(((b @ weights)[:, None] for b in blocks), "mono", sound.rate, rate)
        ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def channel_weights(sound: DecodedSound, chosen: Sequence[int], path: Path) -> NDArray[np.float32]:
    """(C,) of the mean of the chosen channels. Raises `MediaError` for one that `sound` has not."""
    if max(chosen) >= sound.channels:
        raise MediaError(f"{path} has {sound.channels} channels; expected a channel {max(chosen) + 1}")
    weights = np.zeros(sound.channels, np.float32)
    weights[list(chosen)] = np.float32(1 / len(chosen))
    return weights


def _mixed(
    sound: DecodedSound,
    weights: NDArray[np.float32],
    rate: int,
    statistics: _ChannelStatistics | None = None,
) -> NDArray[np.float32]:
    """The channels times `weights`, summed, at `rate`; statistics: learn what the channels hold."""

    def mixed() -> Iterator[Samples]:
        for block in sound.blocks():
            if statistics is not None:
                statistics.add(block)
            yield (block @ weights)[:, None]

    pieces = [piece[:, 0] for piece in at_rate(mixed(), "mono", sound.rate, rate)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


class _ChannelStatistics:
    """What each of C channels of a recording holds."""

    def __init__(self, rate: int, names: list[str]) -> None:
        self._frame = max(1, rate // FRAMES_PER_SECOND)  # samples
        self._step = max(1, rate // SLOPE_HZ)
        self._names = names
        self._rest = np.zeros((0, len(names)), np.float32)
        self._powers: list[NDArray[np.float32]] = []  # (k, C) of k frames
        self._covariance = np.zeros((len(names), len(names)))

    def add(self, block: Samples) -> None:
        """The next samples (n, C)."""
        samples = np.concatenate([self._rest, block])
        count = max(0, len(samples) - self._step) // self._frame
        if not count:
            self._rest = samples
            return
        used = count * self._frame
        slopes = samples[self._step : self._step + used] - samples[:used]
        self._learn(slopes.reshape(count, self._frame, -1))
        self._rest = samples[used:]

    def _learn(self, frames: NDArray[np.float32]) -> None:
        """frames: (k, samples, C)."""
        frames = frames - frames.mean(1, keepdims=True)
        self._powers.append((frames**2).mean(1))
        flat = frames.reshape(-1, frames.shape[2]).astype(np.float64)
        self._covariance += flat.T @ flat

    def weights(self) -> NDArray[np.float32]:
        """(C,) of the mix; their sum is 1."""
        if not self._powers and len(self._rest) > self._step:
            self._learn((self._rest[self._step :] - self._rest[: -self._step])[None])
        voice = self._voice()
        if not voice.any():
            return np.full(len(voice), np.float32(1 / len(voice)), np.float32)
        carries = voice >= QUIETEST_VOICE * voice.max()
        alone = np.zeros(len(voice), np.float32)
        if len(voice) > 2 and "FC" in self._names and carries[self._names.index("FC")]:
            alone[self._names.index("FC")] = 1
            return alone
        mix = np.asarray(carries / carries.sum(), np.float32)
        if mix @ self._covariance @ mix < CANCELLED * (mix**2 @ self._covariance.diagonal()):
            alone[voice.argmax()] = 1
            return alone
        return mix

    def _voice(self) -> NDArray[np.float64]:
        """(C,) power of what comes and goes, as speech does: of a steady sound little is left."""
        if not self._powers:
            return np.zeros(len(self._names))
        powers = np.concatenate(self._powers).astype(np.float64)
        mean = powers.mean(0)
        floor = np.percentile(powers, 10, axis=0) if len(powers) >= FRAMES_PER_SECOND else 0.0 * mean
        return np.asarray((mean - floor) ** 2 / np.maximum(mean, 1e-30))
