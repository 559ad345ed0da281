"""Find, list and forget actors, and withdraw consent."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path

from visualdub import storage as cache
from visualdub.actor.package import SUFFIX, write_record
from visualdub.actor.record import RECORD, ActorRecord, load_record
from visualdub.errors import ActorError


def find_actor(name: str, folder: Path | None = None) -> Path:
    """The package folder for a path or a bare name (`NAME` or `NAME.actor` in `folder`, by default the
    current one).

    Raises `ActorError` naming what was looked for.
    """
    base = folder or Path()
    candidates = (Path(name), base / name, base / f"{name}{SUFFIX}")
    for path in candidates:
        if (path / RECORD).is_file():
            return path
    for path in candidates:
        if path.is_dir():
            return path  # load_actor says what is missing
    raise ActorError(
        f"no actor {name!r}: neither {candidates[0]} nor {candidates[2]} is an actor package (make one: vdub"
        " adapt)"
    )


def list_actors(folder: Path) -> Iterator[tuple[Path, ActorRecord | ActorError]]:
    """Every actor package directly in `folder`, by name, with its record, or the error where it cannot be
    read.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            yield path, load_record(path)
        except ActorError as e:
            yield path, e


def withdraw(folder: Path, day: str | None = None) -> ActorRecord:
    """Record that the person withdrew consent. The package stays, but nothing is rendered from it."""
    record = load_record(folder)
    consent = dataclasses.replace(
        record.consent, withdrawn=day or datetime.datetime.now(datetime.UTC).date().isoformat()
    )
    record = dataclasses.replace(record, consent=consent)
    write_record(folder, record)
    return record


def forget(folder: Path) -> list[Path]:
    """Delete the package, its checkpoints and previews beside it, and all that is cached of its clips.

    Returns what was removed. Only a folder that holds an actor record is ever removed.
    """
    record = load_record(folder)
    removed = [p for f in record.frames for p in cache.entries_of(f.source_hash)]
    removed += [p for p in leftovers(folder) if p not in removed]
    for path in (*removed, folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return [*removed, folder]


def leftovers(folder: Path) -> list[Path]:
    """What an adaptation of this package may have left beside it: run folders and unfinished packages."""
    name = folder.name.removesuffix(SUFFIX)
    beside = [folder.with_name(f"{name}.run"), folder.with_name(f"{folder.name}.run")]
    return [p for p in (*beside, *folder.parent.glob(f".{folder.name}.*")) if p.exists()]
