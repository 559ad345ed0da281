"""Frame-exact, streaming decode: frames A..B-1 of a clip, each with its number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.container
import av.video.stream
import numpy as np

from visualdub.errors import MediaError
from visualdub.media.frame import Frame, MediaInfo
from visualdub.media.opening import open_media, reading
from visualdub.media.planes import planes_of
from visualdub.media.probe import ClipIndex, scan, video_stream
from visualdub.timing import FrameRange


def read_frames(path: Path, frames: FrameRange | None = None) -> Iterator[Frame]:
    """Yield exactly the frames A..B-1 (all by default), in order, one at a time.

    Starts at the key frame before A where the container allows it. Raises `BadInput` for a range past the end and
    `MediaError` where a frame cannot be decoded: no frame is ever left out in silence.
    """
    info, index = scan(Path(path))
    wanted = frames.within(info.frame_count, str(path)) if frames else FrameRange(0, info.frame_count)
    return _read(info, index, wanted)


def _read(info: MediaInfo, index: ClipIndex, wanted: FrameRange) -> Iterator[Frame]:
    expected = wanted.start
    for key in _starts(index, wanted.start):
        for number, picture in _numbered(info, index, key, wanted.end_exclusive):
            if number < wanted.start:
                continue
            if number != expected:
                break
            yield Frame(number, planes_of(picture, info), info)
            expected += 1
            if expected == wanted.end_exclusive:
                return
        if expected > wanted.start:  # only a start that missed the first frame is worth another, earlier one
            break
    raise MediaError(f"{info.path}: frame {expected} of {info.frame_count} cannot be decoded; the file is damaged or truncated")


def _starts(index: ClipIndex, first: int) -> list[int | None]:
    """Where to start decoding, best first: the decoding stamp of the key frame before frame `first`, then the beginning."""
    if index.stamps is None or first == 0:
        return [None]
    before = [key for key in index.keys if key[0] <= index.stamps[first]]
    return [before[-1][1], None] if len(before) > 1 else [None]


def _numbered(info: MediaInfo, index: ClipIndex, key: int | None, end: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decoded pictures with their frame numbers, from the key frame of decoding stamp `key` (None: from the beginning)."""
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


def _pictures(container: av.container.InputContainer, stream: av.video.stream.VideoStream,
              key: int | None) -> Iterator[av.VideoFrame]:
    """Pictures from the key frame of decoding stamp `key` on; none at all where a seek lands behind it."""
    if key is None:
        yield from container.decode(stream)
        return
    container.seek(key, stream=stream, backward=True)
    found = False
    for packet in container.demux(stream):
        if not found and packet.dts is not None and packet.dts > key:
            return
        # Without an index a seek lands anywhere before the key frame, between pictures that cannot be decoded.
        found = found or (packet.dts == key and packet.is_keyframe)
        if found:
            yield from packet.decode()
