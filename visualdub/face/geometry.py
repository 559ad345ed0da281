"""The geometry of one frame for the renderer: UV map, mask and silhouette, in crop pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.arrays import smoothstep
from visualdub.face.camera import WEAK_PERSPECTIVE
from visualdub.face.crop import VIEW, Crop
from visualdub.face.landmarks import FACE_LEFT, FACE_RIGHT, face_width
from visualdub.face.models import FaceModel
from visualdub.face.raster import Raster, cover, interpolate, rasterise
from visualdub.face.track import Performance, Track

PINNED = 0.2  # face widths from the sides of the region that is drawn to where a vertex moves freely
MASK_GROW = 5  # crop pixels (diameter of the closing and growing element)


@dataclass(frozen=True)
class Geometry:
    """Inputs of the renderer for one frame, S x S crop pixels. What only some renderers need is worked out
    when it is first asked for.
    """

    model: FaceModel
    mesh: NDArray[np.float64]  # (V, 3) crop pixels and depth, of the commanded performance
    mask: NDArray[np.float32]  # (S, S) 0 or 1: the region to draw, the same for every performance

    @cached_property
    def _raster(self) -> Raster:
        return rasterise(self.mesh, self.model.triangles, *self.mask.shape)

    @cached_property
    def uv(self) -> NDArray[np.float32]:
        """(S, S, 2) texture coordinates in 0..1, u right, v down; -1 where no mesh."""
        return interpolate(self._raster, self.model.triangles, self.model.uv, -1.0)

    @property
    def silhouette(self) -> NDArray[np.bool_]:
        """(S, S) True on mesh and skirt."""
        return self._raster.hit


def to_crop(mesh: NDArray[np.float64], track: Track, crop: Crop, i: int) -> NDArray[np.float64]:
    """Model mesh (..., V, 3) to crop pixels and depth for frame `i` of the track."""
    points = track.scale[i] * mesh @ track.rotation[i].T
    scale, shift = crop.affine[i, 0, 0], crop.affine[i, :, 2]
    if track.camera == WEAK_PERSPECTIVE:
        points = points * scale
        points[..., :2] += scale * track.translation[i] + shift
        return np.asarray(points)
    points[..., :2] += track.translation[i]
    points = track.camera.converge(points) * scale
    points[..., :2] += shift
    return np.asarray(points)


def filmed_mesh(track: Track, crop: Crop, i: int) -> NDArray[np.float64]:
    """(V, 3) the mesh of frame `i` of the track as it was filmed, in crop pixels and depth."""
    mesh = track.model.vertices(track.identity, track.jaw[i], track.expression[i])
    return to_crop(mesh, track, crop, i)


def commanded_mesh(track: Track, crop: Crop, performance: Performance, i: int) -> NDArray[np.float64]:
    """(V, 3) the mesh of frame `i` of the track that plays frame `i` of `performance`, in crop pixels and
    depth.

    Towards the sides of the region that is drawn it is the filmed mesh: there the outline of the face goes on
    in the plate, and one that a narrower mouth has moved would leave a slit beside it.
    """
    model = track.model
    filmed = model.vertices(track.identity, track.jaw[i], track.expression[i])
    acted = model.vertices(track.identity, performance.jaw[i], performance.expression[i])
    return to_crop(filmed + _freedom(model)[:, None] * (acted - filmed), track, crop, i)


def _freedom(model: FaceModel) -> NDArray[np.float64]:
    """(V,) 0..1: how far each vertex follows a performance, by how far it is from the sides of the region
    that is drawn.
    """
    face = model.landmarks(model.template)
    middle = (face[FACE_LEFT, 0] + face[FACE_RIGHT, 0]) / 2
    aside = np.abs(model.template[:, 0] - middle) / face_width(face)
    farthest = aside[model.mask_weight > 0].max()
    return smoothstep((farthest - aside) / PINNED)


def mask_of(track: Track, crop: Crop, i: int) -> NDArray[np.float32]:
    """(S, S) the region to render: the fixed region of the UV layout, with the jaw closed and open, united.

    See DESIGN.md 2.2.
    """
    model, mask = track.model, np.zeros((crop.size, crop.size), np.uint8)
    for mesh in to_crop(track.extreme_meshes, track, crop, i):
        mask |= cover(mesh, model.triangles, model.mask_weight, crop.size, crop.size)
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (MASK_GROW, MASK_GROW))
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, element, iterations=2)
    return clip_to_view(np.asarray(cv2.dilate(closed, element), np.uint8)).astype(np.float32)


def clip_to_view(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask (256, 256) without what lies outside `VIEW`: nothing is ever drawn there."""
    top, bottom, left, right = VIEW
    kept = np.zeros_like(mask)
    kept[top:bottom, left:right] = mask[top:bottom, left:right]
    return kept


def frame_geometry(track: Track, crop: Crop, performance: Performance, i: int) -> Geometry:
    """Geometry of frame `i` of the track when it plays frame `i` of `performance`."""
    return Geometry(track.model, commanded_mesh(track, crop, performance, i), mask_of(track, crop, i))
