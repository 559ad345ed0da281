"""Composite a rendered crop into its frame, in the frame's own planes: blend, colour, grain and watermark.

Outside the matte the frame stays bit-exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.arrays import smoothstep
from visualdub.box import Box
from visualdub.errors import InternalError
from visualdub.media.frame import Frame, ImageSpec
from visualdub.media.pixel_format import bit_depth, is_float, is_rgb
from visualdub.media.yuv import rgb_to_planes, to_samples, transfer_of
from visualdub.render.detail import Finer, PlatePicture
from visualdub.render.holdout import Holdout, snap
from visualdub.render.light import relit
from visualdub.render.match import (
    HALF_OF_FINE,
    Match,
    border_light,
    changing_noise,
    grain,
    lacking,
    noise_level,
    offset_field,
    seeded,
    spread_field,
)
from visualdub.render.region import (
    colour_planes,
    frame_region,
    into_region,
    out_of_region,
    plane_steps,
    plate_scale,
    region_rgb,
    restore_detail,
)
from visualdub.render.watermark import Watermark
from visualdub.timing import FrameRange

# ---- blend weights -----------------------------------------------------------------------------------------

FEATHER = (
    5.0  # crop pixels from the mask's border to full weight; the source's upper lip is 6 or more from it
)


def feather(mask: NDArray[np.floating[Any]], width: float = FEATHER) -> NDArray[np.float32]:
    """(S, S) weights that rise smoothly from 0 on the border of `mask` to 1 at `width` pixels inside it.

    mask: (S, S), the region is where it is >= 0.5; the crop's edge counts as border. Outside the region the
    weights are 0.
    """
    inside = cv2.copyMakeBorder((mask >= 0.5).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0.0,))
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    distance: NDArray[np.float32] = np.asarray(np.maximum(depth - 1.0, 0.0), np.float32)
    return smoothstep(distance / np.float32(max(width - 1.0, 1e-6)))


# ---- compositing -------------------------------------------------------------------------------------------

CHROMA_REACH = 2  # chroma samples around those of a changed pixel that a chroma filter may change, too
GRAIN_SEED = 468
MOST_GRAIN = 6.0  # code values of 8 bit; more is a broken measurement
LEAST_GRAIN = 0.15  # code values of 8 bit; less is lost in rounding
# Variances that rounding to whole codes adds, in both octaves.
ROUNDING = np.array([1 / 12, HALF_OF_FINE**2 / 12], np.float32)
MARKED_FROM = 0.999  # blend weight above which a pixel may carry the watermark


@dataclass(frozen=True)
class Composited:
    """The finished frame and its matte."""

    frame: Frame
    matte: NDArray[np.uint8]  # (H, W) 0: every sample is the source's; 1..255: the share of the patch
    scale: float  # plate pixels per crop pixel; above 1 the crop was enlarged


# ---------------------------------------------------------------------------------------------------- plate


@dataclass(frozen=True)
class Plate:
    """The rectangle of one frame that is worked on."""

    frame: Frame
    box: Box
    planes: tuple[NDArray[np.generic], ...]  # views of the colour planes inside `box`
    steps: tuple[tuple[int, int], ...]  # plate pixels per sample of each plane, (x, y)
    rgb: NDArray[np.float32]  # (h, w, 3) R'G'B'
    alpha: NDArray[np.float32]  # (h, w) blend weight, 0 where the plate is held out
    cover: NDArray[np.float32]  # (h, w) blend weight as if nothing were held out
    hold: NDArray[np.float32] | None  # (h, w) 1 = the plate's pixel stays; None: nothing is held out


def _plate(
    frame: Frame, alpha: NDArray[np.float32], affine: NDArray[np.floating[Any]], holdout: Holdout | None
) -> Plate | None:
    box, steps = frame_region(frame, alpha, affine), plane_steps(frame)
    if box is None:
        return None
    planes = tuple(p[box.slices(*s)] for p, s in zip(frame.planes, steps, strict=False))
    rgb = region_rgb(frame, box)
    cover = into_region(np.ascontiguousarray(alpha, np.float32), affine, box, smooth=True).clip(0.0, 1.0)
    hold = None if holdout is None else _held(holdout, affine, box)
    kept = cover if hold is None else cover * (1 - hold)
    return Plate(frame, box, planes, steps, rgb, kept, cover, hold)


def _held(holdout: Holdout, affine: NDArray[np.floating[Any]], box: Box) -> NDArray[np.float32] | None:
    """(h, w) what is held out of the plate's pixels of `box`; None where nothing is."""
    hold = np.zeros((box.height, box.width), np.float32)
    if holdout.crop is not None:
        hold = into_region(holdout.crop, affine, box, smooth=True)
    if holdout.frame is not None:
        hold = np.maximum(hold, holdout.frame[box.slices()].astype(np.float32) / 255)
    return snap(hold) if hold.any() else None


