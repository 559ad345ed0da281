"""Starting values of a texture."""

from __future__ import annotations

import pytest
import torch
from training_scene import disc_frames

from training.data.uvmap import unpack_uv
from training.data.windows import picture_tensor
from training.renderer.generator import initial_composite, sample_texture
from training.renderer.unwrap import mean_colours, splat, starting_texture


def test_splat_shares_a_pixel_among_four_texels() -> None:
    """u = 0.375 of 4 texels is the centre of texel 1; v = 0.25 is halfway between rows 0 and 1."""
    sums = splat(torch.tensor([[[8.0]]]), torch.tensor([[[0.375, 0.25]]]), 4).reshape(4, 4, 2)
    expected = torch.zeros(4, 4, 2)
    expected[0, 1] = expected[1, 1] = torch.tensor([4.0, 0.5])
    assert torch.allclose(sums, expected)


def test_splat_skips_what_is_off_the_mesh() -> None:
    assert not splat(torch.ones(3, 2, 2), torch.full((2, 2, 2), -1.0), 4).any()


def test_splat_fills_what_lies_between_pixels_but_not_a_jump() -> None:
    """Pixels three texels apart, of a ramp; then the same with the right half on another part of the face."""
    across = torch.arange(6.0)
    values = across.expand(1, 6, 6)
    places = torch.stack(torch.meshgrid(across * 3 + 1, across * 3 + 1, indexing="xy"), -1)  # texels
    sums = splat(values, (places + 0.5) / 40, 40).reshape(40, 40, 2)
    inner = sums[2:16, 2:16]
    assert inner[..., 1].min() > 0.5 * inner[..., 1].max()  # no comb
    ramp = (torch.arange(2, 16) - 1) / 3
    assert torch.allclose(inner[..., 0] / inner[..., 1], ramp.expand(14, 14), atol=0.06)
    places[:, 3:, 0] += 20
    apart = splat(values, (places + 0.5) / 40, 40).reshape(40, 40, 2)
    assert not apart[:, 9:29].any() and apart[2:16, 32, 1].min() > 0
    assert torch.isclose(apart[..., 1].sum(), torch.tensor(20.0))  # a weight of 1 for each patch of four


def test_mean_colours_recover_the_texture_and_fill_holes() -> None:
    clip = disc_frames(10)
    frames = list(picture_tensor(clip.crops))
    uvs = [torch.from_numpy(unpack_uv(u)) for u in clip.uv]
    colours = mean_colours(frames, uvs, 32)
    middle = colours[:, 16, 16]  # u = v = 16.5 / 32
    assert torch.allclose(
        middle, torch.tensor([0.3 + 0.4 * 16.5 / 32, 0.2 + 0.5 * 16.5 / 32, 0.4]), atol=0.01
    )
    assert (colours[2] > 0.35).all()  # corners no frame shows


@pytest.mark.slow
def test_the_starting_texture_already_draws_its_frames() -> None:
    clip = disc_frames(10)
    frames, masks = list(picture_tensor(clip.crops)), [torch.from_numpy(m).float() for m in clip.mask]
    uvs = [torch.from_numpy(unpack_uv(u)) for u in clip.uv]
    texture = starting_texture(frames, uvs, masks, torch.rand(10, 2), 32, 16)
    assert texture.shape == (16, 32, 32)
    sampled = sample_texture(texture[None], uvs[4][None, None])[0]
    composite = initial_composite(frames[4][None], sampled[:, :3], sampled[:, 3:4], masks[4][None, None])
    assert ((composite[0] - frames[4]).abs() * masks[4]).max() < 0.15
    assert ((composite[0] - frames[4]).abs() * masks[4]).sum() / masks[4].sum() / 3 < 0.02
