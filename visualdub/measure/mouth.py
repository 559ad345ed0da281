"""Measures on the mouth: landmark distance, whether it obeys its command, whether it still knows the old one,
whether it shuts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.face.landmarks import LIPS, face_width

OPEN_FROM = (
    0.05  # inner-lip opening, of the distance between the outer eye corners, that counts as an open mouth
)
FEWEST = 3  # frames below which no correlation is given


def lip_distances(real: NDArray[np.floating[Any]], output: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Mean distance of the lip landmarks between real and output, in per cent of the real face's width, frame
    by frame.

    Both (n, 468 or 478, 2 or 3) in the same pixels; distances are in the picture plane, the width in the
    landmarks' own dimension. Returns (n,); NaN where either has no face.
    """
    a, b = np.asarray(real, np.float64), np.asarray(output, np.float64)
    lips = list(LIPS)
    apart = np.linalg.norm(a[:, lips, :2] - b[:, lips, :2], axis=-1).mean(-1)
    return np.asarray(100 * apart / face_width(a))


def lmd(real: NDArray[np.floating[Any]], output: NDArray[np.floating[Any]]) -> float:
    """Landmark distance of DESIGN.md 5: mean of `lip_distances` over the frames that have both; NaN without
    any.
    """
    found = lip_distances(real, output)
    good = np.isfinite(found)
    return float(found[good].mean()) if good.any() else float("nan")


def correlation(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    """Pearson correlation of two series (n,), over the entries finite in both; NaN where one is constant or
    under 3 are left.
    """
    x, y = _finite(a, b)
    if len(x) < FEWEST or _flat(x) or _flat(y):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def control(commanded: NDArray[np.floating[Any]], measured: NDArray[np.floating[Any]]) -> float:
    """Correlation of commanded and measured lip opening (n,): 1 = the mouth obeys."""
    return correlation(commanded, measured)


def leak(
    commanded: NDArray[np.floating[Any]],
    measured: NDArray[np.floating[Any]],
    source: NDArray[np.floating[Any]],
) -> float:
    """Partial correlation of measured with source opening, given the command: 0 = the old mouth does not
    show.

    All (n,). Both are cleared of what a straight line of the command explains, then correlated. NaN where
    nothing is left.
    """
    c, m, s = _finite(commanded, measured, source)
    if len(c) < FEWEST + 1:
        return float("nan")
    line = np.stack([np.ones_like(c), c], 1)
    left = [x - line @ np.linalg.lstsq(line, x, rcond=None)[0] for x in (m, s)]
    if any(r.std() <= 1e-9 * max(float(np.abs(x).max()), 1e-12) for r, x in zip(left, (m, s), strict=True)):
        return float("nan")
    return correlation(left[0], left[1])


def open_share(measured: NDArray[np.floating[Any]], threshold: float = OPEN_FROM) -> float:
    """Share of frames (n,) whose opening exceeds `threshold`; with silence as dialogue it should be 0. NaN
    without a face.
    """
    (m,) = _finite(measured)
    return float((m > threshold).mean()) if len(m) else float("nan")


def yaw_degrees(rotation: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Head yaw of rotations (n, 3, 3) from model to camera, z away from the camera: 0 = frontal, positive
    turns to picture right.
    """
    r = np.asarray(rotation, np.float64)
    return np.asarray(np.degrees(np.arctan2(-r[..., 0, 2], r[..., 2, 2])))


def by_yaw(
    values: NDArray[np.floating[Any]],
    yaw: NDArray[np.floating[Any]],
    edges: tuple[float, ...] = (0.0, 10.0, 20.0, 30.0, 90.0),
) -> dict[str, dict[str, float]]:
    """Mean of `values` (n,) and how many frames there were, by absolute yaw (n,), degrees, in half-open bins;
    empty bins are left out.
    """
    v, y = np.asarray(values, np.float64), np.abs(np.asarray(yaw, np.float64))
    table: dict[str, dict[str, float]] = {}
    for low, high in pairwise(edges):
        inside = (y >= low) & (y < high) & np.isfinite(v)
        if inside.any():
            table[f"{low:g}-{high:g}"] = {"mean": float(v[inside].mean()), "frames": int(inside.sum())}
    return table


def _finite(*series: NDArray[np.floating[Any]]) -> list[NDArray[np.float64]]:
    columns = np.stack([np.asarray(s, np.float64) for s in series])
    return list(columns[:, np.isfinite(columns).all(0)])


def _flat(x: NDArray[np.float64]) -> bool:
    return bool(np.ptp(x) <= 1e-12 * max(float(np.abs(x).max()), 1e-300))
