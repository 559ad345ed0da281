"""The exported edit, changed for the service: clips that nobody chose are marked to be left alone.

Python's own JSON keeps every number as it is written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

Place = tuple[int, int]  # number of the video track from 1, first frame in the timeline


def only_these(path: Path, places: Collection[Place], rate: float) -> None:
    """Mark every clip of the video tracks that does not start at one of `places` to be left alone.

    rate: frames of the timeline a second. Raises `ValueError` for a file of another shape.
    """
    try:
        edit = json.loads(path.read_text(encoding="utf-8"))
        for place, clip in _clips(edit, rate):
            if place not in places:
                ours = clip.setdefault("metadata", {}).setdefault("visualdub", {})
                ours["skip"] = True
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"{path} is no edit as Resolve exports it: {type(e).__name__} {e}") from e
    path.write_text(json.dumps(edit, indent=4), encoding="utf-8")


def _clips(edit: dict[str, Any], rate: float) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The clips and compound clips of the video tracks, and where they start."""
    number = 0
    for track in edit["tracks"]["children"]:
        if track.get("kind") != "Video":
            continue
        number += 1
        seconds = 0.0
        for child in track["children"]:
            schema = child["OTIO_SCHEMA"].split(".")[0]
            if schema == "Transition":
                continue
            if schema != "Gap":
                yield (number, round(seconds * rate)), child
            duration = child["source_range"]["duration"]
            seconds += duration["value"] / duration["rate"]
