"""Checkpoints: one safetensors file with everything that a run needs to resume exactly where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.core.formats import current_names
from visualdub.errors import BadInput, OutputError
from visualdub.storage import atomic_path

SCHEMA = 1


def save_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    rng: torch.Generator,
    facts: Mapping[str, Any],
) -> None:
    """Write weights, optimiser states, random state and `facts` (JSON values); the file is whole or absent.

    Raises `OutputError` where it cannot be written.
    """
    tensors: dict[str, Tensor] = {"rng": rng.get_state()}
    for name, module in modules.items():
        tensors.update({f"{name}/{key}": value for key, value in module.state_dict().items()})
    for name, optimiser in optimisers.items():
        tensors.update(
            {
                f"{name}/{index}/{key}": torch.as_tensor(value)
                for index, state in optimiser.state_dict()["state"].items()
                for key, value in state.items()
            }
        )
    contiguous = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(contiguous, temporary, {"schema": str(SCHEMA), "facts": json.dumps(dict(facts))})
        except SafetensorError as e:
            raise OutputError(f"{path} cannot be written: {e}") from e


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """The facts that were stored in a checkpoint. Raises `BadInput` where the file is not a checkpoint."""
    try:
        with safe_open(path, "pt") as f:
            meta = f.metadata() or {}
    except (OSError, SafetensorError) as e:
        raise BadInput(f"{path} is not a checkpoint: {e}") from e
    if meta.get("schema") != str(SCHEMA):
        raise BadInput(
            f"{path} is a checkpoint of schema {meta.get('schema')}; this version reads schema {SCHEMA}"
        )
    facts: dict[str, Any] = json.loads(meta["facts"])
    return facts


def load_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    rng: torch.Generator,
) -> dict[str, Any]:
    """Restore modules, optimisers and random state from a checkpoint, one of an earlier version included, and
    return its facts.

    Raises `BadInput` where it belongs to networks of another shape.
    """
    facts = checkpoint_facts(path)
    with safe_open(path, "pt") as f:
        tensors = current_names({key: f.get_tensor(key) for key in f.keys()})  # noqa: SIM118 (not a mapping)
    try:
        for name, module in modules.items():
            module.load_state_dict(
                {k.removeprefix(f"{name}/"): v for k, v in tensors.items() if k.startswith(f"{name}/")}
            )
        for name, optimiser in optimisers.items():
            _load_optimiser(
                optimiser,
                {k.removeprefix(f"{name}/"): v for k, v in tensors.items() if k.startswith(f"{name}/")},
            )
    except (RuntimeError, ValueError, KeyError) as e:
        raise BadInput(f"{path} belongs to networks of another shape: {str(e).splitlines()[0]}") from e
    rng.set_state(tensors["rng"].cpu())
    return facts


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, kind = key.partition("/")
        state.setdefault(int(index), {})[kind] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    for weight, moments in optimiser.state.items():
        for kind, value in moments.items():
            if (
                value.shape == weight.shape
            ):  # fused Adam goes through memory in order: the moments need the weight's layout
                moments[kind] = torch.empty_like(weight).copy_(value)
