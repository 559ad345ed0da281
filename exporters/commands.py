"""`vdub export`: the network of an actor package, for a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.console import out, shown_progress
from visualdub.errors import BadInput

FORMATS = ("onnx", "tensorrt")


def export(
    actor: Annotated[Path, typer.Argument(metavar="DIR", help="The actor package.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="The format to write: onnx or tensorrt.")] = "onnx",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="fp32|fp16|bf16|int8",
            help="fp32 is exact, within 1e-3 of PyTorch; the others serve --fast and reach 60 dB inside the"
            " mask, or are refused.",
        ),
    ] = "fp32",
    check: Annotated[
        bool, typer.Option("--check", help="Build and check, write nothing; --to tensorrt needs no GPU then.")
    ] = False,
) -> None:
    """Write the renderer of an actor package for ONNX Runtime or TensorRT, checked against PyTorch."""
    if to not in FORMATS:
        raise BadInput(f"--to {to!r} is not a format of this version; expected {' or '.join(FORMATS)}")
    with shown_progress() as progress:
        if to == "tensorrt":
            from exporters.tensorrt import export_engine

            line = export_engine(actor, progress, precision, write=not check)
        else:
            from exporters.actor import export_actor

            line = export_actor(actor, progress, precision, write=not check).describe()
    out.print(f"{actor}: {line}")
