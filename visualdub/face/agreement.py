"""How well the lower face of each frame agrees with what the shot shows there otherwise.

Every triangle of the mesh shows the same skin in every frame, so its colour hardly changes but for light.
Where something comes before the face, the colours of many neighbours change at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_propagation

from visualdub.face.crop import SIZE
from visualdub.face.landmarks import LIPS_OUTER
from visualdub.face.models import FaceModel

AGREEMENT_VERSION = 1  # changes with every change of what comes out of `disagreement`

# ---- the colours of a shot ---------------------------------------------------------------------------------

PATCH = 7  # crop pixels along the square whose mean is a triangle's colour
FACING = 0.3  # share of its usual area from which a triangle is seen well enough
SMALLEST = 1.5  # crop pixels; smaller triangles are seen from the side
LIPS_GROWN = 1.4  # times the lips' outline: inside it a grimace shows teeth where the mesh has skin
EVERY = 3  # of the triangles outside the mask, which only tell the light, one in so many is looked at


@dataclass(frozen=True)
class Colours:
    """The colours of the face in the n frames of a shot, at P of its triangles."""

    chosen: NDArray[np.int64]  # (P,) of `FaceModel.face_triangles`: those in the mask, some of the others
    corners: NDArray[np.int32]  # (P, 3) vertices of them
    skin: NDArray[np.bool_]  # (P,) those inside the region that a dub draws, but around the lips
    usual_area: NDArray[np.float64]  # (P,) in the model's units, from the front
    rgb: NDArray[np.uint8]  # (n, P, 3) R'G'B'
    seen: NDArray[np.bool_]  # (n, P) whether the triangle faces the camera
    by_lips: NDArray[np.bool_]  # (n, P) whether it lies at the lips, wherever the mesh has them

    @classmethod
    def of_frames(cls, count: int, model: FaceModel) -> Self:
        """Room for `count` frames, in none of which anything is seen yet."""
        triangles = model.face_triangles
        drawn = (model.mask_weight[triangles] > 0).all(1)
        rest = np.flatnonzero((model.mask_weight[triangles] <= 0).all(1))[::EVERY]
        chosen = np.concatenate([np.flatnonzero(drawn), rest])
        return cls(
            chosen,
            np.ascontiguousarray(triangles[chosen]),
            drawn[chosen] & ~_around_lips(model)[chosen],
            areas(model.template[triangles[chosen]]),
            np.zeros((count, len(chosen), 3), np.uint8),
            np.zeros((count, len(chosen)), np.bool_),
            np.zeros((count, len(chosen)), np.bool_),
        )

    def add(
        self,
        i: int,
        crop: NDArray[np.uint8],
        filmed: NDArray[np.float64],
        scale: float,
        lips: NDArray[np.float64],
    ) -> None:
        """Take frame `i`: its crop (S, S, 3), its mesh (V, 3) in crop pixels, crop pixels per model unit, and
        where the outline of the lips was found (k, 2), in crop pixels, NaN where it was not.
        """
        area = areas(filmed[self.corners]) * np.sign(self.usual_area)
        self.seen[i] = area > np.maximum(FACING * scale**2 * np.abs(self.usual_area), SMALLEST)
        x, y = self.places(filmed)
        if np.isfinite(lips).all():
            mouth = np.zeros((SIZE, SIZE), np.uint8)
            cv2.fillConvexPoly(mouth, np.rint(_grown_hull(lips)).astype(np.int32), (1.0,))
            self.by_lips[i] = mouth[y, x] > 0
        self.rgb[i] = np.asarray(cv2.blur(crop, (PATCH, PATCH)))[y, x]

    def places(self, filmed: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Column and row (P,) of the middle of each triangle in a mesh (V, 3) in crop pixels."""
        middle = np.floor(filmed[self.corners][..., :2].mean(1)).clip(0, SIZE - 1).astype(np.int64)
        return middle[:, 0], middle[:, 1]


def _around_lips(model: FaceModel) -> NDArray[np.bool_]:
    """(F,) the triangles of the face whose middle lies within the grown outline of the lips."""
    hull = _grown_hull(model.landmarks(model.template)[list(LIPS_OUTER), :2])
    places = model.template[model.face_triangles].mean(1)
    return np.array([cv2.pointPolygonTest(hull, (float(x), float(y)), False) >= 0 for x, y, _ in places])


