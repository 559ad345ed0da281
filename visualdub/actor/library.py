"""Find, list and forget actors, and withdraw consent."""

from __future__ import annotations

import dataclasses
import datetime
import glob
import json
import shutil
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from visualdub import storage
from visualdub.actor.package import SUFFIX, write_record
from visualdub.actor.record import RECORD, ActorRecord, load_record
from visualdub.errors import ActorError, BadInput


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


# ---- forgetting --------------------------------------------------------------------------------------------

RUN_SUFFIX = ".run"
RUN_FILES = ("checkpoint.safetensors", "best.safetensors", "sheet.png", "losses.csv", "config.json")
DATASET_INDEX, SHARD_SUFFIX, SHARD_META = "dataset.json", ".shard", "shard"


def forget(folder: Path, datasets: Sequence[Path] = ()) -> list[Path]:
    """Delete the package and all that `kept_of` lists, the package last. Returns what was removed.

    Only a folder that holds an actor record is ever removed. Raises `ActorError` for another, and `BadInput`
    where one of `datasets` is none.
    """
    removed = kept_of(folder, datasets)
    for path in removed:
        _delete(path)
    hashes = {f.source_hash for f in load_record(folder).frames}
    for dataset in datasets:
        index = _read_index(dataset)
        clips = [c for c in index["clips"] if c.get("source_hash") not in hashes]
        storage.write_json(dataset / DATASET_INDEX, {**index, "clips": clips})
    _delete(folder)
    return [*removed, folder]


def _delete(path: Path) -> None:
    """Delete a file, or a folder and all in it; of a link, what it leads to and the link."""
    if path.is_dir():
        shutil.rmtree(path.resolve())
    if path.is_symlink() or path.is_file():
        path.unlink()


def kept_of(folder: Path, datasets: Sequence[Path] = ()) -> list[Path]:
    """What is kept of an actor besides the package at `folder`: what is cached of the clips it was adapted
    on, what adaptations left beside it, and the shards of those clips in `datasets`.
    """
    hashes = {f.source_hash for f in load_record(folder).frames}
    kept = [p for h in sorted(hashes) for p in storage.entries_of(h)]
    return [*kept, *leftovers(folder), *(p for d in datasets for p in _shards_of(d, hashes))]


def leftovers(folder: Path) -> list[Path]:
    """What adaptations of this package left beside it: folders of stopped runs and unfinished packages.

    Of a run's folder that holds other files, too, only the files of the run are listed.
    """
    name = folder.name.removesuffix(SUFFIX)
    runs = [folder.with_name(f"{n}{RUN_SUFFIX}") for n in (name, folder.name)]
    found = [p for run in runs if run.is_dir() for p in _files_of_run(run)]
    return [*found, *(p for p in folder.parent.glob(f".{glob.escape(folder.name)}.*") if p.exists())]


def _files_of_run(run: Path) -> list[Path]:
    files = list(storage.files_below(run))
    known = [p for p in files if p.name in RUN_FILES or p.name.endswith(storage.TEMPORARY_SUFFIX)]
    return [run] if len(known) == len(files) else known


def _shards_of(dataset: Path, hashes: Set[str]) -> list[Path]:
    """The shards in `dataset` that were made of clips with these hashes, whether its index lists them or
    not.
    """
    from safetensors import SafetensorError, safe_open

    _read_index(dataset)
    found = []
    for path in sorted(dataset.glob(f"*{SHARD_SUFFIX}")):
        try:
            with safe_open(path, "np") as f:
                meta = json.loads((f.metadata() or {}).get(SHARD_META, "{}"))
        except (OSError, SafetensorError, ValueError) as e:
            raise BadInput(
                f"{path} cannot be read ({e}), so that nothing tells whose it is; remove it, or prepare the"
                " dataset again"
            ) from e
        if meta.get("source_hash") in hashes:
            found.append(path)
    return found


def _read_index(dataset: Path) -> dict[str, Any]:
    """The index of a dataset. Raises `BadInput` where there is none."""
    path = dataset / DATASET_INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(f"{path} cannot be read ({e}); expected a dataset of vdub train prepare") from e
    if not isinstance(index, dict) or not isinstance(index.get("clips"), list):
        raise BadInput(f"{path} lists no clips; expected a dataset of vdub train prepare")
    return index
