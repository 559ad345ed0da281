"""Aligned references: the nearest frames of the actor's footage, warped through the mesh into the place of
the frame that is drawn. The network takes them beside texture and plate.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.crop import VIEW
from visualdub.face.raster import rasterise
from visualdub.render.detail import add_carried, likeness_of_size
from visualdub.render.detail_frames import margin_among
from visualdub.render.near_frames import NearFrames

CHANNELS = 4  # R'G'B' and confidence
HALF_CONFIDENCE = 4.0  # `DetailFrames.distances` at which the confidence is half that of frames that fit
LEAST_SEEN = 1e-3  # share of the frames that see a point; below, nothing is known of it
SOFT_EDGE = 6.0  # crop pixels over which the confidence rises from where nothing is known: no edge is drawn


class AlignedReferences:
    """Finds, carries and mixes the nearest frames for any frame of a shot, at the crop's resolution.

    What it gives for a frame depends on the shot's track and performance and the frame's number alone. It
    may be used from several threads.
    """

    def __init__(self, near: NearFrames) -> None:
        self._near, self._margin = near, margin_among(len(near.frames))

    def of_frame(self, i: int) -> NDArray[np.uint8]:
        """(S, S, 4) R'G'B' codes 0..255 of frame `i` of the shot out of the nearest frames, in their light,
        and their confidence, 0..255: 0 where none of them sees a point, low beside it, and the lower the
        farther they are.

        Frames of the same clip that lie too near to this one are left out, see `margin_among`.
        """
        size = self._near.crop.size
        picture = np.zeros((size, size, CHANNELS), np.uint8)
        weights = self._near.weights(i, self._margin)
        if not weights.any():
            return picture
        total, seen = self._carried(i, weights)
        near = np.float32(1 / (1 + float(self._near.distances(i) @ weights) / HALF_CONFIDENCE))
        known = seen > LEAST_SEEN
        part = picture[VIEW[0] : VIEW[1], VIEW[2] : VIEW[3]]
        rgb = total / np.maximum(seen, LEAST_SEEN)[..., None]
        part[..., :3] = np.rint(rgb.clip(0, 255)) * known[..., None]
        inside = cv2.distanceTransform(known.astype(np.uint8), cv2.DIST_L2, 5)
        part[..., 3] = np.rint(seen.clip(0, 1) * (inside / np.float32(SOFT_EDGE)).clip(0, 1) * near * 255)
        return picture

    def _carried(
        self, i: int, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The view's pixels (h, w, 3) of the frames, each times its weight and how much of a point it sees,
        and the sum (h, w) of those.
        """
        top, bottom, left, right = VIEW
        height, width = bottom - top, right - left
        points, triangles = self._near.mesh(i), self._near.triangles
        points[:, :2] -= (left, top)
        raster = rasterise(points, triangles, height, width)
        total, seen = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
        everywhere = np.ones((height, width), np.bool_)
        for r in np.flatnonzero(weights).tolist():
            frame = self._near.crop_frame(r)
            shares = likeness_of_size(points, frame.mesh, triangles) * np.float32(weights[r])
            add_carried(raster, triangles, everywhere, frame, shares, total, seen)
        return total, seen
