"""Face models: identity, jaw and expression in, mesh out."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visualdub.face.models.face468 import DATA, Face468, read_face_model

Mesh = NDArray[np.float64]  # (..., V, 3) x right, y down, z away from the camera


class FaceModel(Protocol):
    """What the rest of the house asks of a face model. V vertices, F triangles, K expression components."""

    @property
    def name(self) -> str:
        """Name and version; stored in tracks and actors."""
        ...

    @property
    def n_speech(self) -> int:
        """The first `n_speech` expression components, and the jaw, are what speech moves."""
        ...

    @property
    def n_expression(self) -> int:
        """K."""
        ...

    @property
    def triangles(self) -> NDArray[np.int32]:
        """(F, 3)."""
        ...

    @property
    def uv(self) -> NDArray[np.float32]:
        """(V, 2) in 0..1, u right, v down; (0, 0) is the outer corner of the first texel."""
        ...

    def vertices(self, identity: Mesh, jaw: NDArray[np.float64], expression: NDArray[np.float64]) -> Mesh:
        """Mesh (..., V, 3) of `identity` (V, 3) with the jaw turned by `jaw` (...) radians and `expression`
        (..., K).
        """
        ...


@lru_cache(maxsize=1)
def load_face_model() -> Face468:
    """The built-in face model, read once."""
    return read_face_model(DATA, "face468-1")
