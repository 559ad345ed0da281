"""Compositing a shot as a stream: where colour differs and how much grain there is are steadied over neighbouring frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.media.frame import Frame
from visualdub.render.composite import Composited, Match, Pending, finish, prepare
from visualdub.render.watermark import Watermark

REACH = 2  # frames before and after that a frame's match is averaged over, with triangular weights


@dataclass(frozen=True)
class Layer:
    """One frame and what goes over it; `patch` None where the frame passes through."""

    frame: Frame
    patch: NDArray[np.float32] | None  # (S, S, 3) R'G'B' 0..1
    alpha: NDArray[np.float32] | None  # (S, S) 0..1
    affine: NDArray[np.floating[Any]] | None  # (2, 3) clip pixel -> crop pixel


def composite_shot(layers: Iterable[Layer], with_grain: bool = True, mark: Watermark | None = None) -> Iterator[Composited]:
    """`composite` for each layer, in order, `REACH` frames behind the input; a frame passes through bit-exact where it has no
    patch.

    How a frame's colour offset is spread and how strong its grain is are weighted means over the frames redrawn among its `REACH`
    neighbours on either side. To render the
    frames A..B-1 of a shot alone, give those neighbours too and drop what comes out for them: the bits are then the whole shot's.
    """
    held: list[Pending] = []  # up to REACH finished frames, then the ones waiting
    done = 0  # how many of `held` are finished
    for layer in layers:
        held.append(_pending(layer))
        if len(held) - done > REACH:
            yield finish(held[done], _smoothed(held, done), with_grain, mark)
            done += 1
        if done > REACH:
            held.pop(0)
            done -= 1
    for i in range(done, len(held)):
        yield finish(held[i], _smoothed(held, i), with_grain, mark)


def _pending(layer: Layer) -> Pending:
    if layer.patch is None or layer.alpha is None or layer.affine is None:
        return Pending(layer.frame, None, np.zeros((1, 1, 3), np.float32), np.eye(2, 3), None)
    return prepare(layer.frame, layer.patch, layer.alpha, layer.affine)


def _smoothed(held: list[Pending], i: int) -> Match | None:
    """Mean of the matches around `held[i]`, its own level of colour kept; None where it passes through.

    The level follows each frame: a flash in the plate or a drift of the network would otherwise stay. Only its pattern is
    averaged.
    """
    own = held[i].match
    if own is None:
        return None
    near = [(REACH + 1 - abs(j - i), p.match) for j, p in enumerate(held) if abs(j - i) <= REACH]
    weighted = [(w, m) for w, m in near if m is not None]
    total = np.float32(sum(w for w, _ in weighted))
    level = own.offset.mean((0, 1))
    pattern = sum((np.float32(w) * (m.offset - m.offset.mean((0, 1))) for w, m in weighted), np.float32(0)) / total
    noise = sum((np.float32(w) * m.noise for w, m in weighted), np.float32(0)) / total
    return Match(np.asarray(pattern + level), np.asarray(noise))
