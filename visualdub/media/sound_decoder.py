"""One stream of sound, decoded: blocks of float samples without a hole between them, from one time origin.

The mouth is predicted from what this module decodes and the same samples are encoded beside the picture, so
that both have the same origin. Time 0 of a clip's sound is the moment its first frame comes on screen, by the
clock of the container. Time 0 of a recording without pictures is its first sample, whatever time the
container gives it. Samples that a codec needs to start (encoder delay, priming, pre-skip) are no sound: they
are left out as far as the file declares them, in an edit list, in the header of an MP3 or Opus stream or as
Matroska's codec delay. A bare AAC stream declares none; there the first decoded sample counts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.audio.frame
import av.audio.layout
import av.audio.stream
import av.container
import av.error
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import MediaError
from visualdub.media.clip_facts import video_stream
from visualdub.media.open import open_media, reading

Samples = NDArray[np.float32]  # (n, C), full scale is -1..1
CLOCK_TOLERANCE_S = 0.1  # stamps further than this from the count of samples are a gap or a jump of the clock
LONGEST_GAP_S = 600  # a longer gap is taken for a clock that was set anew, and nothing is put into it
MOST_CHANNELS = 64
LATEST_START_S = 6 * 3600  # of the sound after the first frame; more is a damaged clock
LOUDEST = 1e6  # times full scale: larger samples are damage
SILENCE_BLOCK = 1 << 14  # samples
# PyAV counts the planes of a frame by reading pointers up to a null, and past the eight that there is room
# for.
MOST_PLANES = 7
_FULL_SCALE = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "flt": 1.0, "dbl": 1.0}
_NATIVE_ORDER = [
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"),
    *("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
]
_DEFAULT = 1  # AV_DISPOSITION_DEFAULT
_ATTACHED_PICTURE = 0x400


class AudioMissing(MediaError):
    """The file has no audio stream, or one without samples."""


class DecodedSound:
    """The samples of one audio stream of a file, decoded from its beginning, once.

    stream: number of the audio stream among those of the file; None: its main one. start_s: seconds after
    time 0 at which the first sample is heard; sound before it is cut, and where the sound starts later,
    silence comes first. Raises `AudioMissing` without an audio stream or samples, `MediaError` for a file
    that cannot be read, whose samples are not numbers, or whose stream changes into one of channels that do
    not fit.
    """

    def __init__(self, path: Path, stream: int | None = None, start_s: Fraction = Fraction(0)) -> None:
        self._path = path
        origin = picture_start(path)
        with ExitStack() as undo:
            container = undo.enter_context(open_media(path))
            with reading(path):
                chosen = main_audio(container, path) if stream is None else container.streams.audio[stream]
                self._blocks = _Blocks(path, container, chosen)
            self.rate = self._blocks.rate  # samples per second
            self.channels = self._blocks.channels
            self.layout = self._blocks.layout  # FFmpeg's name; "N channels" where it is not known which
            self.deep = self._blocks.deep  # samples of more than 16 bits
            first = self._blocks.first_time
            self._start = (origin if origin is not None else first) + start_s
            if first - self._start > LATEST_START_S:
                raise MediaError(
                    f"{path}: its sound starts {float(first - self._start) / 3600:.0f} h after its first"
                    " frame; expected one clock for both"
                )
            self._open = undo.pop_all()

    @property
    def channel_names(self) -> list[str]:
        """FFmpeg's name of each channel, such as FC or LFE; NONE where it is not known which it is."""
        return [c.name for c in av.AudioLayout(self.layout).channels]

    def blocks(self) -> Iterator[Samples]:
        """Blocks (n, channels) float32 that follow each other without a hole, to the end of the stream."""
        with reading(self._path):
            yield from _continuous(self._blocks, self._start)

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# ---- which stream, from which time -------------------------------------------------------------------------


def main_audio(container: av.container.InputContainer, path: Path) -> av.audio.stream.AudioStream:
    """The audio stream that players choose: the first marked as default, else the first, of those that can
    be decoded. Raises `AudioMissing` where there is none.
    """
    usable = decodable_audio(container)
    for stream in usable:
        if int(stream.disposition) & _DEFAULT:
            return stream
    if usable:
        return usable[0]
    if container.streams.audio:
        raise AudioMissing(f"{path} has audio of an unknown codec; expected a file with sound")
    raise AudioMissing(f"{path} has no audio stream; expected a file with sound")


def decodable_audio(container: av.container.InputContainer) -> list[av.audio.stream.AudioStream]:
    """The audio streams that FFmpeg has a decoder for."""
    return [s for s in container.streams.audio if s.codec_context is not None]


def audio_tracks(path: Path) -> int:
    """How many audio streams of a file can be decoded."""
    with open_media(path) as container, reading(path):
        return len(decodable_audio(container))


