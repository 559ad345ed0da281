"""Dubbed edits: the text of the original with our additions, and no other byte changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from visualdub.edit.host_shape import shaped
from visualdub.edit.json_spans import Change, JsonText, changed
from visualdub.edit.layout import Edit, media_frame
from visualdub.edit.plan import DUB, OURS, PlannedShot, original_key
from visualdub.errors import BadInput

DEFAULT = "DEFAULT_MEDIA"
SET_ASIDE = "visualdub original"  # the key of the original where ours takes its own


@dataclass(frozen=True)
class HostRules:
    """What a program insists on in an edit that it imports."""

    bare_paths: bool | None = None  # None: as the original's reference has it
    as_default: bool = False
    unique_name: bool = False
    suffix: str = ".mkv"  # of the dubbed movies
    resolve_shape: bool = False  # the whole document as `host_shape` has it
    bake_retimed: bool = False  # dubs of retimed clips have a frame for each frame of the edit


HOSTS = {
    "resolve": HostRules(
        bare_paths=True,
        as_default=True,
        unique_name=True,
        suffix=".mov",
        resolve_shape=True,
        bake_retimed=True,
    ),
    "premiere": HostRules(bare_paths=False, as_default=True, suffix=".mov"),
    "avid": HostRules(bare_paths=False, as_default=True, suffix=".mov"),
    "nuke": HostRules(bare_paths=True, as_default=True, suffix=".mov"),
}


@dataclass(frozen=True)
class DubbedClip:
    """A finished dub of one clip."""

    shot: PlannedShot
    movie: PurePath  # as the edit names it


def host_rules(name: str | None, as_default: bool = False) -> HostRules:
    """The rules of a program. Raises `BadInput` for one that is not known."""
    if name is not None and name not in HOSTS:
        raise BadInput(f"--for {name} is not known; expected one of {', '.join(HOSTS)}")
    rules = HOSTS[name] if name else HostRules()
    return replace(rules, as_default=rules.as_default or as_default)


def patched(
    text: bytes,
    edit: Edit,
    dubbed: Sequence[DubbedClip],
    rules: HostRules,
    *,
    language: str | None = None,
) -> bytes:
    """The text of an .otio file with the dubs in it: a second reference of each clip, active, and a track
    above for those that are baked. What an earlier dub of ours left there is replaced.
    """
    tree, key = JsonText(text), f"{OURS}-{language}" if language else OURS
    changes: list[Change] = []
    for done in dubbed:
        if done.shot.action == DUB:
            changes += _second_reference(tree, done, rules, key)
    changes += _baked_tracks(tree, edit, [d for d in dubbed if d.shot.action != DUB], rules)
    if rules.unique_name:
        root = tree.find(_timeline_path(edit))
        if (name := tree.members(root).get("name")) is not None:
            title = f"{edit.name} (dub{f' {language}' if language else ''})"
            changes.append(Change(name.start, name.end, tree.rendered(title, name.start)))
    text = changed(text, changes)
    return shaped(text, edit, _timeline_path(edit)) if rules.resolve_shape else text


# ---- a second reference ------------------------------------------------------------------------------------


def _second_reference(tree: JsonText, done: DubbedClip, rules: HostRules, key: str) -> list[Change]:
    """The changes that give a clip its dub as a second, active reference."""
    at = tree.find(done.shot.clip.path)
    members = tree.members(at)
    before, there = original_key(done.shot.clip), done.shot.clip.node["refs"]
    aside = rules.as_default and before == DEFAULT
    ours, kept = (DEFAULT, SET_ASIDE) if aside else (key, before)
    if rules.as_default and (before == SET_ASIDE or DEFAULT not in there):
        ours = DEFAULT
    reference = reference_to(done, rules, kept)
    if "media_references" in members:
        return _in_references(tree, at, reference, ours, before if aside else None)
    single = members.get("media_reference")
    if single is None:
        raise BadInput(f"the clip {done.shot.clip.name!r} has no media reference in the edit's text")
    schema = members["OTIO_SCHEMA"]
    first = tree.rendered({ours: reference}, single.start)[1:-1].strip()
    indent = tree.indent_at(single.start)
    gap = b" " if indent is None else f"{tree.newline}{indent}".encode()
    active = b'"active_media_reference_key": ' + tree.rendered(ours, single.start)
    kept_key = tree.rendered(kept if aside else DEFAULT, single.start)
    return [
        Change(schema.start, schema.end, b'"Clip.2"'),
        Change(single.key_start, single.key_end, b'"media_references"'),
        Change(single.start, single.start, b"{" + first + b"," + gap + kept_key + b": "),
        Change(single.end, single.end, b"}," + gap + active),
    ]


def _in_references(
    tree: JsonText, at: int, reference: Mapping[str, Any], ours: str, aside: str | None
) -> list[Change]:
    """The changes in `media_references` of the clip at `at`. aside: the original's key, that becomes ours."""
    members = tree.members(at)
    references = members["media_references"]
    there = tree.members(references.start)
    changes = []
    if aside is not None:
        old = there[aside]
        changes.append(Change(old.key_start, old.key_end, tree.rendered(SET_ASIDE, old.key_start)))
    if ours in there and aside is None:
        old = there[ours]
        changes.append(Change(old.start, old.end, tree.rendered(reference, old.key_start)))
    else:
        inner = tree.rendered({ours: reference}, references.start)[1:-1].rstrip()
        comma = b"," if there else b""
        changes.append(Change(references.start + 1, references.start + 1, inner + comma))
    active = tree.rendered(ours, references.start)
    if (key := members.get("active_media_reference_key")) is not None:
        changes.append(Change(key.start, key.end, active))
    else:
        changes.append(Change(references.end, references.end, b', "active_media_reference_key": ' + active))
    return changes


