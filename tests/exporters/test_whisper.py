"""Whisper's encoder: checkpoints of two forms, PyTorch's own transformer as the reference, and the export."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

import visualdub.demo
from exporters.whisper import (
    Encoder,
    Features,
    agreement_with,
    export_whisper,
    fit_projection,
    layer_outputs,
    read_checkpoint,
)
from visualdub.cli import run
from visualdub.errors import BadInput
from visualdub.media.audio import read_audio
from visualdub.speech.features import WHISPER
from visualdub.speech.features.whisper import BANDS, FRAMES, STEPS, encoder_session, whisper_mel

WIDTH, LAYERS = 64, 3


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random weights of a narrow encoder; its position code is three times as long as a window."""
    torch.manual_seed(0)
    whole = _blank()
    return {k: torch.randn(v.shape) * (0.5 if "norm" in k or v.ndim == 1 else 0.12) for k, v in whole.items()}


def _blank() -> dict[str, Tensor]:
    shapes = {"conv1.weight": (WIDTH, BANDS, 3), "conv2.weight": (WIDTH, WIDTH, 3)}
    shapes |= {"conv1.bias": (WIDTH,), "conv2.bias": (WIDTH,), "embed_positions.weight": (3 * STEPS, WIDTH)}
    for i in range(LAYERS):
        shapes |= {f"layers.{i}.self_attn.{n}_proj.weight": (WIDTH, WIDTH) for n in ("q", "k", "v", "out")}
        shapes |= {f"layers.{i}.self_attn.{n}_proj.bias": (WIDTH,) for n in ("q", "v", "out")}
        shapes |= {f"layers.{i}.{n}.{k}": (WIDTH,) for n in NORMS for k in ("weight", "bias")}
        shapes |= {f"layers.{i}.fc1.weight": (4 * WIDTH, WIDTH), f"layers.{i}.fc1.bias": (4 * WIDTH,)}
        shapes |= {f"layers.{i}.fc2.weight": (WIDTH, 4 * WIDTH), f"layers.{i}.fc2.bias": (WIDTH,)}
    return {k: torch.zeros(s) for k, s in shapes.items()}


NORMS = ("self_attn_layer_norm", "final_layer_norm")


def counting() -> NDArray[np.float32]:
    """Five seconds of a synthesised voice."""
    return read_audio(Path(visualdub.demo.__file__).parent / "data" / "counting_en.wav")


def speech_window() -> Tensor:
    return torch.from_numpy(whisper_mel(counting(), 1.0, 0))[None]


# ---- the network -------------------------------------------------------------------------------------------


def test_the_encoder_is_a_stem_and_pytorchs_own_transformer(weights: dict[str, Tensor]) -> None:
    mel = speech_window()
    x = nn.functional.conv1d(mel, weights["conv1.weight"], weights["conv1.bias"], padding=1)
    x = nn.functional.gelu(x)
    x = nn.functional.conv1d(x, weights["conv2.weight"], weights["conv2.bias"], stride=2, padding=1)
    x = nn.functional.gelu(x).transpose(1, 2) + weights["embed_positions.weight"][:STEPS]
    for i in range(2):
        layer = nn.TransformerEncoderLayer(
            WIDTH, 1, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        ).eval()
        of = {k.removeprefix(f"layers.{i}."): v for k, v in weights.items() if k.startswith(f"layers.{i}.")}
        names = {"norm1": NORMS[0], "norm2": NORMS[1], "linear1": "fc1", "linear2": "fc2"}
        state = {f"{a}.{k}": of[f"{b}.{k}"] for a, b in names.items() for k in ("weight", "bias")}
        state |= {f"self_attn.out_proj.{k}": of[f"self_attn.out_proj.{k}"] for k in ("weight", "bias")}
        parts = [of[f"self_attn.{n}_proj.weight"] for n in "qkv"]
        state["self_attn.in_proj_weight"] = torch.cat(parts)
        biases = [of.get(f"self_attn.{n}_proj.bias", torch.zeros(WIDTH)) for n in "qkv"]
        state["self_attn.in_proj_bias"] = torch.cat(biases)
        layer.load_state_dict(state)
        with torch.no_grad():
            x = layer(x)
    with torch.no_grad():
        found = Encoder(weights, (2,)).eval()(mel)
        both = Encoder(weights, (1, 2)).eval()(mel)
    assert found.shape == (1, STEPS, WIDTH) and torch.equal(both[..., WIDTH:], found)
    torch.testing.assert_close(found, x, atol=2e-4, rtol=1e-4)


def test_fewer_layers_than_asked_for_are_refused(weights: dict[str, Tensor]) -> None:
    with pytest.raises(BadInput, match=r"lacks layers\.3\.fc1\.bias; expected 4 layers"):
        Encoder(weights, (4,))
    with pytest.raises(BadInput, match=r"conv1\.weight of the checkpoint has the shape \(64, 128, 3\)"):
        Encoder(weights | {"conv1.weight": torch.zeros(WIDTH, 128, 3)}, (1,))


# ---- checkpoints -------------------------------------------------------------------------------------------


