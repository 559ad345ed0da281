"""The encoder of a Whisper network up to its middle layers, as ONNX with their principal components: `vdub
export CHECKPOINT --to features`.

The checkpoint is a folder of OpenAI's Whisper in Hugging Face's form (model.safetensors) or in CTranslate2's
(model.bin). Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from visualdub.errors import BadInput, VisualDubError
from visualdub.speech.features.mel import feature_count, recording_level
from visualdub.speech.features.whisper import (
    BANDS,
    FRAMES,
    KEPT,
    MARGIN,
    STEPS,
    WHISPER,
    encoder_session,
    whisper_mel,
)
from visualdub.storage import atomic_path

# The layers whose outputs are taken, the first being 1. Ridge regression on base's fourth alone gives lip
# openings of speakers left out that correlate by 0.775, on the third 0.772, on both 0.781; the second adds
# nothing.
LAYERS = (3, 4)
OPSET = 17
SPREAD = 0.35  # deviation of the middle one of the features
AGREEMENT = 0.98  # least correlation of the integer network with the float one; 0.995 measured
HEAD_WIDTH = 64  # of every Whisper network
CTRANSLATE2_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
Arrays = dict[str, NDArray[np.generic]]


# ---- checkpoints -------------------------------------------------------------------------------------------


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """The encoder's weights of a checkpoint folder, float32, named as in Hugging Face's form without
    "model.encoder.". Raises `BadInput`.
    """
    if (folder / "model.safetensors").is_file():
        return _from_safetensors(folder / "model.safetensors")
    if (folder / "model.bin").is_file():
        return _from_ctranslate2(read_ctranslate2(folder / "model.bin"), folder / "model.bin")
    raise BadInput(f"{folder} holds neither model.safetensors nor model.bin; expected a Whisper checkpoint")


def checkpoint_file(folder: Path) -> Path:
    """The file of weights in a checkpoint folder."""
    named = folder / "model.safetensors"
    return named if named.is_file() else folder / "model.bin"


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    weights = {}
    try:
        with safe_open(path, framework="pt") as f:
            for name in f.keys():  # noqa: SIM118 - the handle is no mapping
                if "encoder." in name and "decoder." not in name:
                    weights[name.split("encoder.", 1)[1]] = f.get_tensor(name).float()
    except (OSError, SafetensorError) as e:
        raise BadInput(f"{path} cannot be read as safetensors: {e}; expected a Whisper checkpoint") from e
    if "conv1.weight" not in weights:
        raise BadInput(f"{path} holds no encoder.conv1.weight; expected a Whisper checkpoint")
    return weights


def read_ctranslate2(path: Path) -> Arrays:
    """The named arrays of a CTranslate2 model: a header, then for each its name, shape, type and bytes.

    Raises `BadInput` for a file of another form.
    """
    data = path.read_bytes()
    at = 0

    def take(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return int(value)

    def text() -> str:
        nonlocal at
        length = take("H")
        at += length
        return data[at - length : at - 1].decode("ascii")

    arrays: Arrays = {}
    try:
        version, kind, _revision = take("I"), text(), take("I")
        if kind != "WhisperSpec":
            raise BadInput(
                f"{path} holds a {kind!r} of version {version}; expected CTranslate2's WhisperSpec"
            )
        for _ in range(take("I")):
            name = text()
            shape = tuple(take("I") for _ in range(take("B")))
            form, size = CTRANSLATE2_TYPES[take("B")], take("I")
            arrays[name] = np.frombuffer(data, form, size // np.dtype(form).itemsize, at).reshape(shape)
            at += size
    except (struct.error, UnicodeDecodeError, KeyError, ValueError) as e:
        raise BadInput(f"{path} cannot be read ({e!r}); expected a CTranslate2 model.bin") from e
    return arrays


def _from_ctranslate2(arrays: Arrays, path: Path) -> dict[str, Tensor]:
    """CTranslate2's arrays under Hugging Face's names; integers multiplied out by their scales."""

    def floats(name: str) -> Tensor:
        key = f"encoder/{name}"
        if key not in arrays:
            raise BadInput(f"{path} holds no {key}; expected a Whisper encoder")
        values = np.asarray(arrays[key], np.float32)
        scale = arrays.get(f"{key}_scale")
        if scale is not None and arrays[key].dtype.kind == "i":
            values = values / np.asarray(scale, np.float32).reshape(-1, *[1] * (values.ndim - 1))
        return torch.from_numpy(values.copy())

    weights = {f"conv{i}.{k}": floats(f"conv{i}/{k}") for i in (1, 2) for k in ("weight", "bias")}
    weights["embed_positions.weight"] = floats("position_encodings/encodings")
    layer = 0
    while f"encoder/layer_{layer}/ffn/linear_0/weight" in arrays:
        ours, theirs = f"layers.{layer}", f"layer_{layer}"
        pairs = {
            "self_attn.out_proj": "self_attention/linear_1",
            "fc1": "ffn/linear_0",
            "fc2": "ffn/linear_1",
        }
        for a, b in pairs.items():
            for k in ("weight", "bias"):
                weights[f"{ours}.{a}.{k}"] = floats(f"{theirs}/{b}/{k}")
        for a, b in {"self_attn_layer_norm": "self_attention", "final_layer_norm": "ffn"}.items():
            weights[f"{ours}.{a}.weight"] = floats(f"{theirs}/{b}/layer_norm/gamma")
            weights[f"{ours}.{a}.bias"] = floats(f"{theirs}/{b}/layer_norm/beta")
        joined = (
            floats(f"{theirs}/self_attention/linear_0/weight"),
            floats(f"{theirs}/self_attention/linear_0/bias"),
        )
        for name, weight, bias in zip("qkv", joined[0].chunk(3), joined[1].chunk(3), strict=True):
            weights[f"{ours}.self_attn.{name}_proj.weight"] = weight.clone()
            if name != "k":  # a key's bias changes no attention
                weights[f"{ours}.self_attn.{name}_proj.bias"] = bias.clone()
        layer += 1
    return weights


# ---- the network -------------------------------------------------------------------------------------------


class Layer(nn.Module):
    """One layer of the encoder: attention and two linear maps, each after a norm and added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = nn.ModuleDict(
            {f"{n}_proj": nn.Linear(width, width, bias=n != "k") for n in ("q", "k", "v", "out")}
        )
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) -> (N, T, width)."""
        n, t, width = x.shape
        y = self.self_attn_layer_norm(x)
        q, k, v = (
            self.self_attn[f"{name}_proj"](y).view(n, t, width // HEAD_WIDTH, HEAD_WIDTH).transpose(1, 2)
            for name in "qkv"
        )
        attention = torch.softmax(q @ k.transpose(2, 3) * HEAD_WIDTH**-0.5, -1) @ v
        x = x + self.self_attn["out_proj"](attention.transpose(1, 2).reshape(n, t, width))
        out: Tensor = x + self.fc2(nn.functional.gelu(self.fc1(self.final_layer_norm(x))))
        return out


class Encoder(nn.Module):
    """(N, BANDS, FRAMES) log-mel -> (N, STEPS, width of all `layers`), their outputs side by side."""

    def __init__(self, weights: dict[str, Tensor], layers: Sequence[int] = LAYERS) -> None:
        """layers: the first is 1. Raises `BadInput` for weights of another shape, or fewer layers."""
        super().__init__()
        self.taken, depth = tuple(layers), max(layers)
        width = len(weights["conv1.bias"])
        self.conv1 = nn.Conv1d(BANDS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(STEPS, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        needed = self.state_dict()
        if missing := sorted(set(needed) - set(weights)):
            raise BadInput(f"the checkpoint lacks {missing[0]}; expected {depth} layers or more of Whisper")
        chosen = {k: weights[k][: len(v)] for k, v in needed.items()}
        if wrong := [k for k, v in needed.items() if chosen[k].shape != v.shape]:
            found, expected = tuple(chosen[wrong[0]].shape), tuple(needed[wrong[0]].shape)
            raise BadInput(f"{wrong[0]} of the checkpoint has the shape {found}; expected {expected}")
        self.load_state_dict(chosen)

    def forward(self, mel: Tensor) -> Tensor:
        """Shapes above."""
        x = nn.functional.gelu(self.conv2(nn.functional.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return torch.cat([outputs[k - 1] for k in self.taken], -1)


# ---- principal components ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Projection:
    """Principal components of the encoder's outputs: features = (output - mean) @ matrix."""

    mean: NDArray[np.float32]  # (width,)
    matrix: NDArray[np.float32]  # (width, components)


