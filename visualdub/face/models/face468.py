"""`face468`: MediaPipe's 468 vertices with a skirt, teeth sheets and a mouth cap; built in and the
default.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.face.landmarks import FACE_LEFT, FACE_RIGHT, LANDMARK_COUNT, face_width

DATA = Path(__file__).with_name("face468.npz")
Mesh = NDArray[np.float64]  # (..., V, 3) x right, y down, z away from the camera

FACE, SKIRT, UPPER_TEETH, LOWER_TEETH, CAP = range(5)  # the values of `Face468.parts`
FIRST_RING = 21  # vertices of the skirt that are next to the jaw line; the mask reaches no further down
ARC = 11  # columns of a sheet of teeth; its first row lies on the dental arc


@dataclass(frozen=True)
class Face468:
    """MediaPipe's 468 vertices, a skirt below the jaw line, teeth sheets and a mouth cap. Unit: about one
    face width.

    `vertices = identity + weights * (turn about the jaw joint) + expression @ basis`. Vertices 0..467 carry
    MediaPipe's numbers, so they are the landmarks.
    """

    name: str
    triangles: NDArray[np.int32]  # (F, 3)
    uv: NDArray[np.float32]  # (V, 2)
    template: Mesh  # (V, 3) mean neutral face
    anchors: NDArray[np.float64]  # (V - 468, 468) where extra vertices rest
    offsets: NDArray[np.float64]  # (V - 468, 3) in face widths
    parts: NDArray[np.int8]  # (V,) FACE, SKIRT, UPPER_TEETH, LOWER_TEETH or CAP
    jaw_weights: NDArray[np.float64]  # (V,) soft share in the jaw's turn
    jaw_joint: NDArray[np.float64]  # (3,) joint against the middle of the face's widest points, face widths
    jaw_limit: float  # radians, widest opening met in speech
    basis: NDArray[np.float64]  # (K, V, 3) expression, one standard deviation each
    n_speech: int
    stable: NDArray[np.int32]  # vertices that speech does not move
    mask_weight: NDArray[np.float64]  # (V,) above 0 inside the region that a dub redraws

    @property
    def n_expression(self) -> int:
        return len(self.basis)

    @property
    def vertex_count(self) -> int:
        return len(self.template)

    @property
    def stable_landmarks(self) -> NDArray[np.int32]:
        return self.stable

    @cached_property
    def landmark_trust(self) -> NDArray[np.float64]:
        return np.ones(LANDMARK_COUNT)

    @cached_property
    def crop_vertices(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.parts <= SKIRT)[: LANDMARK_COUNT + FIRST_RING]

    @cached_property
    def skin_triangles(self) -> NDArray[np.int32]:
        return np.ascontiguousarray(self.triangles[(self.parts[self.triangles] <= SKIRT).all(1)])

    @cached_property
    def face_triangles(self) -> NDArray[np.int32]:
        return np.ascontiguousarray(self.triangles[(self.parts[self.triangles] == FACE).all(1)])

    @cached_property
    def teeth(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        upper, lower = (np.flatnonzero(self.parts == part)[:ARC] for part in (UPPER_TEETH, LOWER_TEETH))
        return upper, lower

    def landmarks(self, mesh: Mesh) -> Mesh:
        """See `FaceModel.landmarks`; a view of the mesh."""
        return mesh[..., :LANDMARK_COUNT, :]

    def neutral_mesh(self, landmarks: Mesh) -> Mesh:
        """Add the skirt, teeth and cap to a neutral face: (468, 3) -> (V, 3)."""
        extra = self.anchors @ landmarks + self.offsets * float(face_width(landmarks))
        return np.concatenate([landmarks, extra])

    def joint(self, identity: Mesh) -> NDArray[np.float64]:
        """(3,) jaw joint of an actor."""
        centre = (identity[FACE_LEFT] + identity[FACE_RIGHT]) / 2
        return np.asarray(centre + self.jaw_joint * float(face_width(identity)))

    def jaw_motion(self, identity: Mesh, jaw: NDArray[np.float64]) -> Mesh:
        """Displacement (..., V, 3) by the hinge alone."""
        arm = identity[:, 1:] - self.joint(identity)[1:]
        c, s = np.cos(jaw)[..., None] - 1, np.sin(jaw)[..., None]
        out = np.zeros((*np.shape(jaw), len(identity), 3))
        out[..., 1] = (c * arm[:, 0] - s * arm[:, 1]) * self.jaw_weights
        out[..., 2] = (s * arm[:, 0] + c * arm[:, 1]) * self.jaw_weights
        return out

    def jaw_slope(self, identity: Mesh, jaw: NDArray[np.float64]) -> Mesh:
        """Derivative of `jaw_motion` with respect to the angle, (..., V, 3)."""
        arm = identity[:, 1:] - self.joint(identity)[1:]
        c, s = np.cos(jaw)[..., None], np.sin(jaw)[..., None]
        out = np.zeros((*np.shape(jaw), len(identity), 3))
        out[..., 1] = (-s * arm[:, 0] - c * arm[:, 1]) * self.jaw_weights
        out[..., 2] = (c * arm[:, 0] - s * arm[:, 1]) * self.jaw_weights
        return out

    def vertices(self, identity: Mesh, jaw: NDArray[np.float64], expression: NDArray[np.float64]) -> Mesh:
        """See `FaceModel.vertices`."""
        motion = self.jaw_motion(identity, np.asarray(jaw, np.float64))
        return np.asarray(identity + motion + np.tensordot(expression, self.basis, 1))


def read_face_model(path: Path, name: str) -> Face468:
    """A face model out of the file that `training/build_face_model.py` wrote, under a name of its own."""
    with np.load(path, allow_pickle=False) as z:
        a = {k: z[k] for k in z.files}

    def real(key: str) -> NDArray[np.float64]:
        return np.asarray(a[key], np.float64)

    return Face468(
        name,
        a["triangles"],
        a["uv"],
        real("template"),
        real("anchors"),
        real("offsets"),
        a["parts"],
        real("jaw_weights"),
        real("jaw_joint"),
        float(a["jaw_limit"]),
        real("basis"),
        int(a["n_speech"]),
        a["stable"],
        real("mask_weight"),
    )


def read_built_in(name: str) -> Face468:
    """The built-in face model under its name in the registry."""
    return read_face_model(DATA, name)
