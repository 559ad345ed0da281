"""Small edits as OpenTimelineIO writes them, made of plain dictionaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Node = dict[str, Any]


def time(value: float, rate: float = 24.0) -> Node:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": value}


def span(start: float, length: float, rate: float = 24.0) -> Node:
    return {
        "OTIO_SCHEMA": "TimeRange.1",
        "duration": time(length, rate),
        "start_time": time(start, rate),
    }


def media(url: str = "/none/a.mov", start: float = 0, length: float = 1000, rate: float = 24.0) -> Node:
    return {
        "OTIO_SCHEMA": "ExternalReference.1",
        "metadata": {},
        "name": "",
        "available_range": span(start, length, rate),
        "available_image_bounds": None,
        "target_url": url,
    }


def item(schema: str, name: str = "", **more: Any) -> Node:
    empty: Node = {"metadata": {}, "name": name, "source_range": None, "effects": [], "markers": []}
    return {"OTIO_SCHEMA": schema, **empty, "enabled": True, **more}


def clip(name: str, start: float, length: float, rate: float = 24.0, **more: Any) -> Node:
    reference = more.pop("reference", None) or media(rate=rate)
    references = {"media_references": {"DEFAULT_MEDIA": reference}}
    more = {**references, "active_media_reference_key": "DEFAULT_MEDIA", **more}
    return item("Clip.2", name, **{"source_range": span(start, length, rate), **more})


def gap(length: float, rate: float = 24.0) -> Node:
    return item("Gap.1", source_range=span(0, length, rate))


def transition(before: float, after: float, rate: float = 24.0) -> Node:
    offsets = {"in_offset": time(before, rate), "out_offset": time(after, rate)}
    kind = {"transition_type": "SMPTE_Dissolve"}
    return {"OTIO_SCHEMA": "Transition.1", "metadata": {}, "name": "dissolve", **offsets, **kind}


def warp(scalar: float) -> Node:
    return {
        "OTIO_SCHEMA": "LinearTimeWarp.1",
        "metadata": {},
        "name": "",
        "effect_name": "LinearTimeWarp",
        "time_scalar": scalar,
    }


def track(*children: Node, kind: str = "Video", name: str = "", **more: Any) -> Node:
    return item("Track.1", name, kind=kind, children=list(children), **more)


def stack(*children: Node, name: str = "", **more: Any) -> Node:
    return item("Stack.1", name, children=list(children), **more)


def timeline(*tracks: Node, start: Node | None = None, name: str = "edit") -> Node:
    return {
        "OTIO_SCHEMA": "Timeline.1",
        "metadata": {},
        "name": name,
        "global_start_time": start,
        "tracks": stack(*tracks, name="tracks"),
    }


def write(path: Path, root: Any) -> Path:
    path.write_text(json.dumps(root, indent=4), encoding="utf-8")
    return path
