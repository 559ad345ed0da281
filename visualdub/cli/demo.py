"""`vdub demo`: the whole pipeline on a generated sample; no input, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.console import err, out

MINUTES = 1.0


def command(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the demo's files go.")
    ] = Path("demo"),
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="How long to adapt.")] = MINUTES,
) -> None:
    """Make a portrait count in English, dub it in French, and measure the result."""
    from visualdub.cli.entry_points import find_command, run_command
    from visualdub.demo.run import CONSENT, DemoFiles, run_demo
    from visualdub.timing import FrameRange

    def adapt(clip: Path, frames: FrameRange, minutes: float, folder: Path) -> None:
        args = [str(clip), "--actor", "portrait", "--frames", str(frames), "--minutes", f"{minutes:g}"]
        run_command("adapt", [*args, "--consent", CONSENT, "-o", str(folder)])

    find_command("adapt")  # says at once, not after a minute, where it is not installed
    run_demo(output, minutes, adapt, err.print)
    files = DemoFiles(output)
    out.print(f"open {files.page}; the dub is {files.dub}, beside its source in {files.beside}")
