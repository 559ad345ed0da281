"""The fine detail of every frame of a shot, out of the nearest frames of the actor's footage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visualdub.box import Box
from visualdub.media.frame import Frame
from visualdub.render.carrying import add_carried, place_of
from visualdub.render.detail import Detail, Mixture, PlatePicture
from visualdub.render.near_frames import NearFrames, share_at
from visualdub.render.region import frame_region, into_region, out_of_region, plate_scale
from visualdub.timing import MARGIN

SIGMAS = 0.7, 1.4, 2.8  # of the bands, in crop pixels
LEAST_SIGMAS = 1.0, 2.0, 4.0  # plate pixels, where the plate is coarser
SHARES = 0.4, 0.45, 0.65  # of each band of the frames beside the drawn picture's own, at a distance of 0
RESTORED = 2.9, 2.9, 2.0  # of the contrast that the mixture lacks, as a power, at a distance of 0; 1 is all


def shares_at(distance: float) -> tuple[float, ...]:
    """How much each band of frames at a distance counts beside the drawn picture's own, the finest first.

    The coarser a band, the more it must be in its place: its share falls with the distance, that of the next
    one with its square.
    """
    return tuple(min(1.0, share / (1 + distance) ** k) for k, share in enumerate(SHARES))


def restored_at(distance: float) -> tuple[float, ...]:
    """How far each band's contrast is raised to that of frames at a distance, the finest first: the farther
    they are, the less they tell of it.
    """
    return tuple(min(1.0, power / (1 + distance)) for power in RESTORED)


@dataclass(frozen=True)
class Carried:
    """A picture that comes out of frames of the footage alone, in their light."""

    picture: PlatePicture
    crop: NDArray[np.float32]  # (S, S, 3) R'G'B' 0..1, the same in crop pixels; right inside the mask alone


@dataclass(frozen=True)
class _Near:
    """The nearest frames, carried into `box` of a frame and mixed."""

    mixture: Mixture
    box: Box  # plate pixels
    apart: float  # how far they are, `DetailFrames.distances`


class ShotDetail:
    """Finds, carries and mixes the nearest frames for any frame of a shot.

    What it gives for a frame depends on the shot's track and performance and the frame's number alone.
    """

    def __init__(self, near: NearFrames, margin: int = MARGIN) -> None:
        """margin: frames of the shot's own clip lend nothing to those that are less than this away."""
        self._frames, self._margin = near, margin

    def of_frame(self, frame: Frame, i: int, mask: NDArray[np.float32]) -> Detail | None:
        """The detail of frame `i` of the shot; None where no frame of the footage may be used or sees it.

        mask: (S, S) crop pixels, the region that is drawn.
        """
        near = self._near(frame, i, mask)
        if near is None:
            return None
        shares, restored = shares_at(near.apart), restored_at(near.apart)
        return near.mixture.detail(near.box, shares, restored, share_at(near.apart))

    def carried(self, frame: Frame, i: int, mask: NDArray[np.float32]) -> Carried | None:
        """The whole picture of frame `i` of the shot out of the nearest frames, with nothing else; as
        `of_frame` has it.
        """
        near = self._near(frame, i, mask, with_bands=False)
        if near is None:
            return None
        picture = PlatePicture(near.box, near.mixture.picture())
        crop = self._frames.crop
        return Carried(picture, out_of_region(picture.rgb, crop.stored_affine[i], near.box, crop.size))

    def _near(self, frame: Frame, i: int, mask: NDArray[np.float32], with_bands: bool = True) -> _Near | None:
        """The nearest frames, carried to frame `i` and mixed."""
        affine, triangles = self._frames.crop.stored_affine[i], self._frames.triangles
        box, weights = frame_region(frame, mask, affine), self._frames.weights(i, self._margin)
        if box is None or not weights.any() or not mask.any():
            return None
        scale = plate_scale(affine)
        sigmas = [max(least, sigma * scale) for sigma, least in zip(SIGMAS, LEAST_SIGMAS, strict=True)]
        wanted = into_region(mask, affine, box, smooth=True) > 0
        inner = _around(wanted, math.ceil(2 * sigmas[-1]))
        wanted = np.ascontiguousarray(wanted[inner.slices()])
        box = Box(box.left + inner.left, box.top + inner.top, box.left + inner.right, box.top + inner.bottom)
        points = self._frames.mesh_on_plate(i) - (box.left, box.top, 0)
        place = place_of(points, triangles, box.height, box.width, wanted)
        mixture = Mixture(box.height, box.width, sigmas if with_bands else ())
        for r in np.flatnonzero(weights).tolist():
            sums = place.nothing
            # a draft has nothing else to show at the outline
            add_carried(place, self._frames.plate_frame(r), 1.0, sums, to_the_edge=not with_bands)
            mixture.add(sums, float(weights[r]))
        return _Near(mixture, box, float(self._frames.distances(i) @ weights))


def _around(wanted: NDArray[np.bool_], margin: int) -> Box:
    """The box around the True of `wanted` (h, w), with a margin, cut at its edges; some are."""
    rows, columns = np.flatnonzero(wanted.any(1)), np.flatnonzero(wanted.any(0))
    height, width = wanted.shape
    return Box(
        max(0, int(columns[0]) - margin),
        max(0, int(rows[0]) - margin),
        min(width, int(columns[-1]) + 1 + margin),
        min(height, int(rows[-1]) + 1 + margin),
    )
