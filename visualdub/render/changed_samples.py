"""What differs from the source in a finished frame: the samples inside the bounds of its matte."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALIGNED = 4  # pixels: bounds lie on whole chroma samples of every pixel format
Box = tuple[int, int, int, int]  # left, top, right, bottom; half open
Planes = tuple[NDArray[np.generic], ...]


def bounds(matte: NDArray[np.uint8]) -> Box:
    """The box around what is not 0 in a matte (H, W), grown to multiples of ALIGNED; empty without any."""
    rows, columns = np.flatnonzero(matte.any(1)), np.flatnonzero(matte.any(0))
    if len(rows) == 0:
        return 0, 0, 0, 0
    height, width = matte.shape
    left, top = (int(v[0]) // ALIGNED * ALIGNED for v in (columns, rows))
    right, bottom = (-(-(int(v[-1]) + 1) // ALIGNED) * ALIGNED for v in (columns, rows))
    return left, top, min(right, width), min(bottom, height)


def within(box: Box, plane: NDArray[np.generic], luma: NDArray[np.generic]) -> tuple[slice, slice]:
    """The box of the whole picture, of the shape of `luma`, in a plane of it."""
    left, top, right, bottom = box
    down, across = (-(-luma.shape[i] // plane.shape[i]) for i in (0, 1))
    rows = slice(top // down, min(plane.shape[0], -(-bottom // down)))
    return rows, slice(left // across, min(plane.shape[1], -(-right // across)))


def cut(planes: Planes, box: Box) -> Planes:
    """The samples of every plane inside the box."""
    return tuple(plane[within(box, plane, planes[0])] for plane in planes)


def pasted(planes: Planes, parts: Planes, box: Box) -> Planes:
    """Copies of the planes with what `cut` took from others in them."""
    planes = tuple(plane.copy() for plane in planes)
    for plane, part in zip(planes, parts, strict=True):
        plane[within(box, plane, planes[0])] = part
    return planes
