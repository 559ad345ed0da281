"""Native planes to R'G'B' and back and between pixel formats: any bit depth, range, matrix, chroma size and
siting.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import MediaError
from visualdub.media.frame import ChromaSiting, Frame, ImageSpec, SampleEncoding
from visualdub.media.pixel_format import (
    bit_depth,
    displayed,
    has_alpha,
    is_float,
    is_rgb,
    picture_of,
    sample_type,
)
from visualdub.media.transfer import LINEAR, TransferFunction, signed, transfer_function

if TYPE_CHECKING:
    from visualdub.media.chroma import Siting

# ---- planes and R'G'B' -------------------------------------------------------------------------------------

_KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_PLACES: dict[ChromaSiting, Siting] = {  # in coded orientation
    ChromaSiting.LEFT: (0.0, 0.5),
    ChromaSiting.CENTRE: (0.5, 0.5),
    ChromaSiting.TOP_LEFT: (0.0, 0.0),
    ChromaSiting.TOP: (0.5, 0.0),
    ChromaSiting.BOTTOM_LEFT: (0.0, 1.0),
    ChromaSiting.BOTTOM: (0.5, 1.0),
}
_thread = threading.local()


def frame_rgb(frame: Frame, fast: bool = False) -> NDArray[np.uint8]:
    """Full-range R'G'B' of a frame or a rectangle of one, uint8 (H, W, 3), display orientation, by swscale.

    It rounds `planes_to_rgb` to within a code where chroma is smooth; what is beyond 0..1 is clipped. fast: a
    twelfth of the time, on average one code too dark; good for finding faces.
    """
    from av.video.reformatter import Interpolation, VideoReformatter  # only here, as in `picture_of`

    image = frame.image
    if is_rgb(image.pix_fmt) or image.pix_fmt.startswith("gray"):
        return np.asarray(np.rint(planes_to_rgb(frame.planes, image).clip(0, 1) * 255), np.uint8)
    if not hasattr(_thread, "reformatter"):
        _thread.reformatter = VideoReformatter()
    accurate = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    height, width = frame.planes[0].shape  # a part of a frame keeps the facts of the whole
    sized = replace(image, width=width, height=height)
    picture = _thread.reformatter.reformat(
        picture_of(frame.planes, sized),
        format="rgb24",
        src_colorspace=_SWSCALE_MATRIX[colour_matrix(image)],
        src_color_range=2 if full_range(image) else 1,
        dst_color_range=2,
        interpolation=Interpolation.BILINEAR if fast else accurate,
        threads=1,
    )
    (rgb,) = displayed([picture.to_ndarray()], image)
    return np.ascontiguousarray(rgb, np.uint8)


def planes_to_rgb(planes: Sequence[NDArray[np.generic]], image: ImageSpec) -> NDArray[np.float32]:
    """R'G'B' float32 (H, W, 3), 1.0 = white, of whole planes or of a rectangle cut on whole chroma samples.

    Not clipped: colours outside 0..1 stay, so that `rgb_to_planes` gives the planes back. Chroma is
    interpolated linearly at its siting, constant past the rectangle's edge: take a margin of two chroma
    samples where the edge matters. Alpha is left out. Linear light goes through the curve of the transfer tag
    (BT.1886 where it is unspecified or linear), negative light as its opposite does.
    """
    if image.encoding is SampleEncoding.LINEAR:
        return signed(
            transfer_of(image).from_linear, np.stack([np.asarray(p, np.float32) for p in planes[:3]], -1)
        )
    first = np.asarray(planes[0], np.float32)
    black, scale = luma_code(image)
    if is_rgb(image.pix_fmt):
        return (np.stack([np.asarray(p, np.float32) for p in planes[:3]], -1) - black) / scale
    luma = (first - black) / scale
    if image.pix_fmt.startswith("gray"):
        return np.repeat(luma[..., None], 3, -1)
    from visualdub.media.chroma import enlarge  # what only asks for a clip's facts compiles nothing

    centre, spread = chroma_code(image)
    shape, siting = (first.shape[0], first.shape[1]), chroma_siting(image)
    blue, red = ((enlarge(np.asarray(p, np.float32), shape, siting) - centre) / spread for p in planes[1:3])
    kr, kb = _KR_KB[colour_matrix(image)]
    rgb = np.empty((*first.shape, 3), np.float32)
    rgb[..., 0] = luma + 2 * (1 - kr) * red
    rgb[..., 2] = luma + 2 * (1 - kb) * blue
    rgb[..., 1] = (luma - kr * rgb[..., 0] - kb * rgb[..., 2]) / (1 - kr - kb)
    return rgb


def rgb_to_planes(
    rgb: NDArray[np.float32], image: ImageSpec, chroma_shape: tuple[int, int] | None = None
) -> tuple[NDArray[np.float32], ...]:
    """Float planes in the samples of `image`, not rounded or clipped, of R'G'B' (H, W, 3), in the order of
    `Frame.planes` without alpha.

    The inverse of `planes_to_rgb` on the same rectangle. `chroma_shape`: the rectangle's chroma size, where
    it cannot be told from `image` (whole chroma samples are assumed).
    """
    if image.encoding is SampleEncoding.LINEAR:
        rgb = signed(transfer_of(image).to_linear, rgb)
    black, scale = luma_code(image)
    if is_rgb(image.pix_fmt):
        return tuple(np.ascontiguousarray(rgb[..., i]) * scale + black for i in range(3))
    kr, kb = _KR_KB[colour_matrix(image)]
    luma = kr * rgb[..., 0] + (1 - kr - kb) * rgb[..., 1] + kb * rgb[..., 2]
    coded = np.asarray(luma * scale + black, np.float32)
    if image.pix_fmt.startswith("gray"):
        return (coded,)
    from visualdub.media.chroma import reduce

    centre, spread = chroma_code(image)
    across, down = chroma_factors(image)
    shape = chroma_shape or (-(-rgb.shape[0] // down), -(-rgb.shape[1] // across))
    differences = ((rgb[..., 2] - luma) / (2 * (1 - kb)), (rgb[..., 0] - luma) / (2 * (1 - kr)))
    blue, red = (
        reduce(d, shape, chroma_siting(image)) * np.float32(spread) + np.float32(centre) for d in differences
    )
    return coded, blue, red


def transfer_of(image: ImageSpec) -> TransferFunction:
    """The curve between the R'G'B' of `image` and linear light."""
    unnamed = image.encoding is SampleEncoding.LINEAR and image.colour.transfer == LINEAR
    return transfer_function(0 if unnamed else image.colour.transfer)