def picture_start(path: Path) -> Fraction | None:
    """Seconds by the container's clock at which the first frame comes on screen; None for a file without
    pictures, or with cover art alone.
    """
    with open_media(path) as container, reading(path):
        if all(int(s.disposition) & _ATTACHED_PICTURE for s in container.streams.video):
            return None
        stream = video_stream(container, path)
        start = (stream.start_time or 0) * (stream.time_base or Fraction(1))
        if container.format.name == "avi":  # which has decoding stamps only, from 0 on
            return start
        for picture in container.decode(stream):
            if picture.pts is not None and picture.time_base is not None:
                return picture.pts * picture.time_base
            break
        return start


# ---- from FFmpeg's frames to samples -----------------------------------------------------------------------


class _Blocks:
    """Pairs (seconds by the container's clock or None, samples (n, C)) of every decoded block of a stream.

    All have the rate and the channels of the first one. Raises `AudioMissing` where there is none.
    """

    def __init__(
        self, path: Path, container: av.container.InputContainer, stream: av.audio.stream.AudioStream
    ) -> None:
        self._path = path
        self._order = _forget_custom_layout(stream)
        self._packed: av.AudioResampler | None = None
        self._frames = (f for f in container.decode(stream) if f.samples)
        self._first = next(self._frames, None)
        if self._first is None:
            raise AudioMissing(f"{path} has an audio stream of zero length; expected a file with sound")
        _keep_custom_layout(self._first.layout)
        count = self._first.layout.nb_channels
        if self._first.sample_rate <= 0 or not 0 < count <= MOST_CHANNELS:
            raise MediaError(
                f"{path} has {count} channels of sound at {self._first.sample_rate} Hz; expected 1 to"
                f" {MOST_CHANNELS}"
            )
        self.rate, self.channels = self._first.sample_rate, count
        self.deep = self._first.format.bits > 16
        name = self._first.layout.name
        self._source_layout = f"{count} channels" if _is_list(name) else name
        self.layout = self._source_layout
        if self._order is not None and name != f"{len(self._order)} channels":
            self._order = None  # the decoder knows better
        if self._order is not None:
            self.layout = av.AudioLayout("+".join(sorted(self._order, key=_NATIVE_ORDER.index))).name
        self.first_time = _time(self._first) or Fraction(0)

    def __iter__(self) -> Iterator[tuple[Fraction | None, Samples]]:
        frames = self._frames
        if self._first is not None:
            yield _time(self._first), self._samples(self._first)
            self._first = None
        for frame in frames:
            _keep_custom_layout(frame.layout)
            yield _time(frame), self._samples(frame)

    def _samples(self, frame: av.audio.frame.AudioFrame) -> Samples:
        """The samples of a block (n, C), in the order of `layout`."""
        count, time = frame.layout.nb_channels, _time(frame)
        other = (frame.sample_rate, count) != (self.rate, self.channels)
        unreadable = frame.format.packed.name not in _FULL_SCALE
        if other or unreadable or (frame.format.is_planar and count > MOST_PLANES):
            data = self._converted(frame)
        else:
            data = _as_float(frame.to_ndarray(), frame.format, count)
        if not (np.abs(data) < LOUDEST).all():  # false for NaN, too
            at = "" if time is None else f" at {float(time):.2f} s"
            raise MediaError(
                f"{self._path} holds samples that are not numbers (NaN or infinite){at}; expected -1..1"
            )
        if self._order is not None:
            data = data[:, [self._order.index(n) for n in sorted(self._order, key=_NATIVE_ORDER.index)]]
        return data

    def _converted(self, frame: av.audio.frame.AudioFrame) -> Samples:
        """A block brought to the first one's rate and channels by FFmpeg, whose packed frames have one
        plane.
        """
        frame.pts = None
        for _ in range(2):  # a new resampler where the kind of the blocks has changed since the last one
            self._packed = self._packed or av.AudioResampler("flt", self._source_layout, self.rate)
            try:
                blocks = _unpacked(self._packed.resample(frame))
                return np.concatenate([np.zeros((0, self.channels), np.float32), *blocks])
            except (ValueError, av.error.FFmpegError):
                self._packed = None
        raise MediaError(
            f"{self._path} changes its sound from {self._source_layout} at {self.rate} Hz to"
            f" {frame.layout.name} at {frame.sample_rate} Hz; expected the same throughout"
        )


