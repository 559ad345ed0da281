"""Crops on their way into the plate: what resampling takes, and how it is given back."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from visualdub.box import Box
from visualdub.face.crop import warp_crop
from visualdub.render.region import into_region, out_of_region, restore_detail


def test_a_crop_that_went_to_the_plate_and_back_keeps_its_detail() -> None:
    rng = np.random.default_rng(0)
    plate = cv2.GaussianBlur(rng.uniform(0, 255, (600, 600, 3)), (0, 0), 1.2)
    plate = ((plate - plate.mean()) * 4 + 128).clip(0, 255).astype(np.uint8)
    affine = np.array([[0.65, 0, -40.0], [0, 0.65, -30]])
    crop = warp_crop(plate, affine)

    def again(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
        back = plate.copy()
        back[:] = into_region(picture, affine, Box(0, 0, 600, 600)).clip(0, 255).round()
        return warp_crop(back, affine)

    def detail(picture: NDArray[np.generic]) -> float:
        return float(cv2.Laplacian(picture[60:200, 60:200].astype(np.float32), cv2.CV_32F).var())

    patch = crop.astype(np.float32)
    assert detail(again(patch)) < 0.85 * detail(crop)
    assert 0.88 * detail(crop) < detail(again(restore_detail(patch, affine))) < 1.05 * detail(crop)


@pytest.mark.parametrize("aspect", [2.0, 0.5])
def test_detail_is_restored_along_the_axis_that_lost_it(aspect: float) -> None:
    """A plate whose pixels are not square, larger than the crop along one axis alone."""
    rng = np.random.default_rng(0)
    plate = cv2.GaussianBlur(rng.uniform(0, 255, (600, 600, 3)), (0, 0), 1.2)
    plate = ((plate - plate.mean()) * 4 + 128).clip(0, 255).astype(np.uint8)
    across, down = 0.65 * max(1.0, aspect), 0.65 * max(1.0, 1 / aspect)
    affine = np.array([[across, 0, -40.0], [0, down, -30]])
    crop = warp_crop(plate, affine)

    def detail(picture: NDArray[np.float32], axis: int) -> float:
        """Along one axis, after the way to the plate and back."""
        back = plate.copy()
        back[:] = into_region(picture, affine, Box(0, 0, 600, 600)).clip(0, 255).round()
        again = warp_crop(back, affine).astype(np.float32)
        second = np.diff(again[60:200, 60:200], 2, axis=axis)
        return float(second.var() / np.diff(crop[60:200, 60:200].astype(np.float32), 2, axis=axis).var())

    patch = crop.astype(np.float32)
    lost, kept = (0, 1) if aspect > 1 else (1, 0)
    restored = restore_detail(patch, affine)
    assert detail(patch, lost) < 0.9 < 0.92 < detail(restored, lost) < 1.06
    assert abs(detail(restored, kept) / detail(patch, kept) - 1) < 0.06  # by what the other axis gained


def test_detail_is_left_alone_where_the_crop_did_not_shrink() -> None:
    patch = np.random.default_rng(0).uniform(0, 1, (16, 16, 3)).astype(np.float32)
    assert restore_detail(patch, np.array([[1.2, 0, 0], [0, 1.2, 0]])) is patch


def test_the_plate_is_seen_in_the_crop_where_it_lies_and_its_border_goes_on() -> None:
    """A ramp, of which the crop shows the middle to the right edge and beyond, twice as large across."""
    y, x = np.mgrid[:30, :40].astype(np.float32)
    plate = np.stack([x + 100.5, y + 50.5, x - y], -1)  # the first two: where each pixel's centre is
    affine = np.array([[2.0, 0, -230.0], [0, 0.8, -36]])
    shown = out_of_region(plate, affine, Box(100, 50, 140, 80), 64)
    centre = np.arange(64) + 0.5
    across, down = (centre + 230) / 2, (centre + 36) / 0.8
    assert shown[..., 0] == pytest.approx(np.tile(across.clip(100.5, 139.5), (64, 1)), abs=1e-4)
    assert shown[..., 1] == pytest.approx(np.tile(down.clip(50.5, 79.5)[:, None], (1, 64)), abs=1e-4)
