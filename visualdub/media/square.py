"""Pictures with square pixels, as people see them: what faces are found in and measured on."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.media.frame import SQUARE, Frame
from visualdub.media.yuv import frame_rgb


def square_scale(aspect: Fraction) -> tuple[float, float]:
    """Square pixels along x and y per stored pixel: the shorter side of a pixel sets the size, so that no
    detail is lost.
    """
    return max(1.0, float(aspect)), max(1.0, float(1 / aspect))


def square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Width and height in square pixels of a picture with pixels of `aspect`."""
    across, down = square_scale(aspect)
    return round(width * across), round(height * down)


def square_pixels(rgb: NDArray[np.uint8], aspect: Fraction) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with pixels of `aspect` resampled to square ones; itself where they are square.

    Square pixel = `square_scale` * stored pixel exactly, pixel centres at + 0.5 in both: not by `cv2.resize`,
    whose scale is the ratio of the two sizes in whole pixels.
    """
    if aspect == SQUARE:
        return rgb
    x, y = (1 / scale for scale in square_scale(aspect))
    to_stored = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]])  # OpenCV's pixel centres: whole numbers
    size = square_size(rgb.shape[1], rgb.shape[0], aspect)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    made = cv2.warpAffine(rgb, to_stored, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.uint8)


def shown_rgb(frame: Frame) -> NDArray[np.uint8]:
    """Full-range R'G'B' (H, W, 3) of a whole frame with square pixels; otherwise as `frame_rgb`."""
    return square_pixels(frame_rgb(frame), frame.image.pixel_aspect)
