"""The paper's post-processing: where the generated and the real frame both show background, the real pixel stays."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.render.feather import smooth_step

SOFT_EDGE = 1.5  # crop pixels, standard deviation of the blur that softens the segmentation's border
BACKGROUND_BELOW = 0.5  # probability of "person" under which a pixel is background


class Segmenter:
    """MediaPipe's selfie segmentation (its model is in the wheel). It keeps nothing from one picture to the next."""

    def __init__(self) -> None:
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation  # loads TensorFlow Lite: only when used

        self._net: Any = SelfieSegmentation(model_selection=0)

    def person(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of "person" (clothes and hair too) for each pixel of an R'G'B' crop (S, S, 3). Returns (S, S) in 0..1."""
        found: NDArray[np.float32] = self._net.process(np.ascontiguousarray(crop)).segmentation_mask
        return np.array(found, dtype=np.float32)

    def close(self) -> None:
        """Free the network."""
        self._net.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def keep_weight(person_real: NDArray[np.float32], person_generated: NDArray[np.float32], silhouette_real: NDArray[np.bool_],
                silhouette_generated: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weight of the generated pixel: 0 where both pictures show background, 1 where either shows the face or neck, soft between.

    All (S, S). Face and neck = "person" of the segmentation intersected with the mesh silhouette plus skirt, because the
    segmentation calls clothes and hair "person" too. Returns (S, S) float32.
    """
    face = ((person_real >= BACKGROUND_BELOW) & silhouette_real) | ((person_generated >= BACKGROUND_BELOW) & silhouette_generated)
    face = _filled(face)
    if face.all():
        return np.ones(face.shape, np.float32)
    soft = cv2.GaussianBlur(face.astype(np.float32), (0, 0), SOFT_EDGE, borderType=cv2.BORDER_REPLICATE)
    return smooth_step(2.0 * soft - 1.0)  # the soft edge lies on the face's side, so no generated background is let in


def _filled(face: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`face` with its holes closed: background is what reaches the crop's edge, a speck between the lips is not."""
    around = cv2.copyMakeBorder((~face).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(1.0,))
    cv2.floodFill(around, None, (0, 0), (2.0,))
    return np.asarray(around[1:-1, 1:-1] != 2, np.bool_)


def background_weight(segmenter: Segmenter, real: NDArray[np.uint8], generated: NDArray[np.float32],
                      mask: NDArray[np.floating[Any]], silhouette_real: NDArray[np.bool_],
                      silhouette_generated: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`keep_weight` of one crop, running the segmentation on the generated picture only where it can change the answer.

    real: (S, S, 3) uint8 R'G'B'. generated: (S, S, 3) R'G'B' 0..1, only its masked region is looked at. mask: (S, S) 0/1.
    """
    region = mask >= 0.5
    person_real = segmenter.person(real)
    open_question = region & silhouette_generated & ~((person_real >= BACKGROUND_BELOW) & silhouette_real)
    if not open_question.any():
        return keep_weight(person_real, np.zeros_like(person_real), silhouette_real, silhouette_generated)
    picture = np.where(region[..., None], np.rint(generated.clip(0.0, 1.0) * 255).astype(np.uint8), real)
    return keep_weight(person_real, segmenter.person(picture), silhouette_real, silhouette_generated)
