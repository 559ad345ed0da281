"""Fits the face model to a whole shot at once: pose with a temporal prior, then identity, jaw and expression,
closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from visualdub.face.camera import Pose, procrustes, project, unproject
from visualdub.face.landmarks import LANDMARK_COUNT, face_width, lip_opening
from visualdub.face.models import FaceModel, Mesh
from visualdub.mapped import let_go

FIT_VERSION = 2  # changes with every change of what comes out of `fit_shot`
BLOCK = 500  # frames that are fitted at once; their meshes take about 100 KiB each
POSE_SMOOTHING = 8.0  # penalty on second differences against one frame's evidence
UPPER_SMOOTHING = 1.0
SPEECH_SMOOTHING = 0.02  # lips are fast: a closure lasts two frames at 25 frames/s
DEPTH_TRUST = 0.25  # MediaPipe guesses z; weight of its residual against x and y
PRIOR = 0.004  # face widths: noise of one landmark, against a prior of one standard deviation per component
CLOSED_OPENING = 0.012  # lip opening that counts as closed (distance between outer eye corners = 1)
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """The face model's numbers for one shot, and how far the mesh is from the landmarks."""

    pose: Pose
    identity: Mesh  # (V, 3)
    jaw: Vector  # (n,)
    expression: Vector  # (n, K)
    # (n,) mean distance of mesh and landmarks in the picture, as a share of face width; NaN if unseen
    residual: Vector


# ---- smoothing in time -------------------------------------------------------------------------------------


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


def shown_parts(weights: Vector, parts: tuple[slice, ...]) -> list[slice]:
    """Of every part of (n,) frames the stretch from the first to the last of weight above 0; parts without
    one are left out. A single part is returned whole: its ends are bridged like its gaps.
    """
    if len(parts) == 1:
        return list(parts)
    shown = []
    for part in parts:
        seen = part.start + np.flatnonzero(weights[part] > 0)
        if len(seen):
            shown.append(slice(int(seen[0]), int(seen[-1]) + 1))
    return shown


def held_rows(parts: tuple[slice, ...], shown: list[slice]) -> NDArray[np.int64]:
    """(n,) for each of the frames that `parts` cover itself, or the nearest frame of its part that lies in
    one of `shown`; for a part without one the nearest frame of another.
    """
    rows = np.concatenate([np.arange(part.start, part.stop) for part in shown])
    frames = np.arange(parts[-1].stop)
    after = np.searchsorted(rows, frames).clip(0, len(rows) - 1)
    before = (after - 1).clip(0)
    nearer = np.abs(rows[before] - frames) < np.abs(rows[after] - frames)
    nearest = np.where(nearer, rows[before], rows[after])
    for part in parts:
        for inner in shown:
            if part.start <= inner.start < part.stop:
                nearest[part] = frames[part].clip(inner.start, inner.stop - 1)
    return np.asarray(nearest)


def smooth_parts(values: Vector, weights: Vector, penalty: float, parts: tuple[slice, ...]) -> Vector:
    """`whittaker` of each of the parts by itself, which cover (n, C) values; nothing is carried from one into
    another. Frames of a part before its first and after its last of weight above 0 repeat that one.
    """
    shown, out = shown_parts(weights, parts), values.copy()
    for part in shown:
        out[part] = whittaker(values[part], weights[part], penalty)
    return out[held_rows(parts, shown)] if shown else out


# ---- one face ----------------------------------------------------------------------------------------------


def close_mouth(model: FaceModel, face: Mesh) -> Mesh:
    """Turn the jaw of a neutral face (468, 3) until its lips just meet; a face with closed lips comes back as
    it is.
    """
    identity = model.neutral_mesh(face)
    angles = np.linspace(-0.12, 0, 61)
    moved = model.landmarks(identity + model.jaw_motion(identity, angles))
    opening = lip_opening(moved)
    if opening[-1] <= CLOSED_OPENING:
        return face
    best = int(np.argmin(np.abs(opening - CLOSED_OPENING)))
    return np.asarray(moved[best])


