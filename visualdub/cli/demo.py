"""`vdub demo`: the whole pipeline on a generated sample; no input, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.console import err, out, shown_progress

STEPS = 60  # fewer leave a grey shadow under the chin; a busy machine takes longer and shows the same


def command(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the demo's files go.")
    ] = Path("demo"),
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimiser steps of the adaptation.")] = STEPS,
) -> None:
    """Make a portrait count in English, dub it in French, and measure the result."""
    from visualdub.actor.record import Consent
    from visualdub.demo.run import CONSENT, DemoFiles, run_demo
    from visualdub.services import AdaptClip, AdaptRequest, adapt_service
    from visualdub.timing import FrameRange

    service = adapt_service()  # raised here, not after a minute, where it is not installed

    def adapt(clip: Path, frames: FrameRange, steps: int, folder: Path) -> None:
        request = AdaptRequest(
            (AdaptClip(clip, frames),), "portrait", folder, Consent.parse(CONSENT), steps=steps
        )
        with shown_progress() as progress:
            service(request, progress, err.print)

    run_demo(output, steps, adapt, err.print)
    files = DemoFiles(output)
    out.print(f"open {files.page}; the dub is {files.dub}, beside its source in {files.beside}")