def layer_outputs(encoder: Encoder, recordings: Iterable[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """(n, width) outputs of the encoder at every feature of each recording (m,); silent ones are left out."""
    outputs = []
    for audio in recordings:
        level = recording_level(audio)
        if level is None:
            continue
        rows = []
        for number in range(-(-feature_count(len(audio)) // KEPT)):
            mel = torch.from_numpy(whisper_mel(audio, level.gain, number * KEPT - MARGIN))
            with torch.no_grad():
                rows.append(encoder(mel[None])[0, MARGIN : MARGIN + KEPT].numpy())
        outputs.append(np.concatenate(rows)[: feature_count(len(audio))])
    return outputs


def fit_projection(outputs: Sequence[NDArray[np.float32]], components: int) -> Projection:
    """The first `components` principal components of outputs (n, width) each; the deviation of a component is
    SPREAD times the root of its share, so that the first is largest and none is lost in noise.
    """
    rows = np.concatenate(outputs).astype(np.float64)
    mean = rows.mean(0)
    vectors, variance, _ = np.linalg.svd(np.cov(rows.T))
    deviation = np.sqrt(variance[:components])
    scale = SPREAD * np.sqrt(deviation / np.median(deviation)) / deviation
    return Projection(mean.astype(np.float32), (vectors[:, :components] * scale).astype(np.float32))


class Features(nn.Module):
    """(N, BANDS, FRAMES) log-mel -> (N, STEPS, components) features."""

    def __init__(self, encoder: Encoder, projection: Projection) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Linear(len(projection.mean), projection.matrix.shape[1])
        with torch.no_grad():
            self.project.weight.copy_(torch.from_numpy(projection.matrix.T.copy()))
            self.project.bias.copy_(torch.from_numpy(-projection.mean @ projection.matrix))

    def forward(self, mel: Tensor) -> Tensor:
        """Shapes above."""
        features: Tensor = self.project(self.encoder(mel))
        return features


# ---- export ------------------------------------------------------------------------------------------------


def export_whisper(
    folder: Path,
    recordings: Sequence[NDArray[np.float32]],
    output: Path,
    layers: Sequence[int] = LAYERS,
    components: int = WHISPER.width,
) -> float:
    """Write the features out of `layers` of the checkpoint in `folder` to `output` (.onnx); its correlation
    with the float32 network on the first recording.

    recordings: (m,) each, mono at 16 kHz: the speech whose principal components are taken. Raises `BadInput`
    for a checkpoint that cannot be read and without speech, `VisualDubError` where both networks differ.
    """
    encoder = Encoder(read_checkpoint(folder), layers).eval()
    outputs = layer_outputs(encoder, recordings)
    if not outputs:
        raise BadInput("none of the recordings holds speech; expected some, for principal components")
    network = Features(encoder, fit_projection(outputs, components)).eval()
    with checkpoint_file(folder).open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    facts = {"name": WHISPER.name, "layers": " ".join(map(str, layers)), "source": digest}
    with atomic_path(output) as temporary:
        write_onnx(network, temporary, facts)
        speech = next(audio for audio in recordings if recording_level(audio) is not None)
        agreement = agreement_with(network, temporary, speech)
        if not agreement >= AGREEMENT:
            raise VisualDubError(
                f"{output.name} correlates with the network it was made of by {agreement:.3f}; expected"
                f" {AGREEMENT} or more"
            )
    return agreement


def write_onnx(network: nn.Module, path: Path, facts: dict[str, str]) -> None:
    """The network as ONNX, its matrices as integers of 7 bits, which no processor's instructions overflow."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "float.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracing exporter announces its successor
            torch.onnx.export(
                network,
                (torch.zeros(1, BANDS, FRAMES),),
                str(whole),
                input_names=["mel"],
                output_names=["features"],
                opset_version=OPSET,
                dynamo=False,
            )
        graph = onnx.load(str(whole)).graph
        last = [node.name for node in graph.node if node.op_type == "MatMul"][-1]
        quantize_dynamic(
            whole,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=[last],  # the principal components
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
    proto = onnx.load(str(path))
    onnx.helper.set_model_props(proto, facts)
    onnx.save(proto, str(path))


def agreement_with(network: nn.Module, path: Path, audio: NDArray[np.float32]) -> float:
    """The correlation of the features of a recording by the network and by the file, over all numbers, each
    around its mean.
    """
    level = recording_level(audio)
    mel = whisper_mel(audio, 1.0 if level is None else level.gain, -MARGIN)[None]
    with torch.no_grad():
        expected = network(torch.from_numpy(mel))[0].numpy()
    (found,) = encoder_session.__wrapped__(path).run(["features"], {"mel": mel})
    a, b = (x - x.mean(0) for x in (expected, found[0]))
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
