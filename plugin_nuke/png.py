"""Pictures for Nuke's Read: PNG with alpha, written by the standard library alone."""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGBA = 6  # the colour type
CHANGED = bytes([0] + [255] * 255)  # of a sample of the matte: whether the frame differs from its plate


@dataclass(frozen=True)
class Generated:
    """What a dub changes of one frame.

    rgb: R'G'B' of the rectangle `box` (left, top, right, bottom; half open), row by row, 8 bits a sample or
    16 in the machine's byte order. matte: one byte a pixel of the same rectangle, 0 where the plate stays.
    """

    width: int  # of the whole picture
    height: int
    box: tuple[int, int, int, int]
    rgb: bytes
    matte: bytes
    bits: int = 8


def png_of(picture: Generated) -> bytes:
    """A whole picture as PNG: R'G'B' where the dub changed the plate and zero elsewhere, the matte as alpha,
    not multiplied into the colours.

    Raises `ValueError` where the samples do not fill the box.
    """
    left, top, right, bottom = picture.box
    size, pixels = picture.bits // 8, (right - left) * (bottom - top)
    if len(picture.rgb) != 3 * pixels * size or len(picture.matte) != pixels:
        raise ValueError(
            f"the box {picture.box} has {len(picture.rgb)} bytes of colour and {len(picture.matte)} of matte"
        )
    channels = _channels(picture)
    packer = zlib.compressobj(1)
    blank = bytes(1 + 4 * size * picture.width)
    out = [packer.compress(blank) for _ in range(top)]
    across = (right - left) * size
    for row in range(bottom - top):
        line = bytearray(blank)
        for i, channel in enumerate(channels):
            part = channel[row * across : (row + 1) * across]
            for byte in range(size):
                start = 1 + (4 * left + i) * size + byte
                end = 1 + 4 * right * size
                line[start : end : 4 * size] = part[byte::size]
        out.append(packer.compress(bytes(line)))
    out += [packer.compress(blank) for _ in range(picture.height - bottom)]
    out.append(packer.flush())
    head = struct.pack(">IIBBBBB", picture.width, picture.height, picture.bits, RGBA, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", b"".join(out)) + _chunk(b"IEND", b"")


def _channels(picture: Generated) -> list[bytes]:
    """R, G, B and A of the box, each row by row, in PNG's byte order, the colours zero where the plate
    stays.
    """
    changed, alpha = picture.matte.translate(CHANGED), picture.matte
    if picture.bits == 8:
        colours = [picture.rgb[i::3] for i in range(3)]
    else:
        samples = array("H", picture.rgb)
        if sys.byteorder == "little":
            samples.byteswap()
        colours = [samples[i::3].tobytes() for i in range(3)]
        changed, alpha = (_twice(changed), _twice(alpha))
    return [*(_masked(c, changed) for c in colours), alpha]


def _twice(samples: bytes) -> bytes:
    """8 bits a sample as 16: each byte twice."""
    out = bytearray(2 * len(samples))
    out[::2] = out[1::2] = samples
    return bytes(out)


def _masked(samples: bytes, mask: bytes) -> bytes:
    both = int.from_bytes(samples, "big") & int.from_bytes(mask, "big")
    return both.to_bytes(len(samples), "big")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
