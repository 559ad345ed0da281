"""Movies read with PyAV: a clip's facts, and frame-exact, streaming decode of frames A..B-1."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Self
from weakref import WeakSet

import av
import av.container
import av.video.stream
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import MediaError, VisualDubError
from visualdub.media.frame import ClipInfo, ColourTags, Frame, ImageSpec
from visualdub.media.open import open_media, reading
from visualdub.media.pixel_format import is_rgb, planar_format, planes_of
from visualdub.media.siting import picture_siting
from visualdub.media.yuv import colour_matrix
from visualdub.stages import Progress
from visualdub.storage import MIB
from visualdub.timing import FrameRange, VariableRate, find_rate

PACKETS_PER_REPORT = 250
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC: cover art


@dataclass(frozen=True)
class ClipIndex:
    """Where the frames of a clip are. n frames."""

    stamps: (
        NDArray[np.int64] | None
    )  # (n,) presentation stamps in order, unique; None where the container has none
    keys: tuple[
        tuple[int, int], ...
    ]  # (presentation stamp, decoding stamp) of the frames a decoder can start at, in order


class MovieReader:
    """A movie file as a `FrameSource`: facts from its headers, a pass over its packets and its first picture.

    Every range is decoded from a handle of its own, so that several may be read at a time; it starts at the
    key frame before its first frame where the container allows it. No frame is ever left out in silence.
    Raises `MediaError` for a missing, unreadable or truncated file, one without video, and one of a variable
    frame rate.
    """

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        """progress: gets MiB read of the pass over the packets, as "scanning"."""
        self._info, self._index = scan(path, progress)
        self._closed = False
        self._ranges: WeakSet[_Range] = WeakSet()

    @property
    def info(self) -> ClipInfo:
        """Facts of the clip."""
        return self._info

    def frames(self, frames: FrameRange | None = None) -> Iterator[Frame]:
        """Exactly the frames of a range, all by default, in order, one at a time.

        Raises at once `BadInput` for a range past the end and `VisualDubError` for a closed reader; while
        reading, `MediaError` where a frame cannot be decoded.
        """
        if self._closed:
            raise VisualDubError(f"{self._info.path} is closed; its frames cannot be read")
        count = self._info.frame_count
        wanted = FrameRange(0, count) if frames is None else frames.within(count, str(self._info.path))
        found = _Range(self._info, self._index, wanted)
        self._ranges.add(found)
        return found

    def close(self) -> None:
        """Let go of the file. Whoever reads on in a range that is not at its end gets a `VisualDubError`."""
        self._closed = True
        for found in list(self._ranges):
            found.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Range:
    """The frames of one range, decoded as they are asked for."""

    def __init__(self, info: ClipInfo, index: ClipIndex, wanted: FrameRange) -> None:
        self._path, self._left, self._closed = info.path, len(wanted), False
        self._frames = _read(info, index, wanted)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._closed:
            self._frames.close()  # it was being decoded when the range was closed
        frame = next(self._frames, None)
        if frame is None and self._left:
            raise VisualDubError(
                f"{self._path} was closed with {self._left} frames of a range still to be read"
            )
        if frame is None:
            raise StopIteration
        self._left -= 1
        return frame

    def close(self) -> None:
        """Let go of the file, at once or, where another thread is decoding, with the frame it is at."""
        self._closed = True
        with suppress(ValueError):  # the generator is running in that thread
            self._frames.close()


def scan(path: Path, progress: Progress | None = None) -> tuple[ClipInfo, ClipIndex]:
    """Facts of the clip and the index of its frames; kept until the file changes."""
    path = Path(path)
    try:
        stat = path.stat()
    except OSError as e:
        raise MediaError(f"{path}: {(e.strerror or 'unreadable').lower()}; expected a media file") from e
    return _scan(path, stat.st_mtime_ns, stat.st_size, _Watcher(progress))


def video_stream(container: av.container.InputContainer, path: Path) -> av.video.stream.VideoStream:
    """The first video stream that is not cover art. Raises `MediaError` where there is none."""
    for stream in container.streams.video:
        if not int(stream.disposition) & _ATTACHED_PICTURE:
            return stream
    found = ", ".join(sorted({s.type for s in container.streams})) or "no"
    raise MediaError(f"{path} has no video stream (found: {found} streams); expected a clip with pictures")


# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Watcher:
    """Who is told how far a scan is. All are equal: the result of a scan is kept whoever watched it."""

    progress: Progress | None = field(compare=False)

    def read(self, position: int | None, size: int) -> None:
        """Report that the file was read up to `position`, bytes of `size`."""
        if self.progress is not None and position is not None and size > 0:
            total = -(-size // MIB)
            self.progress.report("scanning", min(max(0, position) // MIB, total), total)


@lru_cache(maxsize=64)
def _scan(path: Path, _mtime: int, size: int, watcher: _Watcher) -> tuple[ClipInfo, ClipIndex]:
    first = _first_picture(path)
    with open_media(path) as container, reading(path):
        stream = video_stream(container, path)
        seeks = (
            container.format.name != "mpeg"
        )  # a program stream gives wrong stamps to the first packets after a seek
        ordered = (
            container.format.name != "avi"
        )  # AVI has decoding stamps only; FFmpeg's guesses at the others are wrong
        report = partial(watcher.read, size=size)
        visible, keys = _packets(container, stream, first.pts if ordered else None, report)
        report(size)
        declared_frames, time_base = stream.frames, stream.time_base or Fraction(1, 1000)
        rates = (stream.base_rate, stream.average_rate, stream.guessed_rate)
        info = _info(path, container, stream, first, len(visible))
    if not visible:
        raise MediaError(f"{path} has a video stream without a single frame; expected a clip with pictures")
    stamps = _unique([pts for pts, _ in visible]) if ordered else None
    timing = stamps if stamps is not None else _unique([dts for _, dts in visible])
    rate, repeated = _rate(path, timing, time_base, rates)
    if declared_frames and len(visible) < declared_frames // 2:
        raise MediaError(f"{path} is truncated: {len(visible)} frames found, {declared_frames} expected")
    info = replace(info, rate=rate, repeated=repeated)
    return info, ClipIndex(stamps, keys if seeks else ())


def _rate(
    path: Path, timing: NDArray[np.int64] | None, time_base: Fraction, declared: tuple[Fraction | None, ...]
) -> tuple[Fraction, tuple[tuple[int, int], ...]]:
    if timing is None:  # no timestamps at all: the container only knows a rate, so it is constant
        timing = np.zeros(1, np.int64)
        declared = (declared[1], declared[2], declared[0])
    try:
        return find_rate(timing, time_base, declared)
    except VariableRate as e:
        raise MediaError(
            f"{path} has a variable frame rate ({e}); expected a constant one: convert it first, for instance"
            " ffmpeg -i IN -fps_mode cfr -r 30 OUT"
        ) from e


def _first_picture(path: Path) -> av.VideoFrame:
    with open_media(path) as container, reading(path):
        stream = video_stream(container, path)
        for picture in container.decode(stream):
            return picture
    raise MediaError(f"{path}: no picture could be decoded; expected a clip with pictures")


def _packets(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    first: int | None,
    report: Callable[[int | None], None],
) -> tuple[list[tuple[int | None, int | None]], tuple[tuple[int, int], ...]]:
    """(presentation, decoding) stamps of every packet that becomes a visible frame, and of those a decoder
    can start at. report: gets the position in the file, now and then.
    """
    visible: list[tuple[int | None, int | None]] = []
    keys: list[tuple[int, int]] = []
    hides = stream.codec_context.name in ("vp8", "libvpx")
    for number, packet in enumerate(container.demux(stream)):
        if number % PACKETS_PER_REPORT == 0:
            report(packet.pos)
        if not packet.size:
            continue
        if packet.is_keyframe and packet.pts is not None and packet.dts is not None:
            keys.append((packet.pts, packet.dts))
        undecodable = first is not None and packet.pts is not None and packet.pts < first
        hidden = hides and not bytes(packet)[0] & 0x10  # VP8's show_frame bit
        if not (packet.is_discard or undecodable or hidden):
            visible.append((packet.pts, packet.dts))
    return visible, tuple(sorted(keys))


def _unique(stamps: list[int | None]) -> NDArray[np.int64] | None:
    """The stamps in order; None where one is missing or comes twice."""
    if any(s is None for s in stamps):
        return None
    ordered = np.unique(np.array(stamps, np.int64))
    return ordered if len(ordered) == len(stamps) else None


def _info(
    path: Path,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    first: av.VideoFrame,
    count: int,
) -> ClipInfo:
    return ClipInfo(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        rate=Fraction(0),
        frame_count=count,
        image=_image(path, stream, first),
        timecode=_timecode(container, stream),
        has_audio=bool(container.streams.audio),
        field_order=int(stream.codec_context.field_order),
    )


def _image(path: Path, stream: av.video.stream.VideoStream, first: av.VideoFrame) -> ImageSpec:
    pix_fmt = planar_format(first.format.name)
    if pix_fmt is None:
        raise MediaError(
            f"{path} has pixel format {first.format.name}; expected 8 to 16 bit Y'CbCr, grey or RGB"
        )
    rotation = _clockwise(path, first.rotation)
    width, height = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    image = ImageSpec(
        width,
        height,
        pix_fmt,
        _colour(first, pix_fmt),
        rotation,
        1 / aspect if rotation in (90, 270) else aspect,
        picture_siting(first, stream.codec_context.codec.canonical_name),
    )
    if pix_fmt.startswith("yuv"):
        try:
            colour_matrix(image)
        except MediaError as e:
            raise MediaError(f"{path}: {e}") from e
    return image


def _clockwise(path: Path, counter_clockwise: int) -> int:
    degrees = -counter_clockwise % 360
    if degrees % 90:
        raise MediaError(f"{path} is displayed turned by {degrees} degrees; expected a multiple of 90")
    return degrees


def _colour(first: av.VideoFrame, pix_fmt: str) -> ColourTags:
    full = first.format.name.startswith("yuvj") or is_rgb(pix_fmt)
    matrix = 0 if is_rgb(pix_fmt) else int(first.colorspace)
    return ColourTags(
        int(first.color_range) or (2 if full else 0), matrix, int(first.color_primaries), int(first.color_trc)
    )


def _timecode(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> str | None:
    for metadata in (stream.metadata, container.metadata, *(s.metadata for s in container.streams)):
        for key, value in metadata.items():
            if key.lower() == "timecode":
                return value
    return None


# ---- decoding ----------------------------------------------------------------------------------------------


def _read(info: ClipInfo, index: ClipIndex, wanted: FrameRange) -> Generator[Frame]:
    expected = wanted.start
    for key in _starts(index, wanted.start):
        for number, picture in _numbered(info, index, key, wanted.end_exclusive):
            if number < wanted.start:
                continue
            if number != expected:
                break
            yield Frame(number, planes_of(picture, info.image), info.image)
            expected += 1
            if expected == wanted.end_exclusive:
                return
        if expected > wanted.start:  # only a start that missed the first frame is worth another, earlier one
            break
    raise MediaError(
        f"{info.path}: frame {expected} of {info.frame_count} cannot be decoded; the file is damaged or"
        " truncated"
    )


def _starts(index: ClipIndex, first: int) -> list[int | None]:
    """Where to start decoding, best first: the decoding stamp of the key frame before frame `first`, then the
    beginning.
    """
    if index.stamps is None or first == 0:
        return [None]
    before = [key for key in index.keys if key[0] <= index.stamps[first]]
    return [before[-1][1], None] if len(before) > 1 else [None]


def _numbered(
    info: ClipInfo, index: ClipIndex, key: int | None, end: int
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decoded pictures with their frame numbers, from the key frame of decoding stamp `key` (None: from the
    beginning).
    """
    with open_media(info.path) as container, reading(info.path):
        stream = video_stream(container, info.path)
        stream.thread_type = "AUTO"
        number = -1
        for picture in _pictures(container, stream, key):
            if index.stamps is None or picture.pts is None:
                number += 1
            elif picture.pts < index.stamps[0]:
                continue
            else:
                number = int(np.searchsorted(index.stamps, picture.pts))
            if number >= end:
                return
            yield number, picture


def _pictures(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, key: int | None
) -> Iterator[av.VideoFrame]:
    """Pictures from the key frame of decoding stamp `key` on; none at all where a seek lands behind it."""
    if key is None:
        yield from container.decode(stream)
        return
    container.seek(key, stream=stream, backward=True)
    found = False
    for packet in container.demux(stream):
        if not found and packet.dts is not None and packet.dts > key:
            return
        # Without an index a seek lands anywhere before the key frame, between pictures that cannot be
        # decoded.
        found = found or (packet.dts == key and packet.is_keyframe)
        if found:
            yield from packet.decode()
