"""The paper's post-processing: the real pixel stays where generated and real frame both show background."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.arrays import smoothstep
from visualdub.face.mediapipe_models import Segmenter

SOFT_EDGE = 1.5  # crop pixels, standard deviation of the blur that softens the segmentation's border
BACKGROUND_BELOW = 0.5  # probability of "person" under which a pixel is background


def keep_weight(
    person_real: NDArray[np.float32],
    person_generated: NDArray[np.float32],
    silhouette_real: NDArray[np.bool_],
    silhouette_generated: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """(S, S) weight of the generated pixel: 0 where both pictures show background, 1 elsewhere, soft between.

    All are (S, S). Face and neck are where the segmentation says "person" within the silhouette of the mesh
    and its skirt: the segmentation alone counts clothes and hair as person, too.
    """
    return _weight(
        _filled(_face(person_real, silhouette_real) | _face(person_generated, silhouette_generated))
    )


def _face(person: NDArray[np.float32], silhouette: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (person >= BACKGROUND_BELOW) & silhouette


def _weight(face: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`keep_weight` where face and neck are known (S, S)."""
    if face.all():
        return np.ones(face.shape, np.float32)
    blurred = cv2.GaussianBlur(face.astype(np.float32), (0, 0), SOFT_EDGE, borderType=cv2.BORDER_REPLICATE)
    soft: NDArray[np.float32] = np.asarray(blurred, np.float32)
    return smoothstep(2 * soft - 1)  # the soft edge lies inside the face: no generated background is let in


def _filled(face: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`face` with its holes closed: only what is connected to the crop's edge is background."""
    around = cv2.copyMakeBorder((~face).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(1.0,))
    cv2.floodFill(around, None, (0, 0), (2.0,))
    return np.asarray(around[1:-1, 1:-1] != 2, np.bool_)


def background_weight(
    segmenter: Segmenter,
    real: NDArray[np.uint8],
    generated: NDArray[np.float32],
    mask: NDArray[np.floating[Any]],
    silhouette_real: NDArray[np.bool_],
    silhouette_generated: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """`keep_weight` of one crop. The generated picture is only segmented where that can change the result.

    real: (S, S, 3) uint8 R'G'B'. generated: (S, S, 3) R'G'B' 0..1, of which only the masked region is used.
    mask: (S, S) 0/1.
    """
    region = mask >= 0.5
    person_real = segmenter.person(real)
    known = _face(person_real, silhouette_real)
    face = _filled(known)
    if (region & silhouette_generated & ~face).any():  # what lies in a hole of the face is closed anyway
        codes = np.rint(generated.clip(0.0, 1.0) * 255).astype(np.uint8)
        person = segmenter.person(np.where(region[..., None], codes, real))
        return keep_weight(person_real, person, silhouette_real, silhouette_generated)
    return _weight(face)
