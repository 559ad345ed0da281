"""Files of earlier versions keep loading and render the same pictures.

`tests/data/formats/actor_network_1.zip` holds the network files of a tiny actor, written by the version that
first wrote them, and what that version rendered from a fixed input. The weights of the audio encoder, which
an exported renderer does not use, are zeros, so that the file is small.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_scene import TINY, tiny_trainer

from training.actor_network import ActorNetwork, load_network, save_network
from training.core.checkpoint import load_checkpoint, save_checkpoint
from training.core.config import GeneratorConfig, generator_config
from training.core.formats import RENAMED, current_names
from training.data.windows import picture_tensor
from training.prior_file import SHIPPED, load_prior, load_weights
from training.renderer.actor_renderer import ActorRenderer
from training.renderer.generator import Generator, sample_texture, uv_discontinuities
from visualdub.errors import ActorError, BadInput

FIRST = Path(__file__).parents[1] / "data" / "formats" / "actor_network_1.zip"


@pytest.fixture
def first_actor(tmp_path: Path) -> Path:
    with zipfile.ZipFile(FIRST) as archive:
        archive.extractall(tmp_path / "first.actor")
    return tmp_path / "first.actor"


def fixed_input(size: int = 64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames, UV map and mask of one window, with random and with smooth texture coordinates."""
    rng = np.random.default_rng(2)
    frame = rng.random((1, 5, 3, size, size), dtype=np.float32)
    uv = rng.random((1, 5, size, size, 2), dtype=np.float32)
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    uv[:, 2:] = np.stack(np.meshgrid(line, line), -1)
    uv[:, :, :20] = -1
    mask = np.zeros((1, 5, size, size), np.float32)
    mask[:, :, 34:60, 14:50] = 1
    return torch.from_numpy(frame), torch.from_numpy(uv), torch.from_numpy(mask)


def test_an_actor_of_the_first_version_renders_the_same_pictures(first_actor: Path) -> None:
    stored = load_network(first_actor)
    assert stored.config.view_box == (0, 16, 64, 64) and stored.sharpening_gain == pytest.approx(0.3)
    network = Generator(stored.config)
    network.load_state_dict(dict(stored.weights))
    pictures = [np.asarray(Image.open(p)) for p in sorted((first_actor / "references").glob("*.png"))]
    references = picture_tensor(np.stack(pictures))[None]
    renderer = ActorRenderer(network, stored.texture, references, stored.sharpening_gain).eval()
    with torch.no_grad():
        rgb = renderer(*fixed_input())[0, ::2, :, 34:60, 14:50].numpy()
    with np.load(first_actor / "expected.npz") as expected:
        assert np.abs(rgb - expected["rgb"]).max() < 1e-5  # 0 where it was written, on an AMD EPYC


def test_the_shipped_prior_renders_what_it_rendered_when_it_was_shipped() -> None:
    prior = load_prior(SHIPPED)
    network, rng = Generator(prior.config).eval(), torch.Generator().manual_seed(3)
    load_weights(prior, network)
    h, w = prior.config.view_size
    frames, uv = torch.rand(1, 5, 3, h, w, generator=rng), torch.rand(1, 5, h, w, 2, generator=rng)
    uv[:, :, :20] = -1
    mask = torch.zeros(1, 5, h, w)
    mask[..., 60:140, 40:150] = 1
    references, texture = torch.rand(1, 3, 3, h, w, generator=rng), torch.rand(1, 16, 256, 256, generator=rng)
    with torch.no_grad():
        sampled = sample_texture(network.with_uv_embedding(texture), uv)
        audio = network.null_audio[None]
        aligned = torch.rand(1, 5, 4, h, w, generator=rng)
        rgb = network(frames, sampled, uv_discontinuities(uv), mask, references, audio, aligned)
    assert float(rgb.double().mean()) == pytest.approx(0.97655245, abs=1e-5)
    assert rgb[0, 2, :, 100, 100].tolist() == pytest.approx([2.884439, 3.495631, 1.722132], abs=1e-3)
    assert rgb[0, 4, :, 139, 149].tolist() == pytest.approx([-0.109653, -0.397246, -0.253455], abs=1e-3)


def test_what_is_written_has_the_names_of_this_version(tmp_path: Path) -> None:
    trainer = tiny_trainer()
    network = ActorNetwork(TINY, trainer.network.state_dict(), trainer.averaged_texture(), 0.2)
    save_network(tmp_path, network)
    with safe_open(tmp_path / "renderer.safetensors", "pt") as f:
        assert not {k.split(".")[0] for k in f.keys()} & set(RENAMED)  # noqa: SIM118 (not a mapping)
        assert json.loads(f.metadata()["config"])["view_box"] == [0, 16, 64, 64]
    back = load_network(tmp_path)
    assert back.config == TINY and back.sharpening_gain == pytest.approx(0.2)
    assert torch.equal(back.texture, network.texture.half().float())  # a package is in half precision
    assert all(torch.equal(back.weights[k], v.half().float()) for k, v in network.weights.items())
    assert {v.dtype for v in (back.texture, *back.weights.values())} == {torch.float32}
    (tmp_path / "texture.safetensors").unlink()
    with pytest.raises(ActorError, match="holds no network"):
        load_network(tmp_path)


def test_names_are_translated_with_and_without_a_scope() -> None:
    old = {"network/atlas": 1, "spread.weight": 2, "averaged/layer_weights.affine.bias": 3, "stem.bias": 4}
    assert current_names(old) == {
        "network/uv_embedding": 1,
        "unstack.weight": 2,
        "averaged/basis_weights.affine.bias": 3,
        "stem.bias": 4,
    }


def test_a_configuration_of_the_first_version_is_read() -> None:
    fields = {"width": 0.25, "size": 256, "view": [96, 256, 32, 224], "window": 5, "references": 3}
    fields |= {
        "texture_size": 256,
        "texture_channels": 16,
        "atlas_channels": 8,
        "style": 512,
        "mel": [80, 16],
    }
    assert generator_config(fields) == GeneratorConfig(aligned=False)
    with pytest.raises(BadInput, match="is not one of this version"):
        generator_config({**fields, "depth": 3})


def test_a_checkpoint_of_the_first_version_is_resumed(tmp_path: Path) -> None:
    """A checkpoint under the names that the first version gave its modules."""
    before, after = tiny_trainer(seed=1), tiny_trainer(seed=2)
    before.step(0.5)
    save_checkpoint(tmp_path / "new", before.modules, before.optimisers, before.rng, {"step": 1})
    old_names = {new: old for old, new in RENAMED.items()}
    tensors = {}
    for key, value in load_file(tmp_path / "new").items():
        scope, slash, name = key.rpartition("/")
        module, dot, rest = name.partition(".")
        tensors[f"{scope}{slash}{old_names.get(module, module)}{dot}{rest}"] = value
    assert "network/atlas" in tensors
    save_file(tensors, tmp_path / "old", {"schema": "1", "facts": '{"step": 1}'})
    assert load_checkpoint(tmp_path / "old", after.modules, after.optimisers, after.rng) == {"step": 1}
    weights = zip(before.network.parameters(), after.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