def chroma_factors(image: ImageSpec) -> tuple[int, int]:
    """Luma samples per chroma sample, (across, down), in display orientation; (1, 1) for RGB and grey."""
    if not image.pix_fmt.startswith("yuv"):
        return 1, 1
    name = image.pix_fmt.replace("yuva", "yuv")[3:6]
    across, down = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1), "410": (4, 4)}[
        name
    ]
    return (down, across) if image.rotation in (90, 270) else (across, down)


def chroma_siting(image: ImageSpec) -> Siting:
    """Where chroma samples lie among their luma samples in display orientation: 0 first, 0.5 middle, 1
    last.
    """
    x, y = _PLACES[image.siting]
    across, down = {0: (x, y), 90: (1 - y, x), 180: (1 - x, 1 - y), 270: (y, 1 - x)}[image.rotation]
    return (1 - across, down) if image.mirrored else (across, down)


def full_range(image: ImageSpec) -> bool:
    """Whether codes run from 0 to the largest. Untagged Y'CbCr counts as limited, untagged RGB and grey as
    full.
    """
    return image.colour.range == 2 or (image.colour.range == 0 and not image.pix_fmt.startswith("yuv"))


def colour_matrix(image: ImageSpec) -> int:
    """FFmpeg's number of the Y'CbCr matrix. Untagged clips count as players count them: BT.709 from 720 lines
    or 1280 columns on, BT.601 below. Raises `MediaError` for a matrix that is not luma and two differences.
    """
    tag = image.colour.matrix
    if tag in _KR_KB:
        return tag
    if tag in (0, 2, 3):
        return 1 if image.width >= 1280 or image.height > 576 else 6
    raise MediaError(f"colour matrix {tag} (FFmpeg's numbering) found; expected BT.601, BT.709 or BT.2020")


def code_range(image: ImageSpec) -> tuple[float, float]:
    """Smallest and largest value a sample may take; float samples have no limits."""
    if is_float(image.pix_fmt):
        return -np.inf, np.inf
    return 0, (1 << bit_depth(image.pix_fmt)) - 1


def to_samples(plane: NDArray[np.float32], image: ImageSpec) -> NDArray[np.generic]:
    """A plane of `rgb_to_planes` as the samples of `image`: codes are rounded and clipped, floats stay."""
    dtype = sample_type(image.pix_fmt)
    if is_float(image.pix_fmt):
        return np.asarray(plane, dtype)
    low, high = code_range(image)
    return np.clip(np.rint(plane), low, high).astype(dtype)


def luma_code(image: ImageSpec) -> tuple[np.float32, np.float32]:
    """(sample of black, samples from black to white)."""
    if is_float(image.pix_fmt):
        return np.float32(0), np.float32(1)
    bits = bit_depth(image.pix_fmt)
    if full_range(image):
        return np.float32(0), np.float32((1 << bits) - 1)
    return np.float32(16 << (bits - 8)), np.float32(219 << (bits - 8))


def chroma_code(image: ImageSpec) -> tuple[np.float32, np.float32]:
    """(code of no colour, codes for a difference of 1)."""
    bits = bit_depth(image.pix_fmt)
    spread = (1 << bits) - 1 if full_range(image) else 224 << (bits - 8)
    return np.float32(1 << (bits - 1)), np.float32(spread)


# ---- conversion --------------------------------------------------------------------------------------------


