"""Which source frame a retimed clip shows at each frame of the edit.

The rules follow what editing systems render: `floor(start + k * speed)` forward, `floor(last - k * speed)`
in reverse, where the clip's `source_range` starts at the lowest source frame, and the nearest frame that the
media have outside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

SLOWEST = Fraction(1, 2)  # speed under which one source frame stays so long that it needs several mouths
_FINEST = 100_000  # denominator of a speed; 3.0303030303030303 is 100/33
_CLOSE = 1e-9
_Curve = Sequence[tuple[Fraction, Fraction]]  # (edit frame, source frame), in order of the first


class NotReadable(ValueError):
    """A change of speed whose source frames the file does not give; says why."""


@dataclass(frozen=True)
class SourceMap:
    """The source frame of every frame k of a clip, k = 0 at the clip's first frame in the edit.

    k below 0 and from the clip's length on reach into its handles, as transitions do.
    """

    kind: str  # "plain", "linear", "freeze", "reverse", "ramp"
    speed: Fraction  # source seconds per second of the edit; of a ramp the mean
    start: Fraction  # source frame at k = 0, before rounding
    slope: Fraction  # source frames per frame of the edit
    curve: tuple[Fraction, ...] = ()  # of a ramp: the source frame of each k, before rounding
    last: int | None = None  # of the media; None: not known
    bake: bool = False  # whether the clip is to be baked unless it shows each source frame once

    def frame(self, k: int) -> int:
        """The number of the source frame, 0 = the first of the media, that is shown at frame k."""
        shown = max(0, floor(self.place(k)))
        return shown if self.last is None else min(shown, self.last)

    def beyond(self, k: int) -> bool:
        """Whether the media have no frame of their own for frame k, so that a neighbour is held."""
        place = self.place(k)
        return place < 0 or (self.last is not None and floor(place) > self.last)

    def place(self, k: int) -> Fraction:
        """Where in the media frame k begins, in source frames."""
        return self.curve[min(max(k, 0), len(self.curve) - 1)] if self.curve else self.start + k * self.slope

    def frames(self, start: int, end_exclusive: int) -> list[int]:
        """The source frame of every frame from `start` on."""
        return [self.frame(k) for k in range(start, end_exclusive)]

    @property
    def needs_baking(self) -> bool:
        """Whether the clip cannot show a dub of its source frames."""
        return self.several_mouths or (self.bake and self.slope != 1)

    @property
    def several_mouths(self) -> bool:
        """Whether one source frame may need several mouths, or frames run otherwise than forward."""
        return self.kind in ("freeze", "reverse", "ramp") or self.speed < SLOWEST


def exact(value: float) -> Fraction:
    """The fraction that a decimal number stands for: 3.0303030303030303 is 100/33."""
    near = Fraction(value).limit_denominator(_FINEST)
    return near if abs(float(near) - value) <= _CLOSE * max(1.0, abs(value)) else Fraction(value)


def source_map(
    effects: Sequence[Mapping[str, Any]], start: Fraction, step: Fraction, length: int, last: int | None
) -> SourceMap:
    """The source frames of a clip of `length` frames with the time `effects`, the first applied last.

    start: the source frame that `source_range` starts at; step: source frames per frame of the edit at speed
    1; last: the media's last frame, where it is known. Raises `NotReadable` for a ramp whose key frames the
    file does not give.
    """
    warps = [e for e in effects if e["kind"] in ("linear", "ramp", "remap")]
    if all(e["kind"] == "linear" for e in warps):
        speed = Fraction(1)
        for e in warps:
            if e.get("scalar") is None:
                raise NotReadable("its speed is no number")
            speed *= exact(e["scalar"])
        if speed < 0 and len(warps) == 1 and (curve := avid_curve(warps[0], length)):
            return curved(curve, start, step, length, last)
        return constant(speed, start, step, length, last)
    if any(e["kind"] == "remap" for e in warps):
        raise NotReadable("its speed change (FCP7 Time Remap) is not read by the adapter")
    if len(warps) == 1 and (curve := avid_curve(warps[0], length)):
        return curved(curve, start, step, length, last)
    return looked_up(warps, start, step, length, last)


def constant(speed: Fraction, start: Fraction, step: Fraction, length: int, last: int | None) -> SourceMap:
    """The frames of one constant speed."""
    if speed == 0:
        return SourceMap("freeze", speed, start, Fraction(0), last=last)
    if speed > 0:
        return SourceMap("plain" if speed == 1 else "linear", speed, start, step * speed, last=last)
    highest = start + (length - 1) * step * -speed
    return SourceMap("reverse", speed, highest, step * speed, last=last)


def curved(curve: _Curve, start: Fraction, step: Fraction, length: int, last: int | None) -> SourceMap:
    """The frames of a curve of offsets from `start`; one straight line is a constant speed."""
    offsets = [interpolated(curve, Fraction(k)) * step for k in range(length)]
    slopes = {b - a for a, b in pairwise(offsets)}
    if len(slopes) == 1:
        (slope,) = slopes
        kind = "freeze" if slope == 0 else "reverse" if slope < 0 else "linear"
        return SourceMap(kind, slope / step, start + offsets[0], slope, last=last)
    mean = (offsets[-1] - offsets[0]) / max(1, length - 1) / step
    return SourceMap("ramp", mean, start, step * mean, tuple(start + o for o in offsets), last)


def avid_curve(effect: Mapping[str, Any], length: int) -> _Curve | None:
    """An Avid's key frames of (edit frame, source frame); None where it gives none.

    Raises `NotReadable` for curved ones.
    """
    for name, unit in (("PARAM_SPEED_OFFSET_MAP_U", 1), ("PARAM_OFFSET_MAP_U", length - 1)):
        keys = effect.get(name + "_baked") or effect.get(name)
        if not keys or len(keys) < 2:
            continue
        if len(keys) > 2 and not effect.get(name + "_baked") and name == "PARAM_OFFSET_MAP_U":
            raise NotReadable("its speed ramp has curved key frames, whose values the file does not give")
        return [(exact(float(t)) * unit, exact(float(v))) for t, v in keys]
    return None


def looked_up(
    warps: Sequence[Mapping[str, Any]], start: Fraction, step: Fraction, length: int, last: int | None
) -> SourceMap:
    """The frames of effects that give, for each frame, how far it is moved (Hiero's TimeWarp)."""
    if any(e["kind"] == "ramp" and not e.get("lookup") for e in warps):
        raise NotReadable("its speed ramp has no key frames in the file")
    places = []
    for k in range(length):
        place = Fraction(k)
        for e in reversed(warps):
            if e["kind"] == "linear":
                if e.get("scalar") is None or e["scalar"] < 0:
                    raise NotReadable("its speed ramp runs in reverse")
                place *= exact(e["scalar"])
            else:
                moved = [(Fraction(i), exact(float(v))) for i, v in enumerate(e["lookup"])]
                place += interpolated(moved, min(max(place, Fraction(0)), moved[-1][0]))
        places.append(place * step)
    mean = (places[-1] - places[0]) / max(1, length - 1) / step
    return SourceMap("ramp", mean, start, step * mean, tuple(start + p for p in places), last)


def interpolated(curve: _Curve, at: Fraction) -> Fraction:
    """The value of a polyline at a place; its first and last piece go on beyond its ends."""
    if len(curve) == 1:
        return curve[0][1]
    pieces = list(pairwise(curve))
    (t0, v0), (t1, v1) = next((p for p in pieces if at <= p[1][0]), pieces[-1])
    return v0 if t1 == t0 else v0 + (v1 - v0) * (at - t0) / (t1 - t0)
