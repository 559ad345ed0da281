"""Pictures made here (overlays, side by side, the demo) as frames that the encoder takes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.media.frame import ColourTags, Frame, MediaInfo
from visualdub.media.pixels import rgb_to_planes

BT709_LIMITED = ColourTags(range=1, matrix=1, primaries=1, transfer=1)


def picture_info(path: Path, width: int, height: int, rate: Fraction, frame_count: int) -> MediaInfo:
    """Facts of a movie made of our own pictures: 8 bit 4:2:0 BT.709, square pixels. Width and height in pixels, made even."""
    return MediaInfo(
        path,
        width + width % 2,
        height + height % 2,
        rate,
        frame_count,
        "yuv420p",
        BT709_LIMITED,
        0,
        None,
        "h264",
        False,
        Fraction(1),
    )


def rgb_frame(rgb: NDArray[np.uint8], info: MediaInfo, index: int) -> Frame:
    """An R'G'B' picture (H, W, 3) uint8 in the planes of `info`, an odd edge repeated."""
    h, w = rgb.shape[:2]
    if (h, w) != (info.height, info.width):
        rgb = np.pad(rgb, ((0, info.height - h), (0, info.width - w), (0, 0)), mode="edge")
    planes = rgb_to_planes(rgb.astype(np.float32) / np.float32(255), info)
    return Frame(index, tuple(np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in planes), info)


def gray_info(info: MediaInfo) -> MediaInfo:
    """Facts of the matte beside a movie: full-range grey at the same size, rate and timecode."""
    return replace(info, pix_fmt="gray", colour=replace(info.colour, range=2, matrix=2), has_audio=False)


def gray_frame(picture: NDArray[np.uint8], info: MediaInfo, index: int) -> Frame:
    """A grey picture (H, W) uint8 as a frame of `gray_info`."""
    return Frame(index, (picture,), info)
