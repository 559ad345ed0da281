"""A made-up plate, mask and patch for the tests of this room."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.media.frame import ColourTags, Frame, MediaInfo
from visualdub.media.pixel_format import bit_depth
from visualdub.media.yuv import rgb_to_planes

SIZE = 256


def media(
    width: int,
    height: int,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    transfer: int = 1,
    full: bool = False,
) -> MediaInfo:
    tags = ColourTags(2 if full else 1, 1, 1, transfer)
    return MediaInfo(
        Path("made.mkv"),
        width,
        height,
        Fraction(25),
        1,
        pix_fmt,
        tags,
        rotation,
        None,
        "h264",
        False,
        Fraction(1),
    )


def picture(width: int, height: int, noise: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    """Smooth skin-like colours, R'G'B' 0..1, with white noise of a standard deviation."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    red = 0.55 + 0.15 * np.sin(x / 40) * np.cos(y / 55)
    rgb = np.stack([red, 0.42 + 0.1 * np.sin(x / 60 + 1), 0.35 + 0.08 * np.cos(y / 50)], -1)
    return (rgb + np.random.default_rng(seed).normal(0, noise, rgb.shape)).astype(np.float32).clip(0.02, 0.98)


def frame(rgb: NDArray[np.float32], info: MediaInfo, index: int = 0) -> Frame:
    depth = bit_depth(info.pix_fmt)
    planes = (np.rint(p.clip(0, 2**depth - 1)) for p in rgb_to_planes(rgb, info))
    return Frame(index, tuple(p.astype(np.uint8 if depth == 8 else np.uint16) for p in planes), info)


def ellipse(
    centre: tuple[float, float] = (128, 165), radii: tuple[float, float] = (75, 70)
) -> NDArray[np.float32]:
    """Mask (256, 256) 0/1; centre and radii (x, y)."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    return ((((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2) < 1).astype(np.float32)


def affine(scale: float, x: float, y: float) -> NDArray[np.float64]:
    """Clip pixel -> crop pixel, the crop's middle at clip pixel (x, y)."""
    return np.array([[scale, 0, SIZE / 2 - scale * x], [0, scale, SIZE / 2 - scale * y]])
