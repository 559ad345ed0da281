"""Face models and their registry: identity, jaw and expression in, mesh out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.landmarks import lip_opening
from visualdub.face.models.face468 import read_built_in

Mesh = NDArray[np.float64]  # (..., V, 3) x right, y down, z away from the camera
Vector = NDArray[np.float64]

DEFAULT_FACE_MODEL = "face468-1"
BLOCK = 1024  # frames whose meshes are held at once


class FaceModel(Protocol):
    """What the rest of the project asks of a face model.

    V vertices, F triangles, K expression components. A mesh is (..., V, 3) in the model's own unit, x right,
    y down, z away from the camera. Vertices are never counted outside this package: a place on the face is
    one of MediaPipe's 468 landmarks (`landmarks`), a region is one of the sets below. The fit relies on
    `vertices = identity + jaw_motion + expression @ basis`.
    """

    @property
    def name(self) -> str:
        """Name and version, as stored in tracks and actors."""
        ...

    @property
    def vertex_count(self) -> int:
        """V."""
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

    @property
    def template(self) -> Mesh:
        """(V, 3) mean neutral face."""
        ...

    @property
    def basis(self) -> Mesh:
        """(K, V, 3) displacement by one standard deviation of each expression component."""
        ...

    @property
    def jaw_limit(self) -> float:
        """The widest opening of the jaw that is met in speech, radians."""
        ...

    @property
    def mask_weight(self) -> Vector:
        """(V,) above 0 inside the region that a dub draws."""
        ...

    @property
    def crop_vertices(self) -> NDArray[np.int64]:
        """(c,) the vertices that the crop's box must hold: the face, and below the jaw as much as the mask
        reaches.
        """
        ...

    @property
    def skin_triangles(self) -> NDArray[np.int32]:
        """(S, 3) what is seen from outside: the face and what lies below the jaw, not the inside of the
        mouth.
        """
        ...

    @property
    def face_triangles(self) -> NDArray[np.int32]:
        """(T, 3) the face alone, with a hole where the mouth opens."""
        ...

    @property
    def teeth(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Vertices along the upper and the lower dental arc, (k,) each, from one side to the other; empty for
        a model without teeth.
        """
        ...

    @property
    def stable_landmarks(self) -> NDArray[np.int32]:
        """(s,) numbers of the landmarks that speech does not move."""
        ...

    @property
    def landmark_trust(self) -> Vector:
        """(468,) 0..1: how well `landmarks` knows where MediaPipe puts each landmark on this mesh; the fit's
        weight.
        """
        ...

    def landmarks(self, mesh: Mesh) -> Mesh:
        """MediaPipe's landmarks (..., 468, 3) of meshes (..., V, 3); linear, so of displacements as well."""
        ...

    def neutral_mesh(self, landmarks: Mesh) -> Mesh:
        """The neutral mesh (V, 3) of a face, from its landmarks (468, 3) in the model's space."""
        ...

    def jaw_motion(self, identity: Mesh, jaw: Vector) -> Mesh:
        """Displacement (..., V, 3) of `identity` (V, 3) when the jaw is turned by `jaw` (...) radians."""
        ...

    def jaw_slope(self, identity: Mesh, jaw: Vector) -> Mesh:
        """Derivative of `jaw_motion` with respect to the angle, (..., V, 3)."""
        ...

    def vertices(self, identity: Mesh, jaw: Vector, expression: Vector) -> Mesh:
        """Mesh (..., V, 3) of `identity` (V, 3) with the jaw turned by `jaw` (...) radians and `expression`
        (..., K).
        """
        ...


# ---- registry ----------------------------------------------------------------------------------------------

_loaders: dict[str, Callable[[], FaceModel]] = {}


def register_face_model(name: str, loader: Callable[[], FaceModel]) -> None:
    """Make a model known to `face_model` under `name`, which holds its version. `loader` is called once, when
    the model is first needed.

    Raises `ValueError` for a name that is taken: tracks and actors are told apart by it.
    """
    if _loaders.setdefault(name, loader) is not loader:
        raise ValueError(f"face model {name!r} is registered already; expected a name of its own")


@cache
def face_model(name: str) -> FaceModel:
    """The face model of this name and version, read once. Raises `BadInput` where none is registered."""
    if name not in _loaders:
        known = ", ".join(sorted(_loaders))
        raise BadInput(f"face model {name!r} is not known; expected {known}")
    model = _loaders[name]()
    if model.name != name:
        raise ValueError(f"face model {model.name!r} was loaded for {name!r}; expected the same name")
    return model


register_face_model(DEFAULT_FACE_MODEL, lambda: read_built_in(DEFAULT_FACE_MODEL))


# ---- landmarks of many frames ------------------------------------------------------------------------------


def posed_landmarks(
    model: FaceModel, identity: Mesh, jaw: Vector, expression: Vector
) -> Iterator[tuple[slice, Mesh]]:
    """Landmarks (b, 468, 3) of one block of frames after another, in the model's space, and which frames.

    jaw (n,), expression (n, K). The meshes of a long shot are never held at once: BLOCK frames at most.
    """
    for first in range(0, len(jaw), BLOCK):
        rows = slice(first, first + BLOCK)
        yield rows, model.landmarks(model.vertices(identity, jaw[rows], expression[rows]))


def posed_openings(model: FaceModel, identity: Mesh, jaw: Vector, expression: Vector) -> Vector:
    """(n,) lip opening as `lip_opening` gives it, of the meshes of n frames: jaw (n,), expression (n, K)."""
    opening = np.zeros(len(jaw))
    for rows, landmarks in posed_landmarks(model, identity, jaw, expression):
        opening[rows] = lip_opening(landmarks)
    return opening
