"""Frames of the script and frames of the clip: where they differ, and ranges of them as artists write
them.
"""

from __future__ import annotations

import re

from plugin_nuke.errors import BadSetting

_RANGE = re.compile(r"\s*(-?\d+)\s*(?:-\s*(-?\d+)\s*)?")


def clip_range(text: str, first_frame: int, length: int | None) -> tuple[int, int] | None:
    """The frames of the clip, half open, that `text` names in frames of the script, both ends inclusive;
    None for all of them.

    first_frame: of the script, that shows the clip's frame 0. length: of the clip, where it is known. Raises
    `BadSetting`.
    """
    if not text.strip():
        return None
    found = _RANGE.fullmatch(text)
    if not found:
        raise BadSetting(f"{text!r} is no range; expected one like 1001-1048")
    low = int(found.group(1))
    high = int(found.group(2)) if found.group(2) is not None else low
    start, end = low - first_frame, high - first_frame + 1
    if start < 0 or end <= start or (length is not None and end > length):
        last = "" if length is None else f"-{first_frame + length - 1}"
        raise BadSetting(f"the range {text} is not inside the clip, which is shown at {first_frame}{last}")
    return start, end


def clip_ranges(text: str, first_frame: int, length: int | None) -> tuple[tuple[int, int], ...]:
    """As `clip_range` for several ranges with commas between; none where the text is empty."""
    found = (clip_range(part, first_frame, length) for part in text.split(","))
    return tuple(span for span in found if span is not None)


def script_range(first: int, last: int, first_frame: int) -> str:
    """Frames of the clip, inclusive, as an artist writes them in frames of the script."""
    return f"{first + first_frame}-{last + first_frame}"
