"""Where in the frame a crop lands: the rectangle compositing works in, and resampling the crop into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PAD, PAD_SHARE = 8, 0.08  # pixels and share of the rectangle's side added around it: filter reach, and plate to measure grain on
SHRINK_FROM = 1.15  # crop pixels per plate pixel above which the crop is averaged down instead of interpolated


@dataclass(frozen=True)
class Region:
    """A rectangle of the displayed frame, half open, aligned to whole chroma samples (or ending at the frame's edge)."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def slices(self, sub_x: int = 1, sub_y: int = 1) -> tuple[slice, slice]:
        """Row and column slices of the region in a plane subsampled by `sub_x`, `sub_y`."""
        return (slice(self.top // sub_y, -(-self.bottom // sub_y)), slice(self.left // sub_x, -(-self.right // sub_x)))


def plate_scale(affine: NDArray[np.floating[Any]]) -> float:
    """Plate pixels per crop pixel; above 1 the crop is enlarged and the redrawn mouth is softer than the plate can hold."""
    return float(1 / np.sqrt(abs(np.linalg.det(np.asarray(affine, np.float64)[:, :2]))))


def find_region(alpha: NDArray[np.float32], affine: NDArray[np.floating[Any]], width: int, height: int, step_x: int, step_y: int,
                ) -> Region | None:
    """The part of a `width` x `height` frame that the crop's non-zero `alpha` can touch, padded and aligned; None where nothing
    is.

    affine: (2, 3) clip pixel -> crop pixel, pixel centres at + 0.5 in both. step_x, step_y: plate pixels per chroma sample.
    """
    rows, cols = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if len(rows) == 0:
        return None
    corners = np.array([(x, y) for x in (cols[0], cols[-1] + 1) for y in (rows[0], rows[-1] + 1)], np.float64)
    matrix = np.asarray(affine, np.float64)
    placed = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    low, high = placed.min(0), placed.max(0)
    pad = PAD + PAD_SHARE * (high - low)
    x0, y0 = np.floor((low - pad) / (step_x, step_y)).astype(int) * (step_x, step_y)
    x1, y1 = np.ceil((high + pad) / (step_x, step_y)).astype(int) * (step_x, step_y)
    box = Region(max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1)))
    return box if box.width > 0 and box.height > 0 else None


def into_region(crop: NDArray[np.float32], affine: NDArray[np.floating[Any]], box: Region,
                smooth: bool = False) -> NDArray[np.float32]:
    """Resample a crop (S, S) or (S, S, 3) into the plate's pixels of `box`.

    Near unity and when enlarging: Lanczos with 8 x 8 taps, which does not soften. Where the plate is coarser than the crop:
    sampled several times per plate pixel and averaged. `smooth`: bilinear and 0 beyond the crop, for blend weights, which must
    not overshoot.
    """
    matrix = np.asarray(affine, np.float64)
    scale = 1 / plate_scale(matrix)
    times = int(np.ceil(scale)) if scale > SHRINK_FROM else 1
    to_crop = np.empty((2, 3))
    to_crop[:, :2] = matrix[:, :2] / times
    to_crop[:, 2] = matrix @ (box.left, box.top, 1.0) + to_crop[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV: centres at whole numbers
    flags = (cv2.INTER_LINEAR if smooth else cv2.INTER_LANCZOS4) | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_CONSTANT if smooth else cv2.BORDER_REPLICATE
    fine = cv2.warpAffine(crop, to_crop, (box.width * times, box.height * times), flags=flags, borderMode=border)
    if times > 1:
        fine = cv2.resize(fine, (box.width, box.height), interpolation=cv2.INTER_AREA)
    return np.asarray(fine, np.float32)


def out_of_region(picture: NDArray[np.float32], affine: NDArray[np.floating[Any]], box: Region, size: int) -> NDArray[np.float32]:
    """The plate's pixels of `box` (h, w, 3) resampled into the crop (size, size, 3), bilinear: good enough to compare colours."""
    matrix = np.asarray(affine, np.float64).copy()
    matrix[:, 2] += matrix[:, :2] @ (box.left + 0.5, box.top + 0.5) - 0.5
    warped = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)
