"""Finds a clip's exact frame rate in its timestamps, and tells a constant rate from a variable one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

STANDARD_RATES = tuple(Fraction(n, d) for n, d in (
    (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48000, 1001), (48, 1), (50, 1), (60000, 1001), (60, 1),
    (12, 1), (15, 1), (10, 1), (100, 1), (120000, 1001), (120, 1)))
_COARSE = Fraction(1, 1000)  # seconds; a clock that cannot tell NTSC rates from their neighbours
_HELD_SHARE = 100  # at most one frame in so many may be held, and always one


class VariableRate(ValueError):
    """The timestamps follow no constant rate. Its message says how they vary."""


def find_rate(stamps: NDArray[np.int64], time_base: Fraction,
              declared: Sequence[Fraction | None]) -> tuple[Fraction, tuple[tuple[int, int], ...]]:
    """Rate in frames/s and held frames ((frame, extra periods), ...) of sorted presentation `stamps` (n,) in `time_base`.

    A rate fits exactly where every stamp is within one tick of its place on an even grid, so that containers that round to
    milliseconds count as constant. Otherwise an even grid is accepted where no frame is a whole frame away from its place,
    which is what a recorder's jitter looks like. Anything else raises `VariableRate`.
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
    allowed = max(1, len(stamps) // _HELD_SHARE)
    for rate, steps in exact:
        if steps is not None and 0 < (steps > 1).sum() <= allowed and (steps == 1).sum() > 0:
            return rate, tuple((int(i), int(steps[i]) - 1) for i in np.flatnonzero(steps > 1))
    return _jittered(seconds, known), ()


def _readings(rate: Fraction, time_base: Fraction) -> tuple[Fraction, ...]:
    """What a declared rate may mean: on a coarse clock FFmpeg's fraction is a guess, the standard rate beside it goes first."""
    if time_base < _COARSE:
        return (rate,)
    return (*(s for s in STANDARD_RATES if abs(s / rate - 1) < 2e-5), rate)


def _steps(seconds: NDArray[np.float64], rate: Fraction, tick: float) -> NDArray[np.int64] | None:
    """Whole periods between neighbours, (n-1,), where every stamp is on the grid of `rate`; None where one is off it."""
    r = float(rate)
    places = np.rint(seconds * r)
    if np.abs(seconds - places / r).max() > min(1.01 * tick, 0.3 / r):
        return None
    steps = np.diff(places).astype(np.int64)
    return steps if (steps >= 1).all() else None


def _jittered(seconds: NDArray[np.float64], known: Sequence[Fraction]) -> Fraction:
    """The rate whose even grid every stamp stays close to: a standard one within half a frame, else a declared one within one."""
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
    raise VariableRate(f"frames last from {gaps.min():.1f} to {gaps.max():.1f} ms")
