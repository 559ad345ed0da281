"""Edits as Resolve writes and reads them, for its double.

Written: Clip.2, DEFAULT_MEDIA, bare paths, ranges in the media's own timecode, Resolve_OTIO metadata, records
of effects that are no OTIO effects. Read: only what has that shape; anything else gives no timeline and no
message.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resolve_state import Bin, Clip, Dissolve, Line, Media, Project, Track

Node = dict[str, Any]


def _time(value: float, rate: float) -> Node:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": float(value)}


def _range(start: float, length: float, rate: float) -> Node:
    return {
        "OTIO_SCHEMA": "TimeRange.1",
        "duration": _time(length, rate),
        "start_time": _time(start, rate),
    }


# ---- written -----------------------------------------------------------------------------------------------


def write_otio(project: Project, line: Line, path: Path) -> None:
    """The timeline as a file, indented by four as Resolve does."""
    groups: dict[str, int] = {}
    for _, clip in line.clips():
        if clip.linked and clip.uid not in groups:
            number = len(set(groups.values())) + 1
            groups.update(dict.fromkeys([clip.uid, *clip.linked], number))
    tracks = [_track_node(project, line, track, groups) for track in line.tracks]
    stack = {"OTIO_SCHEMA": "Stack.1", "metadata": {}, "name": "", "source_range": None, "effects": []}
    root = {
        "OTIO_SCHEMA": "Timeline.1",
        "metadata": {"Resolve_OTIO": {"Resolve OTIO Meta Version": "1.0"}},
        "name": line.name,
        "global_start_time": _time(line.start, line.rate),
        "tracks": {**stack, "markers": _markers(line), "enabled": True, "children": tracks},
    }
    path.write_text(json.dumps(root, indent=4), encoding="utf-8")


def _markers(line: Line) -> list[Node]:
    return [
        {
            "OTIO_SCHEMA": "Marker.2",
            "metadata": {"Resolve_OTIO": {"Keywords": [], "Note": marker["note"]}},
            "name": marker["name"],
            "color": marker["color"].upper(),
            "marked_range": _range(line.start + int(frame), marker["duration"], line.rate),
            "comment": "",
        }
        for frame, marker in line.markers.items()
    ]


def _track_node(project: Project, line: Line, track: Track, groups: dict[str, int]) -> Node:
    children: list[Node] = []
    at = line.start
    dissolves = {d.cut: d for d in track.dissolves}
    for clip in track.clips:
        if clip.start > at:
            empty = {"effects": [], "markers": [], "enabled": True}
            gap = {"OTIO_SCHEMA": "Gap.1", "metadata": {}, "name": ""}
            children.append({**gap, "source_range": _range(0, clip.start - at, line.rate), **empty})
        if (over := dissolves.get(clip.start)) is not None:
            children.append(_transition(over, line.rate))
        children.append(_clip_node(project, line, track, clip, groups))
        at = clip.end
    sound = {"Audio Type": "Stereo", "Locked": track.locked, "SoloOn": False}
    meta = sound if track.kind == "audio" else {"Locked": track.locked}
    return {
        "OTIO_SCHEMA": "Track.1",
        "metadata": {"Resolve_OTIO": meta},
        "name": track.name,
        "source_range": None,
        "effects": [],
        "markers": [],
        "enabled": track.enabled,
        "children": children,
        "kind": track.kind.title(),
    }


def _transition(dissolve: Dissolve, rate: float) -> Node:
    named = {"OTIO_SCHEMA": "Transition.1", "name": "Cross Dissolve", "transition_type": "SMPTE_Dissolve"}
    kind = {"Resolve_OTIO": {"Transition Type": "Cross Dissolve"}}
    offsets = {"in_offset": _time(dissolve.before, rate), "out_offset": _time(dissolve.after, rate)}
    return {**named, "metadata": kind, **offsets}


def _clip_node(project: Project, line: Line, track: Track, clip: Clip, groups: dict[str, int]) -> Node:
    if clip.inside:
        return _compound_node(project, line, clip)
    media = project.media_of(clip.media)
    meta: Node = {"Link Group ID": groups[clip.uid]} if clip.uid in groups else {}
    first = media.first if media is not None else 0
    effects = [] if clip.speed == 1.0 else [_warp(clip.speed)]
    if track.kind == "video":
        effects.append(_own_effect("Transform"))
    return {
        "OTIO_SCHEMA": "Clip.2",
        "metadata": {"Resolve_OTIO": meta},
        "name": clip.name,
        "source_range": _source_range(first, line, clip, media),
        "effects": effects,
        "markers": [],
        "enabled": clip.enabled,
        "media_references": {"DEFAULT_MEDIA": _reference(media)},
        "active_media_reference_key": "DEFAULT_MEDIA",
    }


def _compound_node(project: Project, line: Line, clip: Clip) -> Node:
    """A compound clip: a stack with a track inside."""
    inner = Track("video", "Video 1", clip.inside)
    begins = Line(line.uid, line.name, clip.start, line.rate)
    empty: Node = {"metadata": {}, "effects": [], "markers": [], "enabled": clip.enabled}
    track = _track_node(project, begins, inner, {})
    return {
        "OTIO_SCHEMA": "Stack.1",
        "name": clip.name,
        "source_range": _range(0, clip.duration, line.rate),
        **empty,
        "children": [track],
    }


def _source_range(first: int, line: Line, clip: Clip, media: Media | None) -> Node:
    """What a clip shows of its media, in the media's own rate."""
    rate = media.rate if media is not None else line.rate
    return _range(first + clip.left, clip.duration * rate / line.rate, rate)


