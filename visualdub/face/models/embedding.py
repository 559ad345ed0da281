"""Where MediaPipe's landmarks lie on a mesh of any topology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.landmarks import LANDMARK_COUNT


@dataclass(frozen=True)
class LandmarkEmbedding:
    """For each of MediaPipe's 468 landmarks a point on the mesh: three vertices and barycentric weights.

    Raises `BadInput` where the shapes differ, a vertex number is negative or weights do not sum to 1.
    """

    corners: NDArray[np.int64]  # (468, 3) vertex numbers; a landmark on a vertex names it with weight 1
    weights: NDArray[np.float64]  # (468, 3), each row sums to 1

    def __post_init__(self) -> None:
        expected = (LANDMARK_COUNT, 3)
        for name, values in (("corners", self.corners), ("weights", self.weights)):
            if values.shape != expected:
                raise BadInput(
                    f"landmark embedding: {name} have the shape {values.shape}; expected {expected}"
                )
        if (self.corners < 0).any():
            raise BadInput(f"landmark embedding: vertex {self.corners.min()} is named; expected 0 or more")
        wrong = np.flatnonzero(np.abs(self.weights.sum(1) - 1) > 1e-6)
        if len(wrong):
            total = self.weights[wrong[0]].sum()
            raise BadInput(f"landmark embedding: weights of landmark {wrong[0]} sum to {total:g}; expected 1")

    def landmarks(self, mesh: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 468, 3) of meshes or displacements (..., V, 3)."""
        return np.asarray(np.einsum("...lkc,lk->...lc", mesh[..., self.corners, :], self.weights))

    @classmethod
    def on_vertices(cls, numbers: NDArray[np.int64]) -> LandmarkEmbedding:
        """Landmarks that lie on vertices `numbers` (468,)."""
        return cls(np.repeat(numbers[:, None], 3, 1), np.tile([1.0, 0.0, 0.0], (len(numbers), 1)))
