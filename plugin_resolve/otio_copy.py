"""The exported edit, changed for the service: what nobody chose is marked to be left alone.

Python's own JSON keeps every number as it is written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from plugin_resolve.ranges import Range, outside

Place = tuple[int, int]  # number of the video track from 1, first frame in the timeline
ROUNDING = 0.001  # frames


def read_copy(path: Path) -> dict[str, Any]:
    """The exported edit. Raises `ValueError` for a file of another shape."""
    edit = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(edit, dict) or not isinstance(edit.get("tracks"), dict):
        raise ValueError(f"{path} is no edit as Resolve exports it")
    return edit


def write_copy(path: Path, edit: dict[str, Any]) -> None:
    """Write it as Resolve does."""
    path.write_text(json.dumps(edit, indent=4), encoding="utf-8")


def only_these(edit: dict[str, Any], places: Collection[Place] | None, rate: float) -> None:
    """Mark every clip of the video tracks that does not start at one of `places` to be left alone; None: all
    stay. rate: frames of the timeline a second. Raises `ValueError` for an edit of another shape.
    """
    if places is None:
        return
    for place, _, clip in _clips(edit, rate):
        if place not in places:
            _ours(clip)["skip"] = True


def only_ranges(edit: dict[str, Any], ranges: Sequence[Range], rate: float) -> None:
    """Mark what lies outside of `ranges` of the timeline to be left alone; none given: all stay.

    A clip whose speed changes within it, and a compound clip, are left alone as a whole or not at all.
    """
    if not ranges:
        return
    for (_, start), length, clip in _clips(edit, rate):
        away = outside(ranges, start, start + length)
        if away == [(start, start + length)]:
            _ours(clip)["skip"] = True
            continue
        speed = _speed(clip)
        markers = (_marker(clip, a - start, b - start, rate, speed) for a, b in away)
        clip.setdefault("markers", []).extend(m for m in markers if m is not None)


def media_of(edit: Any) -> list[str]:
    """The paths of all media that an edit names, those of compound clips and of sound among them."""
    found: list[str] = []
    waiting = [edit]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found += [u for k in ("target_url", "target_url_base") if isinstance(u := node.get(k), str)]
            waiting += list(node.values())
        elif isinstance(node, list):
            waiting += node
    return list(dict.fromkeys(found))


# ---- the edit's clips --------------------------------------------------------------------------------------


def _clips(edit: dict[str, Any], rate: float) -> Iterator[tuple[Place, int, dict[str, Any]]]:
    """The clips and compound clips of the video tracks, where they start, and how many frames they last."""
    number = 0
    try:
        for track in edit["tracks"]["children"]:
            if track.get("kind") != "Video":
                continue
            number += 1
            seconds = 0.0
            for child in track["children"]:
                schema = child["OTIO_SCHEMA"].split(".")[0]
                if schema == "Transition":
                    continue
                duration = child["source_range"]["duration"]
                start, seconds = seconds, seconds + duration["value"] / duration["rate"]
                if schema != "Gap":
                    first = round(start * rate)
                    yield (number, first), round(seconds * rate) - first, child
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"this is no edit as Resolve exports it: {type(e).__name__} {e}") from e


def _ours(item: dict[str, Any]) -> dict[str, Any]:
    """What we say of an item."""
    values: dict[str, Any] = item.setdefault("metadata", {}).setdefault("visualdub", {})
    return values


def _speed(clip: dict[str, Any]) -> float:
    """The one speed of a clip; 0 for a freeze, for one that changes, and for a compound clip."""
    kinds = [e["OTIO_SCHEMA"].split(".")[0] for e in clip.get("effects", ())]
    if not clip["OTIO_SCHEMA"].startswith("Clip") or "TimeEffect" in kinds:
        return 0.0
    speed = 1.0
    for effect in clip.get("effects", ()):
        speed *= float(effect.get("time_scalar", 1.0))
    return speed


def _marker(clip: dict[str, Any], first: int, end: int, rate: float, speed: float) -> dict[str, Any] | None:
    """A marker that leaves frames of the timeline alone, counted from the clip's first; None for less than a
    frame of the media, and without a speed. Its times are those of the media: a reversed clip begins with its
    last frame.
    """
    times = clip["source_range"]
    media_rate = times["duration"]["rate"]
    if speed < 0:
        length = round(times["duration"]["value"] / media_rate * rate)
        first, end = length - end, length - first
    step = abs(speed) * media_rate / rate
    low, high = math.ceil(first * step - ROUNDING), math.floor(end * step + ROUNDING)
    if low >= high:
        return None
    time = {"OTIO_SCHEMA": "RationalTime.1", "rate": media_rate}
    span = {
        "OTIO_SCHEMA": "TimeRange.1",
        "start_time": dict(time, value=times["start_time"]["value"] + low),
        "duration": dict(time, value=float(high - low)),
    }
    named = {"OTIO_SCHEMA": "Marker.2", "name": "left alone", "color": "RED", "comment": ""}
    return dict(named, metadata={"visualdub": {"skip": True}}, marked_range=span)
