"""Measures on pictures: PSNR, SSIM, sharpness, flicker, seam, and the regions they are taken on."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import InternalError
from visualdub.face.landmarks import LIPS_OUTER, SOURCE_BOX

Picture = NDArray[np.uint8] | NDArray[np.floating[Any]]  # (..., H, W, 3) R'G'B' on the scale 0..255

PEAK = 255.0
IDENTICAL = 100.0  # dB given to pictures without any difference, so that means stay finite
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

    region: (H, W); only pixels where it is >= 0.5 count. NaN where the region is empty.
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
    """Structural similarity (Wang 2004: Gaussian window of 11 taps, sigma 1.5) of (H, W, 3) pictures, mean
    over channels. (H, W).
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
    """Mean of `ssim_map` over `region` (H, W, >= 0.5), or over all pixels whose window lies within the
    picture.
    """
    similarity = ssim_map(a, b)
    if region is None:
        edge = SSIM_TAPS // 2
        return float(similarity[edge:-edge, edge:-edge].mean(dtype=np.float64))
    inside = np.asarray(region) >= 0.5
    return float(similarity[inside].mean(dtype=np.float64)) if inside.any() else float("nan")


# ------------------------------------------------------------------------------------------------------------


def mask_share(mask: NDArray[Any]) -> float:
    """Share of the crop the mask covers: mean over all of (..., H, W) of mask >= 0.5."""
    return float((np.asarray(mask) >= 0.5).mean())


