"""The losses, on values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training.core.config import LossConfig
from training.renderer.discriminator import (
    Discriminator,
    crop_windows,
    discriminator_loss,
    generator_loss,
)
from training.renderer.losses import (
    VGG16,
    Perceptual,
    colour_reg,
    psnr,
    weight_map,
    weighted_l1,
    weighted_l2,
)
from visualdub.errors import BadInput


def test_weights_are_ten_eight_one() -> None:
    mask, mouth = torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert weight_map(mask, mouth, LossConfig()).tolist() == [[1.0, 8.0, 10.0, 1.0]]


def test_weighted_l1_and_l2() -> None:
    drawn, real = torch.zeros(1, 1, 3, 1, 2), torch.zeros(1, 1, 3, 1, 2)
    drawn[..., 0], drawn[..., 1] = 0.1, 0.4
    weight = torch.tensor([[[[1.0, 3.0]]]])
    assert float(weighted_l1(drawn, real, weight)) == pytest.approx((0.1 + 3 * 0.4) / 4)
    assert float(weighted_l2(drawn, real, weight)) == pytest.approx((0.01 + 3 * 0.16) / 4)


def test_colour_reg_looks_inside_the_mask_alone() -> None:
    sampled, real, mask = (
        torch.full((1, 1, 4, 1, 2), 0.5),
        torch.full((1, 1, 3, 1, 2), 0.3),
        torch.tensor([[[[1.0, 0.0]]]]),
    )
    real[..., 1] = 0.0
    assert float(colour_reg(sampled, real, mask)) == pytest.approx(0.2)


def test_psnr_of_a_tenth_is_twenty() -> None:
    assert psnr(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5)) == pytest.approx(20.0, abs=1e-3)


def test_lsgan_targets_are_one_and_zero() -> None:
    assert float(discriminator_loss(torch.tensor([1.0]), torch.tensor([0.0]))) == 0
    assert float(discriminator_loss(torch.tensor([0.0]), torch.tensor([2.0]))) == pytest.approx(0.5 * (1 + 4))
    assert float(generator_loss(torch.tensor([0.5]))) == pytest.approx(0.125)


def test_the_discriminator_sees_the_whole_window() -> None:
    torch.manual_seed(0)
    critic = Discriminator(5, 32, 0.125)
    window = torch.rand(1, 5, 3, 32, 32, requires_grad=True)
    score, features = critic(window)
    score.sum().backward()
    assert score.shape == (1, 1, 8, 8) and len(features) == 2
    assert window.grad is not None and (window.grad.abs().amax((0, 2, 3, 4)) > 0).all()
    with pytest.raises(ValueError, match="expected"):
        critic(torch.rand(1, 4, 3, 32, 32))


def test_crop_windows_cuts_at_x_y() -> None:
    picture = torch.arange(48.0).reshape(1, 1, 1, 6, 8)
    assert crop_windows(picture, torch.tensor([[3, 1]]), 2).flatten().tolist() == [11.0, 12.0, 19.0, 20.0]


def test_perceptual_is_zero_on_equals_and_grows_with_blur() -> None:
    loss = Perceptual()
    torch.manual_seed(0)
    real = torch.rand(1, 3, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(real, 5, 1, 2)
    slightly = 0.7 * real + 0.3 * blurred
    assert float(loss(real, real)) == 0 and 0 < float(loss(slightly, real)) < float(loss(blurred, real))
    assert loss.weights == "random"


def test_given_vgg_weights_are_used_and_foreign_files_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors, before = {}, 3
    for i, channels in zip(
        (0, 2, 5, 7, 10, 12, 14), (c for c in VGG16 if c), strict=True
    ):  # where torchvision has them
        tensors |= {
            f"features.{i}.weight": torch.randn(channels, before, 3, 3),
            f"features.{i}.bias": torch.randn(channels),
        }
        before = channels
    save_file(tensors, tmp_path / "vgg.safetensors")
    loss = Perceptual(str(tmp_path / "vgg.safetensors"))
    assert torch.equal(loss.convs[6].weight, tensors["features.14.weight"]) and "imagenet" in loss.weights
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(BadInput, match="VGG16"):
        Perceptual(str(tmp_path / "text.safetensors"))
