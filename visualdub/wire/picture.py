"""A frame as a client receives it. Python 3.7, the standard library alone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from visualdub.wire.errors import ServiceFault

BYTES = {"uint8": 1, "uint16": 2, "float32": 4}  # of one sample


@dataclass(frozen=True)
class FramePicture:
    """One frame, or the part of it inside `box`.

    planes: for each array its shape, its dtype and its bytes, row by row; numpy.frombuffer(data,
    dtype).reshape(shape) reads it. "rgb8" and "rgb16" have one, (h, w, 3) full-range R'G'B'; native
    pixels have those of the clip's pixel format; a matte one, (h, w), 0 where the clip's own samples stay;
    "raw" and "uv" have one of float32.
    """

    number: int  # in the clip
    kind: str  # dub, plate, matte, raw or uv
    key: str  # equal keys are equal pixels
    pixels: str
    width: int  # of the whole picture
    height: int
    box: tuple[int, int, int, int]  # left, top, right, bottom of what is here, half open
    drawn: bool  # False: the frame passes through as it is
    planes: tuple[tuple[tuple[int, ...], str, bytes], ...]


def picture_of(reply: dict[str, Any], data: bytes) -> FramePicture:
    """The picture that a reply of the service describes, `data` being all its planes.

    Raises `ServiceFault` where they do not fit each other.
    """
    planes = []
    at = 0
    for plane in reply["planes"]:
        shape, dtype = tuple(plane["shape"]), plane["dtype"]
        length = _product(shape) * BYTES[dtype]
        planes.append((shape, dtype, data[at : at + length]))
        at += length
    if at != len(data):
        raise ServiceFault(f"frame {reply['number']} has {len(data)} bytes; expected {at}")
    names = ("number", "kind", "key", "pixels", "width", "height", "drawn")
    return FramePicture(box=tuple(reply["box"]), planes=tuple(planes), **{n: reply[n] for n in names})


def planes_bytes(reply: dict[str, Any]) -> int:
    """How many bytes all planes of a reply have."""
    return sum(_product(tuple(p["shape"])) * BYTES[p["dtype"]] for p in reply["planes"])


def read_planes(reply: dict[str, Any]) -> bytes:
    """The planes of a reply from the file it names. Raises `OSError` where it is gone."""
    with open(reply["path"], "rb") as file:
        file.seek(reply["offset"])
        return file.read(planes_bytes(reply))


def unpack_planes(reply: dict[str, Any], packed: bytes) -> bytes:
    """The planes of a reply from its bulk data, which never grows past what the reply announces."""
    unpacker = zlib.decompressobj()
    length = planes_bytes(reply)
    data = unpacker.decompress(packed, length)
    if len(data) != length or unpacker.unconsumed_tail:
        raise ServiceFault(f"frame {reply['number']} is packed wrongly; expected {length} bytes")
    return data


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
