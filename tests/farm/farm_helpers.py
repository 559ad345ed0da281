"""Bundles that tests make and run, in this process or by OpenJD's own program."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from helpers import write_wav
from otio_text import clip, media, timeline, track, write

from farm import tasks
from farm.asked import write_bundle
from farm.bundle import Bundle, BundleOptions
from farm.commands import chunk_range
from farm.job import INPUTS, OUTPUT, WORK, JobFile
from visualdub.edit.request import EditRequest, EditWords, EditWritten
from visualdub.media.source import open_source
from visualdub.stages import Progress
from visualdub.timing import FrameRange

ROOT = Path(__file__).resolve().parents[2]
RATE = 25.0


@dataclass(frozen=True)
class Suite:
    """An edit, its actor, and the folder that a local run of `vdub dub` wrote."""

    edit: Path
    actor: Path
    local: Path
    movie: Path


def two_shots(folder: Path, movie: Path) -> Path:
    """An edit of frames 5 to 14 and 20 to 37 of a movie, with one recording over both."""
    voice = write_wav(folder / "new.wav", 1.6)
    shots = [
        clip(n, start, length, RATE, reference=media(str(movie), 0, 40, RATE))
        for n, start, length in (("a", 5, 10), ("b", 20, 18))
    ]
    words = clip("new", 0, 40, RATE, reference=media(str(voice), 0, 40, RATE))
    return write(folder / "cut.otio", timeline(track(*shots), track(words, kind="Audio", name="new")))


def edit_request(edit: Path, actor: Path, **more: Any) -> EditRequest:
    return EditRequest(edit, str(actor), EditWords("new"), EditWritten(), **more)


def bundle_of(edit: Path, actor: Path, folder: Path, **options: Any) -> Bundle:
    return write_bundle(edit_request(edit, actor), BundleOptions(folder, **options), Progress())


@dataclass(frozen=True)
class Run:
    """A bundle whose tasks run in this process."""

    folder: Path

    @property
    def file(self) -> JobFile:
        roots = {INPUTS: self.folder / "inputs", WORK: self.folder / "work", OUTPUT: self.output}
        return JobFile(roots)

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def chunks(self) -> list[tuple[int, FrameRange]]:
        """The chunks of every shot, as the template says."""
        found = []
        for number in self.file.numbers:
            (step,) = (s for s in self.template()["steps"] if s["name"] == f"Render {number:04d}")
            (space,) = step["parameterSpace"]["taskParameterDefinitions"]
            whole, length = chunk_range(space["range"]), space["chunks"]["defaultTaskCount"]
            for start in range(whole.start, whole.end_exclusive, length):
                found.append((number, FrameRange(start, min(start + length, whole.end_exclusive))))
        return found

    def template(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "template.json").read_text())
        return found

    def prepare(self) -> list[str]:
        return [tasks.prepare(self.file, n, Progress()) for n in self.file.numbers]

    def render(self) -> list[str]:
        return [tasks.render(self.file, n, frames, Progress()) for n, frames in self.chunks()]

    def finish(self) -> str:
        for number in self.file.numbers:
            tasks.movie(self.file, number, Progress())
        return tasks.assemble(self.file)

    def all(self) -> str:
        self.prepare()
        self.render()
        return self.finish()


def frame_hashes(movie: Path) -> list[str]:
    """A hash of every frame's samples."""
    with open_source(movie) as source:
        return [
            hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in frame.planes)).hexdigest()
            for frame in source.frames()
        ]


def program(folder: Path) -> Path:
    """A program that runs this checkout's vdub."""
    path = folder / "vdub"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m visualdub.cli "$@"\n')
    path.chmod(0o755)
    return path


def openjd_run(
    template: Path, folder: Path, *arguments: str, before: Sequence[str] = (), **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a bundle with OpenJD's own program; its output is one text. before: what starts it as somebody."""
    here = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]), "OMP_NUM_THREADS": "1"}
    code = "import sys; from openjd.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", str(template), "-p", f"Program={program(folder)}"]
    return subprocess.run(
        [*before, *command, *arguments],
        env={**os.environ, **here, **more.pop("env", {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
        **more,
    )
