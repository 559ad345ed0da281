"""Bilabial closure: how far apart a mouth's lips are, and the smallest change that closes or parts them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visualdub.face.landmarks import EYE_CORNERS, INNER_LIP_PAIRS
from visualdub.face.models import FaceModel, posed_landmarks

Array = NDArray[np.float64]
STEP = 0.05  # of one scale of the actor: the step of the finite differences
NEWTON_STEPS = 2  # only the jaw's rotation is not linear, so that two are enough
PARTED_FURTHER = 0.1  # of the gap that is missing: the damped step stops short of its target
DAMPING = 1e-3  # of the mean squared slope: keeps the last hundredth of a gap from costing a wild change


def lip_offsets(model: FaceModel, identity: Array, values: Array) -> Array:
    """(n, P, 2) offsets from the upper to the lower inner lip at each of the P `INNER_LIP_PAIRS`.

    The two numbers are the offset downwards and away from the camera, in distances between the outer eye
    corners. identity: (V, 3) neutral mesh. values: (n, 1 + n_speech), the jaw in radians and then the speech
    components. Head pose and upper face do not matter.
    """
    upper, lower = ([pair[side] for pair in INNER_LIP_PAIRS] for side in (0, 1))
    left, right = model.landmarks(identity)[list(EYE_CORNERS)]
    eyes = float(np.linalg.norm(left - right))
    offsets = [np.zeros((0, len(INNER_LIP_PAIRS), 2))]
    expression = np.zeros((len(values), model.n_expression))
    expression[:, : values.shape[1] - 1] = values[:, 1:]
    for _, mesh in posed_landmarks(model, identity, values[:, 0], expression):
        offsets.append((mesh[:, lower, 1:] - mesh[:, upper, 1:]) / eyes)
    return np.concatenate(offsets)


def offset_slopes(model: FaceModel, identity: Array, mean: Array, scale: Array) -> Array:
    """(m, P, 2) change of `lip_offsets` by one `scale` (m,) of each parameter, at the mouth `mean` (m,)."""
    points = np.concatenate([mean[None], mean[None] + np.diag(scale) * STEP])
    offsets = lip_offsets(model, identity, points)
    return np.asarray((offsets[1:] - offsets[0]) / STEP)


def close_lips(model: FaceModel, identity: Array, values: Array, closure: Array, scale: Array) -> Array:
    """`values` (n, m) with the lips closed where `closure` (n,) is 1, partly closed below it, unchanged at 0.

    Closed means that there is no gap, and that neither lip is further behind the other than in the neutral
    face. Lips that overlap already stay as they are. The change is the smallest one when each parameter is
    measured in its `scale` (m,), the actor's standard deviation: it moves what opens this mouth and leaves
    rounding and corners alone. identity and values are as in `lip_offsets`.
    """
    closing = closure > 0
    if not closing.any():
        return values
    start = lip_offsets(model, identity, values[closing])
    neutral = lip_offsets(model, identity, np.zeros((1, len(scale))))
    behind = np.broadcast_to(neutral[..., 1], start.shape[:2])
    shut = np.stack([np.minimum(start[..., 0], 0.0), behind], -1)
    closed = values.copy()
    target = start + closure[closing][:, None, None] * (shut - start)
    closed[closing] = _moved(model, identity, values[closing], target, scale)
    return closed


def part_lips(
    model: FaceModel, identity: Array, values: Array, parted: Array, least: float, scale: Array
) -> Array:
    """`values` (n, m) with the lips at least `least` apart where `parted` (n,) is 1, less below it, unchanged
    at 0 and where they are further apart.

    least: mean gap of the `INNER_LIP_PAIRS`, in distances between the outer eye corners. The change is the
    smallest one, as in `close_lips`, which has the other arguments.
    """
    gaps = np.maximum(lip_offsets(model, identity, values)[..., 0], 0.0).mean(1)
    tight = (parted > 0) & (gaps < least)
    if not tight.any():
        return values
    target = lip_offsets(model, identity, values[tight])
    share = parted[tight] * (1 + PARTED_FURTHER)
    wanted = np.maximum(target[..., 0], 0.0) + (share * (least - gaps[tight]))[:, None]
    target[..., 0] = np.maximum(target[..., 0], wanted)
    open_values = values.copy()
    open_values[tight] = _moved(model, identity, values[tight], target, scale)
    return open_values


def _moved(model: FaceModel, identity: Array, values: Array, target: Array, scale: Array) -> Array:
    """`values` (n, m), n >= 1, changed as little as brings their `lip_offsets` to `target` (n, P, 2)."""
    slopes = offset_slopes(model, identity, values.mean(0), scale).reshape(len(scale), -1)
    scatter = slopes.T @ slopes
    damped = scatter + DAMPING * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    step_of_offset = np.linalg.solve(damped, slopes.T) * scale  # (2 P, m): parameters that undo an offset
    moved = values.copy()
    for _ in range(NEWTON_STEPS):
        error = lip_offsets(model, identity, moved) - target
        moved -= error.reshape(len(error), -1) @ step_of_offset
    return moved
