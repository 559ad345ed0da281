"""Fits the face model to a whole shot at once: pose with a temporal prior, then identity, jaw and expression,
closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from visualdub.face.landmarks import LANDMARK_COUNT, face_width, lip_opening
from visualdub.face.models import Mesh
from visualdub.face.models.face468 import Face468

VERSION = 1  # raised whenever the fit to the same landmarks changes; part of a cached track's key
POSE_SMOOTHING = 8.0  # penalty on second differences against one frame's evidence
UPPER_SMOOTHING = 1.0
SPEECH_SMOOTHING = 0.02  # lips are fast: a closure lasts two frames at 25 frames/s
DEPTH_TRUST = 0.25  # MediaPipe guesses z; weight of its residual against x and y
PRIOR = 0.004  # face widths: noise of one landmark, against a prior of one standard deviation per component
CLOSED_OPENING = 0.012  # lip opening that counts as closed (distance between outer eye corners = 1)
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Weak perspective per frame: `pixel = scale * (rotation @ vertex)[:2] + translation`; n frames."""

    scale: Vector  # (n,) pixels per unit
    rotation: Vector  # (n, 3, 3)
    translation: Vector  # (n, 3) pixels; z is the depth MediaPipe gave, on the same scale


@dataclass(frozen=True)
class Fit:
    """The face model's numbers for one shot, and how far the mesh is from the landmarks."""

    pose: Pose
    identity: Mesh  # (V, 3)
    jaw: Vector  # (n,)
    expression: Vector  # (n, K)
    # (n,) mean distance of mesh and landmarks in the picture, as a share of face width; NaN if unseen
    residual: Vector


def whittaker(values: Vector, weights: Vector, penalty: float) -> Vector:
    """Smooth (n, C) values: minimise `sum w (x - v)^2 + penalty * sum (second difference of x)^2`.

    Symmetric in time, so it adds no lag; frames of weight 0 are bridged. weights: (n,).
    """
    n = len(values)
    if n < 3:
        filled = values.copy()
        if (weights > 0).any():
            filled[weights == 0] = values[weights > 0].mean(0)
        return filled
    bands = np.zeros((3, n))  # upper form: bands[2] is the diagonal
    for k, stencil in enumerate((1.0, -2.0, 1.0)):
        bands[2, k : n - 2 + k] += penalty * stencil**2
    bands[1, 1 : n - 1] += -2 * penalty
    bands[1, 2:n] += -2 * penalty
    bands[0, 2:] += penalty
    bands[2] += np.maximum(weights, 1e-9)
    return np.asarray(solveh_banded(bands, weights[:, None] * values))


def procrustes(points: Vector, mesh: Mesh) -> Pose:
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


def smooth_pose(pose: Pose, centre: Vector, weights: Vector, penalty: float) -> Pose:
    """Smooth a pose in time; `centre` (3,) is the model point whose picture position is smoothed, mid-face.

    Rotations are smoothed as rotation vectors about their mean, sizes as logarithms.
    """
    seen = weights > 0
    mean = Rotation.from_matrix(pose.rotation[seen]).mean()
    turn = np.zeros((len(weights), 3))
    turn[seen] = (mean.inv() * Rotation.from_matrix(pose.rotation[seen])).as_rotvec()
    at = pose.translation + pose.scale[:, None] * np.einsum("nij,j->ni", pose.rotation, centre)
    stacked = np.concatenate([turn, np.log(np.maximum(pose.scale, 1e-6))[:, None], at], 1)
    stacked[~seen] = 0
    smooth = whittaker(stacked, weights, penalty)
    rotation = (mean * Rotation.from_rotvec(smooth[:, :3])).as_matrix()
    scale = np.exp(smooth[:, 3])
    return Pose(scale, rotation, smooth[:, 4:] - scale[:, None] * np.einsum("nij,j->ni", rotation, centre))


def unproject(points: Vector, pose: Pose) -> Vector:
    """Landmarks (n, v, 3) in pixels back into the model's frame and unit."""
    return np.asarray(
        np.einsum("nji,nvj->nvi", pose.rotation, points - pose.translation[:, None])
        / pose.scale[:, None, None]
    )


def project(mesh: Mesh, pose: Pose) -> Vector:
    """Mesh (n, v, 3) or (v, 3) to pixels and depth, (n, v, 3)."""
    mesh = np.broadcast_to(mesh, (len(pose.scale), *mesh.shape[-2:]))
    return np.asarray(
        pose.scale[:, None, None] * np.einsum("nij,nvj->nvi", pose.rotation, mesh) + pose.translation[:, None]
    )


def close_mouth(model: Face468, face: Mesh) -> Mesh:
    """Turn the jaw of a neutral face (468, 3) until its lips just meet; a face with closed lips comes back as
    it is.
    """
    identity = model.complete(face)
    angles = np.linspace(-0.12, 0, 61)
    moved = identity + model.jaw_motion(identity, angles)
    opening = lip_opening(moved)
    if opening[-1] <= CLOSED_OPENING:
        return face
    best = int(np.argmin(np.abs(opening - CLOSED_OPENING)))
    return np.asarray(moved[best, :LANDMARK_COUNT])


