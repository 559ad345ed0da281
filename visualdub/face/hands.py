"""The hands near the mouth of a shot: found in some frames, followed through all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from visualdub.face.crop import SIZE, VIEW

HANDS_VERSION = 1  # changes with every change of the hands that are found
LOOK_EVERY = 5  # frames between two searches where no hand is near
VIEW_OF_HANDS = 2.6  # crops along the picture that is searched: a hand at the mouth lies in it with its wrist
BELOW = 60.0  # crop pixels that its middle lies below the crop's: hands come from below
LONGEST_GAP = 5  # frames from one sight of a hand to the next, between which it is taken to move evenly
NEAR = 0.6  # sizes of a hand, of its distance from the mask's region, in which it may get there in a moment

Hand = NDArray[np.float32]  # (21, 2) landmarks in pixels
Item = TypeVar("Item")


def wide_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """As a crop's affine (2, 3), to pixels of the larger picture (256, 256) that is searched for hands."""
    out = np.asarray(affine, np.float64) / VIEW_OF_HANDS
    middle = np.array([SIZE / 2, SIZE / 2 + BELOW])
    out[:, 2] += SIZE / 2 - middle / VIEW_OF_HANDS
    return out


def to_clip(hand: Hand, affine: NDArray[np.float64]) -> Hand:
    """Landmarks in pixels of the picture with this affine, in the track's pixels."""
    return np.asarray((hand - affine[:, 2]) / affine[0, 0], np.float32)


def near_mouth(hand: Hand, affine: NDArray[np.float64]) -> bool:
    """Whether a hand in the track's pixels is over or beside the region that masks reach, in the crop with
    this affine (2, 3).
    """
    points = hand * affine[0, 0] + affine[:, 2]
    reach = NEAR * float(np.ptp(points, axis=0).max())
    top, bottom, left, right = VIEW
    low, high = points.min(0) - reach, points.max(0) + reach
    return bool(low[0] < right and high[0] > left and low[1] < bottom and high[1] > top)


def search(
    frames: Iterable[tuple[int, Item]], look: Callable[[int, Item], list[Hand]]
) -> Iterator[tuple[int, list[Hand]]]:
    """The hands in frames (number from 0, item): looked for in every `LOOK_EVERY`th and the last one, and in
    all between two of them where either has one.

    At most `LOOK_EVERY` items are held. Numbers of frames that were not looked at do not come; the others
    come in any order.
    """
    waiting: list[tuple[int, Item]] = []
    had = False
    for i, item in frames:
        if i % LOOK_EVERY:
            waiting.append((i, item))
            continue
        hands = look(i, item)
        yield i, hands
        if had or hands:
            yield from ((j, look(j, other)) for j, other in waiting)
        waiting, had = [], bool(hands)
    if waiting:
        i, item = waiting.pop()
        hands = look(i, item)
        yield i, hands
        if had or hands:
            yield from ((j, look(j, other)) for j, other in waiting)


def followed(found: Mapping[int, Sequence[Hand]]) -> dict[int, list[Hand]]:
    """`found`, hands by the number of their frame, without those seen once and with the gaps filled.

    A hand that no hand of the two frames before and after is near to is a mistake of the detector. One that
    is lost for less than `LONGEST_GAP` frames has moved evenly in between.
    """
    kept: dict[int, list[Hand]] = {}
    for i, hands in found.items():
        around = [h for j in range(i - 2, i + 3) if j != i for h in found.get(j, ())]
        kept[i] = [h for h in hands if _nearest(h, around) is not None]
    numbers = sorted(i for i, hands in kept.items() if hands)
    for a, b in pairwise(numbers):
        if not 1 < b - a <= LONGEST_GAP:
            continue
        for hand in kept[a]:
            other = _nearest(hand, kept[b])
            if other is None:
                continue
            for i in range(a + 1, b):
                share = np.float32((i - a) / (b - a))
                kept.setdefault(i, []).append(np.asarray(hand + share * (other - hand), np.float32))
    return {i: hands for i, hands in sorted(kept.items()) if hands}


def _nearest(hand: Hand, others: Sequence[Hand]) -> Hand | None:
    """Of the hands `others` the one that `hand` may have become a few frames later; None where there is
    none.
    """
    size = float(np.ptp(hand, axis=0).max())
    apart = [float(np.linalg.norm(hand - other, axis=1).mean()) for other in others]
    best = int(np.argmin(apart)) if apart else -1
    return others[best] if best >= 0 and apart[best] < size else None
