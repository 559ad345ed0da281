"""Made-up plates, masks and patches, and painted footage, for the tests of rendering."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.media.frame import ColourTags, Frame, ImageSpec, SampleEncoding
from visualdub.media.yuv import rgb_to_planes, to_samples
from visualdub.render.detail_frames import DetailFrames

SIZE = 256


def image_of(
    width: int,
    height: int,
    pix_fmt: str = "yuv420p",
    transfer: int = 1,
    full: bool = False,
    encoding: SampleEncoding = SampleEncoding.CODES,
) -> ImageSpec:
    tags = ColourTags(2 if full else 1, 1, 1, transfer)
    return ImageSpec(width, height, pix_fmt, tags, encoding=encoding)


def picture(width: int, height: int, noise: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    """Smooth skin-like colours, R'G'B' 0..1, with white noise of a standard deviation."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    red = 0.55 + 0.15 * np.sin(x / 40) * np.cos(y / 55)
    rgb = np.stack([red, 0.42 + 0.1 * np.sin(x / 60 + 1), 0.35 + 0.08 * np.cos(y / 50)], -1)
    return (rgb + np.random.default_rng(seed).normal(0, noise, rgb.shape)).astype(np.float32).clip(0.02, 0.98)


def frame(rgb: NDArray[np.float32], image: ImageSpec, index: int = 0) -> Frame:
    return Frame(index, tuple(to_samples(p, image) for p in rgb_to_planes(rgb, image)), image)


def ellipse(
    centre: tuple[float, float] = (128, 165), radii: tuple[float, float] = (75, 70)
) -> NDArray[np.float32]:
    """Mask (256, 256) 0/1; centre and radii (x, y)."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    return ((((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2) < 1).astype(np.float32)


def affine(scale: float, x: float, y: float) -> NDArray[np.float64]:
    """Clip pixel -> crop pixel, the crop's middle at clip pixel (x, y)."""
    return np.array([[scale, 0, SIZE / 2 - scale * x], [0, scale, SIZE / 2 - scale * y]])


def painted(frames: DetailFrames, which: NDArray[np.bool_], rgb: tuple[float, float, float]) -> DetailFrames:
    """The frames with pictures of one colour in the place of some."""
    pictures = list(frames.pictures)
    for r in np.flatnonzero(which).tolist():
        picture = cv2.imdecode(np.frombuffer(pictures[r], np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        picture[:] = np.rint(255 * np.array(rgb[::-1]))
        pictures[r] = cv2.imencode(".png", picture)[1].tobytes()
    return replace(frames, pictures=tuple(pictures))
