"""Sound as mono float samples, aligned to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.audio.stream
import av.container
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import MediaError
from visualdub.media.open import open_media, reading

# of the loudest channel's power; two unrelated channels of the same power mix to 0.5, one beside silence to
# 0.25
WEAK_MIX = 0.3


class AudioMissing(MediaError):
    """The file has no audio stream, or one without samples."""


def read_audio(path: Path, rate: int = 16000) -> NDArray[np.float32]:
    """Mono samples (n,) in -1..1 at `rate` Hz: all channels mixed evenly, or the loudest alone where the mix
    would weaken it.

    So a voice on one side keeps its level, and one whose other side is its opposite does not cancel itself.
    In a clip sample 0 is heard when its first frame is shown: sound before that is cut, a late start is
    filled with silence. Raises `AudioMissing` without an audio stream or samples, `MediaError` for a file
    that cannot be read.
    """
    path = Path(path)
    with open_media(path) as container, reading(path):
        if not container.streams.audio:
            raise AudioMissing(f"{path} has no audio stream; expected a file with sound")
        stream = container.streams.audio[0]
        origin = picture_start(container)
        found = _decode(container, stream, rate)
    if found.weak:  # read again, so that never more than one channel is held
        with open_media(path) as container, reading(path):
            found = _decode(container, container.streams.audio[0], rate, found.loudest)
    samples = np.concatenate(found.pieces) if found.pieces else np.zeros(0, np.float32)
    if not len(samples):
        raise AudioMissing(f"{path} has an audio stream of zero length; expected a file with sound")
    if origin is None:
        return samples
    shift = round((found.start - origin) * rate)
    return samples[-shift:] if shift < 0 else np.concatenate([np.zeros(shift, np.float32), samples])


def picture_start(container: av.container.InputContainer) -> Fraction | None:
    """Presentation time of the first frame in seconds; None for a sound file."""
    for video in container.streams.video:
        if (
            video.start_time is not None
            and video.time_base is not None
            and not int(video.disposition) & 0x400
        ):
            return video.start_time * video.time_base
    return None


@dataclass
class _Decoded:
    """One channel out of a stream, or the mean of all."""

    start: Fraction  # presentation time of the first sample in seconds
    pieces: list[NDArray[np.float32]]
    mixed: float = 0.0  # energy of the mean, apart from a constant offset
    energy: NDArray[np.float64] | None = None  # (C,) of each channel, alike

    @property
    def weak(self) -> bool:
        return self.energy is not None and self.mixed < WEAK_MIX * float(self.energy.max())

    @property
    def loudest(self) -> int:
        return 0 if self.energy is None else int(self.energy.argmax())


def _decode(
    container: av.container.InputContainer,
    stream: av.audio.stream.AudioStream,
    rate: int,
    channel: int | None = None,
) -> _Decoded:
    """The samples of a stream, mixed evenly, or of one `channel`."""
    found = _Decoded(Fraction(0), [])
    resampler: av.AudioResampler | None = None
    for block in container.decode(stream):
        if resampler is None:
            resampler = av.AudioResampler("fltp", None, rate)
            found.start = Fraction(block.pts or 0) * (block.time_base or Fraction(1, block.sample_rate))
        block.pts = None
        _collect(found, resampler.resample(block), channel)
    if resampler is not None:
        _collect(found, resampler.resample(None), channel)
    return found


def _collect(found: _Decoded, blocks: list[av.AudioFrame], channel: int | None) -> None:
    """Append blocks to what was found."""
    for block in blocks:
        channels = block.to_ndarray()
        mono = channels.mean(0, dtype=np.float32) if channel is None else channels[channel].astype(np.float32)
        found.pieces.append(mono)
        if channel is None and len(channels) > 1:
            found.mixed += float(mono.var(dtype=np.float64)) * len(mono)
            energy = channels.var(1, dtype=np.float64) * len(mono)
            found.energy = energy if found.energy is None else found.energy + energy
