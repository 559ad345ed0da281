"""The sound of a written movie: a clip's own packets copied, or a recording encoded, in step with the
picture.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias, cast

import av
import av.audio.stream
import av.container
import numpy as np

from visualdub.media.audio import AudioMissing, picture_start
from visualdub.media.open import open_media, reading

AudioPacket: TypeAlias = "av.Packet[av.audio.stream.AudioStream]"
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_COPIED = {  # what players of each container expect to find in it
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {
        "aac",
        "mp3",
        "ac3",
        "eac3",
        "alac",
        "pcm_s16le",
        "pcm_s16be",
        "pcm_s24le",
        "pcm_s24be",
        "pcm_s32le",
        "pcm_f32le",
    },
    "matroska": {
        "aac",
        "mp2",
        "mp3",
        "ac3",
        "eac3",
        "alac",
        "opus",
        "flac",
        "vorbis",
        "dts",
        "truehd",
        "pcm_s16le",
        "pcm_s24le",
        "pcm_s32le",
        "pcm_f32le",
    },
}


@dataclass(frozen=True)
class AudioSource:
    """Where the sound of a written movie comes from.

    A clip's own sound stays in step with its pictures: packets are copied where the new container takes them
    and the movie starts at the clip's first frame. A recording starts at the movie's first frame. Sound past
    the last frame of the movie is cut and a recording that ends earlier is followed by silence.
    """

    path: Path
    start: Fraction = Fraction(
        0
    )  # seconds into the clip or recording that the movie's first frame is heard at


class Soundtrack:
    """Feeds the audio packets of `source` to `output`. `until` is the movie's length in seconds.

    Raises `AudioMissing` where the source has no sound, `MediaError` where it cannot be read.
    """

    def __init__(
        self, source: AudioSource, output: av.container.OutputContainer, until: Fraction, whole_clip: bool
    ) -> None:
        self._path = source.path
        self._output = output
        self._open = ExitStack()
        try:
            container = self._open.enter_context(open_media(source.path))
            if not container.streams.audio:
                raise AudioMissing(f"{source.path} has no audio stream; expected a file with sound")
            origin = picture_start(container)
            copied = _COPIED.get(output.format.name, set())
            streams = container.streams.audio
            if (
                origin is not None
                and source.start == 0
                and all(s.codec_context.codec.canonical_name in copied for s in streams)
            ):
                self._packets = _copied(container, output, origin, None if whole_clip else until)
            else:
                self._packets = _encoded(container, output, (origin or Fraction(0)) + source.start, until)
            self._next = next(self._packets, None)
        except BaseException:
            self._open.close()
            raise

    def feed(self, time: Fraction | None) -> Iterator[AudioPacket]:
        """The packets that belong before `time` seconds of the movie, all that are left where it is None."""
        while self._next is not None and (time is None or _seconds(self._next) <= time):
            yield self._next
            with reading(self._path):
                self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        self._packets.close()
        self._open.close()


def _seconds(packet: AudioPacket) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts or 0
    return stamp * (packet.time_base or Fraction(1))


# ---- copied ------------------------------------------------------------------------------------------------


def _copied(
    container: av.container.InputContainer,
    output: av.container.OutputContainer,
    origin: Fraction,
    until: Fraction | None,
) -> Generator[AudioPacket, None, None]:
    """Streams are made at once, packets as they are asked for."""
    targets = {}
    for stream in container.streams.audio:
        targets[stream.index] = output.add_stream_from_template(stream)
        targets[stream.index].metadata.update(
            {k: v for k, v in stream.metadata.items() if k in ("language", "title")}
        )
    return _moved(container, targets, origin, until)


def _moved(
    container: av.container.InputContainer,
    targets: dict[int, av.audio.stream.AudioStream],
    origin: Fraction,
    until: Fraction | None,
) -> Generator[AudioPacket, None, None]:
    for packet in container.demux(*container.streams.audio):
        base = packet.time_base
        if not packet.size or base is None or packet.pts is None:
            continue
        shift = round(origin / base)
        packet.pts -= shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        if until is not None and packet.pts * base >= until:
            continue
        packet.stream = targets[packet.stream.index]
        yield cast(AudioPacket, packet)


# ---- encoded -----------------------------------------------------------------------------------------------


def _encoded(
    container: av.container.InputContainer,
    output: av.container.OutputContainer,
    start: Fraction,
    until: Fraction,
) -> Generator[AudioPacket, None, None]:
    """The first audio stream from `start` seconds of its own clock, cut or filled to `until` seconds, as AAC
    or PCM.
    """
    source = container.streams.audio[0]
    rate = source.codec_context.sample_rate
    found = source.codec_context.layout
    layout = {1: "mono", 2: "stereo"}.get(
        found.nb_channels, found.name
    )  # many WAVs say how many channels, not which
    deep = source.codec_context.format.bits > 16
    if output.format.name == "mp4":
        name, sample = "aac", "fltp"
        rate = rate if rate in _AAC_RATES else 48000
    else:
        name, sample = ("pcm_s24le", "s32") if deep else ("pcm_s16le", "s16")
    target = cast(
        av.audio.stream.AudioStream, output.add_stream(name, rate=rate, layout=layout, format=sample)
    )
    if name == "aac":
        target.bit_rate = 128000 * max(1, target.codec_context.layout.nb_channels)
    return _encode(
        container, source, target, av.AudioResampler(sample, layout, rate), start, round(until * rate)
    )


def _encode(
    container: av.container.InputContainer,
    source: av.audio.stream.AudioStream,
    target: av.audio.stream.AudioStream,
    resampler: av.AudioResampler,
    start: Fraction,
    count: int,
) -> Generator[AudioPacket, None, None]:
    written = 0
    for block in _trimmed(container, source, resampler, start, count):
        block.pts, block.time_base = written, Fraction(1, resampler.rate)
        written += block.samples
        yield from target.encode(block)
    yield from target.encode(None)


def _trimmed(
    container: av.container.InputContainer,
    source: av.audio.stream.AudioStream,
    resampler: av.AudioResampler,
    start: Fraction,
    count: int,
) -> Iterator[av.AudioFrame]:
    """Blocks that hold exactly `count` samples from `start` on: silence before a late start and after an
    early end.
    """
    left = count
    skip: int | None = None
    for block in _resampled(container, source, resampler):
        if skip is None:
            skip = round(
                (start - Fraction(block.pts or 0) * (block.time_base or Fraction(1, resampler.rate)))
                * resampler.rate
            )
            if skip < 0:
                silent = min(-skip, left)
                yield from _silence(block, silent)
                left, skip = left - silent, 0
        data = block.to_ndarray()
        channels = 1 if block.format.is_planar else len(block.layout.channels)
        data = data[:, skip * channels :]
        skip = max(0, skip - block.samples)
        data = data[:, : left * channels]
        left -= data.shape[1] // channels
        if data.shape[1]:
            yield _block(data, block)
        last = block
        if left <= 0:
            return
    if skip is not None:
        yield from _silence(last, left)


def _resampled(
    container: av.container.InputContainer, source: av.audio.stream.AudioStream, resampler: av.AudioResampler
) -> Iterator[av.AudioFrame]:
    for block in container.decode(source):
        yield from resampler.resample(block)
    yield from resampler.resample(None)


def _silence(like: av.AudioFrame, samples: int) -> Iterator[av.AudioFrame]:
    planar = like.format.is_planar
    channels = len(like.layout.channels)
    dtype = like.to_ndarray().dtype
    while samples > 0:
        n = min(samples, 1 << 14)
        yield _block(np.zeros((channels, n) if planar else (1, n * channels), dtype), like)
        samples -= n


def _block(data: np.ndarray, like: av.AudioFrame) -> av.AudioFrame:  # type: ignore[type-arg]
    block = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(data), format=like.format.name, layout=like.layout.name
    )
    block.sample_rate = like.sample_rate
    return block