def solve_expression(model: FaceModel, identity: Mesh, points: Vector) -> tuple[Vector, Vector]:
    """Jaw (n,) and expression (n, K) of unprojected landmarks (n, 468, 3): Gauss-Newton on the angle, ridge
    on the rest.
    """
    n, k = len(points), model.n_expression
    trust = np.array([1.0, 1.0, DEPTH_TRUST]) * model.landmark_trust[:, None]
    neutral = model.landmarks(identity)
    basis = (model.landmarks(model.basis) * trust).reshape(k, -1)
    square, prior = basis @ basis.T, np.eye(k) * PRIOR**2

    def unexplained(jaw: Vector) -> Vector:
        """What the hinge leaves of the landmarks, weighted, (n, 3 * 468)."""
        motion = model.landmarks(model.jaw_motion(identity, jaw))
        return np.asarray(((points - neutral - motion) * trust).reshape(n, -1))

    jaw = np.zeros(n)
    for _ in range(3):
        slope = (model.landmarks(model.jaw_slope(identity, jaw)) * trust).reshape(n, -1)
        rest = unexplained(jaw)
        # eliminate the expression: the jaw takes what the hinge explains best, expression is charged for its
        # size
        inner = np.linalg.solve(
            square + prior, np.stack([basis @ slope.T, basis @ rest.T], 2).transpose(1, 0, 2)
        )
        left = (slope**2).sum(1) - np.einsum("nf,kf,nk->n", slope, basis, inner[:, :, 0], optimize=True)
        right = (slope * rest).sum(1) - np.einsum("nf,kf,nk->n", slope, basis, inner[:, :, 1], optimize=True)
        jaw = np.clip(jaw + right / (left + PRIOR**2 * 100), -0.15, 3 * model.jaw_limit)
    return jaw, np.linalg.solve(square + prior, basis @ unexplained(jaw).T).T


# ---- a shot ------------------------------------------------------------------------------------------------


