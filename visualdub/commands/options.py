"""Arguments and options that several commands take, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Clip = Annotated[Path, typer.Argument(help="A movie with somebody talking.", show_default=False)]
ActorName = Annotated[
    str, typer.Option("--actor", help="Actor package: a folder, or its name without .actor.", show_default=False)
]
Frames = Annotated[str | None, typer.Option("--frames", metavar="A:B", help="Frames A to B-1 of the clip; all by default.")]
Face = Annotated[
    str | None,
    typer.Option("--face", metavar="N|X,Y", help="Which face: its number, or a point in it. The most present by default."),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the measures as JSON; - prints them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Codec = Annotated[str | None, typer.Option("--codec", help="ffv1, prores, prores4444 or h264; by the output's suffix otherwise.")]
Crf = Annotated[int, typer.Option("--crf", min=0, max=51, help="Quality of h264, lower is better.")]
Matte = Annotated[
    Path | None, typer.Option("--matte", metavar="FILE", help="Write where pixels were changed as a second, grey movie.")
]
NoWatermark = Annotated[bool, typer.Option("--no-watermark", help="Leave out the invisible watermark; the record says so.")]
Profile = Annotated[bool, typer.Option("--profile", help="Print what each stage took.")]
