"""Files of the user's and of ours: outputs checked before the work and written whole or not at all; the
cache.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from visualdub.errors import OutputError

# ---- outputs -----------------------------------------------------------------------------------------------


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


# ---- cache -------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """`$VISUALDUB_CACHE`, else `visualdub` in the user's cache folder. Not created."""
    chosen = os.environ.get("VISUALDUB_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visualdub"


def entry(kind: str, source_hash: str, detail: str, suffix: str) -> Path:
    """The path of one cached thing: `kind`/`source_hash`[-`detail`]`suffix`; its folder exists afterwards.

    `detail` may be any text that tells variants apart (the chosen face, the model's version).
    """
    folder = cache_folder() / kind
    folder.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^A-Za-z0-9.]+", "_", detail)
    return folder / f"{source_hash}{'-' + safe if safe else ''}{suffix}"


def entries_of(source_hash: str) -> list[Path]:
    """Everything cached that came from the clip with this hash."""
    if not source_hash:
        return []
    return sorted(cache_folder().glob(f"*/{source_hash}*"))
