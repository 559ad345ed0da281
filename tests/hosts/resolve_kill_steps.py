"""Steps of the plug-in against the double with Live Save, for processes that are killed in them, see
benchmarks/resolve_kills.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from helpers import write_movie
from resolve_double import Program, studio
from resolve_editing import add_clip, add_line
from resolve_scene import with_takes
from resolve_state import Project

from plugin_resolve.host import ResolveHost
from plugin_resolve.takes import apply_changes, originals_shown, recover, restore_originals
from plugin_resolve.values import DUBBED, Change

CLIPS, LENGTH = 6, 10
STATE = "project.json"


def movie(path: Path, frames: int) -> Path:
    return write_movie(path, [np.full((48, 64, 3), 9 * i, np.uint8) for i in range(frames)])


def make(folder: Path) -> None:
    """A timeline of six clips, one of them with takes of the artist's own, and two dubs of each."""
    program = studio()
    source = movie(folder / "source.mkv", 40)
    add_line(program)
    for number in range(CLIPS):
        add_clip(program, source, number * LENGTH, number, LENGTH)
    with_takes(program, 1)
    for name in ("first", "second"):
        for number in range(CLIPS):
            movie(folder / f"{name}{number}.mov", LENGTH)
    save(folder, program.project)


def save(folder: Path, project: Project) -> None:
    """As Live Save does it: the file is replaced after every call."""
    partial = folder / "project.partial"
    partial.write_bytes(project.as_bytes())
    os.replace(partial, folder / STATE)


def loaded(folder: Path) -> Program:
    """The program with the project as it is on disk."""
    program = studio(project=Project.of_bytes((folder / STATE).read_bytes()))
    program.saved = lambda project: save(folder, project)
    return program


def dub(host: ResolveHost, folder: Path, name: str, above: int) -> None:
    """Give every clip a dub: takes, and one on a track above."""
    info, ours = host.timeline(), set(host.on_our_tracks())
    items = [i for i in host.items() if i.uid not in ours]
    changes = [
        Change(
            *(item, DUBBED, "", str(folder / f"{name}{number}.mov"), 0, LENGTH, item.start),
            above=number == above,
        )
        for number, item in enumerate(items)
    ]
    apply_changes(host, info, changes, "fr", folder)


def run(host: ResolveHost, folder: Path, step: str) -> None:
    """Carry out one step."""
    if step == "dub":
        dub(host, folder, "first", 2)
    elif step == "dub again":
        dub(host, folder, "second", 2)
    elif step == "export":
        with originals_shown(host, host.timeline(), folder):
            host.export_otio(str(folder / "edit.otio"))
    elif step == "restore":
        restore_originals(host, host.timeline(), None, folder)
    elif step == "recover":
        recover(host, host.timeline(), folder, lambda text: None)
