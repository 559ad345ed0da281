"""Match the plate: its light and colour along the mask's border, and the grain that the rendered picture
lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.media.transfer import TransferFunction
from visualdub.render.detail import low_pass
from visualdub.render.light import beyond_tolerance, light_ratio

# ---- what a patch lacks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Match:
    """What one frame's patch lacks against its plate; `composite_shot` smooths it over neighbours."""

    offset: NDArray[np.float32]  # (GRID, GRID, 3) R'G'B' to add, on the crop's area
    noise: NDArray[np.float32]  # (planes, 2) around the mask, in units of the planes, fine and coarse octave
    light: NDArray[np.float32] | None = None  # (3,) stops of light to add before the offset; None: none

    @cached_property
    def pattern(self) -> NDArray[np.float32]:
        """(GRID, GRID, 3) the offset without its mean."""
        return np.asarray(self.offset - self.offset.mean((0, 1)), np.float32)

    def averaged(
        self, near: Sequence[tuple[float, Match]], changing: Sequence[NDArray[np.float32] | None]
    ) -> Match:
        """This match with the pattern of its colour offset and its noise averaged over frames near it.

        near: weights and matches, its own among them. The offset's mean and the light stay the frame's own,
        so that a flash in the plate or a drift of the network is corrected where it happens. changing: what
        is known of `changing_noise` from frame to frame; no more noise counts, as fresh grain in place of a
        codec's standing pattern would flicker.
        """
        total = np.float32(sum(w for w, _ in near))
        pattern = sum((np.float32(w) * m.pattern for w, m in near), np.float32(0))
        noise = sum((np.float32(w) * m.noise for w, m in near), np.float32(0)) / total
        known = [np.square(c) for c in changing if c is not None]
        if known:
            noise = np.minimum(noise, np.sqrt(sum(known, np.float32(0)) / np.float32(len(known))))
        offset = pattern / total + self.offset.mean((0, 1))
        return Match(np.asarray(offset, np.float32), np.asarray(noise, np.float32), self.light)


# ---- colour ------------------------------------------------------------------------------------------------

GRID = 64  # cells of the offset field along each side of the crop
# Standard deviations in cells and weights of the kernels that carry the difference on the border inwards: the
# first makes the picture meet the plate cell by cell, a wider one decides where a narrower does not reach.
KERNELS = ((1.0, 1.0), (4.0, 0.1), (20.0, 0.003))
# R'G'B' from the border's median at which a difference counts a quarter, and soon nothing: a hair, a collar.
OUTLIER = 0.08
LIMIT = 0.25  # R'G'B': no offset is larger
LIGHT_TOLERANCE = 0.5  # stops between plate and picture on the border that the offset takes care of alone


def border_light(
    plate: NDArray[np.float32],
    patch: NDArray[np.float32],
    alpha: NDArray[np.float32],
    curve: TransferFunction,
) -> NDArray[np.float32]:
    """(3,) stops of light, one for each channel, that `patch` lacks against `plate` along the mask's border.

    Arguments are as in `offset_field`; curve: the plate's. 0 where the two are close, as they are unless a
    network draws another light than the frame's: an offset alone would leave lips and teeth their contrast.
    """
    ys, xs = _border(alpha)
    if len(ys) == 0:
        return np.zeros(3, np.float32)
    lit = (curve.to_linear(picture[ys, xs].clip(0, 1)) for picture in (plate, patch))
    return beyond_tolerance(light_ratio(*lit), LIGHT_TOLERANCE)


