"""What is kept on disk while clips are changed, so that a process that ends in the middle can be made up for.

A change has two halves. Until the journal says `done`, what was changed is taken back at the next start; from
then on it is finished. It is a file of its own for each timeline, replaced as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plugin_resolve.values import Item, Mark, Record

VERSION = 1


@dataclass
class Entry:
    """One clip as it is before it is changed, and what it gets."""

    item: Item
    movie: str = ""  # that it gets; "" for none
    above: bool = False
    at: int = 0
    marks: list[Mark] = field(default_factory=list)  # ours, before
    replaced: list[Record] = field(default_factory=list)  # dubs of ours that go once this one is in


@dataclass
class Journal:
    """A change of a timeline that has begun."""

    timeline: str
    project: str
    surroundings: dict[str, str]
    had_bin: bool
    entries: list[Entry] = field(default_factory=list)
    restoring: list[str] = field(default_factory=list)  # clips that get their originals back
    movies: list[str] = field(default_factory=list)  # that go out of the media pool with them
    done: bool = False  # all is in; what is left is taking away what it replaces
    path: Path = field(default=Path(), compare=False)

    def write(self) -> None:
        """Replace the file as a whole."""
        values = {"version": VERSION, **asdict(self)}
        del values["path"]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=str(self.path.parent), prefix=".journal")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, self.path)

    def remove(self) -> None:
        """The change is over."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def journal_path(folder: Path, timeline: str) -> Path:
    """The file for one timeline."""
    return folder / "journals" / f"{hashlib.sha256(timeline.encode()).hexdigest()[:24]}.json"


def read_journal(folder: Path, timeline: str) -> Journal | None:
    """The change that began and has not ended; None where there is none, or none that can be read."""
    path = journal_path(folder, timeline)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("version") != VERSION:
            return None
        entries = [_entry(e) for e in values.pop("entries")]
        return Journal(**values, entries=entries, path=path)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _entry(values: dict[str, Any]) -> Entry:
    marks = [Mark(**{**m, "record": Record(**m["record"])}) for m in values["marks"]]
    replaced = [Record(**r) for r in values["replaced"]]
    return Entry(**{**values, "item": Item(**values["item"]), "marks": marks, "replaced": replaced})