def reference_to(done: DubbedClip, rules: HostRules, original: str) -> dict[str, Any]:
    """The reference to a dub: its movie holds the shot's frames, under the numbers that the original has."""
    shot = done.shot
    assert shot.frames is not None and shot.map is not None
    old = shot.clip.reference(original_key(shot.clip)) or {}
    times = shot.clip.node.get("range") or old.get("avail")
    assert times is not None
    start = media_frame(times[0], times[2], shot.media_rate) - shot.map.start + shot.frames.start
    return _reference(
        done.movie,
        url_of(done.movie, old, rules),
        _range(float(start), len(shot.frames), shot.media_rate),
        {"visualdub": {"original": original}},
    )


def _reference(movie: PurePath, url: str, span: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """A reference to a movie, by the name of its file: programs take it for a reel's, or tell media by it."""
    return {
        "OTIO_SCHEMA": "ExternalReference.1",
        "metadata": metadata,
        "name": movie.name,
        "available_range": span,
        "available_image_bounds": None,
        "target_url": url,
    }


def _time(value: float, rate: float) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": value}


def _range(start: float, length: float, rate: float) -> dict[str, Any]:
    times = {"duration": _time(float(length), rate), "start_time": _time(start, rate)}
    return {"OTIO_SCHEMA": "TimeRange.1", **times}


def url_of(movie: PurePath, original: Mapping[str, Any], rules: HostRules) -> str:
    """A movie as a reference names it: a bare path, or a file:// address."""
    path = movie.absolute() if isinstance(movie, Path) else movie
    bare = rules.bare_paths
    if bare is None:
        address = original.get("url") or original.get("target_url_base") or ""
        bare = not str(address).lower().startswith("file://")
    return str(path) if bare else "file://" + quote(path.as_posix())


# ---- baked clips -------------------------------------------------------------------------------------------


def _timeline_path(edit: Edit) -> tuple[str | int, ...]:
    """Where the timeline stands in the file: at its root, or inside a collection."""
    clips = (*edit.clips, *edit.sound)
    path = clips[0].path if clips else ()
    return path[: path.index("tracks")] if "tracks" in path else ()


def _baked_tracks(tree: JsonText, edit: Edit, baked: Sequence[DubbedClip], rules: HostRules) -> list[Change]:
    """The changes that put baked clips on a track right above their own, and take away earlier ones."""
    base = (*_timeline_path(edit), "tracks", "children")
    changes = []
    old = {c.path[len(base)] for c in edit.clips if c.meta.get("baked") and len(c.path) > len(base)}
    tracks = tree.elements(tree.find(base))
    for number in old:
        assert isinstance(number, int)
        start = tracks[number - 1][1] if number > 0 else tracks[number][0]
        changes.append(Change(start, tracks[number][1], b""))
    lanes: dict[int, list[list[DubbedClip]]] = {}
    for done in sorted(baked, key=lambda d: d.shot.timeline):
        number = done.shot.clip.path[len(base)]
        assert isinstance(number, int)
        for lane in lanes.setdefault(number, []):
            if lane[-1].shot.timeline[1] <= done.shot.timeline[0]:
                lane.append(done)
                break
        else:
            lanes[number].append([done])
    for number, stacked in lanes.items():
        end = tracks[number][1]
        text = b""
        for lane in stacked:
            indent = tree.indent_at(tracks[number][0])
            gap = b" " if indent is None else f"{tree.newline}{indent}".encode()
            body = tree.rendered(_track_of(lane, edit, rules), tracks[number][0])
            text += b"," + gap + body
        changes.append(Change(end, end, text))
    return changes


def _track_of(lane: Sequence[DubbedClip], edit: Edit, rules: HostRules) -> dict[str, Any]:
    """A track with baked clips at their places, gaps between them."""
    rate, at = float(edit.rate), 0
    usual = {"effects": [], "markers": [], "enabled": True}
    children: list[dict[str, Any]] = []
    for done in lane:
        low, high = done.shot.timeline
        if low > at:
            gap = {
                "OTIO_SCHEMA": "Gap.1",
                "metadata": {},
                "name": "",
                "source_range": _range(0.0, low - at, rate),
            }
            children.append({**gap, **usual})
        old = done.shot.clip.reference(original_key(done.shot.clip)) or {}
        url = url_of(done.movie, old, rules)
        movie = _reference(done.movie, url, _range(0.0, high - low, rate), {})
        clip = {
            "OTIO_SCHEMA": "Clip.2",
            "metadata": {"visualdub": {"baked": True}},
            "name": done.shot.clip.name,
        }
        span = {"source_range": _range(0.0, high - low, rate), **usual, "media_references": {DEFAULT: movie}}
        children.append({**clip, **span, "active_media_reference_key": DEFAULT})
        at = high
    track = {"OTIO_SCHEMA": "Track.1", "metadata": {"visualdub": {"baked": True}}, "name": "Visual Dub"}
    return {**track, "source_range": None, **usual, "children": children, "kind": "Video"}
