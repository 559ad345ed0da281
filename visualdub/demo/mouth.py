"""The inside of a mouth, drawn: teeth on two arcs of the face model, a tongue and a dark cavity."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.landmarks import LIPS_INNER
from visualdub.face.models.face468 import Face468
from visualdub.face.raster import interpolate, rasterise

FINE = 3  # samples per pixel along each axis; the picture is averaged down, so edges are smooth
CAVITY, TONGUE = np.array([52, 20, 20], np.float32), np.array([158, 82, 80], np.float32)  # R, G, B
ENAMEL, GUM = np.array([238, 224, 198], np.float32), np.array([168, 92, 88], np.float32)
UPPER, LOWER, COLUMNS = 2, 3, 11  # parts of the face model whose vertices lie on the dental arcs, in rows of COLUMNS
UPPER_ROWS, LOWER_ROWS = (-0.075, 0.024), (0.105, 0.030)  # gum and edge of the teeth against the lips' line, face widths
TEETH = 10  # along an arc


def lip_ring(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inner lips as a closed polygon (20, 2), from mesh points (V, 2 or 3) in pixels."""
    return points[list(LIPS_INNER), :2]


class Mouth:
    """Draws the mouth interior of one identity. Everything is placed in model space and moves with skull or jaw."""

    def __init__(self, model: Face468, identity: NDArray[np.float64], width: float) -> None:
        self.model, self.identity = model, identity
        line = float(identity[list(LIPS_INNER), 1].mean())
        self.upper = _arc(identity[model.parts == UPPER][:COLUMNS], line, UPPER_ROWS, width)
        self.lower = _arc(identity[model.parts == LOWER][:COLUMNS], line, LOWER_ROWS, width)
        self.tongue = np.array([0.0, line + 0.075 * width, float(self.lower[:, 2].mean())])
        self.tongue_size = (0.105 * width, 0.05 * width)
        self._jaw_rows = np.flatnonzero(model.parts == LOWER)[:COLUMNS]

    def meshes(self, mesh: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Upper teeth, lower teeth (2 * COLUMNS, 3) and the tongue's centre (3,) when the face is `mesh` (V, 3), model space."""
        moved = mesh[self._jaw_rows] - self.identity[self._jaw_rows]
        return self.upper, self.lower + np.tile(moved, (2, 1)), self.tongue + 0.8 * moved.mean(0)


def _arc(columns: NDArray[np.float64], line: float, rows: tuple[float, float], width: float) -> NDArray[np.float64]:
    """Two rows of vertices, gum then edge, on the arc that `columns` (COLUMNS, 3) lie on."""
    both = np.concatenate([columns, columns])
    both[:COLUMNS, 1], both[COLUMNS:, 1] = line + rows[0] * width, line + rows[1] * width
    return both


def _strip() -> NDArray[np.int32]:
    """Triangles between the two rows of an arc."""
    i = np.arange(COLUMNS - 1, dtype=np.int32)
    return np.concatenate([np.stack([i, i + 1, i + COLUMNS], 1), np.stack([i + 1, i + COLUMNS + 1, i + COLUMNS], 1)])


def _arc_coordinates() -> NDArray[np.float32]:
    """(2 * COLUMNS, 2): along the arc 0..1, from gum 0 to edge 1."""
    along = np.linspace(0, 1, COLUMNS, dtype=np.float32)
    return np.concatenate([np.stack([along, np.full_like(along, t)], 1) for t in (0, 1)])


def tooth_colour(along: NDArray[np.float32], down: NDArray[np.float32]) -> NDArray[np.float32]:
    """R'G'B' 0..255 (..., 3) of points on an arc of teeth; rounder and darker towards the corners of the mouth."""
    in_tooth = np.abs((along * TEETH) % 1 - 0.5) * 2  # 0 in the middle of a tooth, 1 between two
    gap = np.exp(-(((1 - in_tooth) / 0.13) ** 2))
    shade = (1 - 0.45 * np.abs(2 * along - 1) ** 2) * (1 - 0.55 * gap) * (0.88 + 0.12 * down)
    gum = 1 / (1 + np.exp((down - 0.22 + 0.10 * in_tooth**2) / 0.03))
    colour = ENAMEL * (1 - gum[..., None]) + GUM * gum[..., None]
    return np.asarray(colour * shade[..., None], np.float32)


def paint(
    picture: NDArray[np.uint8],
    ring: NDArray[np.float64],
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    tongue: NDArray[np.float64],
    tongue_size: tuple[float, float],
) -> NDArray[np.uint8]:
    """`picture` (H, W, 3) with the interior inside the polygon `ring` (k, 2); teeth (n, 3) and tongue (3,), all in pixels."""
    low, high = np.floor(ring.min(0)).astype(int) - 3, np.ceil(ring.max(0)).astype(int) + 4
    corner = low.astype(np.float64)
    w, h = (high - low) * FINE
    inside = _draw_interior(
        (h, w),
        (upper - [*corner, 0]) * FINE,
        (lower - [*corner, 0]) * FINE,
        (tongue[:2] - corner) * FINE,
        (tongue_size[0] * FINE, tongue_size[1] * FINE),
    )
    hole = np.zeros((h, w), np.float32)
    cv2.fillPoly(hole, [np.round((ring - corner) * FINE * 16).astype(np.int32)], (1.0,), cv2.LINE_AA, 4)
    inside *= _shadow(hole)[..., None]
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    weight = cv2.GaussianBlur(cv2.resize(hole, size, interpolation=cv2.INTER_AREA), (0, 0), 0.6)[..., None]
    small = cv2.resize(inside, size, interpolation=cv2.INTER_AREA)
    out = picture.copy()
    view = out[low[1] : high[1], low[0] : high[0]]
    view[:] = np.clip(np.rint(view * (1 - weight) + small * weight), 0, 255).astype(np.uint8)
    return out


def _draw_interior(
    size: tuple[int, int],
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    tongue: NDArray[np.float64],
    tongue_size: tuple[float, float],
) -> NDArray[np.float32]:
    h, w = size
    picture = np.broadcast_to(CAVITY, (h, w, 3)).astype(np.float32)
    y, x = np.mgrid[:h, :w] + 0.5
    r = ((x - tongue[0]) / tongue_size[0]) ** 2 + ((y - tongue[1]) / tongue_size[1]) ** 2
    on_tongue = np.clip((1 - r) * 4, 0, 1)[..., None]
    picture = picture * (1 - on_tongue) + TONGUE * np.clip(1 - 0.35 * r, 0, 1)[..., None] * on_tongue
    for points in (lower, upper):
        raster = rasterise(points, _strip(), h, w)
        place = interpolate(raster, _strip(), _arc_coordinates(), 0.0)
        picture = np.where(raster.hit[..., None], tooth_colour(place[..., 0], place[..., 1]), picture)
    return np.asarray(picture, np.float32)


def _shadow(hole: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light that reaches each point: less under the upper lip and in the corners. (h, w) 0..1."""
    below = np.cumsum(hole, 0) / (FINE * 6.0)  # how far below the upper lip, in six pixels
    depth = cv2.distanceTransform((hole > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (FINE * 4.0)
    return np.asarray(0.55 + 0.33 * np.clip(below, 0, 1) + 0.12 * np.clip(depth, 0, 1), np.float32)
