"""`vdub export`: an actor package's network for a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.errors import BadInput


def export(
    actor: Annotated[Path, typer.Argument(metavar="DIR", help="The actor package.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="onnx")] = "onnx",
) -> None:
    """Write the renderer of an actor package for ONNX Runtime, checked against PyTorch."""
    import numpy as np
    from PIL import Image

    from exporters.onnx import export_renderer
    from training.adapt import load_network
    from training.data.windows import picture_tensor
    from training.renderer.actor_renderer import ActorRenderer
    from training.renderer.generator import Generator
    from visualdub.actor.package import REFERENCES, RENDERER, seal
    from visualdub.errors import ActorError

    if to != "onnx":
        raise BadInput(f"--to {to!r} is not a format of this version; expected onnx")
    config, weights, texture, crispness = load_network(actor)
    pictures = [np.asarray(Image.open(p).convert("RGB")) for p in sorted((actor / REFERENCES).glob("*.png"))]
    if len(pictures) != config.references:
        raise ActorError(f"{actor / REFERENCES} holds {len(pictures)} pictures; expected {config.references}")
    network = Generator(config)
    try:
        network.load_state_dict(weights)
    except RuntimeError as e:
        raise ActorError(f"{actor} holds weights of another shape: {str(e).splitlines()[0]}") from e
    renderer = ActorRenderer(network, texture, picture_tensor(np.stack(pictures))[None], crispness)
    export_renderer(renderer, actor / RENDERER)
    seal(actor)