def _blocks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Frame numbers in blocks of BLOCK at most, of nearly one size, so that none is a few frames long."""
    return np.array_split(rows, -(-len(rows) // BLOCK))


class _Seen:
    """The landmarks of the frames that show the face, block by block: m frames of n."""

    def __init__(self, landmarks: NDArray[np.float32], cuts: tuple[int, ...]) -> None:
        self.landmarks = landmarks
        ends = [0, *cuts, len(landmarks)]
        self.parts = tuple(slice(a, b) for a, b in pairwise(ends))  # between two cuts
        self.seen = ~np.isnan(landmarks[:, 0, 0])  # (n,)
        self.blocks = _blocks(np.flatnonzero(self.seen))

    def points(self) -> Iterator[tuple[NDArray[np.int64], Vector]]:
        """Frame numbers (b,) and landmarks (b, 468, 3) of one block after another."""
        for rows in self.blocks:
            yield rows, self.landmarks[rows, :LANDMARK_COUNT].astype(np.float64)
            let_go(self.landmarks)

    def spread(self, values: list[Vector]) -> Vector:
        """Values of the blocks, (b, C) each, as (n, C); 0 in frames that are not seen."""
        out = np.zeros((len(self.seen), values[0].shape[1]))
        out[self.seen] = np.concatenate(values)
        return out


def fit_shot(model: FaceModel, landmarks: NDArray[np.float32], cuts: tuple[int, ...] = ()) -> Fit:
    """Fit n frames of landmarks (n, 478, 3) in pixels, NaN where unseen; at least one frame must be seen.

    cuts: the frames, ascending, with which another shot of the same person begins. All shots share the
    identity; nothing is smoothed from one into another.

    Pose and identity alternate (the identity starts at the template); then jaw and expression under the
    smoothed pose. There is one identity for the shot, the smoothing runs over all its frames at once, and
    between the two every frame stands for itself: so the meshes are made in blocks of BLOCK frames, without a
    seam, and beside the parameters memory does not grow with length.
    """
    with threadpool_limits(
        1, "blas"
    ):  # matrices too small to share: on a busy machine BLAS threads wait for each other
        return _fit_shot(model, _Seen(landmarks, cuts))


def _fit_shot(model: FaceModel, shot: _Seen) -> Fit:
    face = close_mouth(model, _neutral_face(model, shot))
    pose = _shot_pose(face, model.stable_landmarks, shot)
    for _ in range(2):  # what neither jaw nor expression explains on average belongs to the identity
        face = _improved_face(model, model.neutral_mesh(face), pose, shot)
    identity = model.neutral_mesh(face)
    solved = [solve_expression(model, identity, unproject(p, pose[rows])) for rows, p in shot.points()]
    jaw = shot.spread([angles[:, None] for angles, _ in solved])[:, 0]
    return _assemble(model, pose, identity, jaw, shot.spread([e for _, e in solved]), shot)


def _neutral_face(model: FaceModel, shot: _Seen) -> Mesh:
    """(468, 3) mean of the frames whose lips are least apart, one face width wide."""
    stable = model.stable_landmarks
    face = model.landmarks(model.template)
    for _ in range(4):
        poses, openings = [], []
        for _, points in shot.points():
            poses.append(procrustes(points[:, stable], face[stable]))
            openings.append(lip_opening(unproject(points, poses[-1])))
        limit = np.quantile(np.concatenate(openings), 0.15)
        total, count = np.zeros((LANDMARK_COUNT, 3)), 0
        for (_, points), pose, opening in zip(shot.points(), poses, openings, strict=True):
            shut = opening <= limit
            total += unproject(points[shut], pose[shut]).sum(0)
            count += int(shut.sum())
        face = total / count
        face = face / float(face_width(face))
    return face


def _improved_face(model: FaceModel, identity: Mesh, pose: Pose, shot: _Seen) -> Mesh:
    """Landmarks (468, 3) of the identity, moved by the mean of what jaw and expression leave unexplained."""
    total, count = np.zeros((LANDMARK_COUNT, 3)), 0
    for rows, points in shot.points():
        in_model = unproject(points, pose[rows])
        jaw, expression = solve_expression(model, identity, in_model)
        total += (in_model - model.landmarks(model.vertices(identity, jaw, expression))).sum(0)
        count += len(rows)
    return model.landmarks(identity) + total / count


def _shot_pose(face: Mesh, stable: NDArray[np.int32], shot: _Seen) -> Pose:
    n = len(shot.seen)
    full = Pose(np.ones(n), np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)))
    for rows, points in shot.points():
        raw = procrustes(points[:, stable], face[stable])
        full.scale[rows], full.rotation[rows] = raw.scale, raw.rotation
        full.translation[rows] = raw.translation
    weights, centre = shot.seen.astype(np.float64), face[stable].mean(0)
    shown = shown_parts(weights, shot.parts)
    for part in shown:
        smooth = smooth_pose(full[part], centre, weights[part], POSE_SMOOTHING)
        full.scale[part], full.rotation[part] = smooth.scale, smooth.rotation
        full.translation[part] = smooth.translation
    return full[held_rows(shot.parts, shown)]


def _assemble(
    model: FaceModel, pose: Pose, identity: Mesh, jaw: Vector, expression: Vector, shot: _Seen
) -> Fit:
    weights = shot.seen.astype(np.float64)
    speech = smooth_parts(
        np.concatenate([jaw[:, None], expression[:, : model.n_speech]], 1),
        weights,
        SPEECH_SMOOTHING,
        shot.parts,
    )
    upper = smooth_parts(expression[:, model.n_speech :], weights, UPPER_SMOOTHING, shot.parts)
    jaw, expression = speech[:, 0], np.concatenate([speech[:, 1:], upper], 1)
    distance = np.zeros(len(jaw))
    for rows in _blocks(np.arange(len(jaw))):
        mesh = project(model.landmarks(model.vertices(identity, jaw[rows], expression[rows])), pose[rows])
        apart = np.linalg.norm(mesh[..., :2] - shot.landmarks[rows, :LANDMARK_COUNT, :2], axis=-1)
        let_go(shot.landmarks)
        distance[rows] = np.average(apart, 1, model.landmark_trust)
    width = float(face_width(model.landmarks(identity)))
    return Fit(pose, identity, jaw, expression, distance / (pose.scale * width))
