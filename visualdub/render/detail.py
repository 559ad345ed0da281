"""The detail of pictures: what frames that were carried into one have of it, and how it is put in place of
another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.arrays import smoothstep
from visualdub.box import Box
from visualdub.render.carrying import split

MOST_GAIN = 4.0  # of the band's contrast, by which it is brought to the light of the drawn picture
LIGHT_STRIDE = 4  # every fourth pixel of every fourth row tells how light a picture is
LEAST_SHARE = 0.4  # of the frames must see a point, or the drawn picture keeps its own band there
MOST_FILLED = 1.5  # times that one frame's own detail is raised, to fill the finest band
KEPT = 0.91  # of the finest band's energy, when a picture is carried: 0.86 to 1.0 for seven people's
MOST_RAISED = 2.0  # times that a band's contrast is raised to what the frames have
CELL = 4  # pixels along a side of the cells in which contrasts are compared
AROUND = 6.0  # pixels, of the Gaussian over which contrasts are compared
LEAST_ENERGY = 1e-7  # of R'G'B' 0..1, squared; below, there is no contrast to raise
COARSER_BAND = 3.0  # times the coarsest band's width: up to where shapes are compared
ALIKE = 0.75, 0.97  # agreement of two shapes from which on bands are taken, and from which on wholly
CONTRAST = 0.5, 1.1  # times the frames' contrast that the drawn picture may have: least and most
LEAST_SHAPE = np.float32(2e-5)  # of R'G'B' 0..1, squared; where there is less, there is nothing to compare
WIDE = 1.9  # pixels; a Gaussian of twice this width and more is taken of a smaller picture
LEAST_SEEN = 1e-3  # share of the frames that see a point; below, nothing is known of it
FILL = 3.0, 12.0, 48.0  # pixels; a point that no frame sees is filled from what is seen this far around it


@dataclass(frozen=True)
class Band:
    """One band of the brightness of detail, how much it counts beside the drawn picture's own, and how much
    contrast there should be.
    """

    sigma: float  # plate pixels: the band ends where a Gaussian of this width begins
    picture: NDArray[np.float32]  # (h, w) brightness around 0
    energy: NDArray[np.float32]  # (h, w) mean square of the band around a place, in single frames
    share: float  # 0..1, of the mixture of this band and the drawn picture's own
    raised: float  # 0..1, how far the mixture's contrast is raised to that of single frames, as a power
    # (h, w) what the nearest frame has beside their mean; None: nothing
    rest: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Shape:
    """What is next coarser than the bands: whether two pictures show the same thing at the same place."""

    picture: NDArray[np.float32]  # (h, w) brightness around 0
    seen: NDArray[np.float32]  # (h, w) 0..1, how much of it is known
    sigma: float  # plate pixels: it lies between Gaussians of this width and `COARSER_BAND` times it

    def agreement(
        self, drawn: NDArray[np.float32], where: tuple[slice, slice], gain: float
    ) -> tuple[NDArray[np.float32], float]:
        """(h, w) 1 where `drawn` (h, w, 3), the part `where` of this picture, has this shape, 0 where not;
        and how many times the contrast of this picture it has on the whole, within `CONTRAST` times `gain`.

        gain: how much lighter it is. The measure is 2ab / (a² + b²), of both shapes at the same contrast, and
        means around a place.
        """
        height, width = drawn.shape[:2]
        half = max(1, width // 2), max(1, height // 2)

        def smaller(picture: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.float32)

        seen, sigma = smaller(np.ascontiguousarray(self.seen[where])), self.sigma / 2
        a = smaller(np.ascontiguousarray(self.picture[where])) * np.float32(gain)
        b = _shape(smaller(grey(drawn)), seen, sigma)
        contrast = _contrast(a, b, seen)
        a *= np.float32(contrast)
        reach = COARSER_BAND * sigma
        both, each = low_pass(2 * a * b, reach), low_pass(a * a + b * b, reach)
        alike = (both + LEAST_SHAPE) / (each + LEAST_SHAPE)
        share = smoothstep((alike - ALIKE[0]) / np.float32(ALIKE[1] - ALIKE[0]))
        share = np.asarray(cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        return share, gain * contrast


def _contrast(a: NDArray[np.float32], b: NDArray[np.float32], seen: NDArray[np.float32]) -> float:
    """How many times the contrast of `a` (h, w) `b` has, where it is seen, within `CONTRAST`."""
    one, other = (float((seen * x * x).mean(dtype=np.float64)) + float(LEAST_SHAPE) / 10 for x in (a, b))
    return float(np.clip(np.sqrt(other / one), *CONTRAST))


def _shape(shown: NDArray[np.float32], seen: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """The `Shape.picture` of a brightness (h, w), of what is seen of it."""
    return _bands(shown * seen, seen, (sigma, COARSER_BAND * sigma))[1]


@dataclass(frozen=True)
class Detail:
    """The bands of detail that go over the drawn picture, the finest first, in plate pixels of `box`."""

    box: Box
    bands: tuple[Band, ...]
    weight: NDArray[np.float32]  # (h, w) 0..1: how well the frames see a point, and how near they are
    level: NDArray[np.float32]  # (3,) mean R'G'B' of the pictures that the bands come from, by their weight
    shape: Shape | None = None  # what the drawn picture must agree with, place by place; None: with nothing

    def over(self, drawn: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
        """`drawn` (h, w, 3), the R'G'B' of the plate's pixels of `box`, with these bands mixed into its own.

        Only its brightness changes. The bands' contrast follows that of the next coarser band, where there is
        a shape, or else the light: it is scaled by the ratio of both pictures. Where the drawn picture has
        another shape than the frames that they come from, a gap where those have a tooth, it keeps its own
        bands: theirs would belong elsewhere.
        """
        part = self.box.common(box)
        if part is None:
            return drawn
        to, of = part.within(box), part.within(self.box)
        picture, weight = np.ascontiguousarray(drawn[to]), self.weight[of]
        gain = np.float32(light_gain(picture, weight, self.level).mean())
        if self.shape is not None:
            agreed, times = self.shape.agreement(picture, of, float(gain))
            weight, gain = weight * agreed, np.float32(times)
        finer = grey(picture)
        change = np.zeros_like(finer)
        for band in self.bands:
            low = low_pass(finer, band.sigma)
            own = finer - low
            mixed = _mixed(band, of, own, weight, gain)
            change += _filled(band, of, mixed, self.weight[of], gain) - own
            finer = low
        out = drawn.copy()
        out[to] += _in_colour(change)
        return out


class Finer(Protocol):
    """What a drawn picture gets in the plate's pixels."""

    def over(self, drawn: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
        """`drawn` (h, w, 3), the R'G'B' of the plate's pixels of `box`, with it."""
        ...


@dataclass(frozen=True)
class InTurn:
    """Several, one after another."""

    parts: tuple[Finer, ...]

    def over(self, drawn: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
        """As `Finer.over`."""
        for part in self.parts:
            drawn = part.over(drawn, box)
        return drawn


@dataclass(frozen=True)
class PlatePicture:
    """A drawn picture at the plate's resolution."""

    box: Box  # plate pixels
    rgb: NDArray[np.float32]  # (h, w, 3) R'G'B' 0..1

    def within(self, box: Box) -> NDArray[np.float32]:
        """(h, w, 3) the pixels of `box`; black where this picture does not reach."""
        out = np.zeros((box.height, box.width, 3), np.float32)
        part = self.box.common(box)
        if part is not None:
            out[part.within(box)] = self.rgb[part.within(self.box)]
        return out


def _mixed(
    band: Band,
    of: tuple[slice, slice],
    own: NDArray[np.float32],
    weight: NDArray[np.float32],
    gain: np.float32,
) -> NDArray[np.float32]:
    """(h, w) the mixture of `band`, the part `of` it, and the drawn picture's `own` band.

    weight: (h, w) how much the frames count at a place. gain: how much lighter the drawn picture is. The
    mixture is nearer to what was filmed than either, and softer, as their errors differ.
    """
    share = weight * np.float32(band.share)
    mixed = own + share * (band.picture[of] * gain - own)
    has = _around(mixed * mixed)
    ratio = np.sqrt((_energy(band, of, has, gain) + LEAST_ENERGY) / (has + LEAST_ENERGY)).clip(1, MOST_RAISED)
    raised = _full(ratio ** np.float32(band.raised) - 1, own.shape)
    return np.asarray(mixed * (1 + raised * weight), np.float32)


def _filled(
    band: Band,
    of: tuple[slice, slice],
    mixed: NDArray[np.float32],
    weight: NDArray[np.float32],
    gain: np.float32,
) -> NDArray[np.float32]:
    """(h, w) `mixed` with as much of `band.rest` as it lacks of the energy that single frames have.

    The finest band is mostly pores, grain and a codec's errors. No other frame foretells them, so that a mean
    has few, and a mouth without them looks smooth beside its face.
    """
    if band.rest is None:
        return mixed
    rest = np.asarray(band.rest[of] * (gain * weight), np.float32)
    has = _around(mixed * mixed)
    lacks = np.maximum(_energy(band, of, has, gain) / np.float32(KEPT) - has, 0)
    times = np.sqrt(lacks / (_around(rest * rest) + LEAST_ENERGY)).clip(0, MOST_FILLED)
    return np.asarray(mixed + rest * _full(times, mixed.shape), np.float32)


def _energy(
    band: Band, of: tuple[slice, slice], cells: NDArray[np.float32], gain: np.float32
) -> NDArray[np.float32]:
    """The energy of `band` in single frames, in cells as `cells` has them, for a picture `gain` lighter."""
    size = cells.shape[::-1]
    return np.asarray(
        cv2.resize(band.energy[of], size, interpolation=cv2.INTER_AREA) * gain * gain, np.float32
    )


def _around(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The means of values (h, w) around every cell of `CELL` x `CELL` pixels."""
    height, width = values.shape
    size = max(1, width // CELL), max(1, height // CELL)
    cells = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    low = cv2.GaussianBlur(cells, (0, 0), AROUND / CELL, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(low, np.float32)


def _full(cells: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """(h, w) the values of cells in pixels."""
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _in_colour(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, 3) the same values (h, w) for all channels: products with it are faster than broadcast ones."""
    return np.asarray(cv2.merge((values, values, values)), np.float32)


def light_gain(
    picture: NDArray[np.float32], weight: NDArray[np.float32], level: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(3,) how much lighter `picture` (h, w, 3) is than `level` (3,), where `weight` (h, w) is above 0."""
    part = (slice(None, None, LIGHT_STRIDE), slice(None, None, LIGHT_STRIDE))
    w = weight[part].astype(np.float64)
    total = float(w.sum())
    if total <= 0:
        return np.ones(3, np.float32)
    mean = (w[..., None] * picture[part].clip(0, None)).sum((0, 1)) / total
    ratio = mean / np.maximum(level, 1 / 255)
    return np.asarray(ratio.clip(1 / MOST_GAIN, MOST_GAIN), np.float32)


def grey(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The brightness (h, w) of R'G'B' (h, w, 3), on the same scale."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)


def low_pass(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A picture (h, w) or (h, w, c) without what a Gaussian of `sigma` pixels takes away.

    A wide one is taken of a smaller picture, and then costs no more than a narrow one.
    """
    height, width = picture.shape[:2]
    smaller = max(1, int(sigma / WIDE))
    if smaller > 1:
        size = max(1, width // smaller), max(1, height // smaller)
        reduced = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        low = cv2.GaussianBlur(reduced, (0, 0), sigma / smaller, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


class Mixture:
    """Frames that were carried into one picture: their mean, and how much detail each of them had.

    Frames never fit quite, so that their mean is softer than any. What contrast they have is known here,
    place by place, and band by band.
    """

    def __init__(self, height: int, width: int, sigmas: Sequence[float]) -> None:
        self._sigmas = tuple(sigmas)
        self._sums = np.zeros((height, width, 4), np.float32)
        self._energies: list[NDArray[np.float32]] = []  # of each band, in cells
        # the share of the nearest frame, and its finest band
        self._finest = 0.0, np.zeros((height, width), np.float32)

    def add(self, sums: NDArray[np.float32], share: float) -> None:
        """Add a frame, whose share of the mixture is `share`.

        sums: (h, w, 4) of this frame alone, as `add_carried` has it, with a share of 1. Where nothing is seen
        it is not taken for black.
        """
        self._sums += np.float32(share) * sums
        if not self._sigmas:
            return
        seen = np.asarray(cv2.extractChannel(sums, 3), np.float32)
        weighted = np.asarray(cv2.cvtColor(sums, cv2.COLOR_RGBA2GRAY), np.float32) * np.float32(1 / 255)
        bands = [seen * band for band in _bands(weighted, seen, self._sigmas)]
        if share > self._finest[0]:
            self._finest = share, bands[0]
        found = [np.float32(share) * _around(band * band) for band in bands]
        before = self._energies or [np.zeros_like(energy) for energy in found]
        self._energies = [a + b for a, b in zip(before, found, strict=True)]

    def picture(self) -> NDArray[np.float32]:
        """(h, w, 3) R'G'B' 0..1, the mean of the frames; where few see a point, what they see around it."""
        picture, seen = split(self._sums)
        sure = seen.clip(0, 1)
        for sigma in FILL:
            around, near = split(low_pass(self._sums, sigma))
            share = (1 - sure) * near.clip(0, 1)
            picture += around * _in_colour(share / np.maximum(near, LEAST_SEEN))
            sure += share
        return np.asarray(picture / _in_colour(np.maximum(sure, LEAST_SEEN) * np.float32(255)), np.float32)

    def detail(
        self, box: Box, shares: Sequence[float], restored: Sequence[float] | float, near: float = 1.0
    ) -> Detail | None:
        """The bands of the mean; None where the frames see nothing of `box`, which is theirs.

        shares: of each band in what it is mixed to with the drawn picture's own, the finest first. restored:
        0..1, for each band or all, how far the mixture's contrast is raised to that of single frames. near:
        0..1, how much the frames count at all.
        """
        total, seen = split(self._sums)
        width = self._sigmas[-1]
        sure = seen * low_pass(seen, width)
        weight = smoothstep((sure - LEAST_SHARE) / np.float32(1 - LEAST_SHARE))  # no step at the end
        part = (slice(None, None, LIGHT_STRIDE), slice(None, None, LIGHT_STRIDE))
        w = weight[part].astype(np.float64)
        if w.sum() <= 0 or near <= 0:
            return None
        mean = total[part] / (255 * np.maximum(seen[part], LEAST_SEEN)[..., None])
        level = (w[..., None] * mean).sum((0, 1)) / w.sum()
        known = (seen > LEAST_SEEN).astype(np.float32)
        weighted = grey(total) * np.float32(1 / 255)
        of_mean = _bands(weighted, seen, (*self._sigmas, COARSER_BAND * width))
        sighted = np.maximum(_around(seen), np.float32(LEAST_SEEN))
        powers = (restored,) * len(self._sigmas) if isinstance(restored, float) else restored
        means = [known * band for band in of_mean[:-1]]
        bands = [
            Band(sigma, band, _full(energy / sighted, seen.shape), share, raised)
            for sigma, band, energy, share, raised in zip(
                self._sigmas, means, self._energies, shares, powers, strict=True
            )
        ]
        bands[0] = replace(bands[0], rest=self._finest[1] - means[0])
        shape = Shape(of_mean[-1], seen, width)
        return Detail(box, tuple(bands), weight * np.float32(near), np.asarray(level, np.float32), shape)


def _bands(
    weighted: NDArray[np.float32], seen: NDArray[np.float32], sigmas: Sequence[float]
) -> list[NDArray[np.float32]]:
    """The bands (h, w) that end at `sigmas` of a brightness, given times what is seen of it (h, w)."""
    found = []
    finer = weighted / np.maximum(seen, np.float32(LEAST_SEEN))
    for sigma in sigmas:
        low = low_pass(weighted, sigma) / np.maximum(low_pass(seen, sigma), np.float32(LEAST_SEEN))
        found.append(finer - low)
        finer = low
    return found
