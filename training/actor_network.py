"""The network of an actor package as files: weights with the generator's configuration, texture, sharpening
gain.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from training.core.config import GeneratorConfig, generator_config
from training.core.formats import current_names
from visualdub.actor.package import TEXTURE, WEIGHTS
from visualdub.errors import ActorError, BadInput


@dataclass(frozen=True)
class ActorNetwork:
    """Everything that an actor's renderer is made of, except the references."""

    config: GeneratorConfig
    weights: Mapping[str, torch.Tensor]  # state dict of `training.renderer.generator.Generator`
    texture: torch.Tensor  # (1, C, S, S)
    sharpening_gain: float  # see `training.renderer.sharpening`


def save_network(folder: Path, network: ActorNetwork) -> None:
    """Write the network's two files into the package `folder`, in half precision: with 11 significant bits
    the picture is the same to its last code, and the package half as large. What is exported from them
    computes with these rounded values, so that all files of a package agree.
    """
    texture = network.texture.detach().cpu().half().contiguous()
    gain = torch.tensor(network.sharpening_gain)
    save_file({"texture": texture, "sharpening_gain": gain}, folder / TEXTURE)
    weights = {k: v.cpu().half().contiguous() for k, v in network.weights.items()}
    save_file(weights, folder / WEIGHTS, {"config": json.dumps(dataclasses.asdict(network.config))})


def load_network(folder: Path) -> ActorNetwork:
    """Read the network of the package `folder`, in single precision, one of an earlier version included.

    Raises `ActorError` for other content.
    """
    try:
        with safe_open(folder / WEIGHTS, "pt") as f:
            config = generator_config(json.loads((f.metadata() or {})["config"]))
        weights, texture = (current_names(load_file(folder / name)) for name in (WEIGHTS, TEXTURE))
        weights = {k: v.float() for k, v in weights.items()}
        return ActorNetwork(config, weights, texture["texture"].float(), float(texture["sharpening_gain"]))
    except (OSError, KeyError, SafetensorError, json.JSONDecodeError, BadInput) as e:
        raise ActorError(f"{folder} holds no network written by vdub adapt: {e}") from e
