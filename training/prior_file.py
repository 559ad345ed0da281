"""The file of a prior: network and discriminator in float16, and facts about its training, but nobody's
texture.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from training.core.config import GeneratorConfig, LossConfig, generator_config
from training.core.formats import current_names
from visualdub.errors import BadInput, OutputError
from visualdub.face.models import DEFAULT_FACE_MODEL
from visualdub.storage import atomic_path

SCHEMA = 1
ALIGNED_LAYERS = "aligned_"  # what their names begin with
SHIPPED = Path(__file__).parent / "weights" / "prior-small.safetensors"


@dataclass(frozen=True)
class Prior:
    """The weights that an adaptation starts from."""

    config: GeneratorConfig
    network: Mapping[str, Tensor]  # float32
    critic: Mapping[str, Tensor]  # float32
    facts: Mapping[str, Any] = field(default_factory=dict)  # people, clips, frames, steps, hours, measures
    hash: str = ""  # SHA-256 of the file
    face_model: str = DEFAULT_FACE_MODEL  # whose UV layout the network has learned


def save_prior(path: Path, prior: Prior) -> None:
    """Write as float16; whole or not at all. Raises `OutputError` where the place cannot be written."""
    weights = {f"network/{k}": v for k, v in prior.network.items()} | {
        f"critic/{k}": v for k, v in prior.critic.items()
    }
    halves = {k: v.detach().cpu().to(torch.float16).contiguous() for k, v in weights.items()}
    meta = {
        "schema": str(SCHEMA),
        "config": json.dumps(dataclasses.asdict(prior.config)),
        "face_model": prior.face_model,
        "facts": json.dumps(dict(prior.facts)),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = save(halves, meta)
    except (OSError, SafetensorError) as e:
        raise OutputError(f"{path} cannot be written: {e}") from e
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def load_prior(path: Path, model: str = DEFAULT_FACE_MODEL) -> Prior:
    """Read a prior, one of an earlier version included.

    Raises `BadInput` for another file, another schema or another face model than
    `model`.
    """
    try:
        with safe_open(path, "pt") as f:
            meta = f.metadata() or {}
            tensors = current_names({k: f.get_tensor(k).float() for k in f.keys()})  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as e:
        raise BadInput(f"{path} is not a prior of vdub train prior: {e}") from e
    if "schema" not in meta:
        raise BadInput(f"{path} is not a prior of vdub train prior: it names no schema")
    if meta["schema"] != str(SCHEMA):
        raise BadInput(f"{path} is a prior of schema {meta['schema']}; this version reads schema {SCHEMA}")
    if meta.get("face_model") != model:
        raise BadInput(f"{path} is a prior for face model {meta.get('face_model')}; expected {model}")
    if "config" not in meta or "facts" not in meta:
        raise BadInput(f"{path} is not a prior of vdub train prior: it does not say what it was trained as")
    try:
        config = generator_config(json.loads(meta["config"]))
    except BadInput as e:
        raise BadInput(f"{path} is a prior of another version: {e}") from e
    parts = {
        part: {k.removeprefix(f"{part}/"): v for k, v in tensors.items() if k.startswith(f"{part}/")}
        for part in ("network", "critic")
    }
    return Prior(
        config,
        parts["network"],
        parts["critic"],
        json.loads(meta["facts"]),
        hashlib.sha256(path.read_bytes()).hexdigest(),
        model,
    )


def load_weights(prior: Prior, network: nn.Module, critic: nn.Module | None = None) -> None:
    """Load the prior's weights into the networks. Raises `BadInput` where they do not fit."""
    try:
        network.load_state_dict({**_new_layers(prior, network), **prior.network})
        if critic is not None:
            critic.load_state_dict(dict(prior.critic))
    except RuntimeError as e:
        reason = " ".join(str(e).split())[:200]
        raise BadInput(
            f"the prior's weights are not those of this version's network ({reason}); train it again"
        ) from e


def _new_layers(prior: Prior, network: nn.Module) -> dict[str, Tensor]:
    """The weights of the layers that a prior of an earlier network lacks, as they start."""
    if prior.config.aligned:
        return {}
    return {k: v for k, v in network.state_dict().items() if k.startswith(ALIGNED_LAYERS)}


def check_fits(prior: Prior, config: GeneratorConfig, losses: LossConfig, name: str) -> None:
    """Raise `BadInput` where a network of `config` cannot take the prior's weights."""
    if (
        dataclasses.replace(prior.config, aligned=config.aligned) != config
        or prior.config.aligned > config.aligned
    ):
        wanted, has = dataclasses.asdict(config), dataclasses.asdict(prior.config)
        differing = ", ".join(f"{k} {has[k]} instead of {wanted[k]}" for k in wanted if wanted[k] != has[k])
        raise BadInput(
            f"{name} is a prior of another network: {differing}; choose the --size it was trained for"
        )
    if losses.crop != LossConfig.crop:
        raise BadInput(
            f"{name} holds a discriminator for {LossConfig.crop} pixels; the losses use {losses.crop}"
        )
