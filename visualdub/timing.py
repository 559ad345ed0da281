"""Frame ranges, timecode, and the exact frame rate behind a clip's timestamps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput

# ---- frame ranges ------------------------------------------------------------------------------------------

MARGIN = 20  # frames; nearer to the frames of the adaptation, a measure tests nothing


@dataclass(frozen=True)
class FrameRange:
    """Frames `start` .. `end_exclusive - 1` of a clip, counted from 0 in order of presentation."""

    start: int
    end_exclusive: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.end_exclusive <= self.start:
            raise BadInput(
                f"frames {self.start}:{self.end_exclusive} is empty or negative; expected A:B with 0 <= A < B"
            )

    @classmethod
    def parse(cls, text: str) -> FrameRange:
        """Read `A:B` (half open). Raises `BadInput` for anything else."""
        head, colon, tail = text.partition(":")
        if not colon or not head.strip().isdigit() or not tail.strip().isdigit():
            raise BadInput(f"frames {text!r} is not a range; expected A:B, two whole numbers, B not included")
        return cls(int(head), int(tail))

    def __len__(self) -> int:
        return self.end_exclusive - self.start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.end_exclusive))

    def __str__(self) -> str:
        return f"{self.start}:{self.end_exclusive}"

    def within(self, frame_count: int, name: str) -> FrameRange:
        """Return self; raise `BadInput` naming `name` where the range runs past the clip's `frame_count`
        frames.
        """
        if self.end_exclusive > frame_count:
            raise BadInput(f"{name} has {frame_count} frames; the range {self} runs past its end")
        return self

    def meets(self, other: FrameRange) -> bool:
        """Whether the two have a frame in common."""
        return self.start < other.end_exclusive and other.start < self.end_exclusive


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a clip may be touched: those of `only`, or all where it is empty, without those of
    `skip`.
    """

    skip: tuple[FrameRange, ...] = ()
    only: tuple[FrameRange, ...] = ()

    @classmethod
    def parse(cls, skip: Sequence[str] | None, only: Sequence[str] | None) -> FrameChoice:
        """Read `A:B` of the options --skip and --only. Raises `BadInput` for anything else."""
        read: list[tuple[FrameRange, ...]] = []
        for option, texts in (("--skip", skip), ("--only", only)):
            try:
                read.append(tuple(FrameRange.parse(text) for text in texts or ()))
            except BadInput as e:
                raise BadInput(f"{option}: {e}") from None
        return cls(*read)

    def left_out(self, frames: FrameRange, frame_count: int, name: str) -> tuple[FrameRange, ...]:
        """The runs of `frames` that may not be touched, in order, no two of them neighbours.

        Raises `BadInput` that names the clip `name` for a range past its `frame_count` frames, one that holds
        none of `frames`, and where no frame is left to touch.
        """
        for option, ranges in (("--skip", self.skip), ("--only", self.only)):
            for wanted in ranges:
                if not wanted.within(frame_count, f"{option}: {name}").meets(frames):
                    raise BadInput(f"{option} {wanted} holds none of the frames {frames} of {name}")
        touched = np.full(len(frames), not self.only)
        for value, ranges in ((True, self.only), (False, self.skip)):
            for wanted in ranges:
                begin = max(0, wanted.start - frames.start)
                touched[begin : max(0, wanted.end_exclusive - frames.start)] = value
        if not touched.any():
            raise BadInput(f"--skip and --only leave none of the frames {frames} of {name} to be redrawn")
        edges = np.flatnonzero(np.diff(np.concatenate([[True], touched, [True]])))
        return tuple(
            FrameRange(frames.start + int(a), frames.start + int(b))
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        )


# ---- timecode ----------------------------------------------------------------------------------------------

_FORM = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d+)")


