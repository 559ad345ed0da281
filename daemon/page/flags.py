"""Flags: runs of frames that a reviewer should look at, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from visualdub.records import ANOTHER_PERSON, BOTH_SILENT, SKIPPED

SHOT, QUALITY = "shot.json", "quality.json"  # in a job's folder, as `facts` writes them
SOFT = 0.45  # sharpness of the dub over the plate's below which it is soft, over NEAR frames
ENLARGED = 1.5  # plate pixels for each pixel of the network's picture
FLICKER = 2.0  # over the plate's, over NEAR frames
CONFIDENCE = 0.5
NEAR = 5  # frames that a figure is taken over: a single frame of either kind is not seen
BRIDGE = 4  # frames between two runs of one kind that are shown as one


@dataclass(frozen=True)
class Flag:
    """A run of frames. worst: the frame to look at first."""

    kind: str  # soft, flicker, low confidence, another person, occluded, passed through
    start: int  # frame of the clip
    end: int  # exclusive
    worst: int
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def flags_of(first: int, shot: dict[str, Any], quality: dict[str, Any] | None) -> list[Flag]:
    """The flags of a shot, in order of their frames. first: the shot's first frame. shot, quality: as
    `facts` writes them; quality None: it was not drawn as a whole yet.
    """
    passed, covered = shot["passed"], shot["occluded"]
    drawn = np.array([reason is None for reason in passed], bool)
    found = []
    confidence = np.array(shot["confidence"], np.float64)
    low = drawn & (confidence < CONFIDENCE)
    found += _runs(
        first, "low confidence", low, -confidence, lambda i: f"track confidence {confidence[i]:.2f}"
    )
    found += _said(first, "occluded", covered)
    another = [r if r == ANOTHER_PERSON else None for r in passed]
    found += _said(first, ANOTHER_PERSON, another)
    quiet = (None, ANOTHER_PERSON, BOTH_SILENT, SKIPPED)
    others = [None if r in quiet or covered[i] else r for i, r in enumerate(passed)]
    found += _said(first, "passed through", others)
    enlarged = np.array(shot["enlarged"], np.float64)
    found += _runs(
        first, "soft", drawn & (enlarged > ENLARGED), enlarged, lambda i: f"enlarged {enlarged[i]:.1f} times"
    )
    if quality is not None and len(quality["sharpness"]) == len(passed):
        sharp, flicker = _mean(quality["sharpness"]), _mean(quality["flicker"])
        found += _runs(
            first,
            "soft",
            drawn & (sharp < SOFT),
            -sharp,
            lambda i: f"sharpness {sharp[i]:.2f} of the plate's",
        )
        found += _runs(
            first,
            "flicker",
            drawn & (flicker > FLICKER),
            flicker,
            lambda i: f"{flicker[i]:.1f} times the plate's",
        )
    return sorted(found, key=lambda f: (f.start, f.kind))


def _mean(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Means over NEAR frames around each of those that have a value; NaN where none has: it is no flag."""
    known = np.array([np.nan if v is None else v for v in values], np.float64)
    there = np.isfinite(known)
    kernel = np.ones(NEAR)
    total = np.convolve(np.where(there, known, 0.0), kernel, "same")[: len(known)]
    count = np.convolve(there.astype(np.float64), kernel, "same")[: len(known)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there, total / count, np.nan)


def _runs(first: int, kind: str, where: Any, badness: Any, text: Any) -> list[Flag]:
    """Runs of frames in which `where` holds; the worst of each has the greatest `badness`."""
    numbers = np.flatnonzero(where)
    if not len(numbers):
        return []
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > BRIDGE) + 1)
    found = []
    for part in parts:
        worst = int(part[np.argmax(np.nan_to_num(np.asarray(badness)[part], nan=-np.inf))])
        found.append(Flag(kind, first + int(part[0]), first + int(part[-1]) + 1, first + worst, text(worst)))
    return found


def _said(first: int, kind: str, reasons: Sequence[str | None]) -> list[Flag]:
    """Runs of frames with the same reason."""
    found = []
    for reason in dict.fromkeys(r for r in reasons if r is not None):
        where = np.array([r == reason for r in reasons])
        found += _runs(first, kind, where, np.zeros(len(where)), lambda _, r=reason: r)
    return found
