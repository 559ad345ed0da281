"""Edits as files: read in a program of its own, see `otio_file`, and laid out on the timeline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from visualdub.edit.layout import Edit, lay_out
from visualdub.errors import BadInput, MediaError

SUFFIXES = (".otio", ".otioz", ".edl", ".xml", ".aaf", ".fcpxml")
MOST_SECONDS = 300  # that a file may take to be read
_PROGRAM = Path(__file__).with_name("otio_file.py")
_REFUSED = 3


def is_edit(path: Path) -> bool:
    """Whether a name is that of an edit."""
    return path.suffix.lower() in SUFFIXES


def read_edit(path: Path, rate: float | None = None) -> Edit:
    """The edit in a file. rate: in frames/s, of an EDL, which does not say its own.

    Raises `MediaError` for a missing file, `BadInput` with one line for a file that is no edit, of a format
    whose adapter is not installed, or that the reader cannot cope with.
    """
    return lay_out(path, read_structure(path, rate))


def read_structure(path: Path, rate: float | None = None) -> dict[str, Any]:
    """The structure of an edit as `otio_file` prints it. Raises as `read_edit` does."""
    said = () if rate is None else ("--rate", str(rate))
    found = json.loads(run_reader(path, *said, str(path)))
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds no timeline; expected an edit")
    return found


def as_otio(path: Path) -> bytes:
    """The edit in a file of any format as the text of an .otio file. Raises as `read_edit` does."""
    if path.suffix.lower() == ".otio":
        return path.read_bytes()
    return run_reader(path, "--otio", str(path))


def convert(otio: Path, target: Path) -> list[Path]:
    """Write the .otio file as another format, an EDL of each track of pictures. Returns the files. Raises
    `BadInput` where its adapter cannot.
    """
    return [Path(name) for name in json.loads(run_reader(otio, "--convert", str(otio), str(target)))]


def run_reader(path: Path, *arguments: str) -> bytes:
    """What the reader prints. Raises as `read_edit` does."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file; expected an edit")
    command = [sys.executable, "-P", str(_PROGRAM), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BadInput(f"{path} was not read in {MOST_SECONDS} s; expected an edit") from None
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode == _REFUSED and said:
        raise BadInput(f"{path} {said[-1]}")
    if done.returncode < 0:
        raise BadInput(f"{path} took its reader down (signal {-done.returncode}); expected an edit")
    if done.returncode != 0:
        if any("No module named 'opentimelineio'" in line for line in said):
            raise BadInput(
                f"{path} is an edit and OpenTimelineIO is not installed; expected Visual Dub with its extra:"
                " pip install 'visualdub[edits]'"
            )
        raise BadInput(f"{path} cannot be read as an edit: {said[-1] if said else 'nothing is said'}")
    return done.stdout
