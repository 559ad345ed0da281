"""Sound as mono float samples, aligned to the picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.audio.stream
import av.container
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import MediaError
from visualdub.media.opening import open_media, reading


class AudioMissing(MediaError):
    """The file has no audio stream, or one without samples."""


def read_audio(path: Path, rate: int = 16000) -> NDArray[np.float32]:
    """Mono samples (n,) in -1..1 at `rate` Hz, all channels mixed evenly.

    In a clip sample 0 is heard when its first frame is shown: sound before that is cut, a late start is filled with silence.
    Raises `AudioMissing` without an audio stream or samples, `MediaError` for a file that cannot be read.
    """
    path = Path(path)
    with open_media(path) as container, reading(path):
        if not container.streams.audio:
            raise AudioMissing(f"{path} has no audio stream; expected a file with sound")
        stream = container.streams.audio[0]
        origin = picture_start(container)
        start, pieces = _decode(container, stream, rate)
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    if not len(samples):
        raise AudioMissing(f"{path} has an audio stream of zero length; expected a file with sound")
    if origin is None:
        return samples
    shift = round((start - origin) * rate)
    return samples[-shift:] if shift < 0 else np.concatenate([np.zeros(shift, np.float32), samples])


def picture_start(container: av.container.InputContainer) -> Fraction | None:
    """Presentation time of the first frame in seconds; None for a sound file."""
    for video in container.streams.video:
        if video.start_time is not None and video.time_base is not None and not int(video.disposition) & 0x400:
            return video.start_time * video.time_base
    return None


def _decode(container: av.container.InputContainer, stream: av.audio.stream.AudioStream,
            rate: int) -> tuple[Fraction, list[NDArray[np.float32]]]:
    """Presentation time of the first sample in seconds, and the samples in pieces."""
    start = Fraction(0)
    pieces: list[NDArray[np.float32]] = []
    resampler: av.AudioResampler | None = None
    for block in container.decode(stream):
        if resampler is None:
            resampler = av.AudioResampler("fltp", None, rate)
            start = Fraction(block.pts or 0) * (block.time_base or Fraction(1, block.sample_rate))
        block.pts = None
        pieces.extend(_mono(resampler.resample(block)))
    if resampler is not None:
        pieces.extend(_mono(resampler.resample(None)))
    return start, pieces


def _mono(blocks: list[av.AudioFrame]) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        yield block.to_ndarray().mean(0, dtype=np.float32)
