"""The table of a shot."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from visualdub.errors import InternalError
from visualdub.face.landmarks import (
    EYE_CORNERS,
    FACE_LEFT,
    FACE_RIGHT,
    INNER_LIP_PAIRS,
    LIPS_OUTER,
    SOURCE_BOX,
    lip_opening,
)
from visualdub.measure.shot import ShotArrays, evaluate_shot

N, S = 20, 64


def landmarks(opening: np.ndarray) -> np.ndarray:
    """Faces in a 64 x 64 picture whose inner lips are `opening` x 20 pixels apart."""
    marks = np.full((len(opening), 478, 3), 32.0, np.float32)
    marks[..., 2] = 0
    marks[:, FACE_LEFT, 0], marks[:, FACE_RIGHT, 0] = 7, 57
    marks[:, EYE_CORNERS[0], 0], marks[:, EYE_CORNERS[1], 0] = 22, 42
    for i, j in zip(SOURCE_BOX, ((-8, -8), (8, 8)) * 4, strict=True):
        marks[:, i, :2] = 40 + np.array(j)
    for k, i in enumerate(LIPS_OUTER):
        marks[:, i, :2] = 40 + 6 * np.array([np.cos(k), np.sin(k)])
    for upper, lower in INNER_LIP_PAIRS:
        marks[:, upper, :2] = (40, 40)
        marks[:, lower, 0], marks[:, lower, 1] = 40, 40 + 20 * opening
    return marks


def shot() -> ShotArrays:
    rng = np.random.default_rng(0)
    real = rng.integers(60, 200, (N, S, S, 3)).astype(np.uint8)
    masks = np.zeros((N, S, S), np.float32)
    masks[:, 24:56, 16:48] = 1
    composite = real.copy()
    composite[:, 24:56, 16:48] += 10
    opening = rng.uniform(0, 0.4, N)
    affine = np.repeat(np.eye(2, 3)[None], N, 0)
    marks = landmarks(opening)
    return ShotArrays(real, real + 10, composite, masks, marks, marks, affine, opening, np.full(N, 12.0))


def test_self_reenactment() -> None:
    table = evaluate_shot(shot())
    ten = 20 * np.log10(255 / 10)
    # the raw picture is off by 10 everywhere, of which only the mask counts
    assert table["raw"]["psnr_crop"] == pytest.approx(ten + 10 * np.log10(4), abs=1e-6)
    assert table["raw"]["psnr_mask"] == pytest.approx(ten) and table["composite"][
        "psnr_mask"
    ] == pytest.approx(ten)
    assert table["composite"]["psnr_crop"] == pytest.approx(
        ten + 10 * np.log10(4), abs=1e-6
    )  # a quarter of the crop is off
    assert table["mask_share"] == 0.25 and table["frames"] == N
    assert table["composite"]["flicker"] == pytest.approx(1) and table["composite"]["sharpness"] > 0.9
    assert table["mouth"]["lmd"] == 0 and table["mouth"]["control"] == pytest.approx(1)
    assert table["by_yaw"]["psnr"]["10-20"]["frames"] == N
    assert "leak" not in table["mouth"]  # the source is the command
    json.dumps(table, allow_nan=False)


def test_another_performance_is_not_compared_pixel_by_pixel() -> None:
    own = shot()
    other = np.random.default_rng(5).uniform(0, 0.4, N)
    noisy = other + np.random.default_rng(6).normal(0, 0.01, N)
    table = evaluate_shot(
        replace(own, commanded=other, landmarks_output=landmarks(noisy)), own_performance=False
    )
    assert "psnr_crop" not in table["raw"] and "lmd" not in table["mouth"]
    assert table["mouth"]["control"] > 0.95 and abs(table["mouth"]["leak"]) < 0.6
    assert table["mouth"]["open_share"] == pytest.approx((lip_opening(landmarks(noisy)) > 0.05).mean())


def test_frames_without_a_face_give_null_not_nan() -> None:
    own = shot()
    none = np.full_like(own.landmarks_output, np.nan)
    table = evaluate_shot(replace(own, landmarks_output=none, landmarks_real=none))
    assert table["mouth"] == {"open_share": None, "faces_found": 0, "lmd": None, "control": None}
    assert table["raw"]["psnr_source_box"] is None and table["raw"]["psnr_mask"] is not None
    json.dumps(table, allow_nan=False)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(InternalError, match="masks has 3 frames, real has 20"):
        replace(shot(), masks=np.zeros((3, S, S), np.float32))