@dataclass(frozen=True)
class Pending:
    """A frame between the two halves of `composite`; plate and match are None where nothing is composited."""

    frame: Frame
    plate: Plate | None
    patch: NDArray[np.float32]
    affine: NDArray[np.floating[Any]]
    match: Match | None
    detail: Finer | None = None
    picture: PlatePicture | None = None
    changing: NDArray[np.float32] | None = None  # `changing_noise` since the frame before


def _checked(
    patch: NDArray[np.floating[Any]], alpha: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]]
) -> None:
    size = alpha.shape[0]
    if alpha.shape != (size, size) or patch.shape != (size, size, 3) or np.shape(affine) != (2, 3):
        raise InternalError(
            f"patch {patch.shape}, alpha {alpha.shape}, affine {np.shape(affine)}; expected (S,S,3), (S,S)"
            " and (2,3)"
        )


# ---------------------------------------------------------------------------------------------------- matchin


def _measure(
    plate: Plate,
    patch: NDArray[np.float32],
    alpha: NDArray[np.float32],
    affine: NDArray[np.floating[Any]],
    with_noise: bool,
) -> Match:
    size, curve = alpha.shape[0], transfer_of(plate.frame.image)
    if plate.hold is not None:  # what is held out is not the actor's skin: its colour says nothing
        held = out_of_region(np.repeat(plate.hold[..., None], 3, -1), affine, plate.box, size)[..., 0]
        alpha = np.where(held > 0, np.float32(0), alpha)
    shown = out_of_region(plate.rgb, affine, plate.box, size)
    light = border_light(shown, patch, alpha, curve)
    field = offset_field(shown, relit(patch, light, curve) if light.any() else patch, alpha)
    stops = light if light.any() else None
    if not with_noise:
        return Match(field, np.zeros((colour_planes(plate.frame), 2), np.float32), stops)
    values = _values(plate.rgb, plate.frame.image) if is_float(plate.frame.image.pix_fmt) else plate.planes
    noise = [noise_level(p.astype(np.float32), _at(plate.cover, p.shape) == 0) for p in values]
    return Match(field, np.stack(noise), stops)


def _changing(before: Pending, after: Pending) -> NDArray[np.float32] | None:
    """`changing_noise` around the masks of two frames, of which one may pass through; None where both do, and
    where they have too little in common.
    """
    first, second = before.plate, after.plate
    if first is None:
        first = None if second is None else _beside(before.frame, second)
    elif second is None:
        second = _beside(after.frame, first)
    return None if first is None or second is None else _changing_plates(first, second)


def _beside(frame: Frame, plate: Plate) -> Plate:
    """The same rectangle of a frame that passes through."""
    planes = tuple(p[plate.box.slices(*s)] for p, s in zip(frame.planes, plate.steps, strict=False))
    nothing = np.zeros_like(plate.cover)
    return Plate(frame, plate.box, planes, plate.steps, region_rgb(frame, plate.box), nothing, nothing, None)


def _changing_plates(before: Plate, plate: Plate) -> NDArray[np.float32] | None:
    common, parts = before.box.common(plate.box), []
    if common is None:
        return None
    for of in (before, plate):
        box = Box(*(n - (of.box.left, of.box.top)[i % 2] for i, n in enumerate(common)))
        values = _values(of.rgb, of.frame.image) if is_float(of.frame.image.pix_fmt) else of.planes
        steps = of.steps if len(of.steps) == len(values) else ((1, 1),) * len(values)
        parts.append(
            ([v[box.slices(*s)] for v, s in zip(values, steps, strict=True)], of.cover[box.slices()])
        )
    (first, cover), (second, other) = parts
    outside = [_at(np.maximum(cover, other), v.shape) == 0 for v in second]
    return changing_noise(first, second, outside)


