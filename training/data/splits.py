"""Who is held out for validation, and how many frames each clip of a person gives to a dataset."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from training.data.sources import Source
from visualdub.errors import BadInput

LEAST = 25  # frames with a face, below which a clip is refused
# Frames that each clip of a person gives at least; where there are too many clips for that, some give none.
SHARE = LEAST + 5


def check_validation(sources: Sequence[Source], wanted: Sequence[str]) -> frozenset[str]:
    """The speakers held out for validation.

    Raises `BadInput` for a speaker without a clip: a typo must not let a person into the training.
    """
    speakers = sorted({s.speaker for s in sources} - {""})
    for name in wanted:
        if name not in speakers:
            near = difflib.get_close_matches(name, speakers, 3, 0.5)
            hint = (
                f"the nearest are {', '.join(near)}"
                if near
                else f"there are {', '.join(speakers[:8])}" + (", ..." if len(speakers) > 8 else "")
            )
            raise BadInput(f"--validation names the speaker {name!r}, who is in no clip; {hint}")
    return frozenset(wanted)


def read_validation(text: str) -> tuple[str, ...]:
    """Speakers from a comma-separated list, or from a text file with one on each line (# begins a comment).

    Raises `BadInput` for a file that is not text.
    """
    names = text.split(",")
    if Path(text).is_file():
        try:
            names = [
                re.sub(r"(^|\s)#.*", "", line) for line in Path(text).read_text(encoding="utf-8").splitlines()
            ]
        except (OSError, UnicodeDecodeError) as e:
            raise BadInput(
                f"--validation {text} cannot be read as text: {e}; expected one speaker on each line"
            ) from e
    return tuple(dict.fromkeys(n.strip() for n in names if n.strip()))


def share_frames(lengths: Sequence[int], most: int) -> list[int]:
    """How many frames each clip of one person gives, `most` in all.

    The shares are equal, and longer clips make up for what shorter ones lack. Where there are so many clips
    that a share would be shorter than `SHARE`, only some of them, spread evenly over the list, give frames.
    """
    count = max(1, min(len(lengths), most // SHARE))
    chosen = (
        range(len(lengths))
        if sum(lengths) <= most
        else [(2 * k + 1) * len(lengths) // (2 * count) for k in range(count)]
    )
    shares, left = [0] * len(lengths), most
    for k, i in enumerate(sorted(chosen, key=lambda i: lengths[i])):
        shares[i] = min(lengths[i], left // (len(chosen) - k))
        left -= shares[i]
    return shares
