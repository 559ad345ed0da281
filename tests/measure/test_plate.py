"""The measures at the plate's resolution, on pictures whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from visualdub.box import Box
from visualdub.face.landmarks import LIPS_OUTER
from visualdub.measure.pictures import IDENTICAL
from visualdub.measure.plate import BANDS, PlateFrame, PlateMeasures, band_energies

H, W = 300, 400
SCALE = 0.8  # crop pixels per plate pixel


def plate_frames(count: int = 5) -> list[PlateFrame]:
    """Noise that is the same in every frame but for a little; the mask is 80 x 60 of the crop."""
    rng = np.random.default_rng(0)
    still = rng.normal(120, 20, (H, W, 3))
    mask = np.zeros((256, 256), np.float32)
    mask[150:210, 90:170] = 1
    affine = np.array([[SCALE, 0, -30.0], [0, SCALE, 20.0]])
    marks = np.zeros((478, 3), np.float32)
    for k, i in enumerate(LIPS_OUTER):
        marks[i, :2] = 200 + 25 * np.cos(k), 200 + 10 * np.sin(k)
    frames = []
    for i in range(count):
        real = (still + rng.normal(0, 4, still.shape)).clip(0, 255).astype(np.uint8)
        frames.append(PlateFrame(i, real, real.copy(), mask, affine, affine, marks))
    return frames


def measured(frames: list[PlateFrame], own_performance: bool = True) -> dict[str, object]:
    measures = PlateMeasures(own_performance=own_performance)
    for frame in frames:
        measures.add(frame)
    return measures.table()


def test_a_frame_like_its_source_has_the_best_of_everything() -> None:
    table = measured(plate_frames())
    assert table.pop("scale") == pytest.approx(1 / SCALE) and table.pop("soft") == []
    assert table.pop("psnr_mask") == IDENTICAL
    assert table == dict.fromkeys(["sharpness", *(f"sharpness_{b}" for b in BANDS), "flicker"], 1.0)


def test_likeness_is_taken_inside_the_mask_alone() -> None:
    brighter = []
    for frame in plate_frames():
        finished = frame.finished.copy()
        finished[:100] = 0  # above the mask, whose top is at (150 - 20) / 0.8 = 162.5
        finished[155:245, 140:260] = np.minimum(finished[155:245, 140:260].astype(int) + 10, 255)
        brighter.append(replace(frame, finished=finished))
    assert measured(brighter)["psnr_mask"] == pytest.approx(20 * np.log10(255 / 10), abs=0.02)
    assert "psnr_mask" not in measured(brighter, own_performance=False)


def test_a_soft_picture_lacks_the_finest_band_most() -> None:
    soft = [
        replace(f, finished=np.asarray(cv2.GaussianBlur(f.finished, (0, 0), 0.8), np.uint8))
        for f in plate_frames()
    ]
    table = measured(soft)
    fine, middle, coarse = (float(str(table[f"sharpness_{band}"])) for band in BANDS)
    assert fine < 0.15 < middle < 0.7 < coarse < 1.0
    assert float(str(table["sharpness"])) < 0.05 and table["soft"] == ["fine", "middle"]


def test_bands_are_where_they_are_said_to_be() -> None:
    """A grating of four pixels is fine, one of forty is in no band."""
    x = np.arange(W, dtype=np.float32)
    box = Box(100, 100, 300, 200)
    for period, expected in ((3.0, 0), (9.0, 1), (18.0, 2)):
        wave = np.tile(120 + 40 * np.sin(2 * np.pi * x / period), (H, 1)).astype(np.float32)
        energies = band_energies(np.repeat(wave[..., None], 3, -1), box)
        assert int(np.argmax(energies)) == expected, period


def test_flicker_is_that_of_the_face_at_rest() -> None:
    """The crop follows the face: a picture that moves with it does not flicker, one that jumps does."""
    rng = np.random.default_rng(1)
    still, frames = plate_frames(8), []
    for frame in still:
        finished = (frame.finished.astype(np.float64) + rng.normal(0, 8, frame.finished.shape)).clip(0, 255)
        frames.append(replace(frame, finished=finished.astype(np.uint8)))
    assert 1.8 < float(str(measured(frames)["flicker"])) < 2.6  # sqrt(4² + 8²) / 4 = 2.24