def _at(weight: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A full-size weight (h, w) at the size of a plane: the mean over each sample's pixels."""
    if weight.shape == shape:
        return weight
    return np.asarray(cv2.resize(weight, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.float32)


# ---------------------------------------------------------------------------------------------------- composi


def composite(
    frame: Frame,
    patch: NDArray[np.float32],
    alpha: NDArray[np.float32],
    affine: NDArray[np.floating[Any]],
    match: Match | None = None,
    with_grain: bool = True,
    mark: Watermark | None = None,
    holdout: Holdout | None = None,
) -> Composited:
    """Put a redrawn crop into its frame.

    frame: the source's picture. patch: (S, S, 3) R'G'B' 0..1. alpha: (S, S) 0..1, feathered inside the mask,
    times the frame's `draw`. affine: (2, 3) clip pixel -> crop pixel, pixel centres at + 0.5 in both. match:
    colour and noise of the plate, measured on this frame alone where None. mark: watermark to embed where
    alpha is 1, in Y'CbCr and grey. holdout: what stays the plate's in front of the crop: no sample under a
    full holdout changes, nor a chroma sample that such a pixel shares. Blends in linear light; quantises
    once, in the source's own planes, and not at all where they hold floats, which also keep what is above
    white. The matte covers every sample that may differ: whole chroma samples and the chroma filter's reach.
    Outside it the returned frame equals the source's bit for bit. Noise is seeded by `frame.index`. Raises
    `InternalError` on other shapes.
    """
    return finish(prepare(frame, patch, alpha, affine, holdout), match, with_grain, mark)


def prepare(
    frame: Frame,
    patch: NDArray[np.float32],
    alpha: NDArray[np.float32],
    affine: NDArray[np.floating[Any]],
    holdout: Holdout | None = None,
    detail: Finer | None = None,
    picture: PlatePicture | None = None,
    with_grain: bool = True,
) -> Pending:
    """The first half of `composite`: find the plate and measure what the patch lacks against it.

    detail: the fine band that replaces the patch's own; None: it keeps its own. picture: what the patch shows
    at the plate's resolution, and what is seen of it; None: the patch is resampled. with_grain: measure the
    noise, too.
    """
    _checked(patch, alpha, affine)
    plate = _plate(frame, alpha, affine, holdout)
    if plate is None or not plate.alpha.any():
        return Pending(frame, None, patch, affine, None)
    match = _measure(plate, patch, alpha, affine, with_grain)
    return Pending(frame, plate, patch, affine, match, detail, picture)


def finish(
    pending: Pending, match: Match | None = None, with_grain: bool = True, mark: Watermark | None = None
) -> Composited:
    """The second half of `composite`; `match` replaces what was measured on this frame alone."""
    frame, plate, affine = pending.frame, pending.plate, pending.affine
    match = match or pending.match
    matte = np.zeros(frame.planes[0].shape[:2], np.uint8)
    if plate is None or match is None:
        return Composited(frame, matte, plate_scale(affine))
    image = frame.image
    white = None if is_float(image.pix_fmt) else 1.0
    drawn = _drawn(pending, plate.box, match)
    values = _values(_blend(plate, drawn.clip(0.0, white)), image)
    if with_grain:
        _add_grain(plate, values, match)
    if mark is not None and not is_rgb(image.pix_fmt):
        values[0] += mark.delta(
            values[0],
            plate.box.left,
            plate.box.top,
            plate.alpha >= MARKED_FROM,
            bit_depth(image.pix_fmt),
        )
    planes, changed = _written(plate, values)
    matte[plate.box.slices()] = np.maximum(
        np.rint(plate.alpha * 255).astype(np.uint8), changed.astype(np.uint8)
    )
    return Composited(replace(frame, planes=planes), matte, plate_scale(affine))


def _drawn(pending: Pending, box: Box, match: Match) -> NDArray[np.float32]:
    """(h, w, 3) the drawn picture in the plate's pixels of `box`, in the plate's light and colour."""
    affine, size = pending.affine, pending.patch.shape[0]
    offset, curve = spread_field(match.offset, size), transfer_of(pending.frame.image)
    if pending.picture is not None:
        drawn = pending.picture.within(box)
        drawn = drawn if match.light is None else relit(drawn, match.light, curve)
        return drawn + into_region(offset, affine, box, smooth=True)
    patch = pending.patch if match.light is None else relit(pending.patch, match.light, curve)
    matched = restore_detail(np.ascontiguousarray(patch, np.float32), affine) + offset
    drawn = into_region(matched, affine, box)
    return drawn if pending.detail is None else pending.detail.over(drawn, box)


def _blend(plate: Plate, drawn: NDArray[np.float32]) -> NDArray[np.float32]:
    """The plate with the drawn picture over it, R'G'B' (h, w, 3), blended in linear light.

    What of either lies beyond 0..1 is blended as it is.
    """
    curve = transfer_of(plate.frame.image)
    weights = plate.alpha.ravel()
    picture = np.where(plate.alpha[..., None] >= 1, drawn, plate.rgb)
    edge = np.flatnonzero((weights > 0) & (weights < 1))
    if len(edge):
        a = weights[edge, None]
        under, over = plate.rgb.reshape(-1, 3)[edge], drawn.reshape(-1, 3)[edge]
        under_clipped, over_clipped = under.clip(0.0, 1.0), over.clip(0.0, 1.0)
        linear = curve.to_linear(under_clipped)
        blend = curve.from_linear(linear + (curve.to_linear(over_clipped) - linear) * a)
        beyond = (1 - a) * (under - under_clipped) + a * (over - over_clipped)
        picture.reshape(-1, 3)[edge] = blend + beyond
    return picture


def _values(rgb: NDArray[np.float32], image: ImageSpec) -> list[NDArray[np.float32]]:
    """R'G'B' (h, w, 3) as the planes that noise and mark are added to: code values of `image`, unrounded; R',
    G', B' of an image of floats, in which noise depends less on brightness than in linear light.
    """
    if is_float(image.pix_fmt):
        return [np.ascontiguousarray(rgb[..., i]) for i in range(3)]
    return list(rgb_to_planes(rgb, image))


def _code(image: ImageSpec) -> float:
    """One code of 8 bits in the units of `_values`."""
    return 1 / 255 if is_float(image.pix_fmt) else 2.0 ** (bit_depth(image.pix_fmt) - 8)


def _add_grain(plate: Plate, values: list[NDArray[np.float32]], match: Match) -> None:
    """Add to each plane, in place, the noise that it lacks against the plate's."""
    random = seeded(GRAIN_SEED, plate.frame.index)
    unit, rounding = _code(plate.frame.image), 0.0 if is_float(plate.frame.image.pix_fmt) else ROUNDING
    for value, noise in zip(values, match.noise, strict=True):
        weight = _at(plate.alpha, value.shape)
        rounded = np.sqrt(np.square(noise_level(value, weight > 0.9)) + rounding)
        fine, coarse = (min(s, MOST_GRAIN * unit) for s in lacking(noise, rounded))
        if max(fine, coarse) >= LEAST_GRAIN * unit:
            value += weight * grain((value.shape[0], value.shape[1]), fine, coarse, random)


def _written(
    plate: Plate, values: list[NDArray[np.float32]]
) -> tuple[tuple[NDArray[np.generic], ...], NDArray[np.bool_]]:
    """Copies of the frame's planes with the new samples, and which pixels of the plate changed (h, w)."""
    image, changed = plate.frame.image, plate.alpha > 0
    if is_float(image.pix_fmt):
        values = list(rgb_to_planes(np.stack(values, -1), image))
    planes = list(plate.frame.planes)
    for i, (value, (step_x, step_y)) in enumerate(zip(values, plate.steps, strict=True)):
        samples = plate.alpha > 0
        if (step_x, step_y) != (1, 1):
            covered = (_at(plate.alpha, value.shape) > 0).astype(np.uint8)
            reach = np.ones((2 * CHROMA_REACH + 1,) * 2, np.uint8)
            samples = np.asarray(cv2.dilate(covered, reach), np.bool_)
            if plate.hold is not None:
                samples &= ~any_pixel(plate.hold >= 1, step_x, step_y)
            pixels = samples.repeat(step_y, 0).repeat(step_x, 1)
            changed = changed | pixels[: plate.box.height, : plate.box.width]
        out = plate.frame.planes[i].copy()
        view = out[plate.box.slices(step_x, step_y)]
        view[samples] = to_samples(value[samples], image)
        planes[i] = out
    return tuple(planes), changed


def any_pixel(pixels: NDArray[np.bool_], step_x: int, step_y: int) -> NDArray[np.bool_]:
    """Which samples of a plane, subsampled by the steps, have a True among their pixels (h, w)."""
    rows, columns = -(-pixels.shape[0] // step_y), -(-pixels.shape[1] // step_x)
    whole = np.zeros((rows * step_y, columns * step_x), np.bool_)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    return np.asarray(whole.reshape(rows, step_y, columns, step_x).any((1, 3)))


# ---- a shot as a stream ------------------------------------------------------------------------------------

REACH = 2  # frames before and after that a frame's match is averaged over, with triangular weights


@dataclass(frozen=True)
class Layer:
    """One frame and what is composited over it; `patch` is None where the frame passes through."""

    frame: Frame
    patch: NDArray[np.float32] | None  # (S, S, 3) R'G'B' 0..1
    alpha: NDArray[np.float32] | None  # (S, S) 0..1
    affine: NDArray[np.floating[Any]] | None  # (2, 3) clip pixel -> crop pixel
    holdout: Holdout | None = field(default=None, kw_only=True)  # what of the plate stays in front of it
    detail: Finer | None = field(default=None, kw_only=True)  # the fine band that replaces the patch's own
    picture: PlatePicture | None = field(default=None, kw_only=True)  # the patch at the plate's resolution


AnyLayer = TypeVar("AnyLayer", bound=Layer)


def composite_shot(
    layers: Iterable[AnyLayer],
    with_grain: bool = True,
    mark: Watermark | None = None,
    wanted: FrameRange | None = None,
) -> Iterator[tuple[AnyLayer, Composited]]:
    """Each layer with its composited frame, in order, `REACH` frames behind the input.

    A frame without a patch passes through bit-exact. The pattern of a frame's colour offset and the strength
    of its grain are weighted means over the frames with a patch among its `REACH` neighbours on either side.
    wanted: the frames of the clip that are finished and come out; None: all. To render some frames of a shot
    alone, give their neighbours, too (`frames_to_composite`): the bits are then those of the whole shot.
    """

    def is_wanted(item: tuple[AnyLayer, Pending]) -> bool:
        return wanted is None or wanted.start <= item[1].frame.index < wanted.end_exclusive

    # up to REACH finished frames, then the ones not finished yet
    waiting: list[tuple[AnyLayer, Pending]] = []
    done = 0  # how many of `waiting` are finished
    for layer in layers:
        before = waiting[-1][1] if waiting and with_grain else None
        waiting.append((layer, _pending(layer, with_grain, before)))
        if len(waiting) - done > REACH:
            if is_wanted(waiting[done]):
                yield _finished(waiting, done, with_grain, mark)
            done += 1
        if done > REACH:
            waiting.pop(0)
            done -= 1
    for i in range(done, len(waiting)):
        if is_wanted(waiting[i]):
            yield _finished(waiting, i, with_grain, mark)


def frames_to_composite(frames: FrameRange, shot: FrameRange) -> FrameRange:
    """The frames of `shot` that `composite_shot` must be given to finish `frames` of it."""
    return FrameRange(
        max(shot.start, frames.start - REACH), min(shot.end_exclusive, frames.end_exclusive + REACH)
    )


def _finished(
    waiting: list[tuple[AnyLayer, Pending]], i: int, with_grain: bool, mark: Watermark | None
) -> tuple[AnyLayer, Composited]:
    layer, pending = waiting[i]
    return layer, finish(pending, _smoothed([p for _, p in waiting], i), with_grain, mark)


def _pending(layer: Layer, with_grain: bool, before: Pending | None) -> Pending:
    """The first half of compositing a layer. before: of the frame before it, where there is one."""
    if layer.patch is None or layer.alpha is None or layer.affine is None:
        pending = Pending(layer.frame, None, np.zeros((1, 1, 3), np.float32), np.eye(2, 3), None)
    else:
        pending = prepare(
            layer.frame,
            layer.patch,
            layer.alpha,
            layer.affine,
            layer.holdout,
            layer.detail,
            layer.picture,
            with_grain,
        )
    return pending if before is None else replace(pending, changing=_changing(before, pending))


def _smoothed(pending: list[Pending], i: int) -> Match | None:
    """The match of `pending[i]`, averaged with its neighbours'; None where the frame passes through."""
    match = pending[i].match
    if match is None:
        return None
    near = [(REACH + 1 - abs(j - i), p.match) for j, p in enumerate(pending) if abs(j - i) <= REACH]
    pairs = pending[max(0, i - REACH) + 1 : i + REACH + 1]  # with the one before, which is a neighbour, too
    return match.averaged([(w, m) for w, m in near if m is not None], [p.changing for p in pairs])
