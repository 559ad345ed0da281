"""Mirrored and recoloured windows: the texture changed alike draws the frame changed alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from training_scene import TINY, disc_frames, tiny_config, tiny_trainer

from training.core.trainer import texture_of
from training.data.augment import (
    LUMA,
    augmented_textures,
    mirrored_texture,
    mirrored_uv,
    random_colouring,
    recolour,
)
from training.data.uvmap import pack_uv, unpack_uv
from training.data.windows import Batch, WindowSampler, mirrored, recoloured, still_windows
from training.renderer.generator import initial_composite, sample_texture
from visualdub.face.models import DEFAULT_FACE_MODEL
from visualdub.face.models.face468 import read_built_in

AS_FILMED = torch.eye(3, 4)


def composite(batch: Batch, texture: Tensor) -> Tensor:
    sampled = sample_texture(texture, batch.uv)[0]
    return initial_composite(batch.frames[0], sampled[:, :3], sampled[:, 3:4], batch.mask[0][:, None])


@pytest.fixture
def scene() -> tuple[Batch, Tensor]:
    clip = disc_frames(30)
    uv = unpack_uv(clip.uv)
    uv[..., 1] = np.where(uv[..., 1] >= 0, 0.75 * uv[..., 1], -1)  # in the layout's part for the face
    clip = replace(clip, uv=pack_uv(uv))
    return still_windows([clip], [(0, 10)], TINY), texture_of(
        [clip], [(0, i) for i in range(30)], tiny_config()
    )


def test_a_mirrored_texture_draws_the_mirrored_frame(scene: tuple[Batch, Tensor]) -> None:
    batch, texture = scene
    seen = mirrored(batch)
    assert not torch.allclose(seen.frames, batch.frames) and bool(seen.mirrored.all())
    drawn = composite(seen, augmented_textures(texture, torch.tensor([True]), AS_FILMED[None]))
    assert torch.allclose(drawn.flip(-1), composite(batch, texture), atol=1e-4)  # worst measured 3e-6
    x0, _, x1, _ = seen.boxes[0, 0].tolist()
    assert torch.equal(seen.mouth[0, 0].any(0).nonzero().flatten(), torch.arange(x0, x1))


def test_teeth_stay_teeth_in_the_mirror() -> None:
    """Every vertex of the built-in layout lands where its own part has a vertex: to a sixth of a texel, the
    worst measured.
    """
    model = read_built_in(DEFAULT_FACE_MODEL)
    uv = torch.from_numpy(model.uv)
    for part in range(5):
        own = uv[torch.from_numpy(model.parts == part)]
        assert float(torch.cdist(mirrored_uv(own), own).min(1).values.max()) * 256 < 0.2
    assert torch.equal(mirrored_uv(torch.full((2, 2), -1.0)), torch.full((2, 2), -1.0))


def test_a_mirrored_texture_holds_at_uv_what_the_texture_holds_at_the_mirrored_uv() -> None:
    """Smooth within each part, different between parts; half a texel's error where columns of the sheets are
    moved whole.
    """
    model = read_built_in(DEFAULT_FACE_MODEL)
    texture = torch.zeros(1, 1, 256, 256)
    texture[0, 0] = torch.linspace(0, 1, 256)
    texture[0, 0, 205:] += (torch.arange(256) * 3 // 256) * 10.0
    own = torch.from_numpy(model.uv[model.parts >= 2])
    there = sample_texture(texture, mirrored_uv(own)[None, None, None])
    assert torch.allclose(
        sample_texture(mirrored_texture(texture), own[None, None, None]), there, atol=1.5 / 256
    )


def test_mirrored_twice_is_as_filmed(scene: tuple[Batch, Tensor]) -> None:
    batch, texture = scene
    back = mirrored(mirrored(batch))
    assert torch.equal(back.frames, batch.frames) and torch.allclose(back.uv, batch.uv, atol=1e-6)
    assert torch.equal(back.boxes, batch.boxes) and not bool(back.mirrored.any())
    assert torch.equal(augmented_textures(texture, torch.tensor([False]), AS_FILMED[None]), texture)


def test_a_recoloured_texture_draws_the_recoloured_frame(scene: tuple[Batch, Tensor]) -> None:
    batch, texture = scene
    colouring = torch.from_numpy(random_colouring(np.random.default_rng(1), 2.0))
    changed = augmented_textures(texture, torch.tensor([False]), colouring[None])
    drawn = composite(recoloured(batch, colouring), changed)
    assert torch.allclose(
        drawn, recolour(composite(batch, texture), colouring), atol=0.02
    )  # light weighs outliers by size
    assert float((drawn - composite(batch, texture)).abs().mean()) > 0.02
    layers = changed[0, 4:].reshape(-1, 3, 32, 32)
    mixed = recolour(
        texture[0, 4:].reshape(-1, 3, 32, 32), torch.cat([colouring[:, :3], torch.zeros(3, 1)], 1)
    )
    assert torch.allclose(layers, mixed, atol=1e-6)  # what is added to a colour takes no offset


def test_colourings_keep_grey_near_grey_and_strength_0_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    assert np.allclose(random_colouring(rng, 0.0), np.eye(3, 4), atol=1e-6)
    many = np.stack([random_colouring(rng, 1.0) for _ in range(300)])
    grey = many[:, :, :3].sum(-1) * 0.5 + many[:, :, 3]
    assert np.abs(grey - 0.5).max() < 0.2 and abs(grey.mean() - 0.5) < 0.01
    assert 0.85 < np.median(many[:, :, :3].sum(-1)) < 1.15 and LUMA.sum() == pytest.approx(1)


def test_windows_are_changed_as_often_as_asked() -> None:
    clip = disc_frames(30)
    sampler = WindowSampler([[clip]], tiny_config(mirrored=0.5, recoloured=1.0))
    plans = [sampler.plan(n) for n in range(200)]
    assert 70 < sum(p.mirror for p in plans) < 130
    batch = sampler.draw([n for n in range(200) if plans[n].mirror][:1])
    assert bool(batch.mirrored[0]) and not torch.allclose(batch.colouring[0], AS_FILMED)
    plain = WindowSampler([[clip]], tiny_config()).draw([0, 1])
    assert not plain.mirrored.any() and torch.equal(plain.colouring, AS_FILMED.expand(2, 3, 4))


@pytest.mark.slow
def test_recoloured_windows_are_as_easy_to_draw_as_filmed_ones() -> None:
    """If the texture were not changed as the frame is, the drawing's error would be that of a wrong
    picture.
    """
    plain, changed = tiny_trainer(), tiny_trainer(recoloured=1.0)
    losses = [float(t.step(0.5)["l1"]) for t in (plain, changed)]
    assert losses[1] < 1.5 * losses[0]
