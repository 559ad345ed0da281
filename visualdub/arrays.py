"""Two small array operations that several packages share."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)


def smoothstep(x: NDArray[Float]) -> NDArray[Float]:
    """0 below 0, 1 above 1, 3x² - 2x³ between; the precision of `x` is kept."""
    t = np.clip(x, 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), x.dtype)


def padded_slice(samples: NDArray[Any], start: int, length: int) -> NDArray[np.float32]:
    """(length,) samples `start` .. `start + length - 1` of `samples` (n,), zeros outside 0..n-1.

    `start` may be negative, and the slice may lie wholly outside the recording.
    """
    piece = np.zeros(length, np.float32)
    first, end = max(start, 0), min(start + length, len(samples))
    if end > first:
        piece[first - start : end - start] = samples[first:end]
    return piece
