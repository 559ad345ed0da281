"""What DaVinci Resolve asks of the whole of an .otio file that it imports.

It reads only a document like its own and says nothing where it refuses one: `Clip.2` with a map of
references, each with a range, bare and absolute paths in all of them, a start time of the timeline, and
`enabled`, `metadata` and `color` on every item.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from visualdub.edit.json_spans import Change, JsonText, Member, changed
from visualdub.edit.layout import Edit, media_frame
from visualdub.edit.media import path_of, timecode_s
from visualdub.edit.plan import EditPlan, PlannedShot, original_key
from visualdub.errors import BadInput

_ITEMS = ("Clip", "Gap", "Stack", "Track")
_USUAL = {"enabled": b"true", "metadata": b"{}", "color": b"null"}
_URLS = ("target_url", "target_url_base")
_START = b'{"OTIO_SCHEMA": "RationalTime.1", "rate": %s, "value": 0.0}'


def shaped(text: bytes, edit: Edit, path: tuple[str | int, ...]) -> bytes:
    """The text of an edit in the shape that Resolve imports. path: where its timeline stands; relative paths
    in it are taken from the folder of the original edit.
    """
    tree = JsonText(text)
    root = tree.find(path)
    members = tree.members(root)
    changes = list(_defaults(tree, members, "global_start_time", _START % str(float(edit.rate)).encode()))
    if (tracks := members.get("tracks")) is not None:
        changes += _item(tree, tracks.start, edit.path.parent)
    return changed(text, changes)


def _item(tree: JsonText, at: int, folder: Path) -> Iterator[Change]:
    """The changes of an item and all below it."""
    members = tree.members(at)
    schema = members.get("OTIO_SCHEMA")
    name = "" if schema is None else str(tree.value(schema.start, schema.end)).partition(".")[0]
    if name in _ITEMS:
        for key, usual in _USUAL.items():
            yield from _defaults(tree, members, key, usual, null=key == "color")
    if name == "Clip":
        yield from _clip(tree, members, folder)
    if (children := members.get("children")) is not None:
        for start, _ in tree.elements(children.start):
            yield from _item(tree, start, folder)


def _defaults(
    tree: JsonText, members: dict[str, Member], key: str, usual: bytes, null: bool = False
) -> Iterator[Change]:
    """Give an object a member that it lacks. null: whether it may be null."""
    there, schema = members.get(key), members.get("OTIO_SCHEMA")
    if there is None and schema is not None:
        yield Change(schema.end, schema.end, b', "%s": %s' % (key.encode(), usual))
    elif there is not None and not null and tree.text[there.start : there.end] == b"null":
        yield Change(there.start, there.end, usual)


def _clip(tree: JsonText, members: dict[str, Member], folder: Path) -> Iterator[Change]:
    """The changes of a clip's references."""
    schema, single = members["OTIO_SCHEMA"], members.get("media_reference")
    times = members.get("source_range")
    span = b"null" if times is None else tree.text[times.start : times.end]
    if single is not None and "media_references" not in members:
        yield Change(schema.start, schema.end, b'"Clip.2"')
        yield Change(single.key_start, single.key_end, b'"media_references"')
        yield Change(single.start, single.start, b'{"DEFAULT_MEDIA": ')
        yield from _reference(tree, single.start, span, folder)
        yield Change(single.end, single.end, b'}, "active_media_reference_key": "DEFAULT_MEDIA"')
    if (references := members.get("media_references")) is not None:
        for reference in tree.members(references.start).values():
            yield from _reference(tree, reference.start, span, folder)


def _reference(tree: JsonText, at: int, span: bytes, folder: Path) -> Iterator[Change]:
    """The changes of a reference: its range, where it has none that of the clip, and its path."""
    members = tree.members(at)
    yield from _defaults(tree, members, "available_range", span)
    for key in _URLS:
        if (url := members.get(key)) is None:
            continue
        said = tree.value(url.start, url.end)
        if not isinstance(said, str) or not said:
            continue
        try:
            path = str(path_of(said, folder.absolute()))
        except BadInput:  # an address that is no file
            continue
        kept = said.endswith("/") and not path.endswith("/")
        if (path := path + "/" * kept) != said:
            yield Change(url.start, url.end, tree.rendered(path, url.start))


# ---- what it cannot take -----------------------------------------------------------------------------------


def resolve_notes(plan: EditPlan) -> list[str]:
    """What in an edit keeps Resolve from importing it, or from showing a dub."""
    notes = []
    nested = [s for s in plan.dubbed if any(step == "children" for step in s.clip.path[4:])]
    if nested:
        notes.append(f"Resolve does not read compound clips: {_named(nested)} will not be there")
    other = [s for s in plan.shots if s.map is not None and _counted_otherwise(s)]
    if other:
        notes.append(
            f"Resolve may refuse the edit: {_named(other)} count their frames otherwise than the timecode of"
            " their media does"
        )
    return notes


def _named(shots: list[PlannedShot]) -> str:
    names = ", ".join(s.clip.name for s in shots[:3])
    return names if len(shots) <= 3 else f"{names} and {len(shots) - 3} more"


def _counted_otherwise(shot: PlannedShot) -> bool:
    """Whether the frame that a clip's `source_range` starts at has another timecode in the media."""
    reference, times = shot.clip.reference(original_key(shot.clip)), shot.clip.node.get("range")
    if shot.map is None or shot.media.info is None or not times or reference is None:
        return False
    begins = (timecode_s(shot.media.info) or 0.0) * shot.media_rate
    first = min(shot.map.place(0), shot.map.place(shot.clip.length - 1))
    return abs(float(media_frame(times[0], times[2], shot.media_rate)) - begins - float(first)) >= 1