def convert_planes(
    planes: Sequence[NDArray[np.generic]], image: ImageSpec, target: ImageSpec
) -> tuple[NDArray[np.generic], ...]:
    """The same picture in pixel format, colour tags and chroma siting of `target`, rounded to its samples.

    Y'CbCr to Y'CbCr of one matrix stays in Y'CbCr: 8 to 10 bit of limited range is a shift by two bits,
    exactly.
    """
    if _same_samples(image, target):
        return tuple(planes)
    if (
        image.pix_fmt.startswith("yuv")
        and target.pix_fmt.startswith("yuv")
        and colour_matrix(image) == colour_matrix(target)
    ):
        moved = _within_matrix(planes, image, target)
    elif image.pix_fmt.startswith("gray") and target.pix_fmt.startswith("yuv"):
        moved = _from_grey(planes[0], image, target)
    else:
        moved = rgb_to_planes(planes_to_rgb(planes, image), target)
    coded = [to_samples(p, target) for p in moved]
    if has_alpha(target.pix_fmt):
        coded.append(_alpha(planes, image, target))
    return tuple(coded)


def _same_samples(image: ImageSpec, target: ImageSpec) -> bool:
    """Whether planes of one are planes of the other."""
    return (
        (image.pix_fmt, image.encoding) == (target.pix_fmt, target.encoding)
        and (image.colour.range, image.colour.matrix) == (target.colour.range, target.colour.matrix)
        and _reduced_siting(image) == _reduced_siting(target)
    )


def _reduced_siting(image: ImageSpec) -> tuple[float | None, ...]:
    """`chroma_siting` along the axes on which chroma is smaller than luma."""
    places = zip(chroma_siting(image), chroma_factors(image), strict=True)
    return tuple(place if factor > 1 else None for place, factor in places)


def _within_matrix(
    planes: Sequence[NDArray[np.generic]], image: ImageSpec, target: ImageSpec
) -> tuple[NDArray[np.float32], ...]:
    from visualdub.media.chroma import enlarge, reduce

    luma = _recoded(planes[0], luma_code(image), luma_code(target))
    across, down = chroma_factors(target)
    full = (luma.shape[0], luma.shape[1])
    shape = (-(-full[0] // down), -(-full[1] // across))
    old, new = chroma_siting(image), chroma_siting(target)
    chroma = []
    for plane in planes[1:3]:
        part = _recoded(plane, chroma_code(image), chroma_code(target))
        # by way of the finer of the two where both are sited alike, else of whole pixels
        rows = max(shape[0], part.shape[0]) if old[1] == new[1] else full[0]
        columns = max(shape[1], part.shape[1]) if old[0] == new[0] else full[1]
        chroma.append(reduce(enlarge(part, (rows, columns), old), shape, new))
    return luma, *chroma


def _from_grey(
    plane: NDArray[np.generic], image: ImageSpec, target: ImageSpec
) -> tuple[NDArray[np.float32], ...]:
    luma = _recoded(plane, luma_code(image), luma_code(target))
    across, down = chroma_factors(target)
    none = np.full(
        (-(-luma.shape[0] // down), -(-luma.shape[1] // across)), chroma_code(target)[0], np.float32
    )
    return luma, none, none


def _recoded(
    plane: NDArray[np.generic], old: tuple[np.float32, np.float32], new: tuple[np.float32, np.float32]
) -> NDArray[np.float32]:
    """Codes with another (origin, codes per unit)."""
    return np.asarray((plane.astype(np.float32) - old[0]) * np.float32(new[1] / old[1]) + new[0], np.float32)


def _alpha(planes: Sequence[NDArray[np.generic]], image: ImageSpec, target: ImageSpec) -> NDArray[np.generic]:
    top = _opaque(target)
    if not has_alpha(image.pix_fmt):
        return to_samples(np.full(planes[0].shape, top, np.float32), target)
    return to_samples(planes[-1].astype(np.float32) * (top / _opaque(image)), target)


def _opaque(image: ImageSpec) -> np.float32:
    """The alpha of a pixel that covers what lies behind it."""
    return np.float32(1) if is_float(image.pix_fmt) else np.float32((1 << bit_depth(image.pix_fmt)) - 1)


def delivered_as(image: ImageSpec, pix_fmt: str) -> ImageSpec:
    """`image` in `pix_fmt`, a format of integers: its own range and matrix where both are Y'CbCr or both RGB;
    RGB becomes limited-range BT.709.
    """
    colour = image.colour
    if is_rgb(image.pix_fmt) != is_rgb(pix_fmt):
        colour = replace(
            colour,
            range=1,
            matrix=1,
            primaries=colour.primaries if colour.primaries not in (0, 2) else 1,
            transfer=colour.transfer if colour.transfer not in (0, 2) else 1,
        )
    if image.encoding is SampleEncoding.LINEAR and colour.transfer == LINEAR:
        colour = replace(colour, transfer=1)
    return replace(image, pix_fmt=pix_fmt, colour=colour, encoding=SampleEncoding.CODES)
