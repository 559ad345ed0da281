"""Ranges of a timeline as artists write them, in timecode, and frames of the timeline."""

from __future__ import annotations

import re
from collections.abc import Sequence

Range = tuple[int, int]  # frames from the timeline's first one, half open
_RANGE = re.compile(r"\s*(\d+:\d+:\d+[:;]\d+)\s*(?:-\s*(\d+:\d+:\d+[:;]\d+)\s*)?")
_DROP = {30: 2, 60: 4, 120: 8}  # numbers that drop frame leaves out every minute but each tenth
EXAMPLE = "01:00:04:10-01:00:06:00"


def parse_ranges(text: str, start: int, rate: str) -> tuple[Range, ...]:
    """What `text` names, in order, ranges that meet joined; both of the timecodes of a range are inside it.
    None where the text is empty.

    start: the timeline's first frame, counted from midnight. rate: as Resolve writes it, 25 or 29.97 DF.
    Raises `ValueError` for what is no range.
    """
    found: list[Range] = []
    for part in filter(str.strip, text.split(",")):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"{part.strip()!r} is no range of the timeline; expected one like {EXAMPLE}")
        first = frame_of(match.group(1), rate) - start
        last = frame_of(match.group(2) or match.group(1), rate) - start
        if first < 0 or last < first:
            why = "begins before the timeline does" if first < 0 else "ends before it begins"
            raise ValueError(f"the range {part.strip()} {why}; expected one like {EXAMPLE}")
        found.append((first, last + 1))
    return _joined(found)


def frame_of(timecode: str, rate: str) -> int:
    """The frame of a timecode, counted from midnight. Raises `ValueError` for one that does not exist."""
    hours, minutes, seconds, frames = (int(n) for n in re.split("[:;]", timecode))
    base = round(float(re.split(r"[^\d.]", rate)[0]))
    if minutes > 59 or seconds > 59 or frames >= base:
        raise ValueError(f"the timecode {timecode} does not exist at {rate} frames a second")
    whole = hours * 60 + minutes
    dropped = _DROP.get(base, 0) if "DF" in rate or ";" in timecode else 0
    if dropped and minutes % 10 and seconds == 0 and frames < dropped:
        raise ValueError(f"the timecode {timecode} does not exist in drop frame")
    return (whole * 60 + seconds) * base + frames - dropped * (whole - whole // 10)


def _joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    joined: list[Range] = []
    for first, end in sorted(ranges):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return tuple(joined)


def outside(ranges: Sequence[Range], start: int, end: int) -> list[Range]:
    """What of the frames `start` to `end` - 1 lies in none of the ranges."""
    left: list[Range] = []
    at = start
    for first, after in _joined(ranges):
        if first > at:
            left.append((at, min(first, end)))
        at = max(at, after)
    left.append((at, end))
    return [(a, b) for a, b in left if a < b]
