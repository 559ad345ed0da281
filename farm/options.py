"""Options of `vdub farm` that other commands do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.errors import BadInput

Source = Annotated[
    Path,
    typer.Argument(
        metavar="EDIT|CLIP",
        help="An edit, or a movie with somebody talking, as vdub dub takes them.",
        show_default=False,
    ),
]
BundleOut = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="BUNDLE", help="The folder of the bundle.", show_default=False),
]
Dialogue = Annotated[
    list[Path] | None,
    typer.Option(
        "--dialogue", metavar="WAV", help="Of a clip: the new words; several for several languages."
    ),
]
ActorIn = Annotated[str | None, typer.Option("--actor", help="Actor package, a folder or its name.")]
MovieName = Annotated[
    str | None,
    typer.Option(
        "--movie", metavar="NAME", help="Of a clip: the file name of the result, CLIP_dub.mov by default."
    ),
]
Adapt = Annotated[
    list[str] | None,
    typer.Option(
        "--adapt",
        metavar="NAME=CLIP[@A:B]",
        help="Adapt the actor NAME to a clip first, in a step of its own; needs --consent.",
    ),
]
Consent = Annotated[
    str | None, typer.Option("--consent", metavar='"WHO, WHEN, SCOPE"', help="Consent of who is adapted.")
]
Minutes = Annotated[float, typer.Option("--minutes", min=0.05, help="How long to adapt.")]
Chunk = Annotated[
    int | None,
    typer.Option("--chunk", min=1, max=150, metavar="N", help="Frames of a chunk; by default as estimated."),
]
InPlace = Annotated[
    bool,
    typer.Option("--in-place", help="Leave media where they are and declare their folders to the scheduler."),
]
Submit = Annotated[
    bool,
    typer.Option(
        "--submit", help="Hand it to deadline where that is installed, else run it here with openjd."
    ),
]
Measure = Annotated[
    bool, typer.Option("--measure", help="Measure the rates of this machine on the first shot now.")
]
Shot = Annotated[int, typer.Option("--shot", min=1, help="Number of the shot.")]
Root = Annotated[
    list[str] | None,
    typer.Option("--root", metavar="NAME=DIR", help="Where a folder of the job lies on this machine."),
]
ShownAs = Annotated[
    str | None,
    typer.Option("--shown-as", metavar="DIR", help="The folder of results as the editor's machine knows it."),
]


# ---- of a training -----------------------------------------------------------------------------------------

Validation = Annotated[
    str | None,
    typer.Option(
        "--validation",
        metavar="IDS|FILE",
        help="Speakers held out of the training, who are measured: a,b,c or a text file.",
    ),
]
PersonFrames = Annotated[int, typer.Option("--frames", help="Most frames of one person, at 25 frames/s.")]
Quality = Annotated[int, typer.Option("--quality", help="Quality of the crops as WebP, 1 to 100.")]
Parts = Annotated[int, typer.Option("--parts", metavar="N", help="Tasks that pack clips at once.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Optimiser steps; 20000 by default.")]
TrainMinutes = Annotated[
    float | None, typer.Option("--minutes", help="How long to train, instead of --steps.")
]
Size = Annotated[str, typer.Option("--size", help="Size of the network: small or full, which needs GPUs.")]
Batch = Annotated[int, typer.Option("--batch", help="Windows per pass of each process.")]
Accumulate = Annotated[int, typer.Option("--accumulate", help="Passes per step.")]
WorkersEach = Annotated[
    int, typer.Option("--workers", help="Processes that prepare windows ahead, for each that trains.")
]
Rate = Annotated[float | None, typer.Option("--rate", help="Adam's learning rate for the network.")]
StartPrior = Annotated[
    Path | None, typer.Option("--prior", metavar="FILE", help="Start from this prior: a second stage.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]
Processes = Annotated[
    int, typer.Option("--processes", metavar="N", help="Of torchrun, on one machine: one for each GPU.")
]
MeasureSteps = Annotated[
    str, typer.Option("--measure-steps", metavar="A,B,...", help="Steps of adapting after which is measured.")
]
MeasureFrames = Annotated[
    int, typer.Option("--measure-frames", help="Frames that a measured person is adapted to.")
]
Hours = Annotated[float, typer.Option("--hours", help="When training, or measuring, is given up.")]


def numbers_of(text: str, name: str) -> tuple[int, ...]:
    """The numbers of a text such as 0,10,50. Raises `BadInput` for any other."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise BadInput(f"{name} {text} is no list of numbers; expected one such as 0,10,50")
    return tuple(int(part) for part in parts)
