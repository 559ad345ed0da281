"""`vdub export`: the network of an actor package, or of the speech features, for ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.console import out, shown_progress
from visualdub.errors import BadInput

FORMATS = ("onnx", "features")


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
            help="What to write: onnx, the renderer of an actor package; features, the speech features out of"
            " a Whisper checkpoint (model.safetensors or CTranslate2's model.bin).",
        ),
    ] = "onnx",
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
    """Write a network for ONNX Runtime and check it against PyTorch."""
    if to not in FORMATS:
        raise BadInput(f"--to {to!r} is not a format of this version; expected {' or '.join(FORMATS)}")
    if (to == "features") != (clips is not None and output is not None):
        raise BadInput("--clips and --output belong to --to features; expected both with it, neither without")
    if clips is not None and output is not None:
        _export_features(folder, clips, output)
        return
    from exporters.actor import export_actor

    with shown_progress() as progress:
        export_actor(folder, progress)


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
