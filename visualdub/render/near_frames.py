"""The frames of an actor's footage as one shot needs them: how far each is from any of its frames, at which
size, and through which mesh it is carried there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visualdub.arrays import smoothstep
from visualdub.face.crop import Crop
from visualdub.face.geometry import commanded_mesh
from visualdub.face.track import Performance, Track
from visualdub.render.detail_frames import (
    DetailFrame,
    DetailFrames,
    lip_shapes,
    mouth_triangles,
    with_mouth,
)
from visualdub.render.recent import Latest
from visualdub.render.region import plate_scale

HELD = 16  # frames of the shot whose distances and meshes are kept, for all who ask for them
# `DetailFrames.distances` up to which frames lend all they can, and from which on none
FAR, FARTHEST = 4.5, 9.0


class NearFrames:
    """R frames of footage and one shot that plays a performance. May be used from several threads.

    Raises `BadInput` where the frames belong to another face model.
    """

    def __init__(self, frames: DetailFrames, track: Track, performance: Performance, crop: Crop) -> None:
        frames.require_model_of(track)
        self.frames, self.track, self.crop = frames, track, crop
        self.triangles = mouth_triangles(track.model)
        self._performance = performance
        self._lips = lip_shapes(track.model, track.identity, frames.jaw, frames.expression)
        in_crop = track.scale * crop.affine[:, 0, 0]  # pixels per model unit
        on_plate = in_crop * np.array([plate_scale(a) for a in crop.stored_affine])
        self._to_crop, self._to_plate = (self._shrunk(scale) for scale in (in_crop, on_plate))
        self._known: Latest[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = Latest(HELD)

    def _shrunk(self, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R,) by how much each frame's picture is shrunk where the shot has `scale` (N,)."""
        usable = self.track.usable
        usual = float(np.median(scale[usable])) if usable.any() else 1.0
        return np.asarray(np.minimum(1.0, usual / self.frames.scale))

    def distances(self, i: int) -> NDArray[np.float64]:
        """(R,) how far every frame of the footage is from frame `i` of the shot."""
        return self._of(i)[0]

    def mesh(self, i: int) -> NDArray[np.float64]:
        """(P, 3) the commanded mesh `with_mouth` of frame `i` of the shot, crop pixels and depth; a copy."""
        return self._of(i)[1].copy()

    def mesh_on_plate(self, i: int) -> NDArray[np.float64]:
        """(P, 3) the same in pixels of the clip."""
        points, affine = self.mesh(i), self.crop.stored_affine[i]
        points[:, :2] = (points[:, :2] - affine[:, 2]) / (affine[0, 0], affine[1, 1])
        return points

    def _of(self, i: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        found = self._known.get(i)
        if found is None:
            track, acted = self.track, self._performance
            mesh = with_mouth(commanded_mesh(track, self.crop, acted, i), track.model)
            found = self.frames.distances_to(self._lips, track, acted, i), mesh
            self._known.put(i, found)
        return found

    def weights(self, i: int, margin: int) -> NDArray[np.float64]:
        """(R,) shares of the frames nearest to frame `i` of the shot, as `DetailFrames.weights` has them."""
        return self.frames.weights(self.distances(i), self.track.source_hash, self.track.start + i, margin)

    def allowed(self, i: int, margin: int) -> NDArray[np.float64]:
        """(R,) which frames may lend to frame `i` of the shot, as `DetailFrames.allowed` has it."""
        return self.frames.allowed(self.track.source_hash, self.track.start + i, margin)

    def crop_frame(self, r: int) -> DetailFrame:
        """Frame `r` of the footage, no larger than the crop needs it."""
        return self.frames.small_frame(r, self.track.model, float(self._to_crop[r]))

    def plate_frame(self, r: int) -> DetailFrame:
        """Frame `r` of the footage, no larger than the clip needs it."""
        return self.frames.frame(r, self.track.model, float(self._to_plate[r]))


def share_at(distance: float) -> float:
    """0..1: how much frames at a distance lend at all."""
    return float(smoothstep(np.array((FARTHEST - distance) / (FARTHEST - FAR))))
