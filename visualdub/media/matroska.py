"""Facts of a picture that FFmpeg does not write into Matroska's track header: the exact display size, and the
display an HDR clip was graded on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from visualdub.errors import VisualDubError
from visualdub.media.frame import HdrMetadata

RESERVED_NAME = "facts to come " + "." * 330  # a track name that leaves its room to them

_SEGMENT, _TRACKS, _TRACK, _TYPE, _NAME, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0x536E, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT, _VOID = 0x54B0, 0x54BA, 0x54B2, 0xEC
_COLOUR, _MAX_CLL, _MAX_FALL, _MASTERING = 0x55B0, 0x55BC, 0x55BD, 0x55D0
_FIRST_PRIMARY, _LUMINANCE_MAX, _LUMINANCE_MIN = 0x55D1, 0x55D9, 0x55DA
_HEAD = 1 << 16  # bytes; the track headers lie in front of the pictures


def display_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Display width and height whose ratio to the coded ones is exactly `aspect`, in whole pixels."""
    if width * aspect.numerator % aspect.denominator == 0:
        return width * aspect.numerator // aspect.denominator, height
    if height * aspect.denominator % aspect.numerator == 0:
        return width, height * aspect.denominator // aspect.numerator
    return width * aspect.numerator, height * aspect.denominator


def write_picture_facts(
    file: BinaryIO, shape: tuple[int, int] | None = None, hdr: HdrMetadata | None = None
) -> None:
    """Put the display size and the HDR metadata, where given, into the video track of `file` in place. The
    file was made with `RESERVED_NAME` as its video track's title and without checksums.
    """
    file.seek(0)
    data = file.read(_HEAD)
    for start, end in _tracks(data):
        parts = [(ident, data[a:c]) for ident, a, _, c in _elements(data, start, end)]
        kinds = dict(parts)
        if _NAME in kinds and _VIDEO in kinds and kinds.get(_TYPE, b"\0")[-1] == 1:
            file.seek(start)
            file.write(_rewritten(parts, end - start, shape, hdr))
            return
    raise VisualDubError("the Matroska header has no room for the facts of the picture")


def _tracks(data: bytes) -> Iterator[tuple[int, int]]:
    """Content of every track entry: (start, end) in `data`."""
    for ident, _, start, end in _elements(data, 0, len(data)):
        if ident != _SEGMENT:
            continue
        for inner, _, inner_start, inner_end in _elements(data, start, min(end, len(data))):
            if inner == _TRACKS:
                yield from (
                    (a, b) for kind, _, a, b in _elements(data, inner_start, inner_end) if kind == _TRACK
                )
                return


def _rewritten(
    parts: list[tuple[int, bytes]], size: int, shape: tuple[int, int] | None, hdr: HdrMetadata | None
) -> bytes:
    """The track entry's elements with the facts in place of the reserved name, exactly `size` bytes."""
    out = b""
    for ident, raw in parts:
        if ident == _VIDEO:
            out += _element(_VIDEO, _video(raw, shape, hdr))
        elif ident != _NAME:
            out += raw
    room = size - len(out)
    if room < 9:
        raise VisualDubError("the Matroska header has no room for the facts of the picture")
    return out + _element(_VOID, bytes(room - 9))


def _video(raw: bytes, shape: tuple[int, int] | None, hdr: HdrMetadata | None) -> bytes:
    """Content of the video element `raw` with the facts."""
    ((_, _, start, end),) = _elements(raw, 0, len(raw))
    colour, kept = b"", b""
    replaced = (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT) if shape else ()
    for ident, a, content, c in _elements(raw, start, end):
        if ident == _COLOUR and hdr is not None:
            colour = raw[content:c]
        elif ident not in replaced:
            kept += raw[a:c]
    if shape is not None:
        kept += _element(_DISPLAY_WIDTH, shape[0].to_bytes(4, "big"))
        kept += _element(_DISPLAY_HEIGHT, shape[1].to_bytes(4, "big"))
    if hdr is not None:
        kept += _element(_COLOUR, colour + _hdr(hdr))
    return kept


def _hdr(hdr: HdrMetadata) -> bytes:
    """The elements of the colour element that hold `hdr`."""
    mastering = b""
    for i, value in enumerate(v for pair in hdr.primaries for v in pair):
        mastering += _element(_FIRST_PRIMARY + i, struct.pack(">d", float(value)))
    if hdr.luminance is not None:
        mastering += _element(_LUMINANCE_MAX, struct.pack(">d", float(hdr.luminance[1])))
        mastering += _element(_LUMINANCE_MIN, struct.pack(">d", float(hdr.luminance[0])))
    out = _element(_MASTERING, mastering) if mastering else b""
    if hdr.max_content or hdr.max_frame_average:
        out += _element(_MAX_CLL, hdr.max_content.to_bytes(4, "big"))
        out += _element(_MAX_FALL, hdr.max_frame_average.to_bytes(4, "big"))
    return out


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(identity, start, start of content, end) of the elements in data[start:end]; one of unknown length runs
    to the end.
    """
    at = start
    while at < end:
        n = 9 - data[at].bit_length()
        ident = int.from_bytes(data[at : at + n], "big")
        m = 9 - data[at + n].bit_length()
        length = int.from_bytes(data[at + n : at + n + m], "big") & ((1 << 7 * m) - 1)
        content = at + n + m
        stop = end if length == (1 << 7 * m) - 1 else content + length
        yield ident, at, content, stop
        at = stop


def _element(ident: int, content: bytes) -> bytes:
    """One element, its length written in eight bytes."""
    name = ident.to_bytes((ident.bit_length() + 7) // 8, "big")
    return name + ((1 << 56) | len(content)).to_bytes(8, "big") + content