def to_crop(points: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Clip pixels (n, ..., 2 or 3) to crop pixels (n, ..., 2); affine (n, 2, 3); pixel centres at + 0.5 in
    both.
    """
    moved = np.einsum(
        "nij,n...j->n...i", np.asarray(affine, np.float64)[:, :, :2], np.asarray(points, np.float64)[..., :2]
    )
    shift = np.asarray(affine, np.float64)[:, :, 2]
    return np.asarray(moved + shift.reshape(len(shift), *([1] * (moved.ndim - 2)), 2))


def _box(points: NDArray[np.float64], margin: float, size: int) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom), whole pixels cut at the crop, of the box around (k, 2) points times
    `margin`; None off the crop.
    """
    if not np.isfinite(points).all():
        return None
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (high - low) / 2 * margin
    left, top = (int(v) for v in np.clip(np.floor(middle - half), 0, size))
    right, bottom = (int(v) for v in np.clip(np.ceil(middle + half), 0, size))
    return (left, top, right, bottom) if right > left and bottom > top else None


def source_box(
    landmarks: NDArray[np.floating[Any]],
    affine: NDArray[np.floating[Any]],
    size: int,
) -> list[tuple[int, int, int, int] | None]:
    """The region of DESIGN.md 5 that does not know our mask: box around the source's landmarks `SOURCE_BOX`,
    times 1.1, in the crop.

    landmarks: (n, V, 2 or 3) clip pixels. affine: (n, 2, 3). Returns n boxes (left, top, right, bottom), half
    open, or None.
    """
    points = to_crop(landmarks[:, list(SOURCE_BOX)], affine)
    return [_box(p, SOURCE_BOX_MARGIN, size) for p in points]


def mouth_box(
    landmarks: NDArray[np.floating[Any]],
    affine: NDArray[np.floating[Any]],
    size: int,
) -> list[tuple[int, int, int, int] | None]:
    """Box around the outer lips, times 1.2, in the crop; arguments and result as `source_box`."""
    points = to_crop(landmarks[:, list(LIPS_OUTER)], affine)
    return [_box(p, MOUTH_BOX_MARGIN, size) for p in points]


def cut(picture: Picture, box: tuple[int, int, int, int]) -> Picture:
    """The part of (H, W, ...) inside a half-open box (left, top, right, bottom)."""
    left, top, right, bottom = box
    return picture[top:bottom, left:right]


# ------------------------------------------------------------------------------------------------------------


def laplacian_variance(picture: Picture, box: tuple[int, int, int, int]) -> float:
    """Variance of the Laplacian (4 neighbours) of the luma inside `box`; the picture around the box feeds its
    border.
    """
    response = cv2.Laplacian(luma(picture), cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REFLECT)
    return float(np.var(cut(np.asarray(response, np.float32), box), dtype=np.float64))


def sharpness(output: Picture, real: Picture, boxes: list[tuple[int, int, int, int] | None]) -> float:
    """Variance of the Laplacian in the mouth box, output / real: ratio of the means over n frames (n, H, W,
    3); NaN without a box.
    """
    pairs = [
        (laplacian_variance(o, b), laplacian_variance(r, b))
        for o, r, b in zip(output, real, boxes, strict=True)
        if b
    ]
    return _ratio(sum(o for o, _ in pairs), sum(r for _, r in pairs))


def edge_of(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Band of `SEAM_WIDTH` pixels across the border of mask (H, W); the crop's own edge is no border."""
    inside = (np.asarray(mask) >= 0.5).astype(np.uint8)
    element = np.ones((SEAM_WIDTH, SEAM_WIDTH), np.uint8)
    return np.asarray(cv2.dilate(inside, element) != cv2.erode(inside, element), np.bool_)


def edge_gradient(picture: Picture, mask: NDArray[Any]) -> float:
    """Mean gradient magnitude (Sobel, per pixel) of the luma in the band across the mask's border."""
    grey = luma(picture)
    gx, gy = (
        np.asarray(cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8), np.float32) for dx in (1, 0)
    )
    band = edge_of(mask)
    return float(np.hypot(gx, gy)[band].mean(dtype=np.float64)) if band.any() else float("nan")


def seam(output: Picture, real: Picture, masks: NDArray[Any]) -> float:
    """Mean gradient along the mask's edge, output / real, over n frames: (n, H, W, 3) and (n, H, W). 1 = no
    seam.
    """
    pairs = [(edge_gradient(o, m), edge_gradient(r, m)) for o, r, m in zip(output, real, masks, strict=True)]
    good = [(o, r) for o, r in pairs if np.isfinite(o) and np.isfinite(r)]
    return _ratio(sum(o for o, _ in good), sum(r for _, r in good))


# ------------------------------------------------------------------------------------------------------------


def second_difference(
    pictures: Picture, masks: NDArray[Any], numbers: NDArray[np.integer[Any]] | None = None
) -> NDArray[np.float64]:
    """Mean absolute second difference in time of the luma, |p[t-1] - 2 p[t] + p[t+1]|, where all three masks
    are set.

    pictures: (n, H, W, 3), masks: (n, H, W). numbers: (n,) frame of the shot of each, increasing; consecutive
    where None. Returns (n - 2,) for t = 1 .. n-2; NaN where the masks do not meet or the three frames are not
    neighbours.
    """
    out = np.full(max(0, len(pictures) - 2), np.nan)
    for t in range(1, len(pictures) - 1):
        inside = (np.asarray(masks[t - 1 : t + 2]) >= 0.5).all(0)
        if inside.any() and (numbers is None or numbers[t + 1] - numbers[t - 1] == 2):
            before, now, after = (luma(pictures[t + d])[inside] for d in (-1, 0, 1))
            out[t - 1] = np.abs(before - 2 * now + after).mean(dtype=np.float64)
    return out


def flicker(
    output: Picture, real: Picture, masks: NDArray[Any], numbers: NDArray[np.integer[Any]] | None = None
) -> float:
    """Mean absolute second temporal difference inside the mask, output / real. Needs three neighbouring
    frames, else NaN.
    """
    a, b = second_difference(output, masks, numbers), second_difference(real, masks, numbers)
    good = np.isfinite(a) & np.isfinite(b)
    return _ratio(float(a[good].sum()), float(b[good].sum()))


def border_flicker(
    output: Picture,
    real: Picture,
    masks: NDArray[Any],
    window: int,
    numbers: NDArray[np.integer[Any]] | None = None,
) -> float:
    """Flicker around the frames that two windows share, over flicker elsewhere; 1 = the window grid cannot be
    seen.

    window: T, windows start every T-1 frames of the shot. numbers: (n,) frame of the shot of each picture, 0,
    1, 2, ... where None. Each side is relative to the real clip at the same frames. NaN where one side has no
    frames.
    """
    a, b = second_difference(output, masks, numbers), second_difference(real, masks, numbers)
    good = np.isfinite(a) & np.isfinite(b)
    place = (np.arange(len(output)) if numbers is None else np.asarray(numbers))[1:-1] % (window - 1)
    near = good & np.isin(place[: len(a)], (0, 1 % (window - 1), window - 2))
    away = good & ~near
    return _ratio(
        _ratio(float(a[near].sum()), float(b[near].sum())), _ratio(float(a[away].sum()), float(b[away].sum()))
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
