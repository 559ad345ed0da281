"""Teeth and tongue of the drawn mouth, out of the actor's footage.

What lies between the lips does not follow from where the lips are, so that a network draws a blend of all
that it may be. This blend still says best which of the footage's mouths it is: of the frames whose lips are
alike, those that look most like it between the lips lend their teeth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.box import Box
from visualdub.face.landmarks import LIPS_INNER
from visualdub.media.frame import Frame
from visualdub.render.carrying import Place, add_carried, place_of, split
from visualdub.render.detail import low_pass
from visualdub.render.near_frames import NearFrames, share_at
from visualdub.render.region import plate_scale
from visualdub.timing import MARGIN

CANDIDATES = 16  # frames with the nearest lips, among which the picture chooses
SEEN_AT = 1.5  # crop pixels; finer things are not compared: the blend has none
LEAST_AREA = 30  # crop pixels between the lips; in less, nothing is told apart
LEAST_COVERED = 0.7  # of the mouth's inside must be seen in a frame
SPREAD = 0.15, 20.0  # of the least error, and codes squared: how much worse frames may be that still count
LEAST_SHARE = 0.05  # of the mixture; smaller ones are left out, and all others have as much less
OWN_LIGHT = 2.0  # crop pixels; what is coarser stays as it was drawn
SOFT_EDGE = 0.7  # crop pixels, where the inside meets the lips
LEAST_SEEN = 1e-3
MOST_GAIN = 2.0  # times that the footage is made lighter or darker


@dataclass(frozen=True)
class Interior:
    """The mouth's inside in the plate's pixels of `box`."""

    box: Box
    picture: NDArray[np.float32]  # (h, w, 3) R'G'B' 0..1, in the footage's light; 0 outside the inside
    seen: NDArray[np.float32]  # (h, w) 0..1, how much of a point the footage shows
    weight: NDArray[np.float32]  # (h, w) 0..1, how much it counts beside the drawn picture
    sigma: float  # plate pixels; what is coarser stays the drawn picture's

    def over(self, drawn: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
        """`drawn` (h, w, 3), the R'G'B' of the plate's pixels of `box`, with this inside of the mouth.

        Colours and light of its broad areas stay as they were drawn.
        """
        part = self.box.common(box)
        if part is None:
            return drawn
        to, of = part.within(box), part.within(self.box)
        own, picture = np.ascontiguousarray(drawn[to]), self.picture[of]
        seen, weight = np.ascontiguousarray(self.seen[of]), self.weight[of][..., None]
        was, is_now = (_blurred(p, seen, self.sigma) for p in (own, picture))
        total = float((seen[..., None] * picture).sum(dtype=np.float64))
        gain = float((seen[..., None] * own).sum(dtype=np.float64)) / max(total, LEAST_SEEN)
        finer = (picture - is_now) * np.float32(np.clip(gain, 1 / MOST_GAIN, MOST_GAIN))
        out = drawn.copy()
        out[to] += weight * (was + finer - own)
        return out


class MouthInterior:
    """Finds the inside of the mouth for any frame of a shot.

    What it gives for a frame depends on the shot's track and performance, the frame's number and the
    network's picture of it.
    """

    def __init__(self, near: NearFrames, margin: int = MARGIN) -> None:
        """margin: frames of the shot's own clip lend nothing to those that are less than this away."""
        self._frames, self._margin = near, margin
        self._skin = len(near.track.model.skin_triangles)

    def of_frame(self, frame: Frame, i: int, rgb: NDArray[np.float32]) -> Interior | None:
        """The inside of the mouth in frame `i` of the shot; None where it is shut, or no frame of the footage
        shows it.

        rgb: (S, S, 3) R'G'B' 0..1, the network's picture, in the light that the actor was adapted in.
        """
        shares = self._chosen(i, rgb)
        near = share_at(float(self._frames.distances(i) @ shares))
        if not shares.any() or near <= 0:
            return None
        scale = plate_scale(self._frames.crop.stored_affine[i])
        height, width = frame.planes[0].shape[:2]
        margin = math.ceil(3 * SOFT_EDGE * scale) + 1
        inside = self._inside(self._frames.mesh_on_plate(i), margin, height, width)
        if inside is None:
            return None
        box, place = inside
        sums = place.nothing
        for r in np.flatnonzero(shares).tolist():
            add_carried(place, self._frames.plate_frame(r), float(shares[r]), sums)
        total, seen = split(sums)
        picture = total / (255 * np.maximum(seen, LEAST_SEEN)[..., None])
        weight = low_pass(seen.clip(0, 1) * np.float32(near), SOFT_EDGE * scale) * (seen > LEAST_SEEN)
        return Interior(box, picture, seen.clip(0, 1), weight, OWN_LIGHT * scale)

    def _chosen(self, i: int, rgb: NDArray[np.float32]) -> NDArray[np.float64]:
        """(R,) the share of each frame: of those with the nearest lips, the ones that look like `rgb` between
        them. All 0 where none may be used.
        """
        shares = np.zeros(len(self._frames.frames))
        inside = self._inside(self._frames.mesh(i), math.ceil(3 * SEEN_AT), *rgb.shape[:2])
        if inside is None or inside[1].raster.hit.sum() < LEAST_AREA:
            return shares
        box, place = inside
        here = place.raster.hit.astype(np.float32)
        drawn = _blurred(np.ascontiguousarray(rgb[box.slices()]) * np.float32(255), here, SEEN_AT)
        allowed = self._frames.allowed(i, self._margin)
        usable = np.flatnonzero(allowed > 0)
        near = usable[np.argsort(self._frames.distances(i)[usable], kind="stable")][:CANDIDATES]
        errors = self._errors(near, place, drawn)
        if not np.isfinite(errors).any():
            return shares
        least = errors.min()
        weights = np.exp((least - errors) / (SPREAD[0] * least + SPREAD[1])) * allowed[near]
        weights = np.maximum(weights / weights.sum() - LEAST_SHARE, 0)
        shares[near] = weights / weights.sum()
        return shares

    def _errors(
        self, frames: NDArray[np.intp], place: Place, drawn: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """(n,) mean squared difference of each of `frames`, carried to `place`, to what is `drawn` (h, w, 3)
        there, codes 0..255, both without what is finer than `SEEN_AT`; inf where too little is seen.
        """
        inner = place.raster.hit
        sums = np.stack([place.nothing for _ in frames]) if len(frames) else np.zeros((0, *inner.shape, 4))
        for r, total in zip(frames.tolist(), sums, strict=True):
            add_carried(place, self._frames.crop_frame(r), 1.0, total)
        low = np.array([cv2.GaussianBlur(total, (0, 0), SEEN_AT) for total in sums]).reshape(sums.shape)
        shown = low[..., :3] / np.maximum(low[..., 3:], LEAST_SEEN)
        seen = sums[..., 3]
        compared = inner & (seen > LEAST_SEEN)
        squares = np.square(shown - drawn).mean(-1, dtype=np.float64)
        errors = (squares * compared).sum((1, 2)) / np.maximum(compared.sum((1, 2)), 1)
        return np.asarray(np.where(seen.sum((1, 2)) >= LEAST_COVERED * inner.sum(), errors, np.inf))

    def _inside(
        self, mesh: NDArray[np.float64], margin: int, height: int, width: int
    ) -> tuple[Box, Place] | None:
        """Where the mouth's inside is seen in a picture of this size: a box around it, and in it the place of
        `mesh` (P, 3), of which the strip between the lips alone is wanted; None where it is nowhere.
        """
        rim = mesh[-len(LIPS_INNER) :, :2]
        low, high = np.floor(rim.min(0)).astype(int) - margin, np.ceil(rim.max(0)).astype(int) + margin
        box = Box(
            max(0, int(low[0])), max(0, int(low[1])), min(width, int(high[0])), min(height, int(high[1]))
        )
        if box.width <= 0 or box.height <= 0:
            return None
        place = place_of(mesh - (box.left, box.top, 0), self._frames.triangles, box.height, box.width)
        place.raster.face_index[place.raster.face_index < self._skin] = -1
        return box, place


def _blurred(picture: NDArray[np.float32], seen: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """What is seen (h, w) of a picture (h, w, 3), without what a Gaussian of `sigma` pixels takes away."""
    known = np.maximum(cv2.GaussianBlur(seen, (0, 0), sigma), np.float32(LEAST_SEEN))
    low = cv2.GaussianBlur(picture * seen[..., None], (0, 0), sigma)
    return np.asarray(low / known[..., None], np.float32)
