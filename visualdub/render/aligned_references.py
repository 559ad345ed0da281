"""Aligned references: the nearest frames of the actor's footage, warped through the mesh into the place of
the frame that is drawn. The network takes them beside texture and plate.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.compiled import compiled
from visualdub.face.crop import VIEW
from visualdub.render.carrying import add_carried, place_of
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
        sums = self._carried(i, weights)
        near = 1 / (1 + float(self._near.distances(i) @ weights) / HALF_CONFIDENCE)
        known = (sums[..., 3] > LEAST_SEEN).astype(np.uint8)
        inside = np.asarray(cv2.distanceTransform(known, cv2.DIST_L2, 5), np.float32)
        _to_codes(sums, inside, np.float32(near), picture[VIEW[0] : VIEW[1], VIEW[2] : VIEW[3]])
        return picture

    def _carried(self, i: int, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """The view's pixels (h, w, 4) of the frames, as `add_carried` has them, each times its weight."""
        top, bottom, left, right = VIEW
        points = self._near.mesh(i)
        points[:, :2] -= (left, top)
        place = place_of(points, self._near.triangles, bottom - top, right - left)
        sums = place.nothing
        for r in np.flatnonzero(weights).tolist():
            add_carried(place, self._near.crop_frame(r), float(weights[r]), sums)
        return sums


@compiled
def _to_codes(
    sums: NDArray[np.float32], inside: NDArray[np.float32], near: np.float32, out: NDArray[np.uint8]
) -> None:
    """Loops of `of_frame`: codes of what was carried (h, w, 4), where it is known; `inside`: (h, w) pixels to
    where it is not.
    """
    one, white = np.float32(1), np.float32(255)
    for y in range(sums.shape[0]):
        for x in range(sums.shape[1]):
            seen = sums[y, x, 3]
            if seen <= LEAST_SEEN:
                continue
            for k in range(3):
                out[y, x, k] = np.rint(min(max(sums[y, x, k] / seen, np.float32(0)), white))
            sure = min(seen, one) * min(inside[y, x] / np.float32(SOFT_EDGE), one)
            out[y, x, 3] = np.rint(sure * near * white)