def write_ctranslate2(path: Path, weights: dict[str, Tensor]) -> None:
    """The weights as CTranslate2 stores them: float16, the last linear map of a layer as scaled integers."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    arrays = {"encoder/position_encodings/encodings": weights["embed_positions.weight"]}
    arrays |= {f"encoder/conv{i}/{k}": weights[f"conv{i}.{k}"] for i in (1, 2) for k in ("weight", "bias")}
    scales: dict[str, Tensor] = {}
    for i in range(LAYERS):
        ours, theirs = f"layers.{i}", f"encoder/layer_{i}"
        arrays[f"{theirs}/self_attention/linear_0/weight"] = torch.cat(
            [weights[f"{ours}.self_attn.{n}_proj.weight"] for n in "qkv"]
        )
        biases = [weights.get(f"{ours}.self_attn.{n}_proj.bias", torch.zeros(WIDTH)) for n in "qkv"]
        arrays[f"{theirs}/self_attention/linear_0/bias"] = torch.cat(biases)
        for a, b in (("self_attn.out_proj", "self_attention/linear_1"), ("fc1", "ffn/linear_0")):
            arrays |= {f"{theirs}/{b}/{k}": weights[f"{ours}.{a}.{k}"] for k in ("weight", "bias")}
        for a, b in zip(NORMS, ("self_attention", "ffn"), strict=True):
            arrays[f"{theirs}/{b}/layer_norm/gamma"] = weights[f"{ours}.{a}.weight"]
            arrays[f"{theirs}/{b}/layer_norm/beta"] = weights[f"{ours}.{a}.bias"]
        last = weights[f"{ours}.fc2.weight"]
        scales[f"{theirs}/ffn/linear_1/weight"] = 127 / last.abs().amax(1)
        arrays |= {
            f"{theirs}/ffn/linear_1/weight": last,
            f"{theirs}/ffn/linear_1/bias": weights[f"{ours}.fc2.bias"],
        }
    parts = []
    for name, values in arrays.items():
        if name in scales:
            stored = torch.round(values * scales[name][:, None]).numpy().astype(np.int8)
            parts.append((name, 1, stored))
            parts.append((f"{name}_scale", 0, scales[name].numpy()))
        else:
            parts.append((name, 4, values.numpy().astype(np.float16)))
    data = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(parts))
    for name, kind, stored in parts:
        data += text(name) + struct.pack(f"<B{stored.ndim}I", stored.ndim, *stored.shape)
        data += struct.pack("<BI", kind, stored.nbytes) + stored.tobytes()
    path.write_bytes(data)


def test_both_forms_of_a_checkpoint_hold_the_same_weights(weights: dict[str, Tensor], tmp_path: Path) -> None:
    named, packed = tmp_path / "named", tmp_path / "packed"
    named.mkdir()
    packed.mkdir()
    save_file(
        {f"model.encoder.{k}": v for k, v in weights.items()}
        | {"model.decoder.layers.0.encoder_attn.k_proj.weight": torch.zeros(2, 2)},
        named / "model.safetensors",
    )
    write_ctranslate2(packed / "model.bin", weights)
    exact, halves = read_checkpoint(named), read_checkpoint(packed)
    assert set(exact) == set(halves) == set(weights)
    assert all(torch.equal(exact[k], v) for k, v in weights.items())
    for k, v in weights.items():
        step = v.abs().max() / 127 if k.endswith("fc2.weight") else 2e-3
        torch.testing.assert_close(halves[k], v, atol=float(step), rtol=1e-3)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="holds neither"):
        read_checkpoint(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"\x06\0\0\0\x0d\0TransformerX\0")
    with pytest.raises(BadInput, match=r"model\.bin .*expected"):
        read_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"hello")
    with pytest.raises(BadInput, match="cannot be read as safetensors"):
        read_checkpoint(tmp_path)
    assert run(["export", str(tmp_path), "--to", "features"]) == 2
    assert "--clips and --output belong to --to features" in capsys.readouterr().err


# ---- export ------------------------------------------------------------------------------------------------


def test_principal_components_are_uncorrelated_and_about_one_in_size() -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(12, 12)) * np.geomspace(30, 0.1, 12)[:, None]
    rows = (random.normal(size=(4000, 12)) @ mixing + 5).astype(np.float32)
    projection = fit_projection([rows[:1500], rows[1500:]], 6)
    features = (rows - projection.mean) @ projection.matrix
    assert features.mean(0) == pytest.approx(np.zeros(6), abs=1e-3)
    correlations = np.corrcoef(features.T)
    assert np.abs(correlations - np.eye(6)).max() < 1e-3
    deviation = features.std(0)
    assert (np.diff(deviation) < 0).all() and 0.3 < np.median(deviation) < 0.4


def test_the_export_agrees_with_the_network(weights: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({f"model.encoder.{k}": v for k, v in weights.items()}, tmp_path / "model.safetensors")
    path = tmp_path / "features.onnx"
    silence = np.zeros(16000, np.float32)
    assert export_whisper(tmp_path, [silence, counting()], path, (1, 2), 16) > 0.98
    session = encoder_session.__wrapped__(path)
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["name"], facts["layers"]) == (WHISPER.name, "1 2") and len(facts["source"]) == 64
    assert session.get_inputs()[0].shape == [1, BANDS, FRAMES]
    stored = {
        x.data_type for x in onnx.load(str(path)).graph.initializer if len(x.dims) == 2 and x.dims[0] > 2
    }
    assert stored == {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT}  # of which the projection is the latter
    encoder = Encoder(weights, (1, 2)).eval()
    network = Features(encoder, fit_projection(layer_outputs(encoder, [counting()]), 16))
    assert agreement_with(network, path, counting()) > 0.98
    other = Features(encoder, fit_projection(layer_outputs(encoder, [counting()]), 16))
    with torch.no_grad():
        other.project.weight.copy_(other.project.weight.flip(0))
    assert agreement_with(other, path, counting()) < 0.5
    with pytest.raises(BadInput, match="none of the recordings holds speech"):
        export_whisper(tmp_path, [silence], tmp_path / "none.onnx", (1, 2), 16)
    assert not (tmp_path / "none.onnx").exists()
