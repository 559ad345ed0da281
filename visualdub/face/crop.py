"""The stable 256 x 256 crop of a shot, whose box does not depend on the mouth (DESIGN.md 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.camera import project
from visualdub.face.fit import smooth_parts
from visualdub.face.models import BLOCK
from visualdub.face.track import Track
from visualdub.media.frame import SQUARE, Frame
from visualdub.media.square import square_scale
from visualdub.media.yuv import chroma_factors, frame_rgb

SIZE = 256
# Top, bottom, left, right of the part of the crop that masks reach, on which a renderer works.
VIEW = (112, 256, 32, 224)
MARGIN = 0.03  # of the box's side, on every side
BOX_SMOOTHING = 60.0
ALIGN = 8  # pixels; whole chroma samples of every format


@dataclass(frozen=True)
class Crop:
    """Affine per frame from the track's pixels, which are square, to crop pixels: `crop = affine[i] @ (x, y,
    1)`; pixel centres at + 0.5 in both.
    """

    affine: NDArray[np.float64]  # (n, 2, 3): uniform scale and shift
    size: int = SIZE
    pixel_aspect: Fraction = SQUARE  # width / height of a pixel of the clip

    @property
    def scale(self) -> NDArray[np.float64]:
        """(n,) crop pixels per square pixel; below 1 the plate holds more detail than the crop."""
        return np.asarray(self.affine[:, 0, 0])

    @cached_property
    def stored_affine(self) -> NDArray[np.float64]:
        """(n, 2, 3): as `affine`, from the clip's own pixels, with a scale for each axis."""
        if self.pixel_aspect == SQUARE:
            return self.affine
        return np.asarray(self.affine * (*square_scale(self.pixel_aspect), 1.0))


def stable_crop(track: Track) -> Crop:
    """The crop by the box around the projected closed and open mesh, with a margin, smoothed in time within
    every shot.

    It is the same for every performance.
    """
    low, high = _extents(track)
    box = np.concatenate([(low + high) / 2, np.log((high - low).max(1, keepdims=True) * (1 + 2 * MARGIN))], 1)
    smooth = smooth_parts(box, np.where(track.usable, 1.0, 1e-3), BOX_SMOOTHING, track.parts)
    scale = SIZE / np.exp(smooth[:, 2])
    affine = np.zeros((len(track), 2, 3))
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = SIZE / 2 - scale[:, None] * smooth[:, :2]
    return Crop(affine, pixel_aspect=track.pixel_aspect)


def _extents(track: Track) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left top and right bottom (n, 2) of the closed and open mesh in square pixels; in blocks of frames."""
    model, pose = track.model, track.pose
    meshes = track.extreme_meshes[:, model.crop_vertices]
    low, high = np.zeros((len(track), 2)), np.zeros((len(track), 2))
    for first in range(0, len(track), BLOCK):
        rows = slice(first, first + BLOCK)
        points = np.concatenate([project(m, pose[rows], track.camera)[..., :2] for m in meshes], 1)
        low[rows], high[rows] = points.min(1), points.max(1)
    return low, high


def warp_crop(rgb: NDArray[np.uint8], affine: NDArray[np.float64], size: int = SIZE) -> NDArray[np.uint8]:
    """Resample a picture (H, W, 3) uint8 into its crop (size, size, 3): cubic, low-passed first along the
    axes on which the crop shrinks it.

    affine: (2, 3) pixel of the picture to crop pixel, a scale and a shift along the axes. Outside the picture
    its border is repeated.
    """
    scale = _scales(affine)
    reach = 4 / scale + 2
    corner = (-affine[:, 2]) / scale
    x0, y0 = np.floor(corner - reach).astype(int)
    x1, y1 = np.ceil(corner + size / scale + reach).astype(int)
    h, w = rgb.shape[:2]
    x0, y0, x1, y1 = max(0, min(x0, w - 1)), max(0, min(y0, h - 1)), max(1, min(x1, w)), max(1, min(y1, h))
    view = _low_pass(np.ascontiguousarray(rgb[y0:y1, x0:x1]), scale)
    m = affine.copy()
    # In OpenCV's convention pixel centres lie at whole numbers.
    m[:, 2] += affine[:, :2] @ (np.array([x0, y0]) + 0.5) - 0.5
    return np.asarray(
        cv2.warpAffine(view, m, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def _scales(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,) crop pixels per pixel of the picture along x and y."""
    return np.array([affine[0, 0], affine[1, 1]])


def _low_pass(view: NDArray[np.uint8], scale: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A picture without the detail that is lost where it is shrunk by `scale` (2,)."""
    shrunk = scale < 0.95
    if not shrunk.any():
        return view
    across, down = 0.42 * np.sqrt(np.maximum(1 / scale**2 - 1, 0.0))
    # A kernel of size 0 gets its size from sigma; one of size 1 leaves its axis alone.
    size = (0 if shrunk[0] else 1, 0 if shrunk[1] else 1)
    low = cv2.GaussianBlur(view, size, float(across), sigmaY=float(down), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(low, np.uint8)


# ---- the crop of a frame -----------------------------------------------------------------------------------


def crop_of(frame: Frame, affine: NDArray[np.float64], fast: bool = False) -> NDArray[np.uint8]:
    """The crop (256, 256, 3) of a frame, as `warp_crop` of the whole picture: only the part around the face
    is converted. affine: (2, 3) of `Crop.stored_affine`. fast: as in `frame_rgb`.
    """
    part, left, top = _around(frame, affine)
    moved = affine.copy()
    moved[:, 2] += affine[:, :2] @ (left, top)
    return warp_crop(frame_rgb(part, fast), moved)


def _around(frame: Frame, affine: NDArray[np.float64]) -> tuple[Frame, int, int]:
    """The rectangle of `frame` that `warp_crop` reads, with a margin for its filters and for chroma, and its
    left top corner.
    """
    image = frame.image
    scale = _scales(affine)
    low, high = -affine[:, 2] / scale, (SIZE - affine[:, 2]) / scale
    margin = 6 / scale + 12
    left, top = (max(0, int(v) // ALIGN * ALIGN) for v in low - margin)
    right, bottom = (
        min(n, -(-int(v) // ALIGN) * ALIGN)
        for v, n in zip(high + margin, (image.width, image.height), strict=True)
    )
    if right - left < ALIGN or bottom - top < ALIGN:
        return frame, 0, 0
    across, down = chroma_factors(image)
    steps = [(1, 1) if i in (0, 3) else (across, down) for i in range(len(frame.planes))]
    cuts = [(slice(top // y, -(-bottom // y)), slice(left // x, -(-right // x))) for x, y in steps]
    return (
        Frame(frame.index, tuple(p[cut] for p, cut in zip(frame.planes, cuts, strict=True)), image),
        left,
        top,
    )
