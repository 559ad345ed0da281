"""Detail given back as measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_scene import TINY, tiny_trainer, tiny_validation

from training.core.trainer import ValidationBatch
from training.renderer.actor_renderer import ActorRenderer
from training.renderer.generator import Generator, sharpen
from training.renderer.sharpening import ENOUGH, GAINS, choose_sharpening_gain, detail

pytestmark = pytest.mark.slow  # the module's fixtures take seconds themselves


def test_detail_by_hand() -> None:
    """One bright pixel of 1 in the luma: its Laplacian is -4, its four neighbours' 1."""
    picture = torch.zeros(1, 1, 3, 5, 5)
    picture[..., 2, 2] = 1
    assert float(detail(picture, torch.ones(1, 1, 5, 5))) == pytest.approx((16 + 4) / 25)


def test_sharpening_keeps_flat_places_and_strengthens_edges() -> None:
    flat = torch.full((1, 3, 6, 6), 0.4)
    assert torch.allclose(sharpen(flat, torch.ones(1, 1, 6, 6)), flat)
    edge = (torch.arange(6.0) >= 3).float().expand(1, 3, 6, 6)
    assert sharpen(edge, torch.full((1, 1, 6, 6), 0.3))[0, 0, 3].tolist() == pytest.approx(
        [0, 0, -0.1, 1.1, 1, 1]
    )


def test_the_smallest_gain_that_is_enough_is_taken() -> None:
    trainer, validation = tiny_trainer(), tiny_validation()
    sharp = torch.rand(validation.windows.frames.shape, generator=torch.Generator().manual_seed(0))
    lacking = ValidationBatch(replace(validation.windows, frames=sharp))
    assert choose_sharpening_gain(trainer, lacking, 0.0) == GAINS[-1] and trainer.sharpening_gain == 0.0
    assert choose_sharpening_gain(trainer, lacking, 99.0) == 0.0  # no amount keeps such a PSNR
    trainer.sharpening_gain = 0.3
    middle = ValidationBatch(
        replace(validation.windows, frames=trainer.measure(validation)[1].rgb / ENOUGH**0.5)
    )  # lacks just what 0.3 gives
    trainer.sharpening_gain = 0.0
    assert choose_sharpening_gain(trainer, middle, 0.0) == pytest.approx(0.3, abs=0.1)


def test_the_exported_renderer_gives_detail_inside_the_mask_alone() -> None:
    torch.manual_seed(0)
    network, texture = Generator(TINY), torch.rand(1, 16, 32, 32)
    references = torch.rand(1, 2, 3, 64, 64)
    plain, sharpened = (ActorRenderer(network, texture, references, c).eval() for c in (0.0, 0.4))
    frame, uv, mask = torch.rand(1, 5, 3, 64, 64), torch.rand(1, 5, 64, 64, 2), torch.zeros(1, 5, 64, 64)
    mask[..., 40:50, 20:40] = 1
    with torch.no_grad():
        a, b = plain(frame, uv, mask), sharpened(frame, uv, mask)
    assert not torch.allclose(a, b) and torch.equal(a[0, 0][:, mask[0, 0] == 0], b[0, 0][:, mask[0, 0] == 0])
