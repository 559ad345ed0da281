"""Where derived data is kept between commands, found by the hash of the clip it came from."""

from __future__ import annotations

import os
import re
from pathlib import Path


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
