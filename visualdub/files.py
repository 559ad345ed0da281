"""Files of ours: checked before the work, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from visualdub.errors import OutputError


def require_writable(path: Path) -> None:
    """Raise `OutputError` where a file `path` could not be made, before minutes are spent on it."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a folder; {path.name} cannot be written there")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder} is read-only; {path.name} cannot be written there")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; expected the name of a file to write")


def write_text(path: Path, text: str) -> None:
    """UTF-8, under a partial name and then renamed. Raises `OutputError` where it cannot be written."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as e:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {e.strerror or e}") from e


def write_json(path: Path, values: dict[str, Any]) -> None:
    """`values` as JSON; see `write_text`."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
