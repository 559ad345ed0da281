"""Blend weights of a redrawn crop: feathered inside the mask, smooth, zero on the mask's border."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FEATHER = 5.0  # crop pixels from the mask's border to full weight: the source's upper lip comes as near as 6 pixels to it


def feather(mask: NDArray[np.floating[Any]], width: float = FEATHER) -> NDArray[np.float32]:
    """Weights that rise from 0 on the border of `mask` to 1 at `width` pixels inside it, along a smooth step.

    mask: (S, S), the region is where it is >= 0.5; the crop's edge counts as border. Returns (S, S) float32 in 0..1, 0 outside.
    """
    inside = cv2.copyMakeBorder((mask >= 0.5).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0.0,))
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return smooth_step(np.maximum(depth - 1.0, 0.0) / max(width - 1.0, 1e-6))


def smooth_step(x: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """0 below 0, 1 above 1, 3x^2 - 2x^3 between."""
    t = np.clip(x, 0.0, 1.0).astype(np.float32)
    return t * t * (np.float32(3) - np.float32(2) * t)
