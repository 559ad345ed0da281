"""Who speaks in a shot: what the edit's own metadata say, and a cast file.

    [[cast]]
    clip = "INT_*"           # the clip's or the media's name; * and ? stand for anything
    track = "V1"             # the video track's label or name
    actor = "anna.actor"     # a package or its name
    person = "0"             # as --face: a number of track --people, or X,Y; or anna.jpg, see below
    dialogue = "Anna"        # the dialogue track, or the name of a channel of the recordings
    dub = false              # leave these shots alone

Every key may be left out; a rule without `clip` and `track` holds for all shots. The first rule of each
actor that fits a shot counts, and `dub = false` before all others. Where `actor` is left out, it is the
enrolled actor whose face is in the shot. `person` may also be a picture, a clip or an actor package that
shows the person as they look in this edit: whoever looks like it is played by `actor`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from visualdub.edit.layout import EditClip
from visualdub.edit.media import name_of
from visualdub.errors import BadInput

_FACE = re.compile(r"\d+(\+\d+)*|[\d.]+,[\d.]+")  # what `--face` takes
_KEYS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("clip", "track", "actor", "dialogue"), (str,)),
    **{"person": (str, int), "dub": (bool,)},
}


@dataclass(frozen=True)
class Role:
    """Somebody who speaks in a shot."""

    actor: str | None  # package folder or name; None: nobody said who
    person: str | None = None  # as `--face`
    dialogue: str | None = None  # the track or channel that is theirs; None: whatever is nobody else's
    looks: Path | None = None  # a picture, clip or actor package that shows them as they look in the edit


@dataclass(frozen=True)
class Rule:
    """One entry of a cast file."""

    clip: str | None = None
    track: str | None = None
    actor: str | None = None
    person: str | None = None
    dialogue: str | None = None
    dub: bool = True
    looks: Path | None = None

    def fits(self, clip: EditClip) -> bool:
        """Whether it holds for a clip."""
        reference = clip.reference()
        names = [clip.name]
        if reference is not None and reference["kind"] == "external":
            names.append(name_of(reference["url"]))
        fits_clip = self.clip is None or any(fnmatchcase(n.lower(), self.clip.lower()) for n in names)
        return fits_clip and (self.track is None or self.track in (clip.track, clip.track_name))


@dataclass(frozen=True)
class Cast:
    """Who plays whom, and the actor of all shots that nothing else is said of."""

    rules: tuple[Rule, ...] = ()
    actor: str | None = None

    def roles(self, clip: EditClip) -> list[Role] | str:
        """Who speaks in a clip, or why it is left alone."""
        meta, over = clip.meta, clip.track_meta
        if meta.get("skip") is True or over.get("skip") is True:
            return "it is marked to be left alone"
        kinds: dict[str, type | tuple[type, ...]] = {"actor": str, "person": (str, int), "dialogue": str}
        said = {key: meta[key] for key, kind in kinds.items() if isinstance(meta.get(key), kind)}
        if said:
            person = None if "person" not in said else str(said["person"])
            return [Role(said.get("actor", self.actor), person, said.get("dialogue"))]
        fitting = [rule for rule in self.rules if rule.fits(clip)]
        if any(not rule.dub for rule in fitting):
            return "the cast file leaves it alone"
        roles: dict[str | None, Role] = {}
        for rule in fitting:
            actor = rule.actor or self.actor
            if actor is not None or rule.person is not None or rule.dialogue is not None:
                key = actor or f"{rule.person} {rule.dialogue}"
                roles.setdefault(key, Role(actor, rule.person, rule.dialogue, rule.looks))
        return list(roles.values()) or [Role(self.actor)]


NOBODY = Cast()


def read_cast(path: Path, actor: str | None = None) -> Cast:
    """The cast in a file; actors and folders in it are taken from where it lies.

    Raises `BadInput` for a file that is no cast, a key that is not known, or a value of another kind.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; expected a cast file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BadInput(f"{path} is no cast file: {e}; expected TOML with [[cast]] entries") from None
    entries = content.get("cast")
    if not isinstance(entries, list) or set(content) != {"cast"}:
        raise BadInput(f"{path} holds {sorted(content)}; expected [[cast]] entries alone")
    return Cast(tuple(_rule(path, i, entry) for i, entry in enumerate(entries, 1)), actor)


def _rule(path: Path, number: int, entry: Any) -> Rule:
    if not isinstance(entry, dict):
        raise BadInput(f"{path}: entry {number} is no table; expected [[cast]]")
    for key, value in entry.items():
        if key not in _KEYS:
            raise BadInput(f"{path}: entry {number} has {key!r}; expected one of {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise BadInput(f"{path}: entry {number} has {key} = {value!r}, of another kind than expected")
    values: dict[str, Any] = {key: str(value) if key == "person" else value for key, value in entry.items()}
    if isinstance(values.get("actor"), str):
        beside = path.parent / values["actor"]
        values["actor"] = str(beside) if beside.is_dir() else values["actor"]
    looks = path.parent / values.get("person", "")
    if not _FACE.fullmatch(values.get("person", "0")):
        if not looks.exists():
            raise BadInput(
                f"{path}: entry {number} has the person {values['person']!r}; expected a number,"
                " X,Y or a file that shows them"
            )
        if "actor" not in values:
            raise BadInput(f"{path}: entry {number} shows a person and names no actor; expected actor = ...")
        values |= {"person": None, "looks": looks}
    return Rule(**values)
