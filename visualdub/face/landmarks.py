"""Names for MediaPipe's landmark numbers, and what is measured on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LANDMARK_COUNT = 468  # of the mesh; MediaPipe's ten of the irises follow
FACE_LEFT, FACE_RIGHT = 234, 454  # widest points of the face oval
INNER_LIP_PAIRS = ((13, 14), (82, 87), (312, 317))  # upper, lower
EYE_CORNERS = (33, 263)
SOURCE_BOX = (2, 152, 172, 397, 61, 291, 148, 377)  # the region of DESIGN.md 5 that does not know our mask
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = LIPS_OUTER + LIPS_INNER


def lip_opening(landmarks: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Inner-lip opening as a fraction of the distance between the outer eye corners, both in 3D.

    landmarks: (..., 468 or 478, 3), any unit. Returns (...).
    """
    upper = landmarks[..., [a for a, _ in INNER_LIP_PAIRS], :]
    lower = landmarks[..., [b for _, b in INNER_LIP_PAIRS], :]
    eyes = np.linalg.norm(landmarks[..., EYE_CORNERS[0], :] - landmarks[..., EYE_CORNERS[1], :], axis=-1)
    return np.asarray(np.linalg.norm(upper - lower, axis=-1).mean(-1) / eyes)


def face_width(landmarks: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Distance between the widest points of the face oval, in 3D, in the landmarks' own unit.

    landmarks: (..., 468 or 478, 3). Returns (...).
    """
    return np.asarray(np.linalg.norm(landmarks[..., FACE_LEFT, :] - landmarks[..., FACE_RIGHT, :], axis=-1))


def landmarks_to_crop(
    landmarks: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Landmarks (n, ..., 2 or 3) of n frames from square to crop pixels (n, ..., 2), without their depth.

    affine: (n, 2, 3) as in `visualdub.face.crop.Crop`; pixel centres lie at + 0.5 in both.
    """
    matrix = np.asarray(affine, np.float64)
    moved = np.einsum("nij,n...j->n...i", matrix[:, :, :2], np.asarray(landmarks, np.float64)[..., :2])
    shift = matrix[:, :, 2]
    return np.asarray(moved + shift.reshape(len(shift), *([1] * (moved.ndim - 2)), 2))
