"""Segments: a few seconds that stand for all an adaptation would know of a person, and the frames to be
rendered from them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Start = tuple[int, int]  # clip, frame

SHORTEST, LONGEST = 25, 100  # frames of a segment: one second to four


@dataclass(frozen=True)
class Segment:
    """The frames from which a person is known, and the frames to be rendered from that knowledge.

    Where a person is known from all frames, both hold the same.
    """

    reference_pool: Sequence[Start]  # frames that make the starting texture and serve as references
    targets: Sequence[Start]  # frames to render
    starts: Sequence[Start]  # first frames of windows of T neighbours without any frame of the reference pool


def choose_segments(
    frames: Sequence[Start], starts: Sequence[Start], window: int, count: int, rng: np.random.Generator
) -> list[Segment]:
    """`count` segments, each of `SHORTEST` to `LONGEST` consecutive frames, never more than half of them.

    frames: all usable frames in order. starts: first frames of `window` neighbours that are all usable. Where
    no window lies outside a segment, its windows may overlap it.
    """
    return [_segment(frames, starts, window, rng) for _ in range(count)]


def _segment(
    frames: Sequence[Start], starts: Sequence[Start], window: int, rng: np.random.Generator
) -> Segment:
    length = math.exp(rng.uniform(math.log(SHORTEST), math.log(LONGEST)))  # short ones are as likely as long
    length = max(1, min(round(length), len(frames) // 2))
    first = int(rng.integers(len(frames) - length + 1))
    pool = list(frames[first : first + length])
    taken = set(pool)
    outside = [s for s in starts if not any((s[0], s[1] + k) in taken for k in range(window))]
    if not outside:
        return Segment(pool, list(frames), list(starts))
    clips = {c for c, _ in outside}  # a window takes all its frames from the clip of its start
    return Segment(pool, [f for f in frames if f not in taken and f[0] in clips], outside)
