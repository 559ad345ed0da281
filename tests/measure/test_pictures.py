"""Measures on pictures, by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from visualdub.errors import InternalError
from visualdub.face.landmarks import landmarks_to_crop
from visualdub.measure.pictures import (
    IDENTICAL,
    RatioOfMeans,
    SecondDifferences,
    border_flicker,
    edge_gradient,
    edge_of,
    flicker,
    laplacian_variance,
    luma,
    mouth_box,
    psnr,
    source_box,
    ssim,
)


def flat(value: float, size: int = 32) -> np.ndarray:
    return np.full((size, size, 3), value, np.float32)


def textured(n: int = 1, size: int = 64, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 30, (n, size, size, 1))
    return np.repeat(128 + noise, 3, -1).clip(0, 255).astype(np.uint8)


def test_psnr_by_hand() -> None:
    assert psnr(flat(100), flat(110)) == pytest.approx(28.1308, abs=1e-3)  # 20 log10(255 / 10)
    assert psnr(flat(7), flat(7)) == IDENTICAL
    assert psnr(flat(0).astype(np.uint8), flat(255).astype(np.uint8)) == pytest.approx(
        0
    )  # no wrap-around of uint8


def test_psnr_counts_only_its_region() -> None:
    other, region = flat(100), np.zeros((32, 32), np.float32)
    other[:8] += 20
    region[:8] = 1
    assert psnr(flat(100), other, region) == pytest.approx(20 * np.log10(255 / 20), abs=1e-4)
    assert psnr(flat(100), other) == pytest.approx(
        20 * np.log10(255 / 10), abs=1e-4
    )  # a quarter of the error
    assert np.isnan(psnr(flat(1), flat(1), np.zeros((32, 32))))
    with pytest.raises(InternalError):
        psnr(flat(1), flat(1, 16))


def test_ssim_by_hand() -> None:
    """Flat pictures: (2ab + C1) / (a^2 + b^2 + C1), C1 = 6.5025."""
    assert ssim(flat(100), flat(110)) == pytest.approx((22000 + 6.5025) / (22100 + 6.5025), abs=1e-4)
    picture = textured()[0]
    assert ssim(picture, picture) == pytest.approx(1, abs=1e-6)
    assert ssim(picture, 255 - picture) < 0
    assert ssim(picture, picture, np.zeros((64, 64))) != ssim(picture, picture)  # NaN on an empty region


def test_ssim_matches_its_definition_at_one_pixel() -> None:
    a, b = textured(seed=1)[0].astype(np.float64), textured(seed=2)[0].astype(np.float64)
    t = np.arange(-5, 6)
    w = np.exp(-(t**2) / (2 * 1.5**2))
    w = np.outer(w, w) / w.sum() ** 2
    x, y = a[20:31, 30:41, 0], b[20:31, 30:41, 0]
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy, cov = (w * x * x).sum() - mx**2, (w * y * y).sum() - my**2, (w * x * y).sum() - mx * my
    c1, c2 = 6.5025, 58.5225
    wanted = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    region = np.zeros((64, 64))
    region[25, 35] = 1
    assert ssim(a, b, region) == pytest.approx(wanted, abs=1e-4)


def test_luma_weights() -> None:
    assert luma(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))[0].tolist() == pytest.approx(
        [54.213, 182.376, 18.411]
    )


def test_points_go_into_the_crop_and_boxes_round_outwards() -> None:
    affine = np.array([[0.5, 0, 10], [0, 0.5, -20]])
    assert landmarks_to_crop(np.array([[[100.0, 200.0, 9.0]]]), affine[None]).tolist() == [[[60.0, 80.0]]]
    marks = np.full((478, 3), 100.0)
    marks[61, 0], marks[291, 0], marks[2, 1], marks[152, 1] = 60, 140, 80, 160
    # x 60..140 -> 40..80, middle 60, half 20 * 1.1 = 22 -> 38..82; y 80..160 -> 20..60, middle 40 -> 18..62
    assert source_box(marks, affine, 256) == (38, 18, 82, 62)
    assert source_box(np.full((478, 3), np.nan), affine, 256) is None
    assert source_box(marks + 10000, affine, 256) is None  # off the crop
    lips = np.full((478, 3), 100.0)
    lips[61, 0], lips[291, 0], lips[0, 1], lips[17, 1] = 80, 120, 90, 110
    assert mouth_box(lips, affine, 256) == (48, 24, 72, 36)


def test_laplacian_by_hand() -> None:
    one = flat(0)
    # The response is -40 at the pixel and +10 at four neighbours: variance (1600 + 400) / 64 in 8 x 8 pixels.
    one[16, 16] = 10
    assert laplacian_variance(one, (12, 12, 20, 20)) == pytest.approx(2000 / 64, rel=1e-4)
    real = textured()[0]
    soft = cv2.GaussianBlur(real, (0, 0), 1.0)
    box = (10, 10, 50, 50)
    assert laplacian_variance(soft, box) < 0.2 * laplacian_variance(real, box)


def test_a_ratio_of_means_leaves_out_what_cannot_be_measured() -> None:
    ratio = RatioOfMeans()
    assert np.isnan(ratio.value)
    for output, source in ((2.0, 1.0), (np.nan, 5.0), (7.0, np.nan), (4.0, 3.0)):
        ratio.add(output, source)
    assert ratio.value == (2 + 4) / (1 + 3)


def test_a_step_on_the_masks_edge_is_a_seam() -> None:
    mask = np.zeros((32, 32))
    mask[8:24, 8:24] = 1
    band = edge_of(mask)
    assert band[8, 16] and band[7, 16] and not band[16, 16] and not band[0, 0]
    assert not edge_of(np.ones((32, 32))).any()  # the crop's edge is no border
    ramp = np.repeat(np.arange(32, dtype=np.float32)[None, :, None] * 3, 32, 0).repeat(3, -1)
    assert edge_gradient(ramp, mask) == pytest.approx(3, abs=1e-4)  # three codes per pixel
    stepped = ramp + 12 * mask[..., None].astype(np.float32)
    assert edge_gradient(stepped, mask) > 1.5 * edge_gradient(ramp, mask)
    assert np.isnan(edge_gradient(ramp, np.ones((32, 32))))


# ---- flicker -----------------------------------------------------------------------------------------------


def differences(frames: np.ndarray, masks: np.ndarray, numbers: list[int] | None = None) -> SecondDifferences:
    """The second differences of pictures (n, H, W, 3) with masks (n, H, W), added one after another."""
    series = SecondDifferences()
    for frame, mask, number in zip(frames, masks, numbers or range(len(frames)), strict=True):
        series.add(frame, mask, number)
    return series


def test_second_differences_and_flicker_by_hand() -> None:
    frames = np.stack([flat(v) for v in (10, 20, 30, 50)])
    masks = np.ones((4, 32, 32))
    assert differences(frames, masks).values.tolist() == pytest.approx([0, 10])  # 10 - 40 + 30, 20 - 60 + 50
    output = np.stack([flat(v) for v in (10, 30, 10, 30)])  # 40, 40
    real = np.stack([flat(v) for v in (10, 20, 10, 20)])  # 20, 20
    assert flicker(differences(output, masks), differences(real, masks)) == pytest.approx(2)
    assert np.isnan(flicker(differences(output[:2], masks[:2]), differences(real[:2], masks[:2])))
    with_a_gap = differences(output, masks, [4, 5, 6, 9])
    assert with_a_gap.numbers.tolist() == [5, 6]
    assert with_a_gap.values.tolist() == pytest.approx([40, np.nan], nan_ok=True)
    masks[1] = 0
    assert np.isnan(differences(output, masks).values).all()  # no pixel is in all three masks


def test_only_pixels_in_all_three_masks_count() -> None:
    frames, masks = np.stack([flat(0)] * 3), np.zeros((3, 32, 32))
    frames[1, :8], frames[1, 8:16] = 10, 50
    masks[0, :16] = masks[1, :8] = masks[2] = 1
    assert differences(frames, masks).values.tolist() == pytest.approx([20])


def test_the_window_grid_shows_in_border_flicker() -> None:
    n = 33
    real = np.random.default_rng(0).normal(128, 1, (n, 16, 16, 1)).repeat(3, -1)
    masks = np.ones((n, 16, 16))
    # Each window has a brightness of its own.
    stepping = real + 8.0 * (np.arange(n) // 8 % 2)[:, None, None, None]

    def seen(pictures: np.ndarray, first: int = 0, last: int = n) -> float:
        numbers = list(range(first, last))
        sources = (x[first:last] for x in (pictures, real))
        return border_flicker(*(differences(x, masks[first:last], numbers) for x in sources), window=9)

    assert seen(real) == pytest.approx(1)
    assert seen(stepping) > 1.3 and seen(stepping, first=3) > 1.3
    assert np.isnan(seen(real, last=1))
