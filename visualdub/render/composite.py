"""A redrawn crop into its frame, in the frame's own planes: blend, colour, grain, mark; bit-exact outside the matte."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.media.frame import Frame
from visualdub.media.pixel_format import bit_depth, is_rgb
from visualdub.media.transfer import light
from visualdub.media.yuv import code_range, planes_to_rgb, rgb_to_planes
from visualdub.render.colour import offset_field, spread_field
from visualdub.render.grain import HALF_OF_FINE, grain, lacking, noise_level, seeded
from visualdub.render.region import Region, find_region, into_region, out_of_region, plate_scale, restore_detail
from visualdub.render.watermark import Watermark

CHROMA_REACH = 2  # chroma samples beyond those under a touched pixel that a chroma filter may change
GRAIN_SEED = 468
MOST_GRAIN = 6.0  # code values of 8 bit; more is a broken measurement
LEAST_GRAIN = 0.15  # code values of 8 bit; less is lost in rounding
ROUNDING = np.array([1 / 12, HALF_OF_FINE**2 / 12], np.float32)  # variances that rounding to whole codes adds, both octaves
MARKED_FROM = 0.999  # blend weight above which a pixel may carry the watermark


@dataclass(frozen=True)
class Match:
    """What one frame's patch lacks against its plate; smoothed over neighbouring frames by `composite_shot`."""

    offset: NDArray[np.float32]  # (GRID, GRID, 3) R'G'B' to add, on the crop's area
    noise: NDArray[np.float32]  # (planes, 2) the plate's noise around the mask, code values, fine and coarse octave


@dataclass(frozen=True)
class Composited:
    """The finished frame. `matte`: 0 = every sample is the source's own; else 1..255, the share of the redrawn picture."""

    frame: Frame
    matte: NDArray[np.uint8]  # (H, W)
    scale: float  # plate pixels per crop pixel; above 1 the crop was enlarged


# ---------------------------------------------------------------------------------------------------- plate


@dataclass(frozen=True)
class Plate:
    """The rectangle of one frame that is worked on."""

    frame: Frame
    box: Region
    planes: tuple[NDArray[np.generic], ...]  # views of the colour planes inside `box`
    steps: tuple[tuple[int, int], ...]  # plate pixels per sample of each plane, (x, y)
    rgb: NDArray[np.float32]  # (h, w, 3) R'G'B'
    alpha: NDArray[np.float32]  # (h, w) blend weight


def colour_planes(frame: Frame) -> int:
    """How many planes carry colour: 1 (grey) or 3; an alpha plane after them is left alone."""
    return 3 if len(frame.planes) >= 3 else 1


def _steps(frame: Frame) -> tuple[tuple[int, int], ...]:
    height, width = frame.planes[0].shape[:2]
    return tuple((round(width / p.shape[1]), round(height / p.shape[0])) for p in frame.planes[: colour_planes(frame)])


def _plate(frame: Frame, alpha: NDArray[np.float32], affine: NDArray[np.floating[Any]]) -> Plate | None:
    steps = _steps(frame)
    height, width = frame.planes[0].shape[:2]
    box = find_region(alpha, affine, width, height, max(x for x, _ in steps), max(y for _, y in steps))
    if box is None:
        return None
    planes = tuple(p[box.slices(*s)] for p, s in zip(frame.planes, steps, strict=False))
    rgb = planes_to_rgb(planes, frame.info)
    weight = into_region(np.ascontiguousarray(alpha, np.float32), affine, box, smooth=True).clip(0.0, 1.0)
    return Plate(frame, box, planes, steps, rgb, weight)


@dataclass(frozen=True)
class Pending:
    """A frame between its two halves; `plate` and `match` None where nothing of it is redrawn."""

    frame: Frame
    plate: Plate | None
    patch: NDArray[np.float32]
    affine: NDArray[np.floating[Any]]
    match: Match | None


def _checked(patch: NDArray[np.floating[Any]], alpha: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]]) -> None:
    size = alpha.shape[0]
    if alpha.shape != (size, size) or patch.shape != (size, size, 3) or np.shape(affine) != (2, 3):
        raise BadInput(f"patch {patch.shape}, alpha {alpha.shape}, affine {np.shape(affine)}; expected (S,S,3), (S,S) and (2,3)")


# ---------------------------------------------------------------------------------------------------- matching


def _measure(plate: Plate, patch: NDArray[np.float32], alpha: NDArray[np.float32], affine: NDArray[np.floating[Any]]) -> Match:
    field = offset_field(out_of_region(plate.rgb, affine, plate.box, alpha.shape[0]), patch, alpha)
    noise = [noise_level(p.astype(np.float32), _at(plate.alpha, p.shape) == 0) for p in plate.planes]
    return Match(field, np.stack(noise))


