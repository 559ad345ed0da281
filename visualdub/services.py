"""Work that other packages of the project do for this one, found by entry point and called with plain values.

`visualdub` imports neither `training` nor `exporters`. Each of them offers a callable in the entry-point
group `visualdub.services`; the protocols below say how such a callable is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from visualdub.actor.record import ActorRecord, Consent
from visualdub.errors import BadInput
from visualdub.stages import Progress
from visualdub.timing import FrameRange

GROUP = "visualdub.services"
EXTRA = {"adapt": "training", "export": "exporters"}  # the extra of this project that installs each service

Note = Callable[[str], None]  # gets one line that the user should read

# ---- what a service is asked for ---------------------------------------------------------------------------


@dataclass(frozen=True)
class AdaptClip:
    """The frames of one clip that an actor is adapted to."""

    path: Path
    frames: FrameRange | None = None  # None: all frames of the clip
    face: str | None = None  # the face's number, or "X,Y", a point in it; None: the face present for longest
    within: FrameRange | None = None  # the frames that are tracked, in which `face` counts; None: all of them

    @classmethod
    def parse(cls, text: str, frames: str | None, face: str | None) -> AdaptClip:
        """Read `CLIP` or `CLIP@A:B`; `frames` (A:B) applies to a clip that names none.

        Raises `BadInput` where a range of frames cannot be read.
        """
        head, at, tail = text.rpartition("@")
        if at and ":" in tail and not Path(text).exists():
            return cls(Path(head), FrameRange.parse(tail), face)
        return cls(Path(text), FrameRange.parse(frames) if frames else None, face)


@dataclass(frozen=True)
class AdaptRequest:
    """One adaptation: clips of one person in, an actor package out."""

    clips: tuple[AdaptClip, ...]
    name: str  # of the person or role
    folder: Path  # the package to write, NAME.actor
    consent: Consent
    minutes: float | None = None  # wall-clock budget, tracking included; at most one of minutes and steps
    steps: int | None = None  # optimiser steps; where both are None, the service's default budget applies
    size: str = "small"  # of the network: "small" for CPUs, "full" for GPUs
    prior: Path | None = None  # where the network starts; None: the prior shipped for the size
    from_scratch: bool = False  # start from random weights, without any prior
    rehearsal: Path | None = None  # packed dataset whose people are mixed into the training
    random_texture: bool = False  # start the texture at random instead of from the clips
    seed: int = 0  # of every random number


# ---- how a service is called -------------------------------------------------------------------------------


class AdaptService(Protocol):
    """Adapts an actor."""

    def __call__(self, request: AdaptRequest, progress: Progress, note: Note | None = None, /) -> ActorRecord:
        """Write the package at `request.folder` and return its record.

        Raises `NoFace` and `MediaError` for clips that cannot be used, `BadInput` for other values that
        cannot be, `OutputError` where the package cannot be written, and `Interrupted` once `progress` was
        cancelled; the same request then resumes from its checkpoint.
        """


class ExportService(Protocol):
    """Exports the network of an actor package for the runtime."""

    def __call__(self, folder: Path, progress: Progress, /) -> None:
        """Write `renderer.onnx` into the package `folder`.

        Raises `ActorError` where the package holds no network that can be exported, `VisualDubError` where
        the exported network does not agree with the trained one.
        """


def adapt_service() -> AdaptService:
    """The adaptation that `training` offers. Raises `BadInput` where it is not installed."""
    return cast(AdaptService, _load("adapt"))


def export_service() -> ExportService:
    """The export that `exporters` offers. Raises `BadInput` where it is not installed."""
    return cast(ExportService, _load("export"))


def _offered() -> dict[str, EntryPoint]:
    """Installed services by name; none of them is imported."""
    return {e.name: e for e in entry_points(group=GROUP)}


def _load(name: str) -> Any:
    """The callable of the service `name`. Raises `BadInput` where it, or a package it needs, is missing."""
    hint = f"pip install 'visualdub[{EXTRA[name]}]'"
    point = _offered().get(name)
    if point is None:
        raise BadInput(f"the service {name!r} is not installed; {hint}")
    try:
        return point.load()
    except ImportError as e:
        raise BadInput(f"the service {name!r} needs a package that is not installed ({e}); {hint}") from e
