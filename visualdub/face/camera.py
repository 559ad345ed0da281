"""Camera and head pose: from the face model's space to the picture, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput

Vector = NDArray[np.float64]
WEAK, PERSPECTIVE = "weak_perspective", "perspective"  # the values of `Camera.kind`


@dataclass(frozen=True)
class Pose:
    """The head in n frames. A vertex lands at `point = scale * rotation @ vertex + translation`, in pixels.

    x and y of the point are the picture's for a weak perspective camera; z is the depth on the same scale,
    growing away from the camera. A perspective camera then draws the point toward its principal point, the
    more the deeper it lies (`Camera.converge`); for it, `scale` and `translation` are those of the model's
    origin, whose depth is 0.
    """

    scale: Vector  # (n,) pixels per model unit
    rotation: Vector  # (n, 3, 3)
    translation: Vector  # (n, 3) pixels; z of a fit is the depth that MediaPipe gave

    def __len__(self) -> int:
        return len(self.scale)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Pose:
        """The pose of some frames."""
        return Pose(self.scale[rows], self.rotation[rows], self.translation[rows])


@dataclass(frozen=True)
class Camera:
    """How points in front of the camera fall on the picture. Raises `BadInput` for values that no camera has.

    A perspective camera sees the model's origin at the distance `focal_length / scale`, in model units.
    """

    focal_length: float | None = None  # pixels; None: weak perspective, parallel rays
    principal_point: tuple[float, float] = (0.0, 0.0)  # x, y in pixels; without meaning for weak perspective

    def __post_init__(self) -> None:
        if self.focal_length is not None and not 0 < self.focal_length < np.inf:
            raise BadInput(f"focal length {self.focal_length:g}; expected a positive number of pixels")
        if not np.isfinite(self.principal_point).all():
            raise BadInput(f"principal point {self.principal_point}; expected two numbers of pixels")

    @property
    def kind(self) -> str:
        """WEAK or PERSPECTIVE."""
        return WEAK if self.focal_length is None else PERSPECTIVE

    def to_json(self) -> dict[str, Any]:
        """Plain values, for files."""
        if self.focal_length is None:
            return {"kind": WEAK}
        return {
            "kind": PERSPECTIVE,
            "focal_length": self.focal_length,
            "principal_point": list(self.principal_point),
        }

    @classmethod
    def from_json(cls, values: Any) -> Camera:
        """What `to_json` gave. Raises `BadInput` for anything else."""
        kind = values.get("kind") if isinstance(values, dict) else None
        if kind == WEAK:
            return cls()
        try:
            if kind == PERSPECTIVE:
                x, y = values["principal_point"]
                return cls(float(values["focal_length"]), (float(x), float(y)))
        except (KeyError, TypeError, ValueError) as e:
            raise BadInput(f"camera {values} cannot be read: {e}") from e
        raise BadInput(f"camera of kind {kind!r}; expected {WEAK} or {PERSPECTIVE}")

    def converge(self, points: Vector) -> Vector:
        """Points (..., 3) of parallel rays, in pixels, as this camera sees them: x and y move, z stays.

        What lies at the camera or behind it has no place in the picture and comes back as NaN.
        """
        if self.focal_length is None:
            return points
        distance = self.focal_length + points[..., 2:]
        share = np.where(distance > 0, self.focal_length / np.where(distance > 0, distance, 1.0), np.nan)
        centre = np.array(self.principal_point)
        return np.concatenate([centre + (points[..., :2] - centre) * share, points[..., 2:]], -1)

    def diverge(self, points: Vector) -> Vector:
        """The inverse of `converge`."""
        if self.focal_length is None:
            return points
        centre = np.array(self.principal_point)
        share = 1 + points[..., 2:] / self.focal_length
        return np.concatenate([centre + (points[..., :2] - centre) * share, points[..., 2:]], -1)


WEAK_PERSPECTIVE = Camera()


def project(mesh: Vector, pose: Pose, camera: Camera = WEAK_PERSPECTIVE) -> Vector:
    """Mesh (n, v, 3) or (v, 3) to pixels and depth, (n, v, 3)."""
    mesh = np.broadcast_to(mesh, (len(pose.scale), *mesh.shape[-2:]))
    return camera.converge(
        np.asarray(
            pose.scale[:, None, None] * np.einsum("nij,nvj->nvi", pose.rotation, mesh)
            + pose.translation[:, None]
        )
    )


def unproject(points: Vector, pose: Pose, camera: Camera = WEAK_PERSPECTIVE) -> Vector:
    """Points (n, v, 3) in pixels and depth back into the model's space and unit."""
    points = camera.diverge(points)
    return np.asarray(
        np.einsum("nji,nvj->nvi", pose.rotation, points - pose.translation[:, None])
        / pose.scale[:, None, None]
    )


def procrustes(points: Vector, mesh: Vector) -> Pose:
    """Best similarity from `mesh` (n, v, 3) or (v, 3) to `points` (n, v, 3) per frame."""
    mesh = np.broadcast_to(mesh, points.shape)
    cp, cm = points.mean(1), mesh.mean(1)
    p, m = points - cp[:, None], mesh - cm[:, None]
    u, s, vt = np.linalg.svd(np.einsum("nvi,nvj->nij", p, m))
    d = np.ones((len(points), 3))
    d[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = np.einsum("nik,nk,nkj->nij", u, d, vt)
    scale = (s * d).sum(1) / (m**2).sum((1, 2))
    return Pose(scale, rotation, cp - scale[:, None] * np.einsum("nij,nj->ni", rotation, cm))


def roll(rotation: Vector) -> Vector:
    """(n,) degrees, 0 to 180, by which a face is tilted in the picture, from rotations (n, 3, 3); 180 is
    upside down.
    """
    down = rotation[..., :2, 1]
    return np.asarray(np.degrees(np.abs(np.arctan2(down[..., 0], down[..., 1]))))
