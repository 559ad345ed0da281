"""Between FFmpeg's pictures and the native sample planes of `Frame`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import InternalError, MediaError
from visualdub.media.frame import FLOAT_FORMATS, ImageSpec

if TYPE_CHECKING:
    import av

_PLANAR = re.compile(r"(yuva?4\d\dp|gray|gbra?p)(9|10|12|14|16)?(le)?")
_REPACKED = {  # packed and semi-planar formats -> the planar one that holds the same samples
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "pal8": "gbrap",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "ya8": "gbrap",
    "rgb48le": "gbrp16le",
    "rgb48be": "gbrp16le",
    "bgr48le": "gbrp16le",
    "bgr48be": "gbrp16le",
    "rgba64le": "gbrap16le",
    "rgba64be": "gbrap16le",
    "bgra64le": "gbrap16le",
    "bgra64be": "gbrap16le",
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "uyvy422": "yuv422p",
    "yuyv422": "yuv422p",
    "yvyu422": "yuv422p",
    "y210le": "yuv422p10le",
    "monow": "gray",
    "monob": "gray",
}


def planar_format(pix_fmt: str) -> str | None:
    """The planar little-endian format whose planes hold the samples of FFmpeg's `pix_fmt`; None where there
    is none.
    """
    name = _REPACKED.get(pix_fmt, pix_fmt).replace("yuvj", "yuv")
    if name.endswith("be"):
        name = name[:-2] + "le"
    return name if _PLANAR.fullmatch(name) else None


def bit_depth(pix_fmt: str) -> int:
    """Bits per sample of a planar format of integers."""
    found = _PLANAR.fullmatch(pix_fmt)
    if found is None:
        raise MediaError(f"pixel format {pix_fmt!r} is not planar; expected one of yuv*p, gray* or gbr*p")
    return int(found.group(2) or 8)


def sample_type(pix_fmt: str) -> np.dtype[np.generic]:
    """Type of the samples of a planar format: uint8, uint16 or float32."""
    if is_float(pix_fmt):
        return np.dtype(np.float32)
    return np.dtype(np.uint8 if bit_depth(pix_fmt) == 8 else np.uint16)


def is_float(pix_fmt: str) -> bool:
    """Whether the planes hold float32 samples."""
    return pix_fmt in FLOAT_FORMATS


def is_rgb(pix_fmt: str) -> bool:
    """Whether the planes are R, G, B."""
    return pix_fmt.startswith("gbr")


def has_alpha(pix_fmt: str) -> bool:
    """Whether the last plane is alpha."""
    return pix_fmt.startswith(("yuva", "gbrap"))


def planes_of(picture: av.VideoFrame, image: ImageSpec) -> tuple[NDArray[np.generic], ...]:
    """Read-only native planes in display orientation, in the order of `Frame.planes`, without a copy where
    FFmpeg is planar.
    """
    if picture.format.name.replace("yuvj", "yuv") != image.pix_fmt:
        picture = picture.reformat(format=image.pix_fmt)
    coded = [_array(plane, sample_type(image.pix_fmt)) for plane in picture.planes]
    for plane in coded:
        plane.flags.writeable = False
    return displayed(_named_order(coded, image.pix_fmt), image)


def picture_of(
    planes: Sequence[NDArray[np.generic]], image: ImageSpec, larger: ImageSpec | None = None
) -> av.VideoFrame:
    """FFmpeg's picture, in coded orientation, of planes in display orientation. Shapes are checked against
    the format. larger: as `image`, a row or a column larger; the last ones of the coded picture are repeated.
    """
    import av  # only here: a prior is trained from its packed dataset where there is no PyAV

    picture = av.VideoFrame(*coded_size(image), image.pix_fmt)
    shapes = [(p.height, p.width) for p in picture.planes]
    if larger is not None and coded_size(larger) != coded_size(image):
        picture = av.VideoFrame(*coded_size(larger), image.pix_fmt)
    targets = _named_order([_array(p, sample_type(image.pix_fmt)) for p in picture.planes], image.pix_fmt)
    coded = as_coded(planes, image)
    if len(targets) != len(coded):
        raise InternalError(f"{image.pix_fmt} has {len(targets)} planes, {len(coded)} were given")
    for target, plane, shape in zip(targets, coded, shapes, strict=True):  # R, G, B and A are all as large
        if plane.shape != shape or target.dtype != plane.dtype:
            raise InternalError(
                f"a plane of {image.pix_fmt} is {plane.dtype} {plane.shape}; expected {target.dtype} {shape}"
            )
        rows, columns = target.shape[0] - plane.shape[0], target.shape[1] - plane.shape[1]
        target[...] = np.pad(plane, ((0, rows), (0, columns)), mode="edge") if rows or columns else plane
    return picture


# ---- coded and displayed orientation -----------------------------------------------------------------------


def displayed(planes: Sequence[NDArray[np.generic]], image: ImageSpec) -> tuple[NDArray[np.generic], ...]:
    """Views of planes in coded orientation, (H, W) or (H, W, C) each, as a viewer sees them: turned
    clockwise, then mirrored.
    """
    turned = (np.rot90(p, -(image.rotation // 90)) if image.rotation else p for p in planes)
    return tuple(p[:, ::-1] if image.mirrored else p for p in turned)


def as_coded(planes: Sequence[NDArray[np.generic]], image: ImageSpec) -> tuple[NDArray[np.generic], ...]:
    """Views in coded orientation of planes as a viewer sees them, the inverse of `displayed`."""
    turned = (p[:, ::-1] if image.mirrored else p for p in planes)
    return tuple(np.rot90(p, image.rotation // 90) if image.rotation else p for p in turned)


def coded_size(image: ImageSpec) -> tuple[int, int]:
    """Width and height of the coded picture in pixels."""
    return (image.height, image.width) if image.rotation in (90, 270) else (image.width, image.height)


# ------------------------------------------------------------------------------------------------------------


def _array(plane: av.video.plane.VideoPlane, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """(H, W) view of one FFmpeg plane, its row padding left out."""
    rows = np.frombuffer(cast("bytes", plane), dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    return rows[:, : plane.width]


def _named_order(planes: Sequence[NDArray[np.generic]], pix_fmt: str) -> tuple[NDArray[np.generic], ...]:
    """R, G, B (, A) out of FFmpeg's G, B, R (, A)."""
    if not is_rgb(pix_fmt):
        return tuple(planes)
    green, blue, red, *alpha = planes
    return (red, green, blue, *alpha)
