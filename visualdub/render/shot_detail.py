"""The fine detail of every frame of a shot, out of the nearest frames of the actor's footage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visualdub.arrays import smoothstep
from visualdub.box import Box
from visualdub.face.crop import Crop
from visualdub.face.geometry import commanded_mesh
from visualdub.face.raster import rasterise
from visualdub.face.track import Performance, Track
from visualdub.media.frame import Frame
from visualdub.render.detail import Detail, Mixture, PlatePicture, add_carried, likeness_of_size
from visualdub.render.detail_frames import DetailFrames, lip_shapes, mouth_triangles, with_mouth
from visualdub.render.region import frame_region, into_region, out_of_region, plate_scale
from visualdub.timing import MARGIN

SIGMAS = 0.7, 1.4, 2.8  # of the bands, in crop pixels
LEAST_SIGMAS = 1.0, 2.0, 4.0  # plate pixels, where the plate is coarser
SHARES = 0.4, 0.45, 0.65  # of each band of the frames beside the drawn picture's own, at a distance of 0
RESTORED = 2.9, 2.9, 2.0  # of the contrast that the mixture lacks, as a power, at a distance of 0; 1 is all
# `DetailFrames.distances` up to which frames lend all they can, and from which on none.
FAR, FARTHEST = 4.5, 9.0


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

    What it gives for a frame depends on the shot's track and performance and the frame's number alone. Raises
    `BadInput` where the frames of the package belong to another face model.
    """

    def __init__(
        self,
        frames: DetailFrames,
        track: Track,
        performance: Performance,
        crop: Crop,
        margin: int = MARGIN,
    ) -> None:
        """margin: frames of the shot's own clip lend nothing to those that are less than this away."""
        frames.require_model_of(track)
        self._frames, self._track, self._performance, self._crop = frames, track, performance, crop
        self._margin = margin
        self._lips = lip_shapes(track.model, track.identity, frames.jaw, frames.expression)
        scale = crop.affine[:, 0, 0] / np.array([plate_scale(a) ** -1 for a in crop.stored_affine])
        usual = float(np.median((track.scale * scale)[track.usable])) if track.usable.any() else 1.0
        self._reduction = np.minimum(1.0, usual / frames.scale)  # of each frame's picture

    def distances(self, i: int) -> NDArray[np.float64]:
        """(R,) how far every frame of the footage is from frame `i` of the shot."""
        return self._frames.distances_to(self._lips, self._track, self._performance, i)

    def of_frame(self, frame: Frame, i: int, mask: NDArray[np.float32]) -> Detail | None:
        """The detail of frame `i` of the shot; None where no frame of the footage may be used or sees it.

        mask: (S, S) crop pixels, the region that is drawn.
        """
        near = self._near(frame, i, mask)
        if near is None:
            return None
        share = float(smoothstep(np.array((FARTHEST - near.apart) / (FARTHEST - FAR))))
        return near.mixture.detail(near.box, shares_at(near.apart), restored_at(near.apart), share)

    def carried(self, frame: Frame, i: int, mask: NDArray[np.float32]) -> Carried | None:
        """The whole picture of frame `i` of the shot out of the nearest frames, with nothing else; as
        `of_frame` has it.
        """
        near = self._near(frame, i, mask, with_bands=False)
        if near is None:
            return None
        picture = PlatePicture(near.box, near.mixture.picture())
        affine = self._crop.stored_affine[i]
        return Carried(picture, out_of_region(picture.rgb, affine, near.box, self._crop.size))

    def _near(self, frame: Frame, i: int, mask: NDArray[np.float32], with_bands: bool = True) -> _Near | None:
        """The nearest frames, carried to frame `i` and mixed."""
        affine, model = self._crop.stored_affine[i], self._track.model
        box, distances = frame_region(frame, mask, affine), self.distances(i)
        number = self._track.start + i
        weights = self._frames.weights(distances, self._track.source_hash, number, self._margin)
        if box is None or not weights.any() or not mask.any():
            return None
        scale = plate_scale(affine)
        sigmas = [max(least, sigma * scale) for sigma, least in zip(SIGMAS, LEAST_SIGMAS, strict=True)]
        wanted = into_region(mask, affine, box, smooth=True) > 0
        inner = _around(wanted, math.ceil(2 * sigmas[-1]))
        wanted = np.ascontiguousarray(wanted[inner.slices()])
        box = Box(box.left + inner.left, box.top + inner.top, box.left + inner.right, box.top + inner.bottom)
        points = commanded_mesh(self._track, self._crop, self._performance, i)
        points[:, :2] = (points[:, :2] - affine[:, 2]) / (affine[0, 0], affine[1, 1]) - (box.left, box.top)
        triangles = mouth_triangles(model)
        points = with_mouth(points, model)
        raster = rasterise(points, triangles, box.height, box.width)
        mixture = Mixture(box.height, box.width, sigmas if with_bands else ())
        for r in np.flatnonzero(weights).tolist():
            found = self._frames.frame(r, model, float(self._reduction[r]))
            total, seen = np.zeros((box.height, box.width, 3), np.float32), np.zeros_like(wanted, np.float32)
            sizes = likeness_of_size(points, found.mesh, triangles)
            # a draft has nothing else to show at the outline
            add_carried(raster, triangles, wanted, found, sizes, total, seen, to_the_edge=not with_bands)
            mixture.add(total, seen, float(weights[r]))
        return _Near(mixture, box, float(distances @ weights))


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
