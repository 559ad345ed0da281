"""What the service does with files, in threads of its own: a disk may be slow, or a mount hang."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.access import Roots
from visualdub import locks
from visualdub.errors import BadInput
from visualdub.storage import atomic_path
from visualdub.wire.requests import FRAME_S

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
CLOCK_NS = 1_000_000  # between two performances of a job, at least
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
    """Keep an edited performance among a job's own files; it is read, and checked, by a worker alone.

    It is newer than every earlier one. Those stay for as long as somebody may wait for a frame of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    earlier = kept_performances(folder)
    path = folder / f"edited-{secrets.token_hex(4)}.json"
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
        newest = earlier[-1][0] if earlier else 0
        now = max(time.time_ns(), newest + CLOCK_NS)  # a file system may count in steps, a clock be set back
        os.utime(temporary, ns=(now, now))
    for made, old in earlier[:-1]:
        if made < now - FRAME_S * 1e9:
            old.unlink(missing_ok=True)
    return str(path)


def kept_performances(folder: Path) -> list[tuple[int, Path]]:
    """A job's edited performances, the last one drawn with: when each was made, in nanoseconds since 1970.

    One that is removed meanwhile is left out.
    """
    found = []
    for path in folder.glob("edited-*.json"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime_ns, path))
    return sorted(found)


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
