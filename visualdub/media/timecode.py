"""SMPTE timecode: HH:MM:SS:FF, or HH:MM:SS;FF where frame numbers are dropped to keep up with the clock."""

from __future__ import annotations

import re
from fractions import Fraction

from visualdub.errors import BadInput

_FORM = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d+)")


def shift_timecode(timecode: str, frames: int, rate: Fraction) -> str:
    """The timecode `frames` frames later, wrapping at 24 hours. Raises `BadInput` for text that is no timecode."""
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
