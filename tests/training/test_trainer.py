"""Steps, checkpoints and exact resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_scene import TINY, tiny_trainer, tiny_validation

from training.core.checkpoint import checkpoint_facts, load_checkpoint, save_checkpoint
from training.core.config import GeneratorConfig, LossConfig
from training.core.trainer import COOL_TO, rate_factor
from training.renderer.texture import NeuralTexture
from visualdub.errors import BadInput, OutputError


def save(trainer: object, path: Path) -> None:
    save_checkpoint(path, trainer.modules, trainer.optimisers, trainer.rng, {"step": trainer.step_count})  # type: ignore[attr-defined]


@pytest.mark.slow
def test_all_losses_take_part_and_training_helps() -> None:
    trainer = tiny_trainer(steps=40, random_texture=True)
    before, _ = trainer.measure(tiny_validation())
    losses = [trainer.step(i / 40) for i in range(40)]
    after, _ = trainer.measure(tiny_validation())
    assert set(losses[0]) == {"l1", "l2", "reg", "perceptual", "adversarial", "critic"}
    assert all(v == v for step in losses for v in step.values())
    assert after["psnr_mask"] > before["psnr_mask"] and after["psnr_crop"] > after["psnr_mask"]


@pytest.mark.slow
def test_the_perceptual_loss_of_some_windows_weighs_as_much_as_of_all() -> None:
    """Its mean over many windows is the same; windows without it give 0, and so do batches of them
    alone.
    """

    def losses(share: float, steps: int) -> list[float]:
        trainer = tiny_trainer(
            losses=LossConfig(crop=32, perceptual_share=share), learning_rate=1e-9, texture_rate=1e-9
        )
        return [trainer.step(0.0)["perceptual"] for _ in range(steps)]

    whole, some = losses(1.0, 24), losses(0.25, 96)
    assert 0.12 < sum(x > 0 for x in some) / 96 < 0.4 and min(whole) > 0
    assert max(some) == pytest.approx(4 * max(whole), rel=0.3)
    assert sum(some) / 96 == pytest.approx(sum(whole) / 24, rel=0.4)


@pytest.mark.slow
def test_a_batch_of_windows_with_and_without_perceptual_loss_is_their_mean() -> None:
    trainer = tiny_trainer(losses=LossConfig(crop=32, perceptual_share=0.5))
    batch = trainer.sampler.draw(range(6))
    rendered = trainer.render(batch, 0.5)
    pasted, real = trainer._mouths(batch, rendered)
    parts = [
        float(trainer._perceptual_loss(batch[i : i + 1], pasted[i : i + 1], real[i : i + 1]).detach())
        for i in range(6)
    ]
    assert {bool(p) for p in parts} == {True, False}
    assert float(trainer._perceptual_loss(batch, pasted, real).detach()) == pytest.approx(
        sum(parts) / 6, rel=1e-4
    )


@pytest.mark.slow
def test_resume_is_exact(tmp_path: Path) -> None:
    whole, first, second = (tiny_trainer(sound=True, seed=4) for _ in range(3))
    for i in range(4):
        whole.step(i / 4)
    for i in range(2):
        first.step(i / 4)
    save(first, tmp_path / "c.safetensors")
    facts = load_checkpoint(tmp_path / "c.safetensors", second.modules, second.optimisers, second.rng)
    second.step_count = facts["step"]
    for i in range(2, 4):
        second.step(i / 4)
    for name, module in whole.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, second.modules[name].state_dict()[key]), f"{name}/{key}"


@pytest.mark.slow
def test_a_checkpoint_of_another_shape_or_kind_is_refused(tmp_path: Path) -> None:
    save(tiny_trainer(), tmp_path / "c.safetensors")
    other = tiny_trainer(generator=GeneratorConfig(**{**TINY.__dict__, "width": 0.125}))
    with pytest.raises(BadInput, match="another shape"):
        load_checkpoint(tmp_path / "c.safetensors", other.modules, other.optimisers, other.rng)
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(BadInput, match="not a checkpoint"):
        checkpoint_facts(tmp_path / "text")
    with pytest.raises(OutputError, match="cannot be written"):
        save(other, tmp_path / "missing" / "c.safetensors")


@pytest.mark.slow
def test_the_null_code_is_learned_and_sound_is_used_where_there_is_some() -> None:
    trainer = tiny_trainer(sound=True, null_share=0.0)
    before = trainer.network.audio.out.weight.clone()
    start = trainer.network.null_audio.clone()
    trainer.step(0.5)
    trainer.step(0.5)
    assert not torch.equal(before, trainer.network.audio.out.weight)
    silent = tiny_trainer(sound=False)
    silent.step(0.5)
    silent.step(0.5)
    assert not torch.equal(start, silent.network.null_audio)


def test_the_rate_warms_up_holds_and_cools() -> None:
    assert rate_factor(0, 0.0) == pytest.approx(0.05) and rate_factor(100, 0.3) == 1.0
    assert rate_factor(100, 1.0) == pytest.approx(COOL_TO)


def test_the_texture_learns_coarse_to_fine() -> None:
    texture = NeuralTexture(32, 16, torch.rand(2, 16, 32, 32), torch.Generator())
    assert torch.equal(texture(segment=1), texture.base[1:])
    texture(0.0).sum().backward()
    assert (
        texture.levels[0].shape[-1] == 4
        and texture.levels[0].grad is not None
        and texture.levels[-1].grad is None
    )
    texture(1.0).sum().backward()
    assert texture.levels[-1].grad is not None


@pytest.mark.slow
def test_a_random_texture_is_the_papers_start() -> None:
    texture = NeuralTexture(32, 16, None, torch.Generator().manual_seed(0))()
    assert texture.shape == (1, 16, 32, 32) and 0.2 < float(texture.detach().std()) < 1.0
    assert tiny_trainer(random_texture=True).step(0.5)["l1"] > 0
