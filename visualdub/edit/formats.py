"""Edits written in the formats of other programs, and what those lose."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from visualdub.edit.layout import Edit, EditClip
from visualdub.edit.media import name_of
from visualdub.edit.reading import convert, read_edit
from visualdub.errors import BadInput
from visualdub.storage import protect, require_writable

FORMATS = (".edl", ".xml", ".aaf", ".fcpxml", ".otioz")
_Count = Callable[[Edit], int]


def convert_edit(otio: Path, target: Path) -> tuple[list[Path], str]:
    """Write an .otio edit as the format that `target`'s suffix names.

    Returns the files, and what they lose in one line, empty where they lose nothing: they are read again and
    compared. Raises `BadInput` where the format's adapter is missing or cannot write, `OutputError` where
    the files cannot be written.
    """
    protect([otio], [target])
    require_writable(target)
    before = read_edit(otio)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".converting-") as folder:
        made = convert(otio, Path(folder) / target.name)
        try:
            lost = what_is_lost(before, [read_edit(f, float(before.rate)) for f in made])
        except BadInput:
            lost = "what cannot be told, as its own adapter cannot read it again"
        return [f.replace(target.with_name(f.name)) for f in made], lost


def what_is_lost(before: Edit, after: Sequence[Edit]) -> str:
    """What an edit has that its files in another format do not give back, in one line."""
    lost = []
    for name, count in _COUNTS.items():
        there, left = count(before), sum(count(edit) for edit in after)
        if left < there:
            lost.append(f"{there - left} of {there} {name}")
    places = {_place(c, before) for c in before.clips if c.enabled}
    moved = len(places - {_place(c, edit) for edit in after for c in edit.clips})
    if moved:
        lost.append(f"the places of {moved} of {len(places)} clips")
    if any(edit.start_frame != before.start_frame for edit in after):
        lost.append("the start timecode")
    return ", ".join(lost)


def _place(clip: EditClip, edit: Edit) -> tuple[int, int]:
    """Where a clip is cut, in milliseconds; formats differ in how they write a rate."""
    return round(clip.start / edit.rate * 1000), round((clip.start + clip.length) / edit.rate * 1000)


def _media(edit: Edit) -> int:
    """Clips whose active media are named."""
    references = (clip.reference() for clip in (*edit.clips, *edit.sound))
    urls = (str(r.get("url") or r.get("target_url_base") or "") for r in references if r is not None)
    return sum(bool(name_of(url)) for url in urls)


_COUNTS: dict[str, _Count] = {
    "video tracks": lambda edit: len({c.track for c in edit.clips if "/" not in c.track}),
    "sound tracks": lambda edit: len({c.track for c in edit.sound if "/" not in c.track}),
    "clips": lambda edit: len(edit.clips) + len(edit.sound),
    "compound clips": lambda edit: len({c.track.rsplit("/", 1)[0] for c in edit.clips if "/" in c.track}),
    "transitions": lambda edit: sum(c.shown[1] > c.start + c.length for c in edit.clips),
    "changes of speed": lambda edit: sum(any(e["kind"] != "blend" for e in c.effects) for c in edit.clips),
    "active media": _media,
    "kept originals": lambda edit: sum(len(c.node["refs"]) - 1 for c in edit.clips if c.node["refs"]),
    "markers": lambda edit: sum(len(c.node.get("markers", ())) for c in edit.clips),
    "disabled clips": lambda edit: sum(not c.node.get("enabled", True) for c in edit.clips),
}
