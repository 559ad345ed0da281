"""Planes of one pixel format, range or matrix to those of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visualdub.media.chroma import enlarge, reduce
from visualdub.media.frame import MediaInfo
from visualdub.media.pixels import (
    chroma_code,
    chroma_factors,
    chroma_siting,
    code_range,
    colour_matrix,
    luma_code,
    planes_to_rgb,
    rgb_to_planes,
)
from visualdub.media.planes import bit_depth, has_alpha, is_rgb


def convert_planes(planes: Sequence[NDArray[np.generic]], info: MediaInfo, target: MediaInfo) -> tuple[NDArray[np.generic], ...]:
    """The same picture in the pixel format and colour tags of `target`, rounded to whole codes.

    Y'CbCr to Y'CbCr of one matrix stays in Y'CbCr: 8 to 10 bit of limited range is a shift by two bits, exactly.
    """
    if info.pix_fmt == target.pix_fmt and (info.colour.range, info.colour.matrix) == (target.colour.range, target.colour.matrix):
        return tuple(planes)
    if info.pix_fmt.startswith("yuv") and target.pix_fmt.startswith("yuv") and colour_matrix(info) == colour_matrix(target):
        moved = _within_matrix(planes, info, target)
    elif info.pix_fmt.startswith("gray") and target.pix_fmt.startswith("yuv"):
        moved = _from_grey(planes[0], info, target)
    else:
        moved = rgb_to_planes(planes_to_rgb(planes, info), target)
    coded = [_rounded(p, target) for p in moved]
    if has_alpha(target.pix_fmt):
        coded.append(_alpha(planes, info, target))
    return tuple(coded)


def _within_matrix(planes: Sequence[NDArray[np.generic]], info: MediaInfo, target: MediaInfo) -> tuple[NDArray[np.float32], ...]:
    luma = _recoded(planes[0], luma_code(info), luma_code(target))
    across, down = chroma_factors(target)
    full = (luma.shape[0], luma.shape[1])
    shape = (-(-full[0] // down), -(-full[1] // across))
    chroma = []
    for plane in planes[1:3]:
        part = _recoded(plane, chroma_code(info), chroma_code(target))
        size = (max(shape[0], part.shape[0]), max(shape[1], part.shape[1]))
        part = enlarge(part, size, chroma_siting(info))
        chroma.append(reduce(part, shape, chroma_siting(target)))
    return luma, *chroma


def _from_grey(plane: NDArray[np.generic], info: MediaInfo, target: MediaInfo) -> tuple[NDArray[np.float32], ...]:
    luma = _recoded(plane, luma_code(info), luma_code(target))
    across, down = chroma_factors(target)
    none = np.full((-(-luma.shape[0] // down), -(-luma.shape[1] // across)), chroma_code(target)[0], np.float32)
    return luma, none, none


def _recoded(plane: NDArray[np.generic], old: tuple[np.float32, np.float32],
             new: tuple[np.float32, np.float32]) -> NDArray[np.float32]:
    """Codes with another (origin, codes per unit)."""
    return np.asarray((plane.astype(np.float32) - old[0]) * np.float32(new[1] / old[1]) + new[0], np.float32)


def _rounded(plane: NDArray[np.float32], target: MediaInfo) -> NDArray[np.generic]:
    low, high = code_range(target)
    return np.clip(np.rint(plane), low, high).astype(np.uint8 if high < 256 else np.uint16)


def _alpha(planes: Sequence[NDArray[np.generic]], info: MediaInfo, target: MediaInfo) -> NDArray[np.generic]:
    top = np.float32((1 << bit_depth(target.pix_fmt)) - 1)
    if not has_alpha(info.pix_fmt):
        return _rounded(np.full(planes[0].shape, top, np.float32), target)
    return _rounded(planes[-1].astype(np.float32) * (top / np.float32((1 << bit_depth(info.pix_fmt)) - 1)), target)


def delivered_as(info: MediaInfo, pix_fmt: str) -> MediaInfo:
    """`info` in `pix_fmt`: its own range and matrix where both are Y'CbCr or both RGB; RGB becomes limited-range BT.709."""
    from dataclasses import replace

    if is_rgb(info.pix_fmt) == is_rgb(pix_fmt):
        return replace(info, pix_fmt=pix_fmt)
    tags = replace(info.colour, range=1, matrix=1, primaries=info.colour.primaries if info.colour.primaries not in (0, 2) else 1,
                   transfer=info.colour.transfer if info.colour.transfer not in (0, 2) else 1)
    return replace(info, pix_fmt=pix_fmt, colour=tags)
