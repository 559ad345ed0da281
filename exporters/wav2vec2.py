"""A wav2vec2 network of transformers, up to the layer that is listened to, as ONNX: python -m
exporters.wav2vec2 FOLDER.
"""

from __future__ import annotations

import hashlib
import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from visualdub.errors import BadInput
from visualdub.speech.features import HOP, RATE
from visualdub.speech.features.wav2vec2 import FIELD, NETWORK, SAMPLES
from visualdub.storage import atomic_path

VERSION = 1  # of what is made of the network's numbers
DEPTH = (
    2 / 3
    # the layer this far up is listened to: phones are clearest there, the last ones know of the training's
    # task
)
OPSET = 17
# of numbers with deviation 1, ONNX Runtime against PyTorch; 7e-6 measured on a random network of 3 layers
TOLERANCE = 1e-3


class Listener(nn.Module):
    """(1, samples) sound -> (1, features, width), each feature with mean 0 and deviation 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sound: Tensor) -> Tensor:
        """Shapes above."""
        states: Tensor = self.network(sound).last_hidden_state
        return nn.functional.layer_norm(states, states.shape[2:])


def export_wav2vec2(folder: Path) -> Path:
    """Write the network whose config.json and model.safetensors lie in `folder` to NETWORK there; its path.

    Nothing is downloaded. Raises `BadInput` where files or transformers are missing, or the network is of
    another kind.
    """
    config, normalise = read_config(folder), wants_normalised(folder)
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise BadInput(
            f"{folder} holds no model.safetensors; expected wav2vec2 weights (pickled ones are not read)"
        )
    layer = max(1, round(DEPTH * config["num_hidden_layers"]))
    with weights.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()[:12]
    listener = Listener(load_network(folder, layer)).eval()
    name = f"wav2vec2-layer{layer}x{config['hidden_size']}-{digest}-{VERSION}"
    with atomic_path(folder / NETWORK) as temporary:
        torch.onnx.export(
            listener,
            (torch.zeros(1, SAMPLES),),
            str(temporary),
            input_names=["sound"],
            output_names=["features"],
            opset_version=OPSET,
            dynamo=False,
        )
        proto = onnx.load(str(temporary))
        onnx.helper.set_model_props(proto, {"name": name, "normalise": str(int(normalise))})
        onnx.save(proto, str(temporary))
        check_parity(listener, temporary)
    return folder / NETWORK


def check_parity(listener: Listener, path: Path) -> None:
    """Run both on the same noise. Raises `ValueError` where they differ by more than TOLERANCE."""
    sound = torch.from_numpy(np.random.default_rng(0).normal(size=(1, SAMPLES)).astype(np.float32))
    with torch.no_grad():
        expected = listener(sound).numpy()
    (found,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
        None, {"sound": sound.numpy()}
    )
    worst = float(np.abs(found - expected).max())
    if not worst < TOLERANCE:
        raise ValueError(f"{path} differs from PyTorch by {worst:.2g}; expected less than {TOLERANCE:g}")


def read_config(folder: Path) -> dict[str, Any]:
    """The network's `config.json`, checked. Raises `BadInput`."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, hop = config["model_type"], prod(config["conv_stride"])
        reach = 1 + sum(
            (k - 1) * prod(config["conv_stride"][:i]) for i, k in enumerate(config["conv_kernel"])
        )
        layers = f"{config['num_hidden_layers']} layers of {config['hidden_size']}"
    except OSError as e:
        raise BadInput(f"{folder} is not a folder of wav2vec2 weights: no config.json ({e.strerror})") from e
    except (ValueError, KeyError, TypeError) as e:
        raise BadInput(
            f"{folder} is not a folder of wav2vec2 weights: its config.json lacks what one has ({e!r})"
        ) from e
    if (kind, hop, reach) != ("wav2vec2", HOP, FIELD) or config.get("add_adapter"):
        raise BadInput(
            f"{folder} holds {kind}, {layers}, a feature every {hop} samples out of {reach}; "
            f"expected wav2vec2, {HOP} and {FIELD}, without an adapter"
        )
    return config


def wants_normalised(folder: Path) -> bool:
    """Whether recordings are brought to mean 0 and deviation 1 first; the file that says so may be missing.
    Raises `BadInput`.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return True
    try:
        wanted = json.loads(path.read_text(encoding="utf-8"))
        rate, normalise = wanted.get("sampling_rate", RATE), bool(wanted.get("do_normalize", True))
    except (ValueError, AttributeError) as e:
        raise BadInput(
            f"{path} cannot be read: {e}; expected the JSON of a wav2vec2 feature extractor"
        ) from e
    if rate != RATE:
        raise BadInput(f"{folder} holds a network for sound at {rate} Hz; expected {RATE}")
    return normalise


def load_network(folder: Path, layers: int) -> nn.Module:
    """The network up to its layer number `layers`, from files of this machine only. Raises `BadInput`."""
    try:
        from transformers import Wav2Vec2Config, Wav2Vec2Model
        from transformers.utils import logging
    except ImportError as e:
        raise BadInput(
            f"exporting wav2vec2 needs transformers ({e}); pip install 'visualdub[wav2vec2]'"
        ) from e
    logging.set_verbosity_error()  # or it lists every weight of the layers above
    config = Wav2Vec2Config.from_pretrained(folder, local_files_only=True, num_hidden_layers=layers)
    try:
        network, report = Wav2Vec2Model.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as e:  # safetensors and transformers have no common base for their errors
        raise BadInput(
            f"{folder}/model.safetensors cannot be read as wav2vec2 weights: {str(e).splitlines()[0]}"
        ) from e
    missing = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})  # which only training uses
    if missing:
        raise BadInput(
            f"{folder}/model.safetensors lacks {len(missing)} weights of a wav2vec2 network, such as"
            f" {missing[0]}"
        )
    loaded: nn.Module = network.float().eval()
    return loaded


if __name__ == "__main__":
    import typer

    def command(folder: Path) -> None:
        """Prepare the wav2vec2 weights in a folder for Visual Dub."""
        try:
            print(export_wav2vec2(folder))
        except BadInput as e:
            raise SystemExit(f"{e}") from e

    typer.run(command)
