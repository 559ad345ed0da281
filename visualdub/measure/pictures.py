"""Measures on pictures: PSNR, SSIM, sharpness, flicker, seam, and the regions that they are taken on.

Each takes one frame at a time; what a measure needs of earlier frames, its accumulator holds.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.box import Box
from visualdub.errors import InternalError
from visualdub.face.landmarks import LIPS_OUTER, SOURCE_BOX, landmarks_to_crop

Picture = NDArray[np.uint8] | NDArray[np.floating[Any]]  # (..., H, W, 3) R'G'B' on the scale 0..255

PEAK = 255.0
IDENTICAL = 100.0  # dB of pictures without any difference, so that means stay finite
SSIM_SIGMA, SSIM_TAPS = 1.5, 11
K1, K2 = 0.01, 0.03
SOURCE_BOX_MARGIN = 1.1
MOUTH_BOX_MARGIN = 1.2
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
SEAM_WIDTH = 3  # crop pixels across the mask's edge


def luma(pictures: Picture) -> NDArray[np.float32]:
    """BT.709 luma of (..., H, W, 3) R'G'B' -> (..., H, W), the same scale."""
    return np.asarray(np.asarray(pictures, np.float32) @ LUMA, np.float32)


def _same_shape(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape:
        raise InternalError(f"pictures to compare have shapes {a.shape} and {b.shape}; expected the same")


# ------------------------------------------------------------------------------------------------------------


def psnr(a: Picture, b: Picture, region: NDArray[Any] | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two pictures (H, W, 3), scale 0..255; at most `IDENTICAL`.

    region: (H, W); only the pixels where it is >= 0.5 count. Returns NaN where the region is empty. Raises
    `BadInput` for pictures of different sizes.
    """
    _same_shape(a, b)
    error = np.square(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean(-1, dtype=np.float64)
    if region is not None:
        inside = np.asarray(region) >= 0.5
        if not inside.any():
            return float("nan")
        error = error[inside]
    mean = float(error.mean())
    return IDENTICAL if mean == 0 else min(IDENTICAL, 10 * float(np.log10(PEAK**2 / mean)))


def ssim_map(a: Picture, b: Picture) -> NDArray[np.float32]:
    """(H, W) structural similarity of two pictures (H, W, 3), scale 0..255, mean over the channels.

    As in Wang 2004: a Gaussian window of 11 taps, sigma 1.5.
    """
    _same_shape(a, b)
    x, y = np.asarray(a, np.float32), np.asarray(b, np.float32)
    mx, my = _window(x), _window(y)
    vx, vy, cov = _window(x * x) - mx * mx, _window(y * y) - my * my, _window(x * y) - mx * my
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    similarity = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return np.asarray(similarity.mean(-1), np.float32)


def _window(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(
        cv2.GaussianBlur(x, (SSIM_TAPS, SSIM_TAPS), SSIM_SIGMA, borderType=cv2.BORDER_REFLECT), np.float32
    )


def ssim(a: Picture, b: Picture, region: NDArray[Any] | None = None) -> float:
    """Mean of `ssim_map` over the pixels where `region` (H, W) is >= 0.5, NaN where there are none.

    Without a region: over all pixels whose window lies within the picture.
    """
    similarity = ssim_map(a, b)
    if region is None:
        edge = SSIM_TAPS // 2
        return float(similarity[edge:-edge, edge:-edge].mean(dtype=np.float64))
    inside = np.asarray(region) >= 0.5
    return float(similarity[inside].mean(dtype=np.float64)) if inside.any() else float("nan")


# ---- regions -----------------------------------------------------------------------------------------------


def _in_crop(points: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Points (k, 2 or 3) of one frame from square to crop pixels (k, 2); affine (2, 3)."""
    return np.asarray(landmarks_to_crop(points[None], np.asarray(affine)[None])[0])


def _box(points: NDArray[np.float64], margin: float, size: int) -> Box | None:
    """The box around `points` (k, 2), enlarged to `margin` times its size, rounded outwards, cut at the crop.

    None where a point is not finite or the box lies outside the crop.
    """
    if not np.isfinite(points).all():
        return None
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low) / 2 * margin
    left, top = (int(v) for v in np.clip(np.floor(middle - half), 0, size))
    right, bottom = (int(v) for v in np.clip(np.ceil(middle + half), 0, size))
    return Box(left, top, right, bottom) if right > left and bottom > top else None


def source_box(
    landmarks: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]], size: int
) -> Box | None:
    """The box of DESIGN.md 5 that does not depend on our mask: around landmarks `SOURCE_BOX`, times 1.1.

    landmarks: (V, 2 or 3) of the source, square pixels. affine: (2, 3). size: pixels along a side of the
    crop. None without a face and off the crop.
    """
    return _box(_in_crop(landmarks[list(SOURCE_BOX)], affine), SOURCE_BOX_MARGIN, size)


