"""Writes the display size into a Matroska file: the sample aspect that PyAV has no way to give FFmpeg's muxer."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from visualdub.errors import VisualDubError

RESERVED_NAME = "display size to come " + "." * 20  # a track name that leaves its room to the display size
_SEGMENT, _TRACKS, _TRACK, _TYPE, _NAME, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0x536E, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT, _VOID = 0x54B0, 0x54BA, 0x54B2, 0xEC
_HEAD = 1 << 16  # bytes; the track headers lie in front of the pictures


def display_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Display width and height whose ratio to the coded ones is exactly `aspect`, in whole pixels."""
    if width * aspect.numerator % aspect.denominator == 0:
        return width * aspect.numerator // aspect.denominator, height
    if height * aspect.denominator % aspect.numerator == 0:
        return width, height * aspect.denominator // aspect.numerator
    return width * aspect.numerator, height * aspect.denominator


def write_display_size(file: BinaryIO, width: int, height: int) -> None:
    """Put the display size into the video track of `file`, made with `RESERVED_NAME` and without checksums, in place."""
    file.seek(0)
    data = file.read(_HEAD)
    for start, end in _tracks(data):
        parts = [(ident, data[a:c]) for ident, a, _, c in _elements(data, start, end)]
        kinds = dict(parts)
        if _NAME in kinds and _VIDEO in kinds and kinds.get(_TYPE, b"\0")[-1] == 1:
            file.seek(start)
            file.write(_resized(parts, end - start, width, height))
            return
    raise VisualDubError("the Matroska header has no room for a display size")


def _tracks(data: bytes) -> Iterator[tuple[int, int]]:
    """Content of every track entry: (start, end) in `data`."""
    for ident, _, start, end in _elements(data, 0, len(data)):
        if ident != _SEGMENT:
            continue
        for inner, _, inner_start, inner_end in _elements(data, start, min(end, len(data))):
            if inner == _TRACKS:
                yield from ((a, b) for kind, _, a, b in _elements(data, inner_start, inner_end) if kind == _TRACK)
                return


def _resized(parts: list[tuple[int, bytes]], size: int, width: int, height: int) -> bytes:
    """The track entry's elements with the display size in place of the reserved name, exactly `size` bytes."""
    out = b""
    for ident, raw in parts:
        if ident == _VIDEO:
            (_, _, start, end), = _elements(raw, 0, len(raw))
            kept = [raw[a:c] for inner, a, _, c in _elements(raw, start, end)
                    if inner not in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)]
            shape = [_element(_DISPLAY_WIDTH, width.to_bytes(4, "big")), _element(_DISPLAY_HEIGHT, height.to_bytes(4, "big"))]
            out += _element(_VIDEO, b"".join(kept + shape))
        elif ident != _NAME:
            out += raw
    room = size - len(out)
    if room < 9:
        raise VisualDubError("the Matroska header has no room for a display size")
    return out + _element(_VOID, bytes(room - 9))


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(identity, start, start of content, end) of the elements in data[start:end]; one of unknown length runs to the end."""
    at = start
    while at < end:
        n = 9 - data[at].bit_length()
        ident = int.from_bytes(data[at:at + n], "big")
        m = 9 - data[at + n].bit_length()
        length = int.from_bytes(data[at + n:at + n + m], "big") & ((1 << 7 * m) - 1)
        content = at + n + m
        stop = end if length == (1 << 7 * m) - 1 else content + length
        yield ident, at, content, stop
        at = stop


def _element(ident: int, content: bytes) -> bytes:
    """One element, its length written in eight bytes."""
    name = ident.to_bytes((ident.bit_length() + 7) // 8, "big")
    return name + ((1 << 56) | len(content)).to_bytes(8, "big") + content
