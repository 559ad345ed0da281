"""Movies read with PyAV: a clip's facts, and frame-exact, streaming decode of frames A..B-1."""

from __future__ import annotations

from collections.abc import Generator, Iterator
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
from visualdub.media.clip_facts import (
    aspect_notes,
    companions,
    decoder_of,
    hdr_metadata,
    image_of,
    picture_notes,
    stream_notes,
    timecode,
    video_stream,
)
from visualdub.media.clip_index import ClipIndex, KeyFrame, Packets, data_packets, index_packets, read_packets
from visualdub.media.frame import ClipInfo, Frame
from visualdub.media.open import open_media, reading
from visualdub.media.pixel_format import planes_of
from visualdub.stages import Progress
from visualdub.storage import MIB
from visualdub.timing import FrameRange, VariableRate, find_rate


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
        packets = read_packets(container, stream, partial(watcher.read, size=size))
        watcher.read(size, size)
        time_base = stream.time_base or Fraction(1, 1000)
        index, timing, count = index_packets(packets.stamps, container.format.name, time_base, first.pts)
        if not count:
            raise MediaError(
                f"{path} has a video stream without a single frame; expected a clip with pictures"
            )
        if stream.frames and count < stream.frames // 2:
            raise MediaError(f"{path} is truncated: {count} frames found, {stream.frames} expected")
        rates = (stream.base_rate, stream.average_rate, stream.guessed_rate)
        rate, repeated = _rate(path, timing, time_base, rates)
        info = ClipInfo(
            path=path,
            container=container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            rate=rate,
            frame_count=count,
            image=image_of(path, stream, first),
            timecode=timecode(container, stream),
            has_audio=bool(container.streams.audio),
            field_order=int(stream.codec_context.field_order),
            repeated=repeated,
            hdr=hdr_metadata(first),
            companions=companions(container, packets.captions),
            notes=(*stream_notes(container, path), *picture_notes(path, first)),
        )
    later_notes = (*_clock_notes(info, packets, index), *aspect_notes(info.image, path))
    return replace(info, notes=(*info.notes, *later_notes)), index


def _rate(
    path: Path, timing: NDArray[np.int64] | None, time_base: Fraction, declared: tuple[Fraction | None, ...]
) -> tuple[Fraction, tuple[tuple[int, int], ...]]:
    if timing is None:  # no timestamps at all: the container only knows a rate, so it is constant
        timing = np.zeros(1, np.int64)
        declared = (declared[1], declared[2], declared[0])
    try:
        return find_rate(timing, time_base, declared)
    except VariableRate as e:
        found, expected = f"has a variable frame rate ({e})", "a constant one"
        if e.lost:
            found, expected = f"has lost {e}", "a clip without gaps"
        if e.rate:
            expected += f": convert it first, for instance ffmpeg -i IN -fps_mode cfr -r {e.rate} OUT"
        raise MediaError(f"{path} {found}; expected {expected}") from e


def _clock_notes(info: ClipInfo, packets: Packets, index: ClipIndex) -> list[str]:
    """What the user should know of a clock that was set anew and of frames that are missing."""
    name, notes = info.path.name, []
    if index.jumps:
        frames = [sum(p.visible for p in packets.stamps[:packet]) for packet, _ in index.jumps]
        notes.append(
            f"the clock of {name} jumps {_times(len(frames))} (at frame {_listed(frames)}); its frames are"
            " taken one after the other, without a gap"
        )
    if info.repeated:
        missing = sum(n for _, n in info.repeated)
        after = _listed([f for f, _ in info.repeated])
        lost, they = ("1 frame", "it") if missing == 1 else (f"{missing} frames", "them")
        notes.append(
            f"{name} has lost {lost} (after frame {after}); what comes before {they} is shown longer"
        )
    return notes


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _listed(numbers: list[int]) -> str:
    """The first few numbers of a list, for a message."""
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")


def _first_picture(path: Path) -> av.VideoFrame:
    with open_media(path) as container, reading(path):
        stream = video_stream(container, path)
        decoder = decoder_of(stream)
        for packet in container.demux(stream):
            for picture in decoder.decode(packet if packet.size else None):
                return picture
    raise MediaError(f"{path}: no picture could be decoded; expected a clip with pictures")


# ---- decoding ----------------------------------------------------------------------------------------------


def _read(info: ClipInfo, index: ClipIndex, wanted: FrameRange) -> Generator[Frame]:
    expected = wanted.start
    for key in _starts(index, wanted.start):
        for number, picture in _numbered(info, index, key, wanted):
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


def _starts(index: ClipIndex, first: int) -> list[KeyFrame | None]:
    """Where to start decoding, best first: the key frame before frame `first`, then the beginning."""
    if index.stamps is None or first == 0:
        return [None]
    before = [key for key in index.keys if key.pts <= index.stamps[first]]
    return [before[-1], None] if len(before) > 1 else [None]


def _numbered(
    info: ClipInfo, index: ClipIndex, key: KeyFrame | None, wanted: FrameRange
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decoded pictures with their frame numbers, from `key` on (None: from the beginning) to the end of
    `wanted`. Of those before it the ones may be missing that no other picture refers to.
    """
    first = None if index.stamps is None else index.stamps[wanted.start]
    with open_media(info.path) as container, reading(info.path):
        stream = video_stream(container, info.path)
        decoder = decoder_of(stream)
        decoder.thread_type = "AUTO"
        number = -1
        for packet in _packets(container, stream, index, key):
            early = first is not None and packet is not None and packet.pts is not None and packet.pts < first
            decoder.skip_frame = "NONREF" if early else "DEFAULT"
            for picture in decoder.decode(packet):
                if index.stamps is None or picture.pts is None:
                    number += 1
                elif picture.pts < index.stamps[0]:
                    continue
                else:
                    number = int(np.searchsorted(index.stamps, picture.pts))
                if number >= wanted.end_exclusive:
                    return
                yield number, picture


def _packets(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    index: ClipIndex,
    key: KeyFrame | None,
) -> Iterator[av.Packet[av.video.stream.VideoStream] | None]:
    """The stream's packets from the key frame on, their stamps on the clock that runs on, then None to empty
    the decoder; none at all where a seek lands behind the key frame.
    """
    if key is not None and not index.jumps:
        container.seek(key.dts, stream=stream, backward=True)
    found = key is None
    for number, packet in enumerate(data_packets(container, stream)):
        if key is not None and not found:
            if index.jumps:  # stamps that come again say nothing of where a seek would land
                found = number == key.packet
            elif packet.dts is not None and packet.dts > key.dts:
                return
            else:  # a seek may land anywhere before the key frame, between pictures that cannot be decoded
                found = packet.dts == key.dts and packet.is_keyframe
        if found:
            shift = index.shift_at(number) if index.jumps else 0
            if shift:
                packet.pts = None if packet.pts is None else packet.pts + shift
                packet.dts = None if packet.dts is None else packet.dts + shift
            yield packet
    if found:
        yield None
