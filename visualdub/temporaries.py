"""Files and folders that must not outlive the run that made them: one that is stopped at any moment removes
them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

_kept: set[tuple[int, str]] = set()  # (process, absolute path): a fork does not remove what its parent makes


def register(path: Path) -> None:
    """Have `path` removed where the run ends before `forget` is called for it."""
    _kept.add((os.getpid(), os.path.abspath(path)))


def forget(path: Path) -> None:
    """`path` is whole, or gone: nothing is left to remove."""
    _kept.discard((os.getpid(), os.path.abspath(path)))


def remove(path: Path) -> None:
    """Remove the file or folder `path`, where it is there and can be removed, and forget it."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    forget(path)


def remove_all() -> None:
    """Remove everything that this process registered and did not forget."""
    for process, path in tuple(_kept):
        if process == os.getpid():
            remove(Path(path))
