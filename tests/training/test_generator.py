"""The renderer's network: conventions, what it may see, what it starts from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from training_scene import TINY

from training.core.config import GeneratorConfig
from training.renderer.actor_renderer import ActorRenderer
from training.renderer.generator import (
    Generator,
    carry_inwards,
    initial_composite,
    sample_texture,
    smooth_discontinuities,
    uv_discontinuities,
)
from training.renderer.layers import BlurDown, ModulatedConv, blur_up
from visualdub.box import Box
from visualdub.errors import BadInput


def trained_like(seed: int = 0) -> Generator:
    """A tiny generator none of whose layers is zero."""
    torch.manual_seed(seed)
    network = Generator(TINY)
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.1)
    return network.eval()


def test_modulation_equals_the_grouped_weights_form() -> None:
    torch.manual_seed(1)
    layer = ModulatedConv(6, 4, 3, 8)
    x, style = torch.randn(3, 6, 9, 9), torch.randn(3, 8)
    scale = layer.affine(style)
    weight = (layer.weight * layer.scale)[None] * scale[:, None, :, None, None]
    weight = 2**0.5 * weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    expected = torch.cat([F.conv2d(x[i : i + 1], weight[i], padding=1) for i in range(3)])
    assert (layer(x, style) - expected).abs().max() < 1e-5  # worst measured 1.2e-6, on an AMD EPYC


def test_blurs_keep_a_constant_and_halve_and_double() -> None:
    x = torch.full((1, 2, 8, 8), 3.0)
    down, up = BlurDown(2)(x), blur_up(x)
    assert down.shape == (1, 2, 4, 4) and up.shape == (1, 2, 16, 16)
    assert torch.allclose(down[:, :, 1:-1, 1:-1], torch.tensor(3.0)) and torch.allclose(up, torch.tensor(3.0))


def test_doubling_is_the_1331_filter() -> None:
    impulse = torch.zeros(1, 1, 5, 5)
    impulse[0, 0, 2, 2] = 1
    row = blur_up(impulse)[0, 0, 4]
    assert torch.allclose(row[3:7], torch.tensor([1.0, 3, 3, 1]) / 4 * 0.75)


def test_texel_centres_lie_at_half_texels() -> None:
    texture = torch.arange(16.0).reshape(1, 1, 4, 4)
    uv = torch.tensor([[0.125, 0.125], [0.375, 0.125], [0.25, 0.125], [0.125, 0.875], [-1.0, -1.0]]).reshape(
        1, 1, 1, 5, 2
    )
    assert sample_texture(texture, uv).flatten().tolist() == [0.0, 1.0, 0.5, 12.0, 0.0]


def test_nothing_under_the_mask_is_seen() -> None:
    network = trained_like()
    renderer = ActorRenderer(network, torch.rand(1, 16, 32, 32), torch.rand(1, 2, 3, 64, 64)).eval()
    frame, uv, mask = torch.rand(1, 5, 3, 64, 64), torch.rand(1, 5, 64, 64, 2), torch.zeros(1, 5, 64, 64)
    mask[..., 30:60, 10:50] = 1
    other = torch.where(mask[:, :, None] > 0, torch.rand_like(frame), frame)
    seen = frame.clone()
    seen[..., 20:24, 20:24] = 0
    with torch.no_grad():
        drawn = renderer(frame, uv, mask)
        assert torch.equal(drawn, renderer(other, uv, mask))
        assert not torch.allclose(
            drawn[..., 30:60, 10:50], renderer(seen, uv, mask)[..., 30:60, 10:50]
        )  # outside it is


def test_the_frame_stays_outside_the_mask() -> None:
    renderer = ActorRenderer(trained_like(), torch.rand(1, 16, 32, 32), torch.rand(1, 2, 3, 64, 64)).eval()
    frame, uv, mask = torch.rand(1, 5, 3, 64, 64), torch.rand(1, 5, 64, 64, 2), torch.zeros(1, 5, 64, 64)
    mask[..., 40:50, 20:40] = 1
    with torch.no_grad():
        drawn = renderer(frame, uv, mask)
    outside = mask[0, 0] == 0
    assert torch.allclose(drawn[0, 0][:, outside], frame[0, 0][:, outside])


def test_a_frame_is_drawn_the_same_alone_and_in_a_batch() -> None:
    network = trained_like()
    renderer = ActorRenderer(network, torch.rand(1, 16, 32, 32), torch.rand(1, 2, 3, 64, 64)).eval()
    frame, uv = torch.rand(2, 5, 3, 64, 64), torch.rand(2, 5, 64, 64, 2)
    mask = torch.zeros(2, 5, 64, 64)
    mask[..., 40:50, 20:40] = 1
    with torch.no_grad():
        both, second = renderer(frame, uv, mask), renderer(frame[1:], uv[1:], mask[1:])
    assert (both[1:] - second).abs().max() < 1e-5


def test_the_initial_composite_takes_the_light_of_the_frame() -> None:
    """A texture 0.1 darker than the frame all over comes out as bright as the frame."""
    frames, mask = torch.full((1, 3, 48, 64), 0.6), torch.zeros(1, 1, 48, 64)
    mask[..., 20:40, 20:44] = 1
    sampled = torch.full((1, 4, 48, 64), 0.5)
    sampled[:, 3] = 20.0  # full confidence
    composite = initial_composite(frames, sampled[:, :3], sampled[:, 3:4], mask)
    assert (composite - 0.6).abs().max() < 0.01


def test_the_initial_composite_without_confidence_shows_the_surroundings() -> None:
    frames, mask = torch.full((1, 3, 48, 64), 0.3), torch.zeros(1, 1, 48, 64)
    mask[..., 20:40, 20:44] = 1
    sampled = torch.full((1, 4, 48, 64), 0.9)
    sampled[:, 3] = -20.0
    assert (initial_composite(frames, sampled[:, :3], sampled[:, 3:4], mask) - 0.3).abs().max() < 0.01


def test_references_without_confidence_change_nothing() -> None:
    network = network_with_references()
    without = drawn_with(network, None)
    aligned = torch.rand(1, 5, 4, 48, 64)
    unsure = torch.cat([aligned[:, :, :3], torch.zeros(1, 5, 1, 48, 64)], 2)
    assert torch.equal(drawn_with(network, unsure), without)
    apart = (drawn_with(network, aligned) - without).abs()
    assert apart[..., 20:40, 20:44].mean() > 1e-3 and apart[..., :20, :].max() == 0


def test_aligned_references_take_the_light_of_the_frame() -> None:
    """The same picture a little darker all over is the same to the network."""
    network = network_with_references()
    aligned = torch.cat([torch.full((1, 5, 3, 48, 64), 0.5), torch.ones(1, 5, 1, 48, 64)], 2)
    darker = torch.cat([aligned[:, :, :3] - 0.06, aligned[:, :, 3:]], 2)
    first, second = drawn_with(network, aligned), drawn_with(network, darker)
    assert (first - second).abs().max() < 0.01 < (first - drawn_with(network, None)).abs().max()


def network_with_references() -> Generator:
    """A network that takes aligned references, its weights random."""
    network = trained_like()
    torch.nn.init.normal_(network.aligned_stem.weight)
    return network


def drawn_with(network: Generator, aligned: Tensor | None) -> Tensor:
    """A window (1, 5, 3, 48, 64) of grey frames, with aligned references."""
    rng = torch.Generator().manual_seed(5)
    mask = torch.zeros(1, 5, 48, 64)
    mask[..., 20:40, 20:44] = 1
    channels = network.config.texture_channels + network.config.uv_embedding_channels
    sampled = 0.4 * torch.rand(1, 5, channels, 48, 64, generator=rng)
    frames = torch.full((1, 5, 3, 48, 64), 0.6)
    with torch.no_grad():
        return network(  # type: ignore[no-any-return]
            frames,
            sampled,
            torch.zeros(1, 5, 48, 64),
            mask,
            torch.zeros(1, 2, 3, 48, 64),
            network.null_audio[None],
            aligned,
        )


def test_carry_inwards_keeps_what_is_known() -> None:
    weights = torch.ones(1, 2, 48, 64)
    weights[..., 16:32, 16:32] = 0
    values = 0.25 * weights.repeat_interleave(3, 1)
    for filled in carry_inwards(values, weights):
        assert (filled - 0.25).abs().max() < 0.01


def test_discontinuities_are_found_on_both_sides_and_smoothed() -> None:
    uv = torch.full((1, 1, 1, 6, 2), 0.5)
    uv[..., 4:, 0] = 0.6
    discontinuities = uv_discontinuities(uv)
    assert discontinuities.flatten().tolist() == [0, 0, 0, 1, 1, 0]
    row = smooth_discontinuities((uv[..., 0] >= 0.55).float().expand(1, 3, 1, 6), discontinuities)[0, 0, 0]
    assert torch.allclose(row, torch.tensor([0, 0, 0, 1 / 3, 2 / 3, 1.0]))


def test_wrong_shapes_and_configurations_are_refused() -> None:
    network = trained_like()
    with pytest.raises(ValueError, match="expected"):
        network(
            torch.zeros(1, 5, 3, 48, 64),
            torch.zeros(1, 4, 16, 48, 64),
            torch.zeros(1, 5, 48, 64),
            torch.zeros(1, 5, 48, 64),
            torch.zeros(1, 2, 3, 48, 64),
            torch.zeros(1, 16),
        )
    with pytest.raises(BadInput, match="view"):
        GeneratorConfig(view_box=Box(0, 0, 256, 250))
    with pytest.raises(BadInput, match="texture channels"):
        GeneratorConfig(texture_channels=3)


def test_one_class_is_small_and_full() -> None:
    small, full = GeneratorConfig(width=0.25), GeneratorConfig(width=1.0)
    assert [small.channels(i) for i in range(4)] == [32, 64, 128, 128]
    assert [full.channels(i) for i in range(4)] == [128, 256, 512, 512]
    assert sum(p.numel() for p in Generator(small).parameters()) < 7e6
