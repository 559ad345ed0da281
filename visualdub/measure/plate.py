"""The measures of finished frames at the plate's own resolution, inside the mask: likeness, sharpness in
bands, flicker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.box import Box
from visualdub.face.crop import warp_crop
from visualdub.measure.pictures import (
    RatioOfMeans,
    SecondDifferences,
    cut,
    flicker,
    laplacian_variance,
    luma,
    mouth_box,
    psnr,
)
from visualdub.render.region import find_region, into_region, plate_scale

# Bands of detail, by the standard deviations of the two Gaussians, in plate pixels, that they lie between.
BANDS = {"fine": (0.0, 1.0), "middle": (1.0, 2.0), "coarse": (2.0, 4.0)}
LARGEST = 2048  # pixels along a side of the locked crop
FLOOR = 0.7  # of the source's sharpness in a band; below, a picture looks soft beside its plate


@dataclass(frozen=True)
class PlateFrame:
    """One finished frame beside its source, both in the clip's own pixels."""

    number: int  # of the frame in the shot, from 0
    real: NDArray[np.uint8]  # (H, W, 3) R'G'B'
    finished: NDArray[np.uint8]  # (H, W, 3) R'G'B'
    mask: NDArray[np.float32]  # (S, S) 0 or 1, crop pixels: the region that was drawn
    stored_affine: NDArray[np.float64]  # (2, 3) pixel of the clip to crop pixel
    affine: NDArray[np.float64]  # (2, 3) square pixel to crop pixel
    landmarks: NDArray[np.float32]  # (478, 3) of the source, square pixels


class PlateMeasures:
    """Measures of a shot at the plate's resolution: add the drawn frames in order, then ask `table`.

    own_performance: the shot re-enacts itself, so that output and source may be compared pixel by pixel.
    Memory grows by some numbers for each frame.
    """

    def __init__(self, *, own_performance: bool = True) -> None:
        self._own_performance = own_performance
        self._scale = 0.0  # of the locked crop, plate pixels per crop pixel
        self._scales: list[float] = []
        self._psnr: list[float] = []
        self._laplacian = RatioOfMeans()
        self._bands = {name: RatioOfMeans() for name in BANDS}
        self._output, self._source = SecondDifferences(), SecondDifferences()

    def add(self, frame: PlateFrame) -> None:
        """Take the next drawn frame of the shot."""
        height, width = frame.real.shape[:2]
        box = find_region(frame.mask, frame.stored_affine, width, height, 1, 1)
        if box is None:
            return
        self._scales.append(plate_scale(frame.stored_affine))
        real, finished = cut(frame.real, box), cut(frame.finished, box)
        if self._own_performance:
            inside = into_region(frame.mask, frame.stored_affine, box, smooth=True)
            self._psnr.append(psnr(finished, real, inside))
        mouth = _mouth_in(frame, box)
        if mouth is not None:
            self._laplacian.add(laplacian_variance(finished, mouth), laplacian_variance(real, mouth))
            energies = zip(band_energies(finished, mouth), band_energies(real, mouth), strict=True)
            for ratio, (output, source) in zip(self._bands.values(), energies, strict=True):
                ratio.add(output, source)
        self._add_locked(frame)

    def _add_locked(self, frame: PlateFrame) -> None:
        """Both pictures in a crop that follows the face, at the plate's resolution."""
        crop_size = frame.mask.shape[0]
        if not self._scale:
            self._scale = min(plate_scale(frame.stored_affine), LARGEST / crop_size)
        size = round(crop_size * self._scale)
        locked = frame.stored_affine * (size / crop_size)
        mask = cv2.resize(frame.mask, (size, size), interpolation=cv2.INTER_NEAREST)
        for differences, picture in ((self._output, frame.finished), (self._source, frame.real)):
            differences.add(warp_crop(picture, locked, size), mask, frame.number)

    def table(self) -> dict[str, Any]:
        """Every measure, NaN for what cannot be had: `scale` (plate pixels per crop pixel, mean), `psnr_mask`
        in dB, `sharpness` (variance of the Laplacian in the mouth box), `sharpness_fine`, `_middle` and
        `_coarse` (energy of the band there), all three as ratios to the source, `flicker`, and `soft`: the
        bands whose sharpness is below `FLOOR`.
        """
        bands = {name: ratio.value for name, ratio in self._bands.items()}
        table: dict[str, Any] = {"scale": _mean(self._scales)}
        if self._own_performance:
            table["psnr_mask"] = _mean(self._psnr)
        table |= {"sharpness": self._laplacian.value, **{f"sharpness_{k}": v for k, v in bands.items()}}
        table["flicker"] = flicker(self._output, self._source)
        table["soft"] = [name for name, value in bands.items() if value < FLOOR]
        return table


def band_energies(picture: NDArray[np.uint8] | NDArray[np.floating[Any]], box: Box) -> list[float]:
    """Mean squared luma of (H, W, 3) in each of `BANDS` inside `box`; the filters read the picture around
    it.
    """
    grey = luma(picture)
    blurred = {0.0: grey}
    for sigma in {s for band in BANDS.values() for s in band} - {0.0}:
        low = cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        blurred[sigma] = np.asarray(low, np.float32)
    return [
        float(np.square(cut(blurred[a] - blurred[b], box)).mean(dtype=np.float64)) for a, b in BANDS.values()
    ]


def _mouth_in(frame: PlateFrame, region: Box) -> Box | None:
    """The box around the source's lips in the pixels of `region`; None where it is not in it."""
    box = mouth_box(frame.landmarks, frame.affine, frame.mask.shape[0])
    if box is None:
        return None
    matrix = frame.stored_affine
    scale, shift = np.array([matrix[0, 0], matrix[1, 1]]), matrix[:, 2]
    low = np.floor((np.array(box[:2]) - shift) / scale - (region.left, region.top))
    high = np.ceil((np.array(box[2:]) - shift) / scale - (region.left, region.top))
    left, top = (max(0, int(v)) for v in low)
    right, bottom = (min(n, int(v)) for v, n in zip(high, (region.width, region.height), strict=True))
    return Box(left, top, right, bottom) if right > left and bottom > top else None


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
