"""The network of an actor package as `renderer.onnx`: the `export` service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from exporters.onnx import export_renderer
from training.actor_network import load_network
from training.data.windows import picture_tensor
from training.renderer.actor_renderer import ActorRenderer
from training.renderer.generator import Generator
from visualdub.actor.package import REFERENCES, RENDERER, seal
from visualdub.errors import ActorError
from visualdub.stages import Progress


def export_actor(folder: Path, progress: Progress) -> None:
    """Write `renderer.onnx` into the actor package `folder`, checked against PyTorch, and seal the package.

    Raises `ActorError` where the package holds no network of this version or not the references the network
    was trained with, `VisualDubError` where ONNX Runtime and PyTorch differ, and `Interrupted` once
    `progress` was cancelled; the package is then as it was.
    """
    progress.check()
    stored = load_network(folder)
    paths = sorted((folder / REFERENCES).glob("*.png"))
    if len(paths) != stored.config.references:
        raise ActorError(
            f"{folder / REFERENCES} holds {len(paths)} pictures; expected {stored.config.references}, as the"
            " network was trained with"
        )
    references = picture_tensor(np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths]))
    network = Generator(stored.config)
    try:
        network.load_state_dict(dict(stored.weights))
    except RuntimeError as e:
        raise ActorError(f"{folder} holds weights of another shape: {str(e).splitlines()[0]}") from e
    renderer = ActorRenderer(network, stored.texture, references[None], stored.sharpening_gain)
    progress.check()
    export_renderer(renderer, folder / RENDERER)
    seal(folder)