def _grown_hull(outline: NDArray[np.float64]) -> NDArray[np.float32]:
    """The convex hull of points (k, 2), grown about their middle: (h, 1, 2)."""
    middle = outline.mean(0)
    grown = (middle + LIPS_GROWN * (outline - middle)).astype(np.float32)
    return np.asarray(cv2.convexHull(grown), np.float32)


def areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed areas (P,) of triangles (P, 3, 2 or 3) in the picture's plane."""
    a, b = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    return np.asarray((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2)


# ---- what disagrees ----------------------------------------------------------------------------------------

SAMPLE = 400  # frames that the usual colours are taken from, at most
BLOCK = 256  # frames that are compared at a time
DARKEST = 12.0  # code values added before the logarithm: below, noise decides
DEVIATIONS = 5.0  # usual deviations at which a colour disagrees
LEAST_BRIGHT, LEAST_COLOUR = 0.35, 0.15  # but no smaller changes of brightness or colour, in logarithms
# Share of the skin in the mask that must disagree, and that must in the frames next to such a one.
COVERED, BESIDE = 0.06, 0.03


def disagreement(
    colours: Colours, faces: int, hidden: Mapping[int, NDArray[np.bool_]]
) -> dict[int, NDArray[np.bool_]]:
    """Frames in which something covers the mask's region, and which of all `faces` triangles it covers (F,).

    hidden: by frame, which of the P chosen triangles a hand covers; they count as unseen.
    """
    seen = colours.seen.copy()
    for i, hand in hidden.items():
        seen[i] &= ~hand
    usual, deviation = _usual(colours.rgb, seen)
    weight = np.abs(colours.usual_area) * colours.skin
    maps, shares = np.zeros((len(seen), -(-len(weight) // 8)), np.uint8), np.zeros(len(seen))
    for first in range(0, len(seen), BLOCK):
        rows = slice(first, first + BLOCK)
        off = np.abs(_relative(colours.rgb[rows], seen[rows], usual)) > deviation
        apart = off.any(-1) & seen[rows]
        counted = weight * (colours.seen[rows] & ~colours.by_lips[rows])
        shares[rows] = (apart * counted).sum(1) / np.maximum(counted.sum(1), 1e-9)
        maps[rows] = np.packbits(apart, axis=1)
    found: dict[int, NDArray[np.bool_]] = {}
    for i in np.flatnonzero(binary_propagation(shares > COVERED, mask=shares > BESIDE)):
        found[int(i)] = np.zeros(faces, np.bool_)
        found[int(i)][colours.chosen] = np.unpackbits(maps[i], count=len(weight))
    return found


def _relative(
    rgb: NDArray[np.uint8], seen: NDArray[np.bool_], usual: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(n, P, 3) brightness and two colour differences of each triangle against the usual ones, (P, 3), in
    logarithms, the light of each frame taken out.
    """
    values = _features(rgb) - usual
    light = _median(values, seen, 1)
    return np.asarray(values - np.nan_to_num(light)[:, None], np.float32)


def _features(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness, red against green and blue against green, in logarithms: (..., 3)."""
    logs = np.log(rgb.astype(np.float32) + np.float32(DARKEST))
    red, green, blue = logs[..., 0], logs[..., 1], logs[..., 2]
    return np.stack([(red + green + blue) / 3, red - green, blue - green], -1)


def _usual(
    rgb: NDArray[np.uint8], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(P, 3) the features that triangles usually have, and from what difference on one disagrees."""
    rows = np.flatnonzero(seen.any(1))
    rows = (
        rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).round().astype(np.int64))] if len(rows) else rows
    )
    values, there = _features(rgb[rows]), seen[rows]
    usual = np.nan_to_num(_median(values, there, 0))
    for _ in range(2):
        light = np.nan_to_num(_median(values - usual, there, 1))
        usual = np.nan_to_num(_median(values - light[:, None], there, 0))
    spread = np.nan_to_num(1.4826 * _median(np.abs(values - light[:, None] - usual), there, 0))
    least = np.array([LEAST_BRIGHT, LEAST_COLOUR, LEAST_COLOUR], np.float32)
    return usual, np.asarray(np.maximum(DEVIATIONS * spread, least), np.float32)


def _median(values: NDArray[np.float32], where: NDArray[np.bool_], axis: int) -> NDArray[np.float32]:
    """The median of values (n, P, 3) along an axis where `where` (n, P) holds; NaN where it nowhere does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a slice without any value
        return np.asarray(np.nanmedian(np.where(where[..., None], values, np.nan), axis), np.float32)
