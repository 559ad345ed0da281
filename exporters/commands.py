"""`vdub export`: the network of an actor package, for a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.console import shown_progress
from visualdub.errors import BadInput

FORMATS = ("onnx",)


def export(
    actor: Annotated[Path, typer.Argument(metavar="DIR", help="The actor package.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="The format to write: onnx.")] = "onnx",
) -> None:
    """Write the renderer of an actor package for ONNX Runtime and check it against PyTorch."""
    from exporters.actor import export_actor

    if to not in FORMATS:
        raise BadInput(f"--to {to!r} is not a format of this version; expected {' or '.join(FORMATS)}")
    with shown_progress() as progress:
        export_actor(actor, progress)