def _time(frame: av.audio.frame.AudioFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def _as_float(data: NDArray[np.generic], kind: av.AudioFormat, channels: int) -> Samples:
    """Samples of any kind as float32 (n, C), exact for up to 24 bits."""
    data = data.T if kind.is_planar else data.reshape(-1, channels)
    scale = _FULL_SCALE[kind.packed.name]
    if scale == 1.0:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
            return np.asarray(data, np.float32)
    middle = np.float32(scale if data.dtype == np.uint8 else 0)
    return (data.astype(np.float32) - middle) * np.float32(1 / scale)


# ---- packed frames and other rates -------------------------------------------------------------------------


def packed_frame(samples: Samples, kind: str, layout: str, rate: int) -> av.AudioFrame:
    """A frame of samples (n, C), clipped and rounded to `kind`: "s16", "s32" or, as they are, "flt".

    Its channels are interleaved in one plane.
    """
    row = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
    if kind == "flt":
        frame = av.AudioFrame.from_ndarray(row, format=kind, layout=layout)
    else:
        dtype, scale = (np.int16, 1 << 15) if kind == "s16" else (np.int32, 1 << 31)
        whole = np.clip(np.rint(row.astype(np.float64) * scale), -scale, scale - 1)
        frame = av.AudioFrame.from_ndarray(whole.astype(dtype), format=kind, layout=layout)
    frame.sample_rate = rate
    return frame


def at_rate(blocks: Iterator[Samples], layout: str, given: int, rate: int) -> Iterator[Samples]:
    """Blocks (n, C) of `given` samples per second as such of `rate`; the first sample stays where it is."""
    if given == rate:
        yield from blocks
        return
    resampler = av.AudioResampler("flt", layout, rate)
    for samples in blocks:
        yield from _unpacked(resampler.resample(packed_frame(samples, "flt", layout, given)))
    yield from _unpacked(resampler.resample(None))


def _unpacked(frames: list[av.AudioFrame]) -> Iterator[Samples]:
    for frame in frames:
        yield np.asarray(frame.to_ndarray(), np.float32).reshape(-1, frame.layout.nb_channels)


# ---- layouts in an order of their own ----------------------------------------------------------------------
# A QuickTime file may list its channels in any order. FFmpeg keeps such a list in memory that PyAV's objects
# share with the stream and with every frame, and each of them frees it. So the decoder is told to forget the
# list before it opens, and the objects that saw one are never freed.


def has_own_order(stream: av.audio.stream.AudioStream) -> bool:
    """Whether a stream lists its channels in an order of its own."""
    return _keep_custom_layout(stream.codec_context.layout)


def _forget_custom_layout(stream: av.audio.stream.AudioStream) -> list[str] | None:
    """Where the channels of `stream` are in an order of their own: their names; its decoder then only knows
    their number. None otherwise, and where a name is not among `_NATIVE_ORDER`.
    """
    layout = stream.codec_context.layout
    if not _keep_custom_layout(layout):
        return None
    names = [c.name for c in layout.channels]
    stream.codec_context.layout = f"{len(names)} channels"
    return names if len({*names} & {*_NATIVE_ORDER}) == len(names) else None


def _keep_custom_layout(layout: av.audio.layout.AudioLayout) -> bool:
    """Whether a layout is a list of channels of its own; then the object is never freed."""
    if not _is_list(layout.name):
        return False
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    return True


def _is_list(name: str) -> bool:
    return " channels (" in name or "@" in name


# ---- one after the other -----------------------------------------------------------------------------------


def _continuous(blocks: _Blocks, start: Fraction) -> Iterator[Samples]:
    """The samples from `start` seconds of the container's clock on: sound before it cut, silence before a
    late start and in gaps.

    The stamps of the blocks decide where the sound starts and how long a gap is; in between, samples are
    counted. A clock that jumps back, or further than LONGEST_GAP_S, was set anew: nothing is cut or put in.
    """
    rate, channels = blocks.rate, blocks.channels
    tolerance = CLOCK_TOLERANCE_S * rate
    at = round((blocks.first_time - start) * rate)  # samples from `start` to the next one
    jumped = 0  # samples that the clock was set back by
    yield from silence(at, channels)
    for time, samples, following in _with_following(blocks):
        stamp = at if time is None else round((time - start) * rate) + jumped
        if abs(stamp - at) > tolerance:
            after = (time or start) + Fraction(len(samples), rate)
            confirmed = following is None or abs(following - after) <= CLOCK_TOLERANCE_S
            if confirmed and 0 < stamp - at <= LONGEST_GAP_S * rate:
                yield from silence(stamp - max(at, 0), channels)
                at = stamp
            else:
                jumped -= stamp - at
        if at + len(samples) > 0:
            yield samples[max(0, -at) :]
        at += len(samples)


def _with_following(blocks: _Blocks) -> Iterator[tuple[Fraction | None, Samples, Fraction | None]]:
    """Time and samples of every block, and the time of the one after it."""
    waiting: tuple[Fraction | None, Samples] | None = None
    for time, samples in blocks:
        if waiting is not None:
            yield *waiting, time
        waiting = time, samples
    if waiting is not None:
        yield *waiting, None


def silence(count: int, channels: int) -> Iterator[Samples]:
    """Silence of `count` samples, none where that is negative, in blocks."""
    for first in range(0, count, SILENCE_BLOCK):
        yield np.zeros((min(SILENCE_BLOCK, count - first), channels), np.float32)
