"""What the service does with files, in threads of its own: a disk may be slow, or a mount hang."""

from __future__ import annotations

import os
import secrets
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.access import Roots
from visualdub import locks
from visualdub.errors import BadInput

# Fields of a request that name files and folders.
READ = (
    "clip",
    "dialogue",
    "driver",
    "use_performance",
    "holdout",
    "script",
    "edit",
    "dialogue_folder",
    "cast",
)
MANY_READ = ("clips", "relink")
WRITTEN = ("output", "matte", "performance")
FAST = 1  # zlib's level: pictures go over a network, not into an archive


def check_paths(asked: dict[str, Any], roots: Roots) -> None:
    """Check every path of a request, before it is queued; a worker checks them again.

    Raises `OutsideRoots` for one outside the folders of the service, `BadInput` for one that cannot be used.
    """
    for text in [asked[name] for name in READ if asked.get(name)]:
        roots.readable(text)
    for name in MANY_READ:
        for text in asked.get(name, ()):
            roots.readable(text)
    for name in WRITTEN:
        if asked.get(name):
            folder = roots.writable(asked[name]).parent
            if not folder.is_dir():
                raise BadInput(f"{asked[name]} cannot be written: {folder} is not a folder")
    actor = asked.get("actor")
    if actor and os.path.isabs(actor):
        roots.readable(actor)


def keep_performance(folder: Path, content: bytes) -> str:
    """Keep an edited performance among a job's own files; it is read, and checked, by a worker alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"edited-{secrets.token_hex(4)}.json"
    path.write_bytes(content)
    for earlier in folder.glob("edited-*.json"):
        if earlier != path:
            earlier.unlink(missing_ok=True)
    return str(path)


def packed_planes(path: str, offset: int) -> bytes:
    """What lies in a file from `offset` on, packed by zlib."""
    with open(path, "rb") as file:
        file.seek(offset)
        return zlib.compress(file.read(), FAST)


def read_whole(path: str) -> bytes:
    """A file's bytes."""
    return Path(path).read_bytes()


def remove_folders(folders: list[Path]) -> None:
    """Remove what is kept of jobs that are forgotten."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def only_service(state: Path) -> Callable[[], None]:
    """Be the only service with the folder `state`; a function that lets it go.

    Raises `BadInput` where another one runs.
    """
    lock = state / "service.lock"
    try:
        held = locks.acquire(lock.absolute(), None, 0.5)
    except TimeoutError as e:
        raise BadInput(
            f"another service uses {state}; expected one at a time: vdub jobs shows what it does,"
            " VISUALDUB_STATE chooses another folder"
        ) from e
    return lambda: locks.release(lock.absolute(), held)
