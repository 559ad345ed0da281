"""The paper's post-processing: where the generated and the real frame both show background, the real pixel
stays.
"""

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
    """Weight of the generated pixel: 0 where both pictures show background, 1 where either shows the face or
    neck, soft between.

    All (S, S). Face and neck = "person" of the segmentation intersected with the mesh silhouette plus skirt,
    because the segmentation calls clothes and hair "person" too. Returns (S, S) float32.
    """
    face = ((person_real >= BACKGROUND_BELOW) & silhouette_real) | (
        (person_generated >= BACKGROUND_BELOW) & silhouette_generated
    )
    face = _filled(face)
    if face.all():
        return np.ones(face.shape, np.float32)
    soft = cv2.GaussianBlur(face.astype(np.float32), (0, 0), SOFT_EDGE, borderType=cv2.BORDER_REPLICATE)
    return smoothstep(
        np.asarray(2.0 * soft - 1.0, np.float32)
    )  # the soft edge lies on the face's side, so no generated background is let in


def _filled(face: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`face` with its holes closed: background is what reaches the crop's edge, a speck between the lips is
    not.
    """
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
    """`keep_weight` of one crop, running the segmentation on the generated picture only where it can change
    the answer.

    real: (S, S, 3) uint8 R'G'B'. generated: (S, S, 3) R'G'B' 0..1, only its masked region is looked at. mask:
    (S, S) 0/1.
    """
    region = mask >= 0.5
    person_real = segmenter.person(real)
    open_question = region & silhouette_generated & ~((person_real >= BACKGROUND_BELOW) & silhouette_real)
    if not open_question.any():
        return keep_weight(person_real, np.zeros_like(person_real), silhouette_real, silhouette_generated)
    picture = np.where(region[..., None], np.rint(generated.clip(0.0, 1.0) * 255).astype(np.uint8), real)
    return keep_weight(person_real, segmenter.person(picture), silhouette_real, silhouette_generated)
