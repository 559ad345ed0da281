"""`vdub demo`: the whole pipeline on a generated sample; no input, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.console import err, out, shown_progress

MINUTES = 1.0


def command(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the demo's files go.")
    ] = Path("demo"),
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="How long to adapt.")] = MINUTES,
) -> None:
    """Make a portrait count in English, dub it in French, and measure the result."""
    from visualdub.actor.record import Consent
    from visualdub.demo.run import CONSENT, DemoFiles, run_demo
    from visualdub.services import AdaptClip, AdaptRequest, adapt_service
    from visualdub.timing import FrameRange

    service = adapt_service()  # raised here, not after a minute, where it is not installed

    def adapt(clip: Path, frames: FrameRange, minutes: float, folder: Path) -> None:
        request = AdaptRequest(
            (AdaptClip(clip, frames),), "portrait", folder, Consent.parse(CONSENT), minutes=minutes
        )
        with shown_progress() as progress:
            service(request, progress, err.print)

    run_demo(output, minutes, adapt, err.print)
    files = DemoFiles(output)
    out.print(f"open {files.page}; the dub is {files.dub}, beside its source in {files.beside}")
