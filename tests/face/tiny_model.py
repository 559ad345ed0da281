"""A second face model: 200 of `face468`'s vertices under other numbers, its landmarks found by triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from visualdub.face.landmarks import EYE_CORNERS, FACE_LEFT, FACE_RIGHT, LANDMARK_COUNT, LIPS
from visualdub.face.models import DEFAULT_FACE_MODEL, Mesh, Vector
from visualdub.face.models.embedding import LandmarkEmbedding
from visualdub.face.models.face468 import FACE, SKIRT, Face468, read_built_in

TINY, TINY_VERTICES = "tiny200-1", 200


@dataclass(frozen=True)
class TinyModel:
    """A `FaceModel` no vertex of which has its landmark's number; it has no teeth to paint."""

    name: str
    fine: Face468  # the model whose vertices `kept` (V,) are left
    kept: NDArray[np.int64]
    triangles: NDArray[np.int32]
    skin_triangles: NDArray[np.int32]
    face_triangles: NDArray[np.int32]
    embedding: LandmarkEmbedding
    landmark_trust: Vector
    crop_vertices: NDArray[np.int64]
    uv: NDArray[np.float32]
    template: Mesh
    basis: Mesh
    mask_weight: Vector

    vertex_count = property(lambda self: len(self.kept))
    n_speech = property(lambda self: self.fine.n_speech)
    n_expression = property(lambda self: self.fine.n_expression)
    jaw_limit = property(lambda self: self.fine.jaw_limit)
    stable_landmarks = property(lambda self: self.fine.stable_landmarks)
    teeth = property(lambda self: (np.zeros(0, np.int64), np.zeros(0, np.int64)))

    def landmarks(self, mesh: Mesh) -> Mesh:
        return self.embedding.landmarks(mesh)

    def neutral_mesh(self, landmarks: Mesh) -> Mesh:
        return self.fine.neutral_mesh(landmarks)[self.kept]

    def _turned(self, identity: Mesh, cosine: Vector, sine: Vector) -> Mesh:
        sides = self.landmarks(identity)[[FACE_LEFT, FACE_RIGHT]]
        joint = sides.mean(0) + self.fine.jaw_joint * np.linalg.norm(sides[0] - sides[1])
        y, z = (identity - joint).T[1:]
        moved = np.zeros((*cosine.shape, len(identity), 3))
        moved[..., 1] = cosine[..., None] * y - sine[..., None] * z
        moved[..., 2] = sine[..., None] * y + cosine[..., None] * z
        return moved * self.fine.jaw_weights[self.kept, None]

    def jaw_motion(self, identity: Mesh, jaw: Vector) -> Mesh:
        return self._turned(identity, np.cos(jaw) - 1, np.sin(jaw))

    def jaw_slope(self, identity: Mesh, jaw: Vector) -> Mesh:
        return self._turned(identity, -np.sin(jaw), np.cos(jaw))

    def vertices(self, identity: Mesh, jaw: Vector, expression: Vector) -> Mesh:
        return identity + self.jaw_motion(identity, np.asarray(jaw)) + np.tensordot(expression, self.basis, 1)


def tiny_model() -> TinyModel:
    """Every vertex of the fine mesh falls together with the nearest one that is kept, along the mesh."""
    fine = read_built_in(DEFAULT_FACE_MODEL)
    distance = _along_the_mesh(fine)
    kept = _spread_out(fine, distance)
    kept = np.random.default_rng(7).permutation(kept)
    nearest = distance[kept].argmin(0)
    triangles = nearest[fine.triangles]
    whole = (triangles != np.roll(triangles, 1, 1)).all(1)
    triangles = np.unique(triangles[whole], axis=0).astype(np.int32)
    part = fine.parts[kept]
    face = triangles[(part[triangles] == FACE).all(1)]
    embedding = _embedding(fine.template[:LANDMARK_COUNT], fine.template[kept], face)
    return TinyModel(
        TINY,
        fine,
        kept,
        triangles,
        triangles[(part[triangles] <= SKIRT).all(1)],
        face,
        embedding,
        np.where(embedding.weights.max(1) > 0.999, 1.0, 0.5),
        np.flatnonzero(np.isin(kept, fine.crop_vertices)),
        fine.uv[kept],
        fine.template[kept],
        fine.basis[:, kept],
        fine.mask_weight[kept],
    )


def _along_the_mesh(fine: Face468) -> NDArray[np.float64]:
    """(V, V) length of the shortest path over edges; infinite between parts that do not hang together."""
    edges = np.concatenate([fine.triangles[:, [0, 1]], fine.triangles[:, [1, 2]], fine.triangles[:, [2, 0]]])
    length = np.linalg.norm(fine.template[edges[:, 0]] - fine.template[edges[:, 1]], axis=1)
    same = fine.parts[edges[:, 0]] == fine.parts[edges[:, 1]]
    graph = coo_matrix((length[same], edges[same].T), shape=(fine.vertex_count,) * 2)
    return np.asarray(dijkstra(graph.tocsr(), directed=False))


def _spread_out(fine: Face468, distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """(TINY_VERTICES,) lips, eye corners, sides of the face, and what lies furthest from all others."""
    kept = [*dict.fromkeys([*LIPS, *EYE_CORNERS, FACE_LEFT, FACE_RIGHT])]
    nearest = distance[kept].min(0)
    while len(kept) < TINY_VERTICES:
        kept.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distance[kept[-1]])
    return np.array(kept)


def _embedding(landmarks: Mesh, mesh: Mesh, triangles: NDArray[np.int32]) -> LandmarkEmbedding:
    """Each landmark at the nearest point of the mesh's triangles."""
    a, b, c = (mesh[triangles[:, k]] for k in range(3))
    frame = np.stack([b - a, c - a], 2)  # (T, 3, 2)
    inverse = np.linalg.pinv(frame)  # (T, 2, 3)
    inner = np.einsum("tij,ltj->lti", inverse, landmarks[:, None] - a)
    weights = np.clip(np.concatenate([1 - inner.sum(-1, keepdims=True), inner], -1), 0, None)
    weights /= weights.sum(-1, keepdims=True)
    points = np.einsum("ltk,tkc->ltc", weights, mesh[triangles])
    best = np.linalg.norm(points - landmarks[:, None], axis=-1).argmin(1)
    return LandmarkEmbedding(triangles[best].astype(np.int64), weights[np.arange(len(landmarks)), best])