def shift_timecode(timecode: str, frames: int, rate: Fraction) -> str:
    """The timecode `frames` frames later, wrapping at 24 hours. Raises `BadInput` for text that is no
    timecode.
    """
    found = _FORM.fullmatch(timecode.strip())
    if found is None:
        raise BadInput(f"{timecode!r} is not a timecode; expected HH:MM:SS:FF")
    hours, minutes, seconds, number = (int(found.group(i)) for i in (1, 2, 3, 5))
    fps = max(1, round(rate))
    drop = found.group(4) != ":" and fps % 30 == 0
    skipped = fps // 15 if drop else 0  # frame numbers left out at the start of every minute but each tenth
    total = ((hours * 60 + minutes) * 60 + seconds) * fps + number
    whole_minutes = hours * 60 + minutes
    total -= skipped * (whole_minutes - whole_minutes // 10)
    day = 24 * 3600 * fps - skipped * (1440 - 144)
    total = (total + frames) % day
    if drop:
        tens, rest = divmod(total, 600 * fps - 9 * skipped)
        total += 9 * skipped * tens
        if rest >= 60 * fps:
            total += skipped * (1 + (rest - 60 * fps) // (60 * fps - skipped))
    total, number = divmod(total, fps)
    total, seconds = divmod(total, 60)
    hours, minutes = divmod(total, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{found.group(4)}{number:02d}"


# ---- frame rates -------------------------------------------------------------------------------------------

STANDARD_RATES = tuple(
    Fraction(n, d)
    for n, d in (
        (24000, 1001),
        (24, 1),
        (25, 1),
        (30000, 1001),
        (30, 1),
        (48000, 1001),
        (48, 1),
        (50, 1),
        (60000, 1001),
        (60, 1),
        (12, 1),
        (15, 1),
        (10, 1),
        (100, 1),
        (120000, 1001),
        (120, 1),
    )
)
_COARSE = Fraction(1, 1000)  # seconds; a clock that cannot tell NTSC rates from their neighbours
_REPEATED_SHARE = 100  # at most one frame in so many may be shown longer, and always one
_MOSTLY_WHOLE = 3  # so many times more neighbours one period apart than further: frames were lost


class VariableRate(ValueError):
    """The timestamps follow no constant rate. Its message says how they vary, or which frames are missing.

    rate: frames/s that a constant copy would have; None where nothing tells. lost: whether the frames that
    are there keep to `rate` and others are missing.
    """

    def __init__(self, text: str, rate: Fraction | None = None, lost: bool = False) -> None:
        super().__init__(text)
        self.rate, self.lost = rate, lost


def find_rate(
    stamps: NDArray[np.int64], time_base: Fraction, declared: Sequence[Fraction | None]
) -> tuple[Fraction, tuple[tuple[int, int], ...]]:
    """Rate in frames/s and repeated frames ((frame, extra periods), ...) of sorted presentation `stamps` (n,)
    in `time_base`.

    A rate fits exactly where every stamp is within one tick of its place on an even grid, so that containers
    that round to milliseconds count as constant. Otherwise an even grid is accepted where no frame is a whole
    frame away from its place, which is what a recorder's jitter looks like. Anything else raises
    `VariableRate`.
    """
    known = [near for r in declared if r is not None and r > 0 for near in _readings(r, time_base)]
    if len(stamps) < 2:
        if not known:
            raise VariableRate("one frame and no rate")
        return known[0], ()
    ticks = np.diff(stamps)
    if time_base < _COARSE and ticks.min() == ticks.max() > 0:
        return 1 / (int(ticks[0]) * time_base), ()
    seconds = (stamps - stamps[0]).astype(np.float64) * float(time_base)
    exact = [(r, _steps(seconds, r, float(time_base))) for r in (*known, *STANDARD_RATES)]
    for rate, steps in exact:
        if steps is not None and (steps == 1).all():
            return rate, ()
    allowed = max(1, len(stamps) // _REPEATED_SHARE)
    for rate, steps in exact:
        if steps is not None and 0 < (steps > 1).sum() <= allowed and (steps == 1).sum() > 0:
            return rate, tuple((int(i), int(steps[i]) - 1) for i in np.flatnonzero(steps > 1))
    try:
        return _jittered(seconds, known), ()
    except VariableRate as e:
        for rate, steps in exact:
            if steps is not None and (steps == 1).sum() >= _MOSTLY_WHOLE * (steps > 1).sum():
                raise VariableRate(_losses(steps, rate), rate, lost=True) from e
        raise


def _losses(steps: NDArray[np.int64], rate: Fraction) -> str:
    """Which frames are missing, for a message. steps: (n-1,) periods between neighbours."""
    gaps = np.flatnonzero(steps > 1)
    count = int((steps - 1).sum())
    at = np.concatenate([[0], np.cumsum(steps)])
    places = [f"{steps[i] - 1} after frame {i} ({float(at[i] / rate):.2f} s)" for i in gaps[:5]]
    more = f" and at {len(gaps) - 5} more places" if len(gaps) > 5 else ""
    return f"{count} of {int(at[-1]) + 1} frames at {rate} frames/s: {', '.join(places)}{more}"


def _readings(rate: Fraction, time_base: Fraction) -> tuple[Fraction, ...]:
    """What a declared rate may mean: on a coarse clock FFmpeg's fraction is a guess, the standard rate beside
    it goes first.
    """
    if time_base < _COARSE:
        return (rate,)
    return (*(s for s in STANDARD_RATES if abs(s / rate - 1) < 2e-5), rate)


def _steps(seconds: NDArray[np.float64], rate: Fraction, tick: float) -> NDArray[np.int64] | None:
    """Whole periods between neighbours, (n-1,), where every stamp is on the grid of `rate`; None where one is
    off it.
    """
    r = float(rate)
    places = np.rint(seconds * r)
    if np.abs(seconds - places / r).max() > min(1.01 * tick, 0.3 / r):
        return None
    steps = np.diff(places).astype(np.int64)
    return steps if (steps >= 1).all() else None


def _jittered(seconds: NDArray[np.float64], known: Sequence[Fraction]) -> Fraction:
    """The rate whose even grid every stamp stays close to: a standard one within half a frame, else a
    declared one within one.
    """
    n = np.arange(len(seconds))

    def spread(rate: Fraction) -> float:
        return float(np.ptp(seconds * float(rate) - n))

    nearest = min(STANDARD_RATES, key=spread)
    if spread(nearest) < 0.5:
        return nearest
    for rate in known:
        if spread(rate) < 1.0:
            return rate
    gaps = np.diff(seconds) * 1000
    usual = 1000 / max(float(np.median(gaps)), 1e-3)
    rate = min(STANDARD_RATES, key=lambda r: abs(float(r) / usual - 1))
    raise VariableRate(f"frames last from {gaps.min():.1f} to {gaps.max():.1f} ms", rate)
