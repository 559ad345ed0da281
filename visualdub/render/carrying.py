"""Pictures carried through the mesh: what a frame of the footage shows, in the place that the same points of
the face have in the frame that is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.compiled import compiled
from visualdub.face.raster import Raster, rasterise
from visualdub.render.detail_frames import DetailFrame

FREE_STRETCH, MOST_STRETCH = 2.0, 5.0  # of a triangle's area from picture to picture
LEAST_AREA = 5e-4  # square pixels; a triangle that is smaller is as if it had this area


@dataclass(frozen=True)
class Place:
    """Where a frame's mesh stands in a picture that others are carried to."""

    points: NDArray[np.float64]  # (P, 3) pixels and depth
    triangles: NDArray[np.int32]  # (F, 3)
    raster: Raster  # of them, h x w; frames are carried to the pixels that are hit in it

    @property
    def nothing(self) -> NDArray[np.float32]:
        """(h, w, 4) zeros, to add carried frames to."""
        return np.zeros((*self.raster.face_index.shape, 4), np.float32)


def place_of(
    points: NDArray[np.float64],
    triangles: NDArray[np.int32],
    height: int,
    width: int,
    wanted: NDArray[np.bool_] | None = None,
) -> Place:
    """The place of a mesh in a picture of this size. wanted: (h, w) the pixels to carry frames to; None: all
    that show the mesh.
    """
    raster = rasterise(points, triangles, height, width)
    if wanted is not None:
        raster.face_index[~wanted] = -1
    return Place(points, triangles, raster)


def add_carried(
    place: Place, frame: DetailFrame, share: float, sums: NDArray[np.float32], to_the_edge: bool = False
) -> None:
    """Carry `frame` to `place` and add it, times `share`, to `sums` (h, w, 4), in place: R'G'B' 0..255 times
    how much `frame` shows of a point, and how much that is.

    A pixel shows the point of the same triangle and barycentrics in `frame`, sampled with Catmull-Rom's
    cubic. Nothing is added where something lies in front of the point or it is outside the picture, and the
    less the more its triangle is stretched or squeezed, see `likeness_of_size`. to_the_edge: also take what
    lies so near to the face's outline that the picture may show what is behind.
    """
    shares = likeness_of_size(place.points, frame.mesh, place.triangles) * np.float32(share)
    _add_sampled(
        place.raster.face_index,
        place.raster.barycentric,
        np.ascontiguousarray(frame.mesh[place.triangles]),
        shares,
        frame.picture.ravel(),
        frame.depth if to_the_edge else frame.trusted,
        np.float32(1 / frame.tolerance),
        sums.ravel(),
    )


def likeness_of_size(
    to: NDArray[np.floating[Any]], of: NDArray[np.floating[Any]], triangles: NDArray[np.int32]
) -> NDArray[np.float32]:
    """(F,) 1 for triangles that are about as large in one picture as in the other, 0 from `MOST_STRETCH` on.

    to, of: (P, 3) the corners in both pictures, pixels and depth. A triangle that is far smaller in one, such
    as the mouth's inside between lips that nearly touch, holds no detail for the other.
    """
    out = np.empty(len(triangles), np.float32)
    _likeness(np.asarray(to, np.float64), np.asarray(of, np.float64), triangles, out)
    return out


def split(sums: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What `add_carried` added up: R'G'B' (h, w, 3) 0..255 times what is seen of a point, and that (h, w)."""
    rgb = np.asarray(cv2.cvtColor(sums, cv2.COLOR_RGBA2RGB), np.float32)
    return rgb, np.asarray(cv2.extractChannel(sums, 3), np.float32)


@compiled
def _likeness(
    to: NDArray[np.float64], of: NDArray[np.float64], triangles: NDArray[np.int32], out: NDArray[np.float32]
) -> None:
    for f in range(len(triangles)):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        one = abs(
            (to[j, 0] - to[i, 0]) * (to[k, 1] - to[i, 1]) - (to[j, 1] - to[i, 1]) * (to[k, 0] - to[i, 0])
        )
        other = abs(
            (of[j, 0] - of[i, 0]) * (of[k, 1] - of[i, 1]) - (of[j, 1] - of[i, 1]) * (of[k, 0] - of[i, 0])
        )
        stretch = max(one, other) / max(min(one, other), 2 * LEAST_AREA)
        t = min(max((MOST_STRETCH - stretch) / (MOST_STRETCH - FREE_STRETCH), 0.0), 1.0)
        out[f] = t * t * (3.0 - 2.0 * t)


@compiled
def _cubic(t: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Weights of Catmull-Rom's cubic for the samples at -1, 0, 1 and 2, at 0 <= t < 1."""
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    a = ((-half * t + one) * t - half) * t
    b = (np.float32(1.5) * t - np.float32(2.5)) * t * t + one
    c = ((-np.float32(1.5) * t + two) * t + half) * t
    return a, b, c, one - a - b - c


@compiled
def _across(picture: NDArray[np.float32], at: np.uintp, u: Sequence[np.float32]) -> np.float32:
    """Four samples of one channel from index `at` of a flat picture, weighted."""
    value = u[0] * picture[at]
    value += u[1] * picture[at + np.uintp(4)]
    value += u[2] * picture[at + np.uintp(8)]
    value += u[3] * picture[at + np.uintp(12)]
    return np.float32(value)


@compiled
def _add_sampled(
    face_index: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    corners: NDArray[np.float32],
    shares: NDArray[np.float32],
    picture: NDArray[np.float32],
    depth: NDArray[np.float32],
    sharpness: np.float32,
    sums: NDArray[np.float32],
) -> None:
    """Loops of `add_carried`. corners: (F, 3, 3) of every triangle, its points in the frame. shares: (F,).
    picture: R'G'B'1, flat. depth: (rows, columns) of the frame. sharpness: 1 / its tolerance. sums: flat.

    Floats need no conversion here, and an index without a sign no look at whether it is negative: a quarter
    less time than with bytes in rows of pixels.
    """
    height, width = face_index.shape
    rows, columns = depth.shape
    down, two_down, three_down = np.uintp(4 * columns), np.uintp(8 * columns), np.uintp(12 * columns)
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    for y in range(height):
        for x in range(width):
            hit = face_index[y, x]
            if hit < 0 or shares[hit] <= 0:
                continue
            f = np.uintp(hit)
            a, b, c = barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2]
            px = a * corners[f, 0, 0] + b * corners[f, 1, 0] + c * corners[f, 2, 0] - half
            py = a * corners[f, 0, 1] + b * corners[f, 1, 1] + c * corners[f, 2, 1] - half
            if px < one or py < one:
                continue
            x0, y0 = int(px), int(py)
            if x0 + 2 >= columns or y0 + 2 >= rows:
                continue
            at = a * corners[f, 0, 2] + b * corners[f, 1, 2] + c * corners[f, 2, 2]
            deeper = at - depth[np.uintp(py + half), np.uintp(px + half)]
            weight = shares[f] * min(one, two - deeper * sharpness)
            if weight <= 0:
                continue
            u, v = _cubic(px - np.float32(x0)), _cubic(py - np.float32(y0))
            first = np.uintp(4 * ((y0 - 1) * columns + x0 - 1))
            to = np.uintp(4 * (y * width + x))
            for k in range(4):
                i = first + np.uintp(k)
                value = v[0] * _across(picture, i, u)
                value += v[1] * _across(picture, i + down, u)
                value += v[2] * _across(picture, i + two_down, u)
                value += v[3] * _across(picture, i + three_down, u)
                sums[to + np.uintp(k)] += weight * value
