"""Native planes to R'G'B' and back and between pixel formats: any bit depth, range, matrix, chroma size and
siting.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array

from visualdub.errors import MediaError
from visualdub.media.frame import Frame, MediaInfo
from visualdub.media.pixel_format import bit_depth, has_alpha, is_rgb, picture_of

# ---- siting and size of chroma -----------------------------------------------------------------------------

# (horizontal, vertical) place of a chroma sample among its luma samples: 0 on the first, 0.5 in the middle, 1
# on the last.
Siting = tuple[float, float]


def enlarge(chroma: NDArray[np.float32], shape: tuple[int, int], siting: Siting) -> NDArray[np.float32]:
    """(h, w) chroma at the size (H, W) of luma, linear between samples, constant past the first and last."""
    out = np.asarray(chroma, np.float32)
    if chroma.shape[0] != shape[0]:
        out = _weights(shape[0], chroma.shape[0], siting[1])[0] @ out
    if chroma.shape[1] != shape[1]:
        out = (_weights(shape[1], chroma.shape[1], siting[0])[0] @ out.T).T
    return np.ascontiguousarray(out, np.float32)


def reduce(full: NDArray[np.float32], shape: tuple[int, int], siting: Siting) -> NDArray[np.float32]:
    """(H, W) -> (h, w): the chroma whose `enlarge` is nearest to `full` in the least-squares sense.

    `reduce(enlarge(c)) == c`, so a picture that was not changed keeps its chroma; the influence of a changed
    pixel falls to a third or less with every chroma sample of distance.
    """
    out = np.asarray(full, np.float32)
    if full.shape[0] != shape[0]:
        out = _solve(out, shape[0], siting[1])
    if full.shape[1] != shape[1]:
        out = _solve(np.ascontiguousarray(out.T), shape[1], siting[0]).T
    return np.ascontiguousarray(out, np.float32)


def _solve(full: NDArray[np.float32], count: int, phase: float) -> NDArray[np.float32]:
    up, bands = _weights(full.shape[0], count, phase)
    solved: NDArray[np.float32] = solveh_banded(bands, up.T @ full, lower=True, check_finite=False).astype(
        np.float32
    )
    return solved


@lru_cache(maxsize=64)
def _weights(luma: int, chroma: int, phase: float) -> tuple[csr_array, NDArray[np.float32]]:
    """Interpolation matrix U (luma, chroma) and the bands of U^T U: diagonal and the one below it, (2,
    chroma).
    """
    factor = -(-luma // chroma)
    place = (np.arange(luma) - phase * (factor - 1)) / factor
    low = np.floor(place).astype(np.int64)
    share = (place - low).astype(np.float32)
    rows = np.repeat(np.arange(luma), 2)
    columns = np.stack([low, low + 1], 1).clip(0, chroma - 1).ravel()
    up = csr_array(
        (np.stack([1 - share, share], 1).ravel(), (rows, columns)), shape=(luma, chroma), dtype=np.float32
    )
    gram = (up.T @ up).toarray() if chroma < 64 else (up.T @ up).tocsr()
    below = gram.diagonal(-1) if chroma > 1 else np.zeros(0, np.float32)
    return up, np.stack([gram.diagonal(), np.append(below, 0)]).astype(np.float32)


# ---- planes and R'G'B' -------------------------------------------------------------------------------------

_KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_CENTRE_SITED = {
    "mpeg1video",
    "mjpeg",
}  # H.264, MPEG-2 and their kin put 4:2:0 chroma on the left luma column
_ACCURATE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_thread = threading.local()


def frame_rgb(frame: Frame, fast: bool = False) -> NDArray[np.uint8]:
    """Full-range R'G'B' of a frame or a rectangle of one, uint8 (H, W, 3), display orientation, by swscale.

    It rounds `planes_to_rgb` to within a code where chroma is smooth. fast: a twelfth of the time, on average
    one code too dark; good for finding faces.
    """
    info = frame.info
    if is_rgb(info.pix_fmt) or info.pix_fmt.startswith("gray"):
        return np.asarray(np.rint(planes_to_rgb(frame.planes, info).clip(0, 1) * 255), np.uint8)
    if not hasattr(_thread, "reformatter"):
        _thread.reformatter = VideoReformatter()
    height, width = frame.planes[0].shape  # a part of a frame keeps the facts of the whole
    sized = replace(info, width=width, height=height)
    picture = _thread.reformatter.reformat(
        picture_of(frame.planes, sized),
        format="rgb24",
        src_colorspace=_SWSCALE_MATRIX[colour_matrix(info)],
        src_color_range=2 if full_range(info) else 1,
        dst_color_range=2,
        interpolation=Interpolation.BILINEAR if fast else _ACCURATE,
        threads=1,
    )
    rgb = picture.to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, -(info.rotation // 90))) if info.rotation else rgb


def planes_to_rgb(planes: Sequence[NDArray[np.generic]], info: MediaInfo) -> NDArray[np.float32]:
    """R'G'B' float32 (H, W, 3), 1.0 = white, of whole planes or of a rectangle cut on whole chroma samples.

    Not clipped: colours outside 0..1 stay, so that `rgb_to_planes` gives the planes back. Chroma is
    interpolated linearly at its siting, constant past the rectangle's edge: take a margin of two chroma
    samples where the edge matters. Alpha is left out.
    """
    first = np.asarray(planes[0], np.float32)
    black, scale = luma_code(info)
    if is_rgb(info.pix_fmt):
        return (np.stack([np.asarray(p, np.float32) for p in planes[:3]], -1) - black) / scale
    luma = (first - black) / scale
    if info.pix_fmt.startswith("gray"):
        return np.repeat(luma[..., None], 3, -1)
    centre, spread = chroma_code(info)
    shape, siting = (first.shape[0], first.shape[1]), chroma_siting(info)
    blue, red = ((enlarge(np.asarray(p, np.float32), shape, siting) - centre) / spread for p in planes[1:3])
    kr, kb = _KR_KB[colour_matrix(info)]
    rgb = np.empty((*first.shape, 3), np.float32)
    rgb[..., 0] = luma + 2 * (1 - kr) * red
    rgb[..., 2] = luma + 2 * (1 - kb) * blue
    rgb[..., 1] = (luma - kr * rgb[..., 0] - kb * rgb[..., 2]) / (1 - kr - kb)
    return rgb


def rgb_to_planes(
    rgb: NDArray[np.float32], info: MediaInfo, chroma_shape: tuple[int, int] | None = None
) -> tuple[NDArray[np.float32], ...]:
    """Float planes in code values, not rounded or clipped, of R'G'B' (H, W, 3), in the order of
    `Frame.planes` without alpha.

    The inverse of `planes_to_rgb` on the same rectangle. `chroma_shape`: the rectangle's chroma size, where
    it cannot be told from `info` (whole chroma samples are assumed).
    """
    black, scale = luma_code(info)
    if is_rgb(info.pix_fmt):
        return tuple(np.ascontiguousarray(rgb[..., i]) * scale + black for i in range(3))
    kr, kb = _KR_KB[colour_matrix(info)]
    luma = kr * rgb[..., 0] + (1 - kr - kb) * rgb[..., 1] + kb * rgb[..., 2]
    coded = np.asarray(luma * scale + black, np.float32)
    if info.pix_fmt.startswith("gray"):
        return (coded,)
    centre, spread = chroma_code(info)
    across, down = chroma_factors(info)
    shape = chroma_shape or (-(-rgb.shape[0] // down), -(-rgb.shape[1] // across))
    differences = ((rgb[..., 2] - luma) / (2 * (1 - kb)), (rgb[..., 0] - luma) / (2 * (1 - kr)))
    blue, red = (
        reduce(d, shape, chroma_siting(info)) * np.float32(spread) + np.float32(centre) for d in differences
    )
    return coded, blue, red


def chroma_factors(info: MediaInfo) -> tuple[int, int]:
    """Luma samples per chroma sample, (across, down), in display orientation; (1, 1) for RGB and grey."""
    if not info.pix_fmt.startswith("yuv"):
        return 1, 1
    name = info.pix_fmt.replace("yuva", "yuv")[3:6]
    across, down = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1), "410": (4, 4)}[
        name
    ]
    return (down, across) if info.rotation in (90, 270) else (across, down)


def chroma_siting(info: MediaInfo) -> Siting:
    """Where chroma samples lie among their luma samples in display orientation: 0 first, 0.5 middle, 1
    last.
    """
    left = 0.5 if info.codec in _CENTRE_SITED else 0.0
    return {0: (left, 0.5), 90: (0.5, left), 180: (1 - left, 0.5), 270: (0.5, 1 - left)}[info.rotation]


def full_range(info: MediaInfo) -> bool:
    """Whether codes run from 0 to the largest. Untagged Y'CbCr counts as limited, untagged RGB and grey as
    full.
    """
    return info.colour.range == 2 or (info.colour.range == 0 and not info.pix_fmt.startswith("yuv"))


def colour_matrix(info: MediaInfo) -> int:
    """FFmpeg's number of the Y'CbCr matrix. Untagged clips count as players count them: BT.709 from 720 lines
    or 1280 columns on, BT.601 below. Raises `MediaError` for a matrix that is not luma and two differences.
    """
    tag = info.colour.matrix
    if tag in _KR_KB:
        return tag
    if tag in (0, 2, 3):
        return 1 if info.width >= 1280 or info.height > 576 else 6
    raise MediaError(
        f"{info.path} has colour matrix {tag} (FFmpeg's numbering); expected BT.601, BT.709 or BT.2020"
    )


def code_range(info: MediaInfo) -> tuple[int, int]:
    """Smallest and largest code a sample may take: what a float plane is clipped to."""
    return 0, (1 << bit_depth(info.pix_fmt)) - 1


def luma_code(info: MediaInfo) -> tuple[np.float32, np.float32]:
    """(code of black, codes from black to white)."""
    bits = bit_depth(info.pix_fmt)
    if full_range(info):
        return np.float32(0), np.float32((1 << bits) - 1)
    return np.float32(16 << (bits - 8)), np.float32(219 << (bits - 8))


def chroma_code(info: MediaInfo) -> tuple[np.float32, np.float32]:
    """(code of no colour, codes for a difference of 1)."""
    bits = bit_depth(info.pix_fmt)
    spread = (1 << bits) - 1 if full_range(info) else 224 << (bits - 8)
    return np.float32(1 << (bits - 1)), np.float32(spread)


# ---- conversion --------------------------------------------------------------------------------------------


def convert_planes(
    planes: Sequence[NDArray[np.generic]], info: MediaInfo, target: MediaInfo
) -> tuple[NDArray[np.generic], ...]:
    """The same picture in the pixel format and colour tags of `target`, rounded to whole codes.

    Y'CbCr to Y'CbCr of one matrix stays in Y'CbCr: 8 to 10 bit of limited range is a shift by two bits,
    exactly.
    """
    if info.pix_fmt == target.pix_fmt and (info.colour.range, info.colour.matrix) == (
        target.colour.range,
        target.colour.matrix,
    ):
        return tuple(planes)
    if (
        info.pix_fmt.startswith("yuv")
        and target.pix_fmt.startswith("yuv")
        and colour_matrix(info) == colour_matrix(target)
    ):
        moved = _within_matrix(planes, info, target)
    elif info.pix_fmt.startswith("gray") and target.pix_fmt.startswith("yuv"):
        moved = _from_grey(planes[0], info, target)
    else:
        moved = rgb_to_planes(planes_to_rgb(planes, info), target)
    coded = [_rounded(p, target) for p in moved]
    if has_alpha(target.pix_fmt):
        coded.append(_alpha(planes, info, target))
    return tuple(coded)


def _within_matrix(
    planes: Sequence[NDArray[np.generic]], info: MediaInfo, target: MediaInfo
) -> tuple[NDArray[np.float32], ...]:
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


def _from_grey(
    plane: NDArray[np.generic], info: MediaInfo, target: MediaInfo
) -> tuple[NDArray[np.float32], ...]:
    luma = _recoded(plane, luma_code(info), luma_code(target))
    across, down = chroma_factors(target)
    none = np.full(
        (-(-luma.shape[0] // down), -(-luma.shape[1] // across)), chroma_code(target)[0], np.float32
    )
    return luma, none, none


def _recoded(
    plane: NDArray[np.generic], old: tuple[np.float32, np.float32], new: tuple[np.float32, np.float32]
) -> NDArray[np.float32]:
    """Codes with another (origin, codes per unit)."""
    return np.asarray((plane.astype(np.float32) - old[0]) * np.float32(new[1] / old[1]) + new[0], np.float32)


def _rounded(plane: NDArray[np.float32], target: MediaInfo) -> NDArray[np.generic]:
    low, high = code_range(target)
    return np.clip(np.rint(plane), low, high).astype(np.uint8 if high < 256 else np.uint16)


def _alpha(planes: Sequence[NDArray[np.generic]], info: MediaInfo, target: MediaInfo) -> NDArray[np.generic]:
    top = np.float32((1 << bit_depth(target.pix_fmt)) - 1)
    if not has_alpha(info.pix_fmt):
        return _rounded(np.full(planes[0].shape, top, np.float32), target)
    return _rounded(
        planes[-1].astype(np.float32) * (top / np.float32((1 << bit_depth(info.pix_fmt)) - 1)), target
    )


def delivered_as(info: MediaInfo, pix_fmt: str) -> MediaInfo:
    """`info` in `pix_fmt`: its own range and matrix where both are Y'CbCr or both RGB; RGB becomes
    limited-range BT.709.
    """
    from dataclasses import replace

    if is_rgb(info.pix_fmt) == is_rgb(pix_fmt):
        return replace(info, pix_fmt=pix_fmt)
    tags = replace(
        info.colour,
        range=1,
        matrix=1,
        primaries=info.colour.primaries if info.colour.primaries not in (0, 2) else 1,
        transfer=info.colour.transfer if info.colour.transfer not in (0, 2) else 1,
    )
    return replace(info, pix_fmt=pix_fmt, colour=tags)
