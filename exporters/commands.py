"""`vdub export`: the network of an actor package, or of the speech features, for ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.console import out, shown_progress
from visualdub.errors import BadInput

FORMATS = ("onnx", "tensorrt", "features")


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The actor package, or the checkpoint of Whisper.", show_default=False
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="What to write: onnx or tensorrt, the renderer of an actor package; features, the speech"
            " features out of a Whisper checkpoint (model.safetensors or CTranslate2's model.bin).",
        ),
    ] = "onnx",
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
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips",
            metavar="CLIPS",
            help="With features: folder of clips with their clips.json, whose speech is projected.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.onnx", help="With features: the file to write."),
    ] = None,
) -> None:
    """Write a network for ONNX Runtime or TensorRT and check it against PyTorch."""
    if to not in FORMATS:
        raise BadInput(f"--to {to!r} is not a format of this version; expected {' or '.join(FORMATS)}")
    if (to == "features") != (clips is not None and output is not None):
        raise BadInput("--clips and --output belong to --to features; expected both with it, neither without")
    if clips is not None and output is not None:
        _export_features(folder, clips, output)
        return
    with shown_progress() as progress:
        if to == "tensorrt":
            from exporters.tensorrt import export_engine

            line = export_engine(folder, progress, precision, write=not check)
        else:
            from exporters.actor import export_actor

            line = export_actor(folder, progress, precision, write=not check).describe()
    out.print(f"{folder}: {line}")


def _export_features(checkpoint: Path, clips: Path, output: Path) -> None:
    """Write the speech features of a checkpoint, projected on the speech of the clips to train on."""
    from exporters.whisper import checkpoint_file, export_whisper
    from training.speech.clips import trained_clips
    from visualdub.media.audio import AudioMissing, read_audio
    from visualdub.storage import protect, require_writable

    protect([checkpoint_file(checkpoint)], [output])
    require_writable(output)
    recordings = []
    for entry in trained_clips(clips):
        try:
            recordings.append(read_audio(clips / entry["file"]))
        except AudioMissing:
            continue
    agreement = export_whisper(checkpoint, recordings, output)
    size = output.stat().st_size / 1e6
    out.print(f"{output}: {size:.1f} MB, correlates with the float32 network by {agreement:.3f}")
