"""Measures on the mouth: lip distance, control by the driving performance, leak of the source, openness."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.face.landmarks import LIPS, face_width

OPEN_FROM = (
    0.05  # lip opening, in distances between the outer eye corners, above which a mouth counts as open
)
FEWEST = 3  # frames; with fewer there is no correlation


def lip_distances(real: NDArray[np.floating[Any]], output: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(n,) mean distance of the lip landmarks between real and output, in per cent of the real face's width.

    Both are (n, 468 or 478, 2 or 3) in the same pixels. Distances are taken in the picture plane, the width
    in all dimensions of the landmarks. NaN where either has no face. The mean over frames is the landmark
    distance of DESIGN.md 5.
    """
    a, b = np.asarray(real, np.float64), np.asarray(output, np.float64)
    lips = list(LIPS)
    apart = np.linalg.norm(a[:, lips, :2] - b[:, lips, :2], axis=-1).mean(-1)
    return np.asarray(100 * apart / face_width(a))


def correlation(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    """Pearson correlation of two series (n,), over the entries that are finite in both.

    NaN where one of them is constant or fewer than `FEWEST` entries are left.
    """
    x, y = _finite(a, b)
    if len(x) < FEWEST or _flat(x) or _flat(y):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def control(commanded: NDArray[np.floating[Any]], measured: NDArray[np.floating[Any]]) -> float:
    """Correlation of commanded and measured lip opening (n,): 1 where the mouth does as it is told."""
    return correlation(commanded, measured)


def leak(
    commanded: NDArray[np.floating[Any]],
    measured: NDArray[np.floating[Any]],
    source: NDArray[np.floating[Any]],
) -> float:
    """Partial correlation of measured with source opening, given the command: 0 where the source's mouth does
    not show.

    All are (n,). What a straight line of the command explains is subtracted from both, and the rest is
    correlated. NaN where nothing is left.
    """
    command, *openings = _finite(commanded, measured, source)
    if len(command) < FEWEST + 1:
        return float("nan")
    line = np.stack([np.ones_like(command), command], 1)
    residuals = [x - line @ np.linalg.lstsq(line, x, rcond=None)[0] for x in openings]
    for residual, opening in zip(residuals, openings, strict=True):
        if residual.std() <= 1e-9 * max(float(np.abs(opening).max()), 1e-12):
            return float("nan")
    return correlation(residuals[0], residuals[1])


def open_share(measured: NDArray[np.floating[Any]], threshold: float = OPEN_FROM) -> float:
    """Share of the frames (n,) whose opening exceeds `threshold`; NaN where no frame has a face.

    With silence as dialogue it should be 0.
    """
    (m,) = _finite(measured)
    return float((m > threshold).mean()) if len(m) else float("nan")


def yaw_degrees(rotation: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(n,) head yaw of rotations (n, 3, 3) from model to camera, whose z points away from the camera.

    0 is frontal, positive turns to picture right.
    """
    r = np.asarray(rotation, np.float64)
    return np.asarray(np.degrees(np.arctan2(-r[..., 0, 2], r[..., 2, 2])))


def by_yaw(
    values: NDArray[np.floating[Any]],
    yaw: NDArray[np.floating[Any]],
    edges: tuple[float, ...] = (0.0, 10.0, 20.0, 30.0, 90.0),
) -> dict[str, dict[str, float]]:
    """Mean of `values` (n,) and number of frames in half-open bins of absolute yaw (n,), degrees.

    Values that are not finite do not count, and empty bins are left out.
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
