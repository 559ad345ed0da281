"""Colour match: the low-frequency difference between plate and patch along the mask's border, carried over the patch."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = 32  # cells of the offset field along each side of the crop
NEAR, FAR = 2.5, 10.0  # standard deviations, in cells, of the two kernels that carry the border's difference inwards
FAR_WEIGHT = 0.02  # how much the far kernel counts where the near one still reaches
OUTLIER = 0.06  # R'G'B': a difference this far from the border's median counts half (a hair, a collar, a moved chin)
LIMIT = 0.25  # R'G'B': no offset is larger


def offset_field(plate: NDArray[np.float32], patch: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """What to add to `patch` so that it meets `plate` along the mask's border.

    plate, patch: (S, S, 3) R'G'B' 0..1. alpha: (S, S) feathered blend weight. Only pixels in the feather, 0 < alpha < max(alpha),
    are looked at: never the middle of the mask, where the source mouth is. Their difference, outliers held down, is spread
    inwards by normalised convolution, smooth on the scale of the grid. Returns (GRID, GRID, 3) float32; zeros where there is no
    feather.
    """
    top = float(alpha.max(initial=0.0))
    ring = (alpha > 0.02 * top) & (alpha < 0.9 * top)
    ys, xs = np.nonzero(ring)
    field = np.zeros((GRID, GRID, 3), np.float32)
    if len(ys) == 0:
        return field
    difference = plate[ys, xs] - patch[ys, xs]
    middle = np.median(difference, axis=0)
    weight = 1.0 / (1.0 + (((difference - middle) / OUTLIER) ** 2).sum(-1))
    cell = (ys * GRID // alpha.shape[0]) * GRID + xs * GRID // alpha.shape[1]
    weights = np.bincount(cell, weight, GRID * GRID).reshape(GRID, GRID)
    kernel_of = [weights] + [np.bincount(cell, weight * difference[:, c], GRID * GRID).reshape(GRID, GRID) for c in range(3)]
    stack = np.stack(kernel_of, axis=-1)
    spread = _blur(stack, NEAR) + FAR_WEIGHT * _blur(stack, FAR)
    total = spread[..., :1]
    field[:] = np.where(total > 1e-9, spread[..., 1:] / np.maximum(total, 1e-9), middle)
    return field.clip(-LIMIT, LIMIT)


def _blur(cells: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(cells, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), np.float64)


def spread_field(field: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The offset field at the crop's own resolution: (GRID, GRID, 3) -> (size, size, 3)."""
    return np.asarray(cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
