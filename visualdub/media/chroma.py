"""Chroma at the size of luma and back. Its place among the luma samples is what makes the two differ from a
plain enlargement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.compiled import compiled, weighted_rows

# (horizontal, vertical) place of a chroma sample among its luma samples: 0 on the first, 0.5 in the middle, 1
# on the last.
Siting = tuple[float, float]


def enlarge(chroma: NDArray[np.float32], shape: tuple[int, int], siting: Siting) -> NDArray[np.float32]:
    """(h, w) chroma at the size (H, W) of luma, linear between samples, constant past the first and last."""
    return _along_both(_enlarged, chroma, shape, siting)


def reduce(full: NDArray[np.float32], shape: tuple[int, int], siting: Siting) -> NDArray[np.float32]:
    """(H, W) -> (h, w): the chroma whose `enlarge` is nearest to `full` in the least-squares sense.

    `reduce(enlarge(c)) == c`, so a picture that was not changed keeps its chroma; the influence of a changed
    pixel falls to a third or less with every chroma sample of distance.
    """
    return _along_both(_reduced, full, shape, siting)


def _along_both(
    resized: Callable[[NDArray[np.float32], int, float], NDArray[np.float32]],
    values: NDArray[np.float32],
    shape: tuple[int, int],
    siting: Siting,
) -> NDArray[np.float32]:
    """`values` resized along the axes whose size is another."""
    out = np.asarray(values, np.float32)
    if values.shape[0] != shape[0]:
        out = resized(out, shape[0], siting[1])
    if values.shape[1] != shape[1]:
        out = _turned(resized(_turned(out), shape[1], siting[0]))
    return np.ascontiguousarray(out, np.float32)


@dataclass(frozen=True)
class _Between:
    """Along one axis: the two chroma samples that each luma sample lies between, and least squares back.

    With U the interpolation, UᵀU has one diagonal on either side of its main one, and is L D Lᵀ.
    """

    places: NDArray[np.int64]  # (luma, 2)
    shares: NDArray[np.float32]  # (luma, 2)
    pivots: NDArray[np.float32]  # (chroma,) D
    below: NDArray[np.float32]  # (chroma,) L[i, i - 1], 0 for the first


@lru_cache(maxsize=64)
def _between(luma: int, chroma: int, phase: float) -> _Between:
    factor = -(-luma // chroma)
    place = (np.arange(luma) - phase * (factor - 1)) / factor
    low = np.floor(place).astype(np.int64)
    first, second = low.clip(0, chroma - 1), (low + 1).clip(0, chroma - 1)
    share = np.where(first == second, 0, place - low)
    main, beside = np.zeros(chroma), np.zeros(chroma)
    np.add.at(main, first, (1 - share) ** 2)
    np.add.at(main, second, share**2)
    np.add.at(beside, second, share * (1 - share))
    below = np.zeros(chroma)
    for i in range(1, chroma):
        below[i] = beside[i] / main[i - 1]
        main[i] -= below[i] * beside[i]
    places, shares = np.stack([first, second], 1), np.stack([1 - share, share], 1)
    return _Between(places, *(a.astype(np.float32) for a in (shares, main, below)))


def _enlarged(chroma: NDArray[np.float32], count: int, phase: float) -> NDArray[np.float32]:
    between = _between(count, chroma.shape[0], phase)
    return weighted_rows(chroma, between.places, between.shares)


def _reduced(full: NDArray[np.float32], count: int, phase: float) -> NDArray[np.float32]:
    b, out = _between(full.shape[0], count, phase), np.zeros((count, full.shape[1]), np.float32)
    _solve(np.ascontiguousarray(full), b.places, b.shares, b.pivots, b.below, out)
    return out


def _turned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.transpose(np.ascontiguousarray(values)), np.float32)


@compiled
def _solve(
    full: NDArray[np.float32],
    places: NDArray[np.int64],
    shares: NDArray[np.float32],
    pivots: NDArray[np.float32],
    below: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Uᵀ `full`, then the substitutions forwards and backwards, all columns at once; out: zeros."""
    width = out.shape[1]
    for y in range(len(full)):
        for k in range(2):
            share, i = shares[y, k], places[y, k]
            if share > 0:
                for x in range(width):
                    out[i, x] += share * full[y, x]
    for i in range(1, len(out)):
        for x in range(width):
            out[i, x] -= below[i] * out[i - 1, x]
    for i in range(len(out) - 1, -1, -1):
        pivot = np.float32(1) / pivots[i]
        for x in range(width):
            out[i, x] *= pivot
        if i + 1 < len(out):
            for x in range(width):
                out[i, x] -= below[i + 1] * out[i + 1, x]
