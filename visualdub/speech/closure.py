"""Lips that touch: how far apart a mouth's lips are, and the least change that brings them together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visualdub.face.landmarks import EYE_CORNERS, INNER_LIP_PAIRS
from visualdub.face.models import FaceModel, posed_landmarks

Array = NDArray[np.float64]
STEP = 0.05  # of a unit of the actor, for slopes by difference
PASSES = 2  # of Newton's method; the jaw's turn is all that bends
DAMPING = 1e-3  # of the mean slope squared: no wild change for the last hundredth of a gap


def lip_offsets(model: FaceModel, identity: Array, values: Array) -> Array:
    """(n, P, 2) from the upper to the lower inner lip in `INNER_LIP_PAIRS`: down and away from the camera, of
    the distance between the outer eye corners.

    identity: (V, 3) neutral mesh. values: (n, 1 + n_speech) jaw in radians, speech components. Head pose and
    upper face do not matter.
    """
    upper, lower = ([pair[side] for pair in INNER_LIP_PAIRS] for side in (0, 1))
    left, right = model.landmarks(identity)[list(EYE_CORNERS)]
    eyes = float(np.linalg.norm(left - right))
    found = [np.zeros((0, len(INNER_LIP_PAIRS), 2))]
    expression = np.zeros((len(values), model.n_expression))
    expression[:, : values.shape[1] - 1] = values[:, 1:]
    for _, mesh in posed_landmarks(model, identity, values[:, 0], expression):
        found.append((mesh[:, lower, 1:] - mesh[:, upper, 1:]) / eyes)
    return np.concatenate(found)


def offset_slopes(model: FaceModel, identity: Array, centre: Array, gain: Array) -> Array:
    """(m, P, 2) change of `lip_offsets` by one unit of the actor (`gain` (m,)) in each parameter, at the
    mouth `centre` (m,).
    """
    points = np.concatenate([centre[None], centre[None] + np.diag(gain) * STEP])
    offsets = lip_offsets(model, identity, points)
    return np.asarray((offsets[1:] - offsets[0]) / STEP)


def bring_together(model: FaceModel, identity: Array, values: Array, contact: Array, gain: Array) -> Array:
    """`values` (n, m) with the lips brought together where `contact` (n,) is 1, part of the way below, as
    they are at 0.

    Together: no gap, and no further behind one another than in the neutral face. The change is the smallest
    in units of the actor (`gain` (m,), one standard deviation of each parameter): it moves what opens this
    mouth and leaves rounding and corners alone. Lips that overlap already stay.
    """
    busy = contact > 0
    if not busy.any():
        return values
    found = values.copy()
    slopes = offset_slopes(model, identity, values[busy].mean(0), gain).reshape(len(gain), -1)
    scatter = slopes.T @ slopes
    damped = scatter + DAMPING * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    back = np.linalg.solve(damped, slopes.T) * gain  # (2 P, m) parameters for an offset
    start = lip_offsets(model, identity, values[busy])
    shut = lip_offsets(model, identity, np.zeros((1, len(gain))))
    shut = np.stack([np.minimum(start[..., 0], 0.0), np.broadcast_to(shut[..., 1], start.shape[:2])], -1)
    goal = start + contact[busy][:, None, None] * (shut - start)
    for _ in range(PASSES):
        missed = lip_offsets(model, identity, found[busy]) - goal
        found[busy] -= missed.reshape(len(missed), -1) @ back
    return found
