"""Aligned references: the nearest frames of the actor's footage, warped through the mesh into the place of
the frame that is drawn. The network takes them beside texture and plate.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.crop import VIEW, Crop
from visualdub.face.geometry import commanded_mesh
from visualdub.face.raster import rasterise
from visualdub.face.track import Performance, Track
from visualdub.render.detail import add_carried, likeness_of_size
from visualdub.render.detail_frames import (
    DetailFrames,
    lip_shapes,
    margin_among,
    mouth_triangles,
    with_mouth,
)

CHANNELS = 4  # R'G'B' and confidence
HALF_CONFIDENCE = 4.0  # `DetailFrames.distances` at which the confidence is half that of frames that fit
LEAST_SEEN = 1e-3  # share of the frames that see a point; below, nothing is known of it
SOFT_EDGE = 6.0  # crop pixels over which the confidence rises from where nothing is known: no edge is drawn


class AlignedReferences:
    """Finds, carries and mixes the nearest frames for any frame of a shot, at the crop's resolution.

    What it gives for a frame depends on the shot's track and performance and the frame's number alone. It
    may be used from several threads. Raises `BadInput` where the frames belong to another face model.
    """

    def __init__(self, frames: DetailFrames, track: Track, performance: Performance, crop: Crop) -> None:
        frames.require_model_of(track)
        self._frames, self._track, self._performance, self._crop = frames, track, performance, crop
        self._margin = margin_among(len(frames))
        self._lips = lip_shapes(track.model, track.identity, frames.jaw, frames.expression)
        self._triangles = mouth_triangles(track.model)
        usable = track.usable
        usual = float(np.median((track.scale * crop.affine[:, 0, 0])[usable])) if usable.any() else 1.0
        self._reduction = np.minimum(1.0, usual / frames.scale)  # of each frame's picture

    def of_frame(self, i: int) -> NDArray[np.uint8]:
        """(S, S, 4) R'G'B' codes 0..255 of frame `i` of the shot out of the nearest frames, in their light,
        and their confidence, 0..255: 0 where none of them sees a point, low beside it, and the lower the
        farther they are.

        Frames of the same clip that lie too near to this one are left out, see `margin_among`.
        """
        size = self._crop.size
        picture = np.zeros((size, size, CHANNELS), np.uint8)
        distances = self._distances(i)
        number = self._track.start + i
        weights = self._frames.weights(distances, self._track.source_hash, number, self._margin)
        if not weights.any():
            return picture
        total, seen = self._carried(i, weights)
        near = np.float32(1 / (1 + float(distances @ weights) / HALF_CONFIDENCE))
        known = seen > LEAST_SEEN
        part = picture[VIEW[0] : VIEW[1], VIEW[2] : VIEW[3]]
        rgb = total / np.maximum(seen, LEAST_SEEN)[..., None]
        part[..., :3] = np.rint(rgb.clip(0, 255)) * known[..., None]
        inside = cv2.distanceTransform(known.astype(np.uint8), cv2.DIST_L2, 5)
        part[..., 3] = np.rint(seen.clip(0, 1) * (inside / np.float32(SOFT_EDGE)).clip(0, 1) * near * 255)
        return picture

    def _distances(self, i: int) -> NDArray[np.float64]:
        """(R,) how far every frame of the footage is from frame `i` of the shot."""
        return self._frames.distances_to(self._lips, self._track, self._performance, i)

    def _carried(
        self, i: int, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The view's pixels (h, w, 3) of the frames, each times its weight and how much of a point it sees,
        and the sum (h, w) of those.
        """
        top, bottom, left, right = VIEW
        height, width = bottom - top, right - left
        track = self._track
        points = commanded_mesh(track, self._crop, self._performance, i)
        points[:, :2] -= (left, top)
        points = with_mouth(points, track.model)
        raster = rasterise(points, self._triangles, height, width)
        total, seen = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
        everywhere = np.ones((height, width), np.bool_)
        for r in np.flatnonzero(weights).tolist():
            frame = self._frames.small_frame(r, track.model, float(self._reduction[r]))
            shares = likeness_of_size(points, frame.mesh, self._triangles) * np.float32(weights[r])
            add_carried(raster, self._triangles, everywhere, frame, shares, total, seen)
        return total, seen
