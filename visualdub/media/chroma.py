"""Chroma planes to luma size and back: linear interpolation, and the least-squares inverse of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array

# (horizontal, vertical) place of a chroma sample among its luma samples: 0 on the first, 0.5 in the middle, 1 on the last.
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

    `reduce(enlarge(c)) == c`, so a picture that was not changed keeps its chroma; the influence of a changed pixel falls to a
    third or less with every chroma sample of distance.
    """
    out = np.asarray(full, np.float32)
    if full.shape[0] != shape[0]:
        out = _solve(out, shape[0], siting[1])
    if full.shape[1] != shape[1]:
        out = _solve(np.ascontiguousarray(out.T), shape[1], siting[0]).T
    return np.ascontiguousarray(out, np.float32)


def _solve(full: NDArray[np.float32], count: int, phase: float) -> NDArray[np.float32]:
    up, bands = _weights(full.shape[0], count, phase)
    solved: NDArray[np.float32] = solveh_banded(bands, up.T @ full, lower=True, check_finite=False).astype(np.float32)
    return solved


@lru_cache(maxsize=64)
def _weights(luma: int, chroma: int, phase: float) -> tuple[csr_array, NDArray[np.float32]]:
    """Interpolation matrix U (luma, chroma) and the bands of U^T U: diagonal and the one below it, (2, chroma)."""
    factor = -(-luma // chroma)
    place = (np.arange(luma) - phase * (factor - 1)) / factor
    low = np.floor(place).astype(np.int64)
    share = (place - low).astype(np.float32)
    rows = np.repeat(np.arange(luma), 2)
    columns = np.stack([low, low + 1], 1).clip(0, chroma - 1).ravel()
    up = csr_array((np.stack([1 - share, share], 1).ravel(), (rows, columns)), shape=(luma, chroma), dtype=np.float32)
    gram = (up.T @ up).toarray() if chroma < 64 else (up.T @ up).tocsr()
    below = gram.diagonal(-1) if chroma > 1 else np.zeros(0, np.float32)
    return up, np.stack([gram.diagonal(), np.append(below, 0)]).astype(np.float32)