def _reference(media: Media | None) -> Node:
    if media is None:
        return {"OTIO_SCHEMA": "MissingReference.1", "metadata": {}, "name": "", "available_range": None}
    return {
        "OTIO_SCHEMA": "ExternalReference.1",
        "metadata": {},
        "name": media.name,
        "available_range": _range(media.first, media.frames, media.rate),
        "available_image_bounds": None,
        "target_url": media.path,
    }


def _warp(speed: float) -> Node:
    named = {"metadata": {}, "name": "", "effect_name": ""}
    return {"OTIO_SCHEMA": "LinearTimeWarp.1", **named, "time_scalar": speed}


def _own_effect(name: str) -> Node:
    values = {"Effect Name": name, "Enabled": True, "Name": name, "Parameters": [], "Type": 2}
    return {
        "OTIO_SCHEMA": "Effect.1",
        "metadata": {"Resolve_OTIO": values},
        "name": "",
        "effect_name": "Resolve Effect",
    }


# ---- read --------------------------------------------------------------------------------------------------


class Reader:
    """Reads an edit into a project. uid: gives new identifiers. Metadata are dropped."""

    def __init__(self, project: Project, uid: Any, linked: bool) -> None:
        self.project, self.uid, self.linked = project, uid, linked

    def line(self, path: Path, name: str) -> Line | None:
        """The timeline; None for a file of any other shape than Resolve's own, without a word why."""
        try:
            root = json.loads(path.read_text(encoding="utf-8"))
            start = root["global_start_time"]
            line = Line(self.uid("line"), name or root["name"], int(start["value"]), start["rate"])
            for node in root["tracks"]["children"]:
                if node["OTIO_SCHEMA"] == "Track.1":  # stacks at the top are not read
                    line.tracks.append(self._track(node, line))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return line

    def _track(self, node: Node, line: Line) -> Track:
        track = Track(node["kind"].lower(), node["name"], enabled=node["enabled"])
        at = line.start
        for child in node["children"]:
            kind = child["OTIO_SCHEMA"]
            if kind == "Transition.1":
                before, after = (round(child[f"{side}_offset"]["value"]) for side in ("in", "out"))
                track.dissolves.append(Dissolve(self.uid("dissolve"), at, before, after))
                continue
            span = child["source_range"]["duration"]
            length = round(span["value"] / span["rate"] * line.rate)
            if kind not in ("Gap.1", "Stack.1"):  # a compound clip is not read: its place stays empty
                track.clips.append(self._clip(child, at, length))
            at += length
        return track

    def _clip(self, node: Node, at: int, length: int) -> Clip:
        if node["OTIO_SCHEMA"] != "Clip.2":
            raise ValueError("only Clip.2 is read")
        reference = node["media_references"]["DEFAULT_MEDIA"]
        if node["active_media_reference_key"] != "DEFAULT_MEDIA":
            raise ValueError("only the default reference is read")
        first = int(node["source_range"]["start_time"]["value"])
        clip = Clip(self.uid("clip"), node["name"], at, length, None, enabled=node["enabled"])
        for effect in node["effects"]:
            if effect["OTIO_SCHEMA"] == "LinearTimeWarp.1":
                clip.speed = effect["time_scalar"]
        if reference["OTIO_SCHEMA"] == "ExternalReference.1":
            media = self._media(reference)
            if first < media.first:
                raise ValueError("the clip starts before its media")
            clip.left = first - media.first
            clip.media = media.uid if self.linked else None
        return clip

    def _media(self, reference: Node) -> Media:
        url, span = reference["target_url"], reference["available_range"]
        if not Path(url).is_absolute() or "%20" in url or not Path(url).is_file():
            raise ValueError("only bare paths are read")
        known = next((m for m in self.project.media if m.path == url), None)
        if known is None:
            known = Media(
                *(self.uid("media"), url, Path(url).name, self.project.bin),
                *(int(span["duration"]["value"]), span["duration"]["rate"]),
                first=int(span["start_time"]["value"]),
            )
            if self.linked:
                self.project.media.append(known)
        return known


def bins_below(project: Project, uid: str) -> list[Bin]:
    """The folders in a folder."""
    return [b for b in project.bins if b.parent == uid]
