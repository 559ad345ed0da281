"""The display an HDR clip was graded on, put into a QuickTime or MP4 file, where FFmpeg does not write it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from visualdub.errors import VisualDubError
from visualdub.media.frame import HdrMetadata

_TO_ENTRIES = (b"mdia", b"minf", b"stbl", b"stsd")
_CHROMATICITY, _LUMINANCE = 50000, 10000  # steps of SMPTE ST 2086, per 1 and per cd/m2


def write_hdr_boxes(file: BinaryIO, hdr: HdrMetadata) -> None:
    """Add the boxes `mdcv` and `clli` to the pictures' sample entry of `file`, whose index (moov) comes last.

    Raises `VisualDubError` for a file of another order.
    """
    start = _index(file)
    file.seek(start)
    moov = bytearray(file.read())
    boxes = _mastering(hdr) + _light(hdr)
    for path in _picture_entries(moov):
        entry = path[-1]
        end = entry + _size(moov, entry)
        moov[end:end] = boxes
        for at in path:
            struct.pack_into(">I", moov, at, _size(moov, at) + len(boxes))
        break
    else:
        raise VisualDubError("the index of the movie describes no pictures")
    file.seek(start)
    file.write(moov)


def _index(file: BinaryIO) -> int:
    """Where the index begins."""
    at, size = 0, file.seek(0, 2)
    while at + 16 <= size:
        file.seek(at)
        length, kind, long = struct.unpack(">I4sQ", file.read(16))
        length = long if length == 1 else length
        if kind == b"moov" and at + length == size:
            return at
        at += max(8, length)
    raise VisualDubError("the movie does not end with its index")


def _picture_entries(moov: bytearray) -> Iterator[list[int]]:
    """Places of the boxes from the index down to the first sample entry of every track of pictures."""
    for trak in _boxes(moov, 0, b"trak"):
        for mdia in _boxes(moov, trak, b"mdia"):
            kinds = [bytes(moov[h + 16 : h + 20]) for h in _boxes(moov, mdia, b"hdlr")]
            if b"vide" not in kinds:
                continue
            path = [0, trak]
            for kind in _TO_ENTRIES:
                path.append(next(_boxes(moov, path[-1], kind)))
            yield [*path, path[-1] + 16]  # version, flags and a count lie before the first entry


def _boxes(moov: bytearray, parent: int, kind: bytes) -> Iterator[int]:
    """Places of the boxes of a kind right inside the box at `parent`."""
    at, end = parent + 8, parent + _size(moov, parent)
    while at + 8 <= end:
        if moov[at + 4 : at + 8] == kind:
            yield at
        at += max(8, _size(moov, at))


def _size(moov: bytearray, at: int) -> int:
    return int(struct.unpack_from(">I", moov, at)[0])


def _mastering(hdr: HdrMetadata) -> bytes:
    if not hdr.primaries or hdr.luminance is None:
        return b""
    red, green, blue, white = hdr.primaries
    places = [_steps(v, _CHROMATICITY) for pair in (green, blue, red, white) for v in pair]
    lights = [_steps(v, _LUMINANCE) for v in reversed(hdr.luminance)]
    return struct.pack(">I4s8H2I", 32, b"mdcv", *places, *lights)


def _light(hdr: HdrMetadata) -> bytes:
    if not hdr.max_content and not hdr.max_frame_average:
        return b""
    return struct.pack(">I4s2H", 12, b"clli", min(hdr.max_content, 65535), min(hdr.max_frame_average, 65535))


def _steps(value: Fraction, per_unit: int) -> int:
    return max(0, round(value * per_unit))
