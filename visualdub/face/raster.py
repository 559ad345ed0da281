"""The UV rasteriser: triangles to face index, barycentrics and depth per pixel, in numba."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.compiled import compiled

OUTSIDE = -1e-6  # a barycentric below it is not negative by rounding: the row has left the triangle


@dataclass(frozen=True)
class Raster:
    """One rasterised mesh, H x W pixels; pixel (row, column) is sampled at (column + 0.5, row + 0.5)."""

    face_index: NDArray[np.int32]  # (H, W), -1 where nothing was hit
    barycentric: NDArray[np.float32]  # (H, W, 3), sums to 1 where hit
    depth: NDArray[np.float32]  # (H, W), inf where nothing was hit

    @property
    def hit(self) -> NDArray[np.bool_]:
        """(H, W) True where a triangle covers the pixel."""
        return self.face_index >= 0


@compiled
def _span(a: float, b: float, c: float, size: int) -> tuple[int, int]:
    """First and last pixel whose centre a triangle with these coordinates can hold along one axis."""
    return max(0, int(np.ceil(min(a, b, c) - 0.5))), min(size - 1, int(np.floor(max(a, b, c) - 0.5)))


@compiled
def _fill(
    points: NDArray[np.float64],
    triangles: NDArray[np.int32],
    face_index: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> None:
    height, width = face_index.shape
    for f in range(len(triangles)):
        a, b, c = points[triangles[f, 0]], points[triangles[f, 1]], points[triangles[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-9:
            continue
        x0, x1 = _span(a[0], b[0], c[0], width)
        y0, y1 = _span(a[1], b[1], c[1], height)
        for y in range(y0, y1 + 1):
            py, within = y + 0.5, False
            for x in range(x0, x1 + 1):
                px = x + 0.5
                wa = ((b[0] - px) * (c[1] - py) - (b[1] - py) * (c[0] - px)) / area
                wb = ((c[0] - px) * (a[1] - py) - (c[1] - py) * (a[0] - px)) / area
                wc = 1.0 - wa - wb
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    if within and min(wa, wb, wc) < OUTSIDE:
                        break
                    continue
                within = True
                z = wa * a[2] + wb * b[2] + wc * c[2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    face_index[y, x] = f
                    barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2] = wa, wb, wc


@compiled
def _interpolate(
    face_index: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    values: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    height, width = face_index.shape
    for y in range(height):
        for x in range(width):
            f = face_index[y, x]
            if f >= 0:
                for k in range(values.shape[1]):
                    out[y, x, k] = (
                        barycentric[y, x, 0] * values[triangles[f, 0], k]
                        + barycentric[y, x, 1] * values[triangles[f, 1], k]
                        + barycentric[y, x, 2] * values[triangles[f, 2], k]
                    )


@compiled
def _cover(
    points: NDArray[np.float64],
    triangles: NDArray[np.int32],
    weights: NDArray[np.float64],
    out: NDArray[np.uint8],
) -> None:
    height, width = out.shape
    for f in range(len(triangles)):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        a, b, c = points[i], points[j], points[k]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-9 or max(weights[i], weights[j], weights[k]) <= 0.0:
            continue
        x0, x1 = _span(a[0], b[0], c[0], width)
        y0, y1 = _span(a[1], b[1], c[1], height)
        for y in range(y0, y1 + 1):
            within = False
            for x in range(x0, x1 + 1):
                wa = ((b[0] - x - 0.5) * (c[1] - y - 0.5) - (b[1] - y - 0.5) * (c[0] - x - 0.5)) / area
                wb = ((c[0] - x - 0.5) * (a[1] - y - 0.5) - (c[1] - y - 0.5) * (a[0] - x - 0.5)) / area
                wc = 1.0 - wa - wb
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    if within and min(wa, wb, wc) < OUTSIDE:
                        break
                    continue
                within = True
                if wa * weights[i] + wb * weights[j] + wc * weights[k] > 0.0:
                    out[y, x] = 1


def cover(
    points: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    weights: NDArray[np.float64],
    height: int,
    width: int,
) -> NDArray[np.uint8]:
    """(H, W) 1 where any triangle, hidden or not, carries an interpolated vertex weight (V,) above 0;
    else 0.
    """
    out = np.zeros((height, width), np.uint8)
    _cover(np.ascontiguousarray(points, np.float64), triangles, weights, out)
    return out


def rasterise(
    points: NDArray[np.floating[Any]], triangles: NDArray[np.int32], height: int, width: int
) -> Raster:
    """Rasterise `points` (V, 3): x right, y down in pixels, z depth, smaller is nearer; triangles (F, 3),
    either turn.

    A pixel belongs to the nearest triangle that covers its centre. Edges are inclusive, so neighbours leave
    no gap; of equal depths the earlier triangle wins.
    """
    raster = Raster(
        np.full((height, width), -1, np.int32),
        np.zeros((height, width, 3), np.float32),
        np.full((height, width), np.inf, np.float32),
    )
    _fill(
        np.ascontiguousarray(points, np.float64),
        triangles,
        raster.face_index,
        raster.barycentric,
        raster.depth,
    )
    return raster


def interpolate(
    raster: Raster, triangles: NDArray[np.int32], values: NDArray[np.float32], outside: float
) -> NDArray[np.float32]:
    """Vertex attributes `values` (V, C) at every pixel, (H, W, C); `outside` where nothing was hit."""
    out = np.full((*raster.face_index.shape, values.shape[1]), outside, np.float32)
    _interpolate(
        raster.face_index, raster.barycentric, triangles, np.ascontiguousarray(values, np.float32), out
    )
    return out
