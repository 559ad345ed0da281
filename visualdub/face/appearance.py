"""What a face looks like: its skin unwrapped into a small texture that pose and light leave alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.landmarks import LANDMARK_COUNT
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.face.seen import Likeness

WIDTH, HEIGHT = 48, 58  # texels of the face seen from the front
DARK = 8.0  # code values added before the logarithm, against noise in the dark
SAME_LOOKS = 0.47  # distance of looks, 0..2, from which on two faces are two people; see docs/results.md
SAME_SHAPE = 0.016  # the same of shapes, root mean square of landmarks that do not move, in face widths
DATA = Path(__file__).with_name("models") / "likeness468.npz"
FACE_PIXELS = 72  # the picture is low-passed to a face of this width before it is sampled


@dataclass(frozen=True)
class TexelGrid:
    """Where each of T texels lies on MediaPipe's mesh: between three landmarks."""

    rows: NDArray[np.int64]  # (T,) of the texture
    columns: NDArray[np.int64]  # (T,)
    corners: NDArray[np.int32]  # (T, 3) numbers of landmarks
    weights: NDArray[np.float32]  # (T, 3), sums to 1


@cache
def texel_grid() -> TexelGrid:
    """The texels of a face, without eyes' and mouth's openings, on the mean face seen from the front."""
    from visualdub.face.raster import rasterise  # loads numba

    model = face_model(DEFAULT_FACE_MODEL)
    face = model.landmarks(model.template)
    low, high = face[:, :2].min(0), face[:, :2].max(0)
    points = face.copy()
    points[:, :2] = (face[:, :2] - low) / (high - low) * (WIDTH, HEIGHT)
    # the face's own vertices are MediaPipe's landmarks, with their numbers
    raster = rasterise(points, model.face_triangles, HEIGHT, WIDTH)
    rows, columns = np.nonzero(raster.hit)
    corners = model.face_triangles[raster.face_index[rows, columns]]
    return TexelGrid(rows, columns, corners, raster.barycentric[rows, columns])


def texel_count() -> int:
    """T."""
    return len(texel_grid().rows)


def face_texels(rgb: NDArray[np.uint8], landmarks: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """(T, 3) R'G'B' of the texels of `texel_grid` in a picture (H, W, 3).

    landmarks: (468 or 478, 3) in pixels of the picture, pixel centres at + 0.5. Outside the picture its
    border is repeated.
    """
    grid = texel_grid()
    points = np.asarray(landmarks[:LANDMARK_COUNT, :2], np.float32)
    low, high = points.min(0), points.max(0)
    h, w = rgb.shape[:2]
    x0, y0 = np.clip(np.floor(low) - 2, 0, (w - 1, h - 1)).astype(int)
    x1, y1 = np.clip(np.ceil(high) + 2, (x0 + 1, y0 + 1), (w, h)).astype(int)
    view = rgb[y0:y1, x0:x1]
    shrink = min(1.0, FACE_PIXELS / float(max(high - low)))
    size = (max(1, round((x1 - x0) * shrink)), max(1, round((y1 - y0) * shrink)))
    if shrink < 1:
        view = np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = np.array([view.shape[1] / (x1 - x0), view.shape[0] / (y1 - y0)], np.float32)
    at = np.einsum("tk,tkc->tc", grid.weights, points[grid.corners])
    at = (at - np.array([x0, y0], np.float32)) * scale - 0.5
    taken = cv2.remap(
        np.ascontiguousarray(view),
        at[None, :, 0],
        at[None, :, 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(taken[0], np.uint8)


# ---- likeness ----------------------------------------------------------------------------------------------


def plain_texels(texels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logarithms of texels (T, 3) without what the light makes of a face: level, tint, and a shade that
    changes smoothly over it.
    """
    values = np.log(texels.astype(np.float32) + DARK)
    basis = _shades()
    return np.asarray(values - basis @ (basis.T @ values), np.float32)


@cache
def _shades() -> NDArray[np.float32]:
    """(T, 6) orthonormal: constant, linear and quadratic over the face."""
    grid = texel_grid()
    x, y = grid.columns / WIDTH - 0.5, grid.rows / HEIGHT - 0.5
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1))
    return np.asarray(basis, np.float32)


def shape_of(model: FaceModel, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(468, 3) the neutral face of one person seen in n frames, landmarks (n, 478, 3)."""
    from visualdub.face.fit import fit_shot

    return np.asarray(model.landmarks(fit_shot(model, landmarks).identity), np.float32)


def joined_likeness(several: Sequence[Likeness]) -> Likeness:
    """The likeness of one person seen several times."""
    weights = np.array([one.count for one in several], np.float64)
    shape = np.average([one.shape for one in several], axis=0, weights=weights)
    known = [(one.texels, one.count) for one in several if one.texels is not None]
    texels = None
    if known:
        texels = np.average([t for t, _ in known], axis=0, weights=[n for _, n in known]).astype(np.float32)
    return Likeness(shape.astype(np.float32), texels, int(weights.sum()))


def colours(texels: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(T, 3) brightness, red against green, blue against green of plain texels (T, 3)."""
    red, green, blue = (texels[:, i].astype(np.float64) for i in range(3))
    return np.stack([(red + green + blue) / 3, red - green, blue - green], 1)


def traits(texels: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(T, 3) in what the colours of plain texels (T, 3) differ from the mean of many people, in units of what
    differs from one moment to another of the same person.
    """
    mean, scale = _statistics()
    return np.asarray((colours(texels) - mean) * scale)


@cache
def _statistics() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and scale of `traits`, (T, 3) each, as `training/face/build_likeness.py` found them."""
    with np.load(DATA, allow_pickle=False) as z:
        return z["mean"].astype(np.float64), z["scale"].astype(np.float64)


def distance(a: Likeness, b: Likeness) -> float:
    """How unlike two likenesses are: below 1 the same person, from 1 on somebody else.

    Of looks, brightness and colour count the same; where the looks of one are not known, the shape has to do,
    which tells far fewer people apart.
    """
    if a.texels is None or b.texels is None:
        stable = face_model(DEFAULT_FACE_MODEL).stable_landmarks
        apart = a.shape[stable].astype(np.float64) - b.shape[stable]
        return float(np.sqrt((apart * apart).mean())) / SAME_SHAPE
    x, y = traits(a.texels), traits(b.texels)
    return (_angle(x[:, 0], y[:, 0]) + _angle(x[:, 1:], y[:, 1:])) / 2 / SAME_LOOKS


def _angle(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """1 - cosine of the angle between two arrays of one shape."""
    return float(1 - (x * y).sum() / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-12))