def mouth_box(
    landmarks: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]], size: int
) -> Box | None:
    """The box around the outer lips, times 1.2; arguments and result are as in `source_box`."""
    return _box(_in_crop(landmarks[list(LIPS_OUTER)], affine), MOUTH_BOX_MARGIN, size)


def cut(picture: Picture, box: Box) -> Picture:
    """The part of a picture (H, W, ...) inside a box."""
    left, top, right, bottom = box
    return picture[top:bottom, left:right]


# ---- sharpness and seam ------------------------------------------------------------------------------------


class RatioOfMeans:
    """The mean of a value over frames of the output, divided by its mean over the source's same frames."""

    def __init__(self) -> None:
        self._output = 0.0
        self._source = 0.0

    def add(self, output: float, source: float) -> None:
        """Take one frame; it is left out where either value is not finite."""
        if np.isfinite(output) and np.isfinite(source):
            self._output += output
            self._source += source

    @property
    def value(self) -> float:
        """The ratio over the frames so far; NaN without any and where the source's mean is 0."""
        return _ratio(self._output, self._source)


def laplacian_variance(picture: Picture, box: Box) -> float:
    """Variance of the Laplacian (4 neighbours) of the luma of (H, W, 3) inside `box`.

    At the border of the box the filter reads the picture around it.
    """
    response = cv2.Laplacian(luma(picture), cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REFLECT)
    return float(np.var(cut(np.asarray(response, np.float32), box), dtype=np.float64))


def edge_of(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """(H, W) band of `SEAM_WIDTH` pixels across the border of mask (H, W); the crop's edge is no border."""
    inside = (np.asarray(mask) >= 0.5).astype(np.uint8)
    element = np.ones((SEAM_WIDTH, SEAM_WIDTH), np.uint8)
    return np.asarray(cv2.dilate(inside, element) != cv2.erode(inside, element), np.bool_)


def edge_gradient(picture: Picture, mask: NDArray[Any]) -> float:
    """Mean gradient magnitude (Sobel, per pixel) of the luma in the band across the mask's border.

    picture: (H, W, 3). mask: (H, W). Returns NaN for a mask without a border.
    """
    grey = luma(picture)
    gx, gy = (
        np.asarray(cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8), np.float32) for dx in (1, 0)
    )
    band = edge_of(mask)
    return float(np.hypot(gx, gy)[band].mean(dtype=np.float64)) if band.any() else float("nan")


# ---- flicker -----------------------------------------------------------------------------------------------


class SecondDifferences:
    """Mean absolute second difference in time of the luma, |p[t-1] - 2 p[t] + p[t+1]|, in all three masks.

    Frames are added in order; the luma and masks of the last two are held, so that memory grows by one number
    for each frame.
    """

    def __init__(self) -> None:
        self._last: deque[tuple[int, NDArray[np.float32], NDArray[np.bool_]]] = deque(maxlen=2)
        self._numbers: list[int] = []
        self._values: list[float] = []

    def add(self, picture: Picture, mask: NDArray[Any], number: int) -> None:
        """Take the next frame: picture (H, W, 3), mask (H, W), its number in the shot."""
        grey, inside = luma(picture), np.asarray(mask) >= 0.5
        if len(self._last) == 2:
            (first, before, before_inside), (middle, now, now_inside) = self._last
            common = before_inside & now_inside & inside
            value = float("nan")
            if number - first == 2 and common.any():
                difference = before[common] - 2 * now[common] + grey[common]
                value = float(np.abs(difference).mean(dtype=np.float64))
            self._numbers.append(middle)
            self._values.append(value)
        self._last.append((number, grey, inside))

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(n - 2,) the number of the middle frame of each difference."""
        return np.array(self._numbers, np.int64)

    @property
    def values(self) -> NDArray[np.float64]:
        """(n - 2,) the differences; NaN where the masks do not meet or frames between were left out."""
        return np.array(self._values, np.float64)


def flicker(output: SecondDifferences, source: SecondDifferences) -> float:
    """Mean second difference of the output divided by that of the source; NaN without three neighbours."""
    a, b = output.values, source.values
    good = np.isfinite(a) & np.isfinite(b)
    return _ratio(float(a[good].sum()), float(b[good].sum()))


def border_flicker(output: SecondDifferences, source: SecondDifferences, window: int) -> float:
    """Flicker around the frames that two windows share, divided by the flicker elsewhere.

    1 means that the window grid cannot be seen. window: T; windows start at every T-1st frame of the shot.
    Returns NaN where there are no frames of either kind.
    """
    a, b = output.values, source.values
    good = np.isfinite(a) & np.isfinite(b)
    place = output.numbers % (window - 1)
    near = good & np.isin(place, (0, 1 % (window - 1), window - 2))
    away = good & ~near
    return _ratio(
        _ratio(float(a[near].sum()), float(b[near].sum())), _ratio(float(a[away].sum()), float(b[away].sum()))
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