def _border(alpha: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of the feather."""
    top = float(alpha.max(initial=0.0))
    ys, xs = np.nonzero((alpha > 0.02 * top) & (alpha < 0.9 * top))
    return ys, xs


def offset_field(
    plate: NDArray[np.float32], patch: NDArray[np.float32], alpha: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(GRID, GRID, 3) what to add to `patch` so that it meets `plate` along the mask's border.

    plate, patch: (S, S, 3) R'G'B' 0..1. alpha: (S, S) feathered blend weight. Only pixels in the feather, 0 <
    alpha < max(alpha), are compared: never the middle of the mask, where the source's mouth is. Their
    difference, with outliers weighted down, is spread inwards by normalised convolution. Returns zeros where
    there is no feather.
    """
    ys, xs = _border(alpha)
    field = np.zeros((GRID, GRID, 3), np.float32)
    if len(ys) == 0:
        return field
    difference = plate[ys, xs] - patch[ys, xs]
    middle = np.median(difference, axis=0)
    weight = (1.0 + (((difference - middle) / OUTLIER) ** 2).sum(-1)) ** -2
    cell = (ys * GRID // alpha.shape[0]) * GRID + xs * GRID // alpha.shape[1]
    weights = np.bincount(cell, weight, GRID * GRID).reshape(GRID, GRID)
    moments = [weights] + [
        np.bincount(cell, weight * difference[:, c], GRID * GRID).reshape(GRID, GRID) for c in range(3)
    ]
    stack = np.stack(moments, axis=-1).astype(np.float32)
    spread = np.sum([np.float32(share) * low_pass(stack, sigma) for sigma, share in KERNELS], 0)
    total = spread[..., :1]
    field[:] = np.where(total > 1e-9, spread[..., 1:] / np.maximum(total, 1e-9), middle)
    return field.clip(-LIMIT, LIMIT)


def spread_field(field: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The offset field (GRID, GRID, 3) at the resolution of the crop (size, size, 3)."""
    return np.asarray(cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


# ---- grain -------------------------------------------------------------------------------------------------

BLOCK = 6  # samples along the side of the blocks noise is measured in
QUIETEST = 30.0  # percentile of the blocks that is used, so that texture does not count as grain
TILE, TILE_SEED = 1024, 2
FEWEST_SAMPLES = 1000  # of a plane around the mask that two frames must share to compare their noise
FEWEST_BLOCKS = 6  # with fewer the noise cannot be measured, and no grain is added
# Immerkaer 1996.
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6 * np.float32(np.sqrt(np.pi / 2))
QUIET_BIAS = 0.878  # what the quietest blocks of white noise of deviation 1 measure
HALF_OF_FINE = 0.497  # what white noise of deviation 1 measures at half size
# What white noise of deviation 1 at half size, scaled up, measures at full and at half size.
FINE_OF_COARSE, HALF_OF_COARSE = 0.054, 0.358


def noise_level(plane: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(2,) standard deviation of the noise of `plane`, in its own units, at full size and at half size.

    plane: (H, W). where: (H, W), the samples to measure on. The noise is the mean absolute response of
    Immerkaer's filter, which ignores ramps and edges along the axes, in the quietest blocks. Returns zeros
    where there are too few blocks.
    """
    half = (plane.shape[1] // 2, plane.shape[0] // 2)
    if min(half) < BLOCK:
        return np.zeros(2, np.float32)
    small = np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.float32)
    small_where = (
        where[0 : half[1] * 2 : 2, 0 : half[0] * 2 : 2] & where[1 : half[1] * 2 : 2, 1 : half[0] * 2 : 2]
    )
    return np.array([_octave(plane, where), _octave(small, small_where)], np.float32)


def _octave(plane: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    rows, cols = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    response = np.abs(np.asarray(cv2.filter2D(plane, cv2.CV_32F, LAPLACIAN)))
    h, w = rows * BLOCK, cols * BLOCK
    blocks = np.asarray(
        cv2.resize(np.ascontiguousarray(response[:h, :w]), (cols, rows), interpolation=cv2.INTER_AREA)
    )
    whole = np.ascontiguousarray(where[:h, :w]).view(np.uint8) * np.uint8(255)
    quiet = blocks[np.asarray(cv2.resize(whole, (cols, rows), interpolation=cv2.INTER_AREA)) == 255]
    if len(quiet) < FEWEST_BLOCKS:
        return 0.0
    place = int(len(quiet) * QUIETEST / 100)
    return float(np.partition(quiet, place)[place]) / QUIET_BIAS


def changing_noise(
    before: Sequence[NDArray[Any]], planes: Sequence[NDArray[Any]], where: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float32] | None:
    """(planes, 2) the noise that is another in each of two frames, in the units and octaves of `noise_level`.

    before, planes: (H, W) for each plane, the same pixels of both frames. where: (H, W), the samples to
    measure on; None where they are too few. What a codec carries from frame to frame looks like noise in
    either, and is none of it.
    """
    if any(w.sum() < FEWEST_SAMPLES for w in where):
        return None
    differences = (b.astype(np.float32) - a.astype(np.float32) for a, b in zip(before, planes, strict=True))
    levels = [noise_level(d, w) for d, w in zip(differences, where, strict=True)]
    return np.asarray(np.stack(levels) / np.sqrt(2), np.float32)


def lacking(plate: NDArray[np.float32], patch: NDArray[np.float32]) -> tuple[float, float]:
    """Standard deviations (fine, coarse) of the noise that brings a picture from `patch` to `plate`.

    Both are (2,) from `noise_level`. The fine noise is white at full size, the coarse one at half size and
    then scaled up.
    """
    wanted = np.maximum(np.square(plate, dtype=np.float64) - np.square(patch, dtype=np.float64), 0.0)
    system = np.array([[1.0, FINE_OF_COARSE**2], [HALF_OF_FINE**2, HALF_OF_COARSE**2]])
    fine, coarse = np.linalg.solve(system, wanted)
    if coarse < 0:
        fine, coarse = min(wanted[0], wanted[1] / HALF_OF_FINE**2), 0.0
    elif fine < 0:
        fine, coarse = 0.0, min(wanted[0] / FINE_OF_COARSE**2, wanted[1] / HALF_OF_COARSE**2)
    return float(np.sqrt(fine)), float(np.sqrt(coarse))


@lru_cache(maxsize=1)
def _tile() -> NDArray[np.float32]:
    """(TILE, TILE) white noise of deviation 1, always the same; frames take rectangles of it."""
    return np.random.Generator(np.random.Philox(TILE_SEED)).standard_normal((TILE, TILE), np.float32)


def _white(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.float32]:
    """A rectangle at a random place of the noise tile, which repeats, randomly negated and transposed."""
    top, left = random.integers(0, TILE, 2)
    sign = np.float32(random.integers(0, 2) * 2 - 1)
    tile = _tile().T if random.integers(0, 2) else _tile()
    rows, cols = (top + np.arange(shape[0])) % TILE, (left + np.arange(shape[1])) % TILE
    if top + shape[0] <= TILE and left + shape[1] <= TILE:
        return tile[top : top + shape[0], left : left + shape[1]] * sign
    return np.asarray(tile[np.ix_(rows, cols)] * sign)


def grain(
    shape: tuple[int, int], fine: float, coarse: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Noise of `shape` (H, W) with the two standard deviations that `lacking` returns."""
    noise = _white(shape, random) * np.float32(fine)
    if coarse > 0:
        half = np.ascontiguousarray(_white((shape[0] // 2 + 1, shape[1] // 2 + 1), random))
        doubled = cv2.resize(half, (half.shape[1] * 2, half.shape[0] * 2), interpolation=cv2.INTER_LINEAR)
        noise += np.asarray(doubled, np.float32)[: shape[0], : shape[1]] * np.float32(coarse)
    return noise


def seeded(seed: int, frame: int) -> np.random.Generator:
    """A generator whose numbers depend on `seed` and the number of the frame alone."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, frame], np.uint64)))
