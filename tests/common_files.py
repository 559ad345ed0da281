"""Files that all workers of a run of the tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """`folder`, which `make` fills for the first worker that asks for it; others wait for it meanwhile."""
    from visualdub.locks import alone  # loads NumPy, which must not be loaded with the suite's conftest.py

    mark = folder.with_name(f"{folder.name}.made")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder, None):
        if not mark.is_file():
            folder.mkdir(exist_ok=True)
            make(folder)
            mark.touch()
    return folder
