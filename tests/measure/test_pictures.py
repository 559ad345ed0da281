"""Measures on pictures, by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from visualdub.errors import InternalError
from visualdub.measure.pictures import (
    IDENTICAL,
    border_flicker,
    edge_gradient,
    edge_of,
    flicker,
    laplacian_variance,
    luma,
    mask_share,
    mouth_box,
    psnr,
    seam,
    second_difference,
    sharpness,
    source_box,
    ssim,
    to_crop,
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


def test_mask_share() -> None:
    mask = np.zeros((2, 10, 10))
    mask[0, :5] = 1
    assert mask_share(mask) == 0.25


def test_points_go_into_the_crop_and_boxes_round_outwards() -> None:
    affine = np.array([[[0.5, 0, 10], [0, 0.5, -20]]])
    assert to_crop(np.array([[[100.0, 200.0, 9.0]]]), affine).tolist() == [[[60.0, 80.0]]]
    marks = np.full((2, 478, 3), 100.0)
    marks[0, 61, 0], marks[0, 291, 0], marks[0, 2, 1], marks[0, 152, 1] = 60, 140, 80, 160
    marks[1] = np.nan
    affine = np.repeat(affine, 2, 0)
    # x 60..140 -> 40..80, middle 60, half 20 * 1.1 = 22 -> 38..82; y 80..160 -> 20..60, middle 40 -> 18..62
    assert source_box(marks, affine, 256) == [(38, 18, 82, 62), None]
    lips = np.full((1, 478, 3), 100.0)
    lips[0, 61, 0], lips[0, 291, 0], lips[0, 0, 1], lips[0, 17, 1] = 80, 120, 90, 110
    assert mouth_box(lips, affine[:1], 256) == [(48, 24, 72, 36)]
    assert source_box(marks + 10000, affine, 256)[0] is None  # off the crop


def test_laplacian_and_sharpness() -> None:
    one = flat(0)
    one[16, 16] = (
        # response -40 at the pixel, +10 at four neighbours, mean 0: variance (1600 + 400) / 64 in a box of 8
        # x 8
        10
    )
    assert laplacian_variance(one, (12, 12, 20, 20)) == pytest.approx(2000 / 64, rel=1e-4)
    real = textured(3)
    soft = np.stack([cv2.GaussianBlur(p, (0, 0), 1.0) for p in real])
    boxes = [(10, 10, 50, 50), None, (10, 10, 50, 50)]
    assert sharpness(real, real, boxes) == 1
    assert sharpness(soft, real, boxes) < 0.2
    assert np.isnan(sharpness(real, real, [None] * 3))


def test_seam_sees_a_step_on_the_masks_edge() -> None:
    mask = np.zeros((32, 32))
    mask[8:24, 8:24] = 1
    band = edge_of(mask)
    assert band[8, 16] and band[7, 16] and not band[16, 16] and not band[0, 0]
    assert not edge_of(np.ones((32, 32))).any()  # the crop's edge is no border
    ramp = np.repeat(np.arange(32, dtype=np.float32)[None, :, None] * 3, 32, 0).repeat(3, -1)
    assert edge_gradient(ramp, mask) == pytest.approx(3, abs=1e-4)  # three codes per pixel
    stepped = ramp + 12 * mask[..., None].astype(np.float32)
    assert seam(ramp[None], ramp[None], mask[None]) == 1
    assert seam(stepped[None], ramp[None], mask[None]) > 1.5


def test_second_difference_and_flicker_by_hand() -> None:
    frames = np.stack([flat(v) for v in (10, 20, 30, 50)])
    masks = np.ones((4, 32, 32))
    assert second_difference(frames, masks).tolist() == pytest.approx([0, 10])  # 10 - 40 + 30, 20 - 60 + 50
    jumpy = np.stack([flat(v) for v in (10, 30, 10, 30)])  # 40, 40
    real = np.stack([flat(v) for v in (10, 20, 10, 20)])  # 20, 20
    assert flicker(jumpy, real, masks) == pytest.approx(2)
    assert np.isnan(flicker(jumpy[:2], real[:2], masks[:2]))
    assert second_difference(jumpy, masks, np.array([4, 5, 6, 9])).tolist() == pytest.approx(
        [40, np.nan], nan_ok=True
    )
    masks[1] = 0
    assert np.isnan(flicker(jumpy, real, masks))  # no pixel is in all three masks


def test_border_flicker_sees_the_window_grid() -> None:
    n = 33
    rng = np.random.default_rng(0)
    real = rng.normal(128, 1, (n, 16, 16, 1)).repeat(3, -1)
    masks = np.ones((n, 16, 16))
    assert border_flicker(real, real, masks, window=9) == pytest.approx(1)
    stepping = real + 8.0 * (np.arange(n) // 8 % 2)[:, None, None, None]  # each window has its own brightness
    assert border_flicker(stepping, real, masks, window=9) > 1.3
    assert border_flicker(stepping[3:], real[3:], masks[3:], window=9, numbers=np.arange(3, n)) > 1.3
    assert np.isnan(border_flicker(real[:1], real[:1], masks[:1], window=9))
