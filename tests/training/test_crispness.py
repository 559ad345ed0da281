"""Detail given back as measured."""

from __future__ import annotations

import pytest
import torch
from training_scene import TINY, tiny_probe, tiny_trainer

from training.crispness import AMOUNTS, ENOUGH, choose_crispness, detail
from training.generator import Generator, crisp
from training.renderer import ActorRenderer
from training.trainer import Probe


def test_detail_by_hand() -> None:
    """One bright pixel of 1 in the luma: its Laplacian is -4, its four neighbours' 1."""
    picture = torch.zeros(1, 1, 3, 5, 5)
    picture[..., 2, 2] = 1
    assert float(detail(picture, torch.ones(1, 1, 5, 5))) == pytest.approx((16 + 4) / 25)


def test_crisp_keeps_flat_places_and_strengthens_edges() -> None:
    flat = torch.full((1, 3, 6, 6), 0.4)
    assert torch.allclose(crisp(flat, torch.ones(1, 1, 6, 6)), flat)
    edge = (torch.arange(6.0) >= 3).float().expand(1, 3, 6, 6)
    assert crisp(edge, torch.full((1, 1, 6, 6), 0.3))[0, 0, 3].tolist() == pytest.approx([0, 0, -0.1, 1.1, 1, 1])


def test_the_least_amount_that_is_enough_is_taken() -> None:
    trainer, probe = tiny_trainer(), tiny_probe()
    sharp = torch.rand(probe.windows.frames.shape, generator=torch.Generator().manual_seed(0))
    lacking = Probe(type(probe.windows)(**{**vars(probe.windows), "frames": sharp}))
    assert choose_crispness(trainer, lacking) == AMOUNTS[-1] and trainer.crispness == 0.0
    drawn = trainer.measure(probe)[1].rgb
    within = probe.windows.mouth * probe.windows.mask
    ratio = float(detail(drawn, within) / detail(probe.windows.frames, within))
    assert (choose_crispness(trainer, probe) == 0.0) == (ratio >= ENOUGH)


def test_the_exported_renderer_is_as_crisp_as_what_was_measured() -> None:
    torch.manual_seed(0)
    network, texture = Generator(TINY), torch.rand(1, 16, 32, 32)
    references = torch.rand(1, 2, 3, 64, 64)
    plain, crisper = (ActorRenderer(network, texture, references, c).eval() for c in (0.0, 0.4))
    frame, uv, mask = torch.rand(1, 5, 3, 64, 64), torch.rand(1, 5, 64, 64, 2), torch.zeros(1, 5, 64, 64)
    mask[..., 40:50, 20:40] = 1
    with torch.no_grad():
        a, b = plain(frame, uv, mask), crisper(frame, uv, mask)
    assert not torch.allclose(a, b) and torch.equal(a[0, 0][:, mask[0, 0] == 0], b[0, 0][:, mask[0, 0] == 0])
