"""Speech features of a wav2vec2 network whose weights lie in a folder on this machine; needs transformers and torch."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.speech.features import HOP, RATE, FeatureKind, Level

FOLDER = "VISUALDUB_WAV2VEC2"  # environment variable that names the folder
VERSION = 1  # of what is made of the network's numbers
DEPTH = 2 / 3  # the layer this far up is listened to: phones are clearest there, the last ones know of the training's task
CENTRE = 200  # samples: output k of the network looks at 400 samples from k * HOP on
BLOCK = 300  # features made at once, 6 s; block b starts at feature b * BLOCK wherever the recording is cut
CONTEXT = 75  # features of sound on either side of a block


@dataclass(frozen=True)
class Wav2Vec2(FeatureKind):
    """One layer of a wav2vec2 network, each feature brought to mean 0 and deviation 1 over its numbers."""

    folder: Path
    network: Any  # transformers.Wav2Vec2Model, ending at the layer
    normalise: bool  # the network wants recordings of mean 0 and deviation 1

    def features(self, audio: NDArray[np.float32], level: Level, first: int, count: int) -> NDArray[np.float32]:
        """As `FeatureKind.features`. The network sees a whole block at once, so whole blocks are made and then cut."""
        blocks = range(first // BLOCK, (first + count - 1) // BLOCK + 1)
        made = np.concatenate([self._block(audio, level, b) for b in blocks])
        start = first - blocks[0] * BLOCK
        return made[start:start + count]

    def _block(self, audio: NDArray[np.float32], level: Level, number: int) -> NDArray[np.float32]:
        """(BLOCK, width) features of block `number`."""
        import torch

        length = BLOCK + 2 * CONTEXT
        start = (number * BLOCK - CONTEXT) * HOP - CENTRE
        piece = np.zeros((length - 1) * HOP + 2 * CENTRE, np.float32)
        a, b = max(start, 0), min(start + len(piece), len(audio))
        if b > a:
            heard = audio[a:b]
            piece[a - start:b - start] = (heard - level.mean) / (level.deviation + 1e-7) if self.normalise else heard
        with torch.inference_mode():
            out = self.network(torch.from_numpy(piece)[None]).last_hidden_state[0]
            out = torch.nn.functional.layer_norm(out, out.shape[1:])
        return np.asarray(out[CONTEXT:CONTEXT + BLOCK].numpy(), np.float32)


def open_wav2vec2(folder: Path | None = None) -> Wav2Vec2:
    """The network in `folder`, by default $VISUALDUB_WAV2VEC2, as `save_pretrained` of transformers writes it.

    Nothing is ever downloaded. Raises `BadInput` where the folder, its weights or the libraries are missing, or where it holds
    another kind of network.
    """
    chosen = folder or (Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None)
    if chosen is None:
        raise BadInput(f"wav2vec2 features need weights; set {FOLDER} to a folder with config.json and model.safetensors")
    config = _config(chosen)
    weights = chosen / "model.safetensors"
    if not weights.is_file():
        raise BadInput(f"{chosen} holds no model.safetensors; expected wav2vec2 weights (pickled ones are not read)")
    layer = max(1, round(DEPTH * config["num_hidden_layers"]))
    with weights.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()[:12]
    normalise, width = _normalise(chosen), int(config["hidden_size"])
    name = f"wav2vec2-layer{layer}x{width}-{digest}-{VERSION}"
    return Wav2Vec2(name, width, 0, 0, chosen, _network(chosen, layer, digest), normalise)


def _config(folder: Path) -> dict[str, Any]:
    """The network's `config.json`, checked. Raises `BadInput`."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, hop = config["model_type"], prod(config["conv_stride"])
        reach = 1 + sum((k - 1) * prod(config["conv_stride"][:i]) for i, k in enumerate(config["conv_kernel"]))
        layers = f"{config['num_hidden_layers']} layers of {config['hidden_size']}"
    except OSError as e:
        raise BadInput(f"{folder} is not a folder of wav2vec2 weights: no config.json ({e.strerror})") from e
    except (ValueError, KeyError, TypeError) as e:
        raise BadInput(f"{folder} is not a folder of wav2vec2 weights: its config.json lacks what one has ({e!r})") from e
    if (kind, hop, reach) != ("wav2vec2", HOP, 2 * CENTRE) or config.get("add_adapter"):
        raise BadInput(f"{folder} holds {kind}, {layers}, a feature every {hop} samples out of {reach}; "
                       f"expected wav2vec2, {HOP} and {2 * CENTRE}, without an adapter")
    return config


def _normalise(folder: Path) -> bool:
    """Whether recordings are brought to mean 0 and deviation 1 first; the file that says so may be missing. Raises `BadInput`."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return True
    try:
        wanted = json.loads(path.read_text(encoding="utf-8"))
        rate, normalise = wanted.get("sampling_rate", RATE), bool(wanted.get("do_normalize", True))
    except (ValueError, AttributeError) as e:
        raise BadInput(f"{path} cannot be read: {e}; expected the JSON of a wav2vec2 feature extractor") from e
    if rate != RATE:
        raise BadInput(f"{folder} holds a network for sound at {rate} Hz; expected {RATE}")
    return normalise


@lru_cache(maxsize=1)
def _network(folder: Path, layers: int, _digest: str) -> Any:
    """The network up to its layer number `layers`, on the CPU, read once as long as the file's hash stays. Raises `BadInput`."""
    try:
        from transformers import Wav2Vec2Config, Wav2Vec2Model
        from transformers.utils import logging
    except ImportError as e:
        raise BadInput(f"wav2vec2 features need transformers and torch ({e}); pip install 'visualdub[wav2vec2]'") from e
    logging.set_verbosity_error()  # or it lists every weight of the layers above
    config = Wav2Vec2Config.from_pretrained(folder, local_files_only=True, num_hidden_layers=layers)
    try:
        network, report = Wav2Vec2Model.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True)
    except Exception as e:  # safetensors and transformers have no common base for their errors
        raise BadInput(f"{folder}/model.safetensors cannot be read as wav2vec2 weights: {str(e).splitlines()[0]}") from e
    missing = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})  # which only training uses
    if missing:
        raise BadInput(f"{folder}/model.safetensors lacks {len(missing)} weights of a wav2vec2 network, such as {missing[0]}")
    return network.float().eval()
