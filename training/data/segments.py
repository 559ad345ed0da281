"""Passages: a few seconds that stand for all an adaptation would know of a person, and the frames to be drawn
with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Start = tuple[int, int]  # clip, frame

SHORTEST, LONGEST = 25, 100  # frames of a passage: one second to four


@dataclass(frozen=True)
class Passage:
    """What is known of a person, and what is to be drawn with it. A person who is known whole has the same
    frames in both.
    """

    known: Sequence[Start]  # frames that make the starting texture and are shown as references
    faces: Sequence[Start]  # frames to draw
    starts: Sequence[Start]  # where windows of T neighbours begin that hold none of the known frames


def choose_passages(
    faces: Sequence[Start], starts: Sequence[Start], window: int, count: int, rng: np.random.Generator
) -> list[Passage]:
    """`count` passages, each of consecutive `faces`, `SHORTEST` to `LONGEST` of them, never more than half.

    faces: all usable frames in order; starts: where `window` neighbours begin that are all usable. Where no
    window lies outside a passage, its windows may touch it.
    """
    return [_passage(faces, starts, window, rng) for _ in range(count)]


def _passage(
    faces: Sequence[Start], starts: Sequence[Start], window: int, rng: np.random.Generator
) -> Passage:
    length = math.exp(rng.uniform(math.log(SHORTEST), math.log(LONGEST)))  # as many short ones as long ones
    length = max(1, min(round(length), len(faces) // 2))
    first = int(rng.integers(len(faces) - length + 1))
    known = list(faces[first : first + length])
    taken = set(known)
    outside = [s for s in starts if not any((s[0], s[1] + k) in taken for k in range(window))]
    if not outside:
        return Passage(known, list(faces), list(starts))
    clips = {c for c, _ in outside}  # a window of one clip looks for its frames there
    return Passage(known, [f for f in faces if f not in taken and f[0] in clips], outside)