def _at(weight: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A full-size weight (h, w) at a plane's own size: the mean over each sample's pixels."""
    if weight.shape == shape:
        return weight
    return np.asarray(cv2.resize(weight, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.float32)


# ---------------------------------------------------------------------------------------------------- composite


def composite(frame: Frame, patch: NDArray[np.float32], alpha: NDArray[np.float32], affine: NDArray[np.floating[Any]],
              match: Match | None = None, with_grain: bool = True, mark: Watermark | None = None) -> Composited:
    """Put a redrawn crop into its frame.

    frame: the source's picture. patch: (S, S, 3) R'G'B' 0..1. alpha: (S, S) 0..1, feathered inside the mask, times the frame's
    `draw`. affine: (2, 3) clip pixel -> crop pixel, pixel centres at + 0.5 in both. match: colour and noise of the plate,
    measured on this frame alone where None. mark: watermark to embed where alpha is 1. Blends in linear light; quantises once,
    in the source's own planes. The matte covers every sample that may differ: whole chroma samples and the chroma filter's
    reach. Outside it the returned frame equals the source's bit for bit. Noise is seeded by `frame.index`. Raises `BadInput` on
    other shapes.
    """
    return finish(prepare(frame, patch, alpha, affine), match, with_grain, mark)


def prepare(frame: Frame, patch: NDArray[np.float32], alpha: NDArray[np.float32], affine: NDArray[np.floating[Any]]) -> Pending:
    """First half of `composite`: find plate and measure what the patch lacks against it. Arguments as `composite`."""
    _checked(patch, alpha, affine)
    plate = _plate(frame, alpha, affine)
    if plate is None or not plate.alpha.any():
        return Pending(frame, None, patch, affine, None)
    return Pending(frame, plate, patch, affine, _measure(plate, patch, alpha, affine))


def finish(pending: Pending, match: Match | None = None, with_grain: bool = True, mark: Watermark | None = None) -> Composited:
    """Second half of `composite`, with `match` in the place of what was measured on this frame alone."""
    frame, plate, patch, affine = pending.frame, pending.plate, pending.patch, pending.affine
    match = match or pending.match
    matte = np.zeros(frame.planes[0].shape[:2], np.uint8)
    if plate is None or match is None:
        return Composited(frame, matte, plate_scale(affine))
    matched = restore_detail(np.ascontiguousarray(patch, np.float32), affine) + spread_field(match.offset, patch.shape[0])
    drawn = into_region(matched, affine, plate.box).clip(0.0, 1.0)
    values = _blended_planes(plate, drawn)
    if with_grain:
        _add_grain(plate, values, match)
    if mark is not None and not is_rgb(frame.info.pix_fmt):
        values[0] += mark.delta(values[0], plate.box.left, plate.box.top, plate.alpha >= MARKED_FROM,
        bit_depth(frame.info.pix_fmt))
    planes, touched = _written(plate, values)
    matte[plate.box.slices()] = np.maximum(np.rint(plate.alpha * 255).astype(np.uint8), touched.astype(np.uint8))
    return Composited(replace(frame, planes=planes), matte, plate_scale(affine))


def _blended_planes(plate: Plate, drawn: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The blend in linear light, in the plate's planes, code values, unrounded."""
    curve = light(plate.frame.info.colour.transfer)
    weights = plate.alpha.ravel()
    picture = np.where(plate.alpha[..., None] >= 1, drawn, plate.rgb)
    theirs, ours = plate.rgb.reshape(-1, 3), drawn.reshape(-1, 3)
    edge = np.flatnonzero((weights > 0) & (weights < 1))
    if len(edge):
        a, under = weights[edge, None], theirs[edge]
        seen = under.clip(0.0, 1.0)
        dark = curve.to_linear(seen)
        blend = curve.from_linear(dark + (curve.to_linear(ours[edge]) - dark) * a)
        picture.reshape(-1, 3)[edge] = blend + (1 - a) * (under - seen)  # colours beyond 0..1 of the plate fade out too
    return list(rgb_to_planes(picture, plate.frame.info))


def _add_grain(plate: Plate, values: list[NDArray[np.float32]], match: Match) -> None:
    """Add to each plane, in place, the noise that it lacks against the plate's."""
    random = seeded(GRAIN_SEED, plate.frame.index)
    unit = 2.0 ** (bit_depth(plate.frame.info.pix_fmt) - 8)
    for value, noise in zip(values, match.noise, strict=True):
        weight = _at(plate.alpha, value.shape)
        rounded = np.sqrt(np.square(noise_level(value, weight > 0.9)) + ROUNDING)
        fine, coarse = (min(s, MOST_GRAIN * unit) for s in lacking(noise, rounded))
        if max(fine, coarse) >= LEAST_GRAIN * unit:
            value += weight * grain((value.shape[0], value.shape[1]), fine, coarse, random)


def _written(plate: Plate,
             values: list[NDArray[np.float32]]) -> tuple[tuple[NDArray[np.generic], ...], NDArray[np.bool_]]:
    """Copies of the frame's planes with the touched samples replaced, and the touched pixels of the region (h, w)."""
    lowest, highest = code_range(plate.frame.info)
    touched = plate.alpha > 0
    planes = list(plate.frame.planes)
    for i, (value, (step_x, step_y)) in enumerate(zip(values, plate.steps, strict=True)):
        here = plate.alpha > 0
        if (step_x, step_y) != (1, 1):
            under = (_at(plate.alpha, value.shape) > 0).astype(np.uint8)
            here = np.asarray(cv2.dilate(under, np.ones((2 * CHROMA_REACH + 1,) * 2, np.uint8)), np.bool_)
            touched = touched | here.repeat(step_y, 0).repeat(step_x, 1)[: plate.box.height, : plate.box.width]
        out = plate.frame.planes[i].copy()
        view = out[plate.box.slices(step_x, step_y)]
        view[here] = np.rint(value[here].clip(lowest, highest)).astype(out.dtype)
        planes[i] = out
    return tuple(planes), touched
