"""The layers of a bundle's outline for OpenCue, which runs in a Python of its own.

Nothing here imports Visual Dub: OpenCue wants a newer protobuf than MediaPipe, so that the two do not fit
into one process. A layer starts the program `vdub` for each of its chunks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from outline import Outline, current_outline
from outline.depend import DependType
from outline.layer import Layer

LAYERS = "opencue_layers.json"
CHUNK, FRAME = "{frames}", "{frame}"


class TaskLayer(Layer):  # type: ignore[misc]
    """One step of the job. `words`: the command line, in which CHUNK stands for the frames of a chunk."""

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **arguments)
        self.require_arg("words")

    def _execute(self, frames: Any) -> None:
        """Run the command for the first to the last of `frames`. OpenCue hands its chunks out in order and
        without gaps; a failure of the command is one of the frame.
        """
        numbers = sorted(int(n) for n in frames)
        chunk = f"{numbers[0]}-{numbers[-1]}"
        words = [w.replace(CHUNK, chunk).replace(FRAME, str(numbers[0])) for w in self.get_arg("words")]
        self.system(words, frame=numbers[0])


def fill_current() -> None:
    """Add the layers of a bundle to the outline that pycuerun has made of its script, `BUNDLE/outline.py`.

    `__file__` of such a script is not its own, as OpenCue executes its text.
    """
    job = current_outline()
    add_layers(job, Path(job.get_path()).resolve().parent)


def add_layers(job: Outline, bundle: Path) -> None:
    """Add the layers of a bundle to an outline, which gets their job's name. Tasks run `$VDUB`, or the path's
    vdub.
    """
    found = json.loads((bundle / LAYERS).read_text(encoding="utf-8"))
    job.set_name(found["name"])
    run = os.environ.get("VDUB", "vdub")
    made: dict[str, Layer] = {}
    for entry in found["layers"]:
        words = [run, *(w.replace("{bundle}", str(bundle)) for w in entry["words"])]
        layer = TaskLayer(
            entry["name"],
            words=words,
            range=entry["range"],
            chunk=entry["chunk"],
            type="Render" if entry["chunk"] > 1 else "Util",
            **entry["needs"],
        )
        for other in entry["after"]:
            layer.depend_on(made[other], DependType.LayerOnLayer)
        made[entry["name"]] = layer
