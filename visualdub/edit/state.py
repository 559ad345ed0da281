"""What is kept beside a dubbed edit: the original's bytes, and what was made of each clip.

Programs drop metadata that they do not know, so this lies in files of its own: `EDIT.visualdub.json` and
`EDIT.original`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from visualdub.errors import BadInput
from visualdub.storage import Together, atomic_path, write_json

STATE_SUFFIX, ORIGINAL_SUFFIX = ".visualdub.json", ".original"
_VERSION = 1


def state_path(edit: Path) -> Path:
    """Where the state of a dubbed edit lies."""
    return edit.with_name(edit.name + STATE_SUFFIX)


def original_path(edit: Path) -> Path:
    """Where the original's bytes lie."""
    return edit.with_name(edit.name + ORIGINAL_SUFFIX)


def write_dubbed(edit: Path, text: bytes, original: bytes, source: Path, clips: dict[str, Any]) -> None:
    """Write a dubbed edit, its original and its state, all or none.

    source: the file that was dubbed; clips: what was made of each, by its place in the file.
    """
    state = {
        "version": _VERSION,
        "source": str(source.absolute()),
        "original_sha256": hashlib.sha256(original).hexdigest(),
        "dubbed_sha256": hashlib.sha256(text).hexdigest(),
        "clips": clips,
    }
    with Together() as files:
        for path, content in ((edit, text), (original_path(edit), original)):
            with atomic_path(path, files) as temporary:
                temporary.write_bytes(content)
        write_json(state_path(edit), state, files)


def undo_edit(edit: Path) -> Path:
    """Give a dubbed edit the bytes of its original back; the path that it was dubbed from.

    Raises `BadInput` where the edit is none of ours, was changed since, or its original is not whole.
    """
    if not edit.is_file():
        raise BadInput(f"{edit}: no such file; expected a dubbed edit")
    try:
        state = json.loads(state_path(edit).read_text(encoding="utf-8"))
        original = original_path(edit).read_bytes()
    except (OSError, ValueError):
        raise BadInput(
            f"{edit} has no {state_path(edit).name} and {original_path(edit).name} beside it; expected an"
            " edit that vdub dub wrote"
        ) from None
    if hashlib.sha256(edit.read_bytes()).hexdigest() != state.get("dubbed_sha256"):
        raise BadInput(
            f"{edit} was changed since it was dubbed, which undoing would lose; its original is"
            f" {original_path(edit)}"
        )
    if hashlib.sha256(original).hexdigest() != state.get("original_sha256"):
        raise BadInput(f"{original_path(edit)} is not the original that {edit} was dubbed from")
    with atomic_path(edit) as temporary:
        temporary.write_bytes(original)
    state_path(edit).unlink()
    original_path(edit).unlink()
    return Path(state["source"])
