"""One process at a time: locks that are files, which the system lets go when their process ends."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from visualdub import temporaries
from visualdub.errors import OutputError
from visualdub.stages import Progress

WAIT_SECONDS = 900  # for another process that makes the same entry of the cache
COMMIT_SECONDS = 60  # for another process that gives its files their names in the same folder
REFUSE_SECONDS = 0.3  # for a run that is just ending; one that still writes then is not waited for
FOLDER_LOCK = ".visualdub.lock"
log = logging.getLogger(__name__)

_held: set[Path] = set()  # locks that threads of this process hold; files tell processes apart, not threads
_guard = threading.Lock()


@contextlib.contextmanager
def alone(path: Path, progress: Progress | None) -> Iterator[None]:
    """Nobody else is in such a block for the same `path`, unless it could not be waited for."""
    lock = path.with_name(path.name + ".lock").absolute()
    held = _acquire_or_warn(lock, progress, WAIT_SECONDS)
    try:
        yield
    finally:
        release(lock, held)


@contextlib.contextmanager
def alone_in(folders: Iterable[Path]) -> Iterator[None]:
    """Nobody else is in such a block for any of `folders`, unless it could not be waited for."""
    with contextlib.ExitStack() as stack:
        # in one order, so that no two processes wait for each other
        for folder in sorted({Path(os.path.realpath(f)) for f in folders}):
            lock = folder / FOLDER_LOCK
            stack.callback(release, lock, _acquire_or_warn(lock, None, COMMIT_SECONDS))
        yield


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Nobody else writes to `path` within the block. Folders above it are made, and removed where they stay
    empty.

    Raises `OutputError` at once where another process, or another thread of this one, does.
    """
    lock = path.with_name(f".{path.name}.lock").absolute()
    made = [p for p in lock.parents if not p.exists()]
    try:
        try:
            held = acquire(lock, None, REFUSE_SECONDS)
        except TimeoutError as e:
            raise OutputError(
                f"{path} is being written by another run; expected one at a time: wait for it, or give"
                " another output"
            ) from e
        try:
            yield
        finally:
            release(lock, held)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # something lies in it
                folder.rmdir()


def acquire(lock: Path, progress: Progress | None, seconds: float) -> int | None:
    """A descriptor that holds `lock`; None where no lock can be made. Raises `TimeoutError` where somebody
    else still holds it after `seconds`.
    """
    begun = time.monotonic()
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with _guard:
                held = None if lock in _held else _try(lock)
                if held is not None:
                    _held.add(lock)
                    temporaries.register(lock)
                    return held
        except OSError:  # a read-only folder, or a file system without locks
            return None
        waited = time.monotonic() - begun
        if waited >= seconds:
            raise TimeoutError(f"{lock} is held by another process")
        if progress is not None:
            progress.report("waiting for another process", round(waited), round(seconds))
        time.sleep(0.05)


def _acquire_or_warn(lock: Path, progress: Progress | None, seconds: float) -> int | None:
    try:
        return acquire(lock, progress, seconds)
    except TimeoutError:
        log.warning("%s is held by another process for %d s; going on without it", lock, seconds)
        return None


def release(lock: Path, held: int | None) -> None:
    """Let go of what `acquire` gave."""
    if held is None:
        return
    with _guard:
        temporaries.remove(lock)  # before it is let go: who waits for it sees that and makes a new one
        os.close(held)
        _held.discard(lock)


def _try(lock: Path) -> int | None:
    """A descriptor that holds `lock`, None where another process does."""
    held = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        if _lock(held) and os.path.samestat(os.fstat(held), os.stat(lock)):
            return held
    except FileNotFoundError:  # removed by the process that held it
        pass
    except OSError:
        os.close(held)
        raise
    os.close(held)
    return None


def _lock(descriptor: int) -> bool:
    """Whether this process has the file for itself now; the system lets it go when the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            os.lockf(descriptor, os.F_TLOCK, 0)
    except (BlockingIOError, PermissionError):
        return False
    return True
