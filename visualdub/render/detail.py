"""The fine band of pictures: carried from frame to frame through the mesh, and put in place of another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.arrays import smoothstep
from visualdub.box import Box
from visualdub.face.raster import Raster, compiled
from visualdub.render.detail_frames import DetailFrame

MOST_GAIN = 4.0  # of the band's contrast, by which it is brought to the light of the drawn picture
LIGHT_STRIDE = 4  # every fourth pixel of every fourth row tells how light a picture is
FREE_STRETCH, MOST_STRETCH = 2.0, 5.0  # of a triangle's area from picture to picture
LEAST_SHARE = 0.4  # of the frames must see a point, or the drawn picture keeps its own band there
LEAST_SEEN = 1e-3  # share of the frames that see a point; below, nothing is known of it


@dataclass(frozen=True)
class Detail:
    """The fine band that goes over the drawn picture, in the plate's pixels of `box`."""

    box: Box
    band: NDArray[np.float32]  # (h, w, 3) R'G'B' around 0
    weight: NDArray[np.float32]  # (h, w) 0..1: how much of the drawn picture's own band it replaces
    level: NDArray[np.float32]  # (3,) mean R'G'B' of the pictures that the band comes from, by `weight`
    sigma: float  # plate pixels: what a Gaussian of this width takes away is the fine band

    def over(self, drawn: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
        """`drawn` (h, w, 3), the R'G'B' of the plate's pixels of `box`, with this band in place of its own.

        The band's contrast follows the light: it is scaled, channel by channel, by the ratio of the means.
        """
        left, top = max(box.left, self.box.left), max(box.top, self.box.top)
        right, bottom = min(box.right, self.box.right), min(box.bottom, self.box.bottom)
        if left >= right or top >= bottom:
            return drawn
        to = slice(top - box.top, bottom - box.top), slice(left - box.left, right - box.left)
        of = (
            slice(top - self.box.top, bottom - self.box.top),
            slice(left - self.box.left, right - self.box.left),
        )
        weight, picture = self.weight[of], np.ascontiguousarray(drawn[to])
        gain = light_gain(picture, weight, self.level)
        change = self.band[of] * gain - (picture - low_pass(picture, self.sigma))
        out = drawn.copy()
        out[to] = picture + weight[..., None] * change
        return out


def light_gain(
    picture: NDArray[np.float32], weight: NDArray[np.float32], level: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(3,) how much lighter `picture` (h, w, 3) is than `level` (3,), where `weight` (h, w) is above 0."""
    part = (slice(None, None, LIGHT_STRIDE), slice(None, None, LIGHT_STRIDE))
    w = weight[part].astype(np.float64)
    total = float(w.sum())
    if total <= 0:
        return np.ones(3, np.float32)
    mean = (w[..., None] * picture[part].clip(0, None)).sum((0, 1)) / total
    ratio = mean / np.maximum(level, 1 / 255)
    return np.asarray(ratio.clip(1 / MOST_GAIN, MOST_GAIN), np.float32)


def low_pass(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A picture (h, w) or (h, w, c) without its fine band."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


def fine_band(total: NDArray[np.float32], seen: NDArray[np.float32], box: Box, sigma: float) -> Detail | None:
    """The fine band of a mixture of frames; None where they see nothing of `box`.

    total: (h, w, 3) the sum of the frames' R'G'B' 0..255 times their weights, seen: (h, w) the sum of the
    weights, 0..1. Where nothing is seen there is no band, and it is not taken for black.
    """
    known = seen > LEAST_SEEN
    if not known.any():
        return None
    mean = total / (255 * np.maximum(seen, LEAST_SEEN))[..., None]
    weight = np.where(known, seen, np.float32(0)).clip(0, 1)
    blurred = low_pass(weight, sigma)
    low = low_pass(mean * weight[..., None], sigma) / np.maximum(blurred, LEAST_SEEN)[..., None]
    band = np.where(known[..., None], mean - low, np.float32(0))
    weight = smoothstep((weight * blurred - LEAST_SHARE) / np.float32(1 - LEAST_SHARE))  # no step at the end
    part = (slice(None, None, LIGHT_STRIDE), slice(None, None, LIGHT_STRIDE))
    w = weight[part].astype(np.float64)
    if w.sum() <= 0:
        return None
    level = (w[..., None] * mean[part]).sum((0, 1)) / w.sum()
    return Detail(box, band, weight, np.asarray(level, np.float32), sigma)


# ---- through the mesh --------------------------------------------------------------------------------------


def likeness_of_size(
    to: NDArray[np.floating[Any]], of: NDArray[np.floating[Any]], triangles: NDArray[np.int32]
) -> NDArray[np.float32]:
    """(F,) 1 for triangles that are about as large in one picture as in the other, 0 from `MOST_STRETCH` on.

    to, of: (P, 2 or more) the corners in pixels of both pictures. A triangle that is far smaller in one, such
    as the mouth's inside between lips that nearly touch, holds no detail for the other.
    """
    a, b = (_areas(points, triangles) for points in (to, of))
    stretch = np.maximum(a, b) / np.maximum(np.minimum(a, b), 1e-3)
    return smoothstep(((MOST_STRETCH - stretch) / (MOST_STRETCH - FREE_STRETCH)).astype(np.float32))


def _areas(points: NDArray[np.floating[Any]], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """(F,) twice the area of each triangle."""
    a, b, c = (np.asarray(points[triangles[:, k], :2], np.float64) for k in range(3))
    across = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1])
    return np.asarray(np.abs(across - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])))


@compiled
def _cubic(t: float) -> tuple[float, float, float, float]:
    """Weights of Catmull-Rom's cubic for the samples at -1, 0, 1 and 2, at 0 <= t < 1."""
    a = ((-0.5 * t + 1.0) * t - 0.5) * t
    b = (1.5 * t - 2.5) * t * t + 1.0
    c = ((-1.5 * t + 2.0) * t + 0.5) * t
    return a, b, c, 1.0 - a - b - c


@compiled
def _add_carried(
    face_index: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    wanted: NDArray[np.bool_],
    mesh: NDArray[np.float32],
    depth: NDArray[np.float32],
    tolerance: float,
    rgb: NDArray[np.uint8],
    shares: NDArray[np.float32],
    total: NDArray[np.float32],
    seen: NDArray[np.float32],
) -> None:
    height, width = face_index.shape
    rows, columns = rgb.shape[0], rgb.shape[1]
    for y in range(height):
        for x in range(width):
            f = face_index[y, x]
            if f < 0 or not wanted[y, x] or shares[f] <= 0.0:
                continue
            i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            a, b, c = barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2]
            px = a * mesh[i, 0] + b * mesh[j, 0] + c * mesh[k, 0] - 0.5
            py = a * mesh[i, 1] + b * mesh[j, 1] + c * mesh[k, 1] - 0.5
            x0, y0 = int(np.floor(px)), int(np.floor(py))
            if x0 < 1 or y0 < 1 or x0 + 2 >= columns or y0 + 2 >= rows:
                continue
            deeper = a * mesh[i, 2] + b * mesh[j, 2] + c * mesh[k, 2] - depth[int(py + 0.5), int(px + 0.5)]
            weight = shares[f] * min(1.0, 2.0 - deeper / tolerance)
            if weight <= 0.0:
                continue
            u0, u1, u2, u3 = _cubic(px - x0)
            v = _cubic(py - y0)
            red = green = blue = 0.0
            for r in range(4):
                row = rgb[y0 - 1 + r]
                w = v[r]
                red += w * (u0 * row[x0 - 1, 0] + u1 * row[x0, 0] + u2 * row[x0 + 1, 0] + u3 * row[x0 + 2, 0])
                green += w * (
                    u0 * row[x0 - 1, 1] + u1 * row[x0, 1] + u2 * row[x0 + 1, 1] + u3 * row[x0 + 2, 1]
                )
                blue += w * (
                    u0 * row[x0 - 1, 2] + u1 * row[x0, 2] + u2 * row[x0 + 1, 2] + u3 * row[x0 + 2, 2]
                )
            total[y, x, 0] += weight * red
            total[y, x, 1] += weight * green
            total[y, x, 2] += weight * blue
            seen[y, x] += weight


def add_carried(
    raster: Raster,
    triangles: NDArray[np.int32],
    wanted: NDArray[np.bool_],
    frame: DetailFrame,
    shares: NDArray[np.float32],
    total: NDArray[np.float32],
    seen: NDArray[np.float32],
) -> None:
    """Carry `frame` through the mesh to the pixels `wanted` (h, w) and add it to a mixture, in place.

    raster: of the commanded mesh. A pixel shows the point of the same triangle and barycentrics in `frame`,
    sampled with Catmull-Rom's cubic. shares: (F,) the weight of `frame` in every triangle. total: (h, w, 3)
    R'G'B' 0..255, seen: (h, w); both grow by the share where `frame` sees the point, and by nothing where
    something lies in front of it or it is outside the picture.
    """
    _add_carried(
        raster.face_index,
        raster.barycentric,
        triangles,
        wanted,
        frame.mesh,
        frame.depth,
        frame.tolerance,
        frame.rgb,
        shares,
        total,
        seen,
    )
