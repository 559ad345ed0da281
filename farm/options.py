"""Options of `vdub farm` that other commands do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