def solve_expression(model: Face468, identity: Mesh, points: Vector) -> tuple[Vector, Vector]:
    """Jaw (n,) and expression (n, K) of unprojected landmarks (n, 468, 3): Gauss-Newton on the angle, ridge
    on the rest.
    """
    n, k = len(points), model.n_expression
    trust = np.array([1.0, 1.0, DEPTH_TRUST])
    basis = (model.basis[:, :LANDMARK_COUNT] * trust).reshape(k, -1)
    square, prior = basis @ basis.T, np.eye(k) * PRIOR**2
    jaw = np.zeros(n)
    for _ in range(3):
        slope = (model.jaw_slope(identity, jaw)[:, :LANDMARK_COUNT] * trust).reshape(n, -1)
        rest = (
            (points - identity[:LANDMARK_COUNT] - model.jaw_motion(identity, jaw)[:, :LANDMARK_COUNT]) * trust
        ).reshape(n, -1)
        # eliminate the expression: the jaw takes what the hinge explains best, expression is charged for its
        # size
        inner = np.linalg.solve(
            square + prior, np.stack([basis @ slope.T, basis @ rest.T], 2).transpose(1, 0, 2)
        )
        left = (slope**2).sum(1) - np.einsum("nf,kf,nk->n", slope, basis, inner[:, :, 0], optimize=True)
        right = (slope * rest).sum(1) - np.einsum("nf,kf,nk->n", slope, basis, inner[:, :, 1], optimize=True)
        jaw = np.clip(jaw + right / (left + PRIOR**2 * 100), -0.15, 3 * model.jaw_limit)
    rest = (
        (points - identity[:LANDMARK_COUNT] - model.jaw_motion(identity, jaw)[:, :LANDMARK_COUNT]) * trust
    ).reshape(n, -1)
    return jaw, np.linalg.solve(square + prior, basis @ rest.T).T


def fit_shot(model: Face468, landmarks: NDArray[np.float32]) -> Fit:
    """Fit n frames of landmarks (n, 478, 3) in pixels, NaN where unseen; at least one frame must be seen.

    Pose and identity alternate (the identity starts at the template); then jaw and expression under the
    smoothed pose.
    """
    with threadpool_limits(
        1, "blas"
    ):  # matrices too small to share: on a busy machine BLAS threads wait for each other
        return _fit_shot(model, landmarks)


def _fit_shot(model: Face468, landmarks: NDArray[np.float32]) -> Fit:
    seen = ~np.isnan(landmarks[:, 0, 0])
    points = landmarks[seen, :LANDMARK_COUNT].astype(np.float64)
    stable = model.stable
    face = model.template[:LANDMARK_COUNT]
    for _ in range(4):
        own = unproject(points, procrustes(points[:, stable], face[stable]))
        opening = lip_opening(own)
        shut = opening <= np.quantile(opening, 0.15)
        face = own[shut].mean(0)
        face = face / float(face_width(face))
    face = close_mouth(model, face)
    pose = _shot_pose(face, stable, points, seen)
    in_model = unproject(points, Pose(pose.scale[seen], pose.rotation[seen], pose.translation[seen]))
    for _ in range(2):  # what neither jaw nor expression explains on average belongs to the identity
        identity = model.complete(face)
        jaw, expression = solve_expression(model, identity, in_model)
        face = face + (in_model - model.vertices(identity, jaw, expression)[:, :LANDMARK_COUNT]).mean(0)
    identity = model.complete(face)
    jaw, expression = solve_expression(model, identity, in_model)
    return _assemble(
        model, pose, identity, _spread(jaw[:, None], seen)[:, 0], _spread(expression, seen), landmarks, seen
    )


def _shot_pose(face: Mesh, stable: NDArray[np.int32], points: Vector, seen: NDArray[np.bool_]) -> Pose:
    raw = procrustes(points[:, stable], face[stable])
    n = len(seen)
    full = Pose(np.ones(n), np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)))
    full.scale[seen], full.rotation[seen], full.translation[seen] = raw.scale, raw.rotation, raw.translation
    return smooth_pose(full, face[stable].mean(0), seen.astype(np.float64), POSE_SMOOTHING)


def _spread(values: Vector, seen: NDArray[np.bool_]) -> Vector:
    out = np.zeros((len(seen), values.shape[1]))
    out[seen] = values
    return out


def _assemble(
    model: Face468,
    pose: Pose,
    identity: Mesh,
    jaw: Vector,
    expression: Vector,
    landmarks: NDArray[np.float32],
    seen: NDArray[np.bool_],
) -> Fit:
    weights = seen.astype(np.float64)
    speech = whittaker(
        np.concatenate([jaw[:, None], expression[:, : model.n_speech]], 1), weights, SPEECH_SMOOTHING
    )
    upper = whittaker(expression[:, model.n_speech :], weights, UPPER_SMOOTHING)
    jaw, expression = speech[:, 0], np.concatenate([speech[:, 1:], upper], 1)
    mesh = project(model.vertices(identity, jaw, expression)[:, :LANDMARK_COUNT], pose)
    distance = np.linalg.norm(mesh[..., :2] - landmarks[:, :LANDMARK_COUNT, :2], axis=-1).mean(1)
    return Fit(pose, identity, jaw, expression, distance / (pose.scale * float(face_width(identity))))
