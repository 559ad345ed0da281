"""The geometry of one frame for the renderer: UV map, mask and silhouette, in crop pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.camera import WEAK_PERSPECTIVE
from visualdub.face.crop import VIEW, Crop
from visualdub.face.models import FaceModel
from visualdub.face.raster import Raster, cover, interpolate, rasterise
from visualdub.face.track import Performance, Track

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
    model = track.model
    mesh = model.vertices(track.identity, performance.jaw[i], performance.expression[i])
    return Geometry(model, to_crop(mesh, track, crop, i), mask_of(track, crop, i))
