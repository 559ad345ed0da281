"""A training set that stays on the device draws the same windows, and is loaded by other processes."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import portrait_pictures, write_movie
from training_scene import disc_frames, tiny_config

from training.core.config import VIEW, GeneratorConfig, PriorConfig
from training.core.trainer import Trainer
from training.data.augment import augmented_textures, mirrored_texture, recolour
from training.data.packed import Dataset
from training.data.prepare import Settings, prepare_dataset
from training.data.resident import ResidentSampler, fits_on_device, whole_view
from training.data.thin import GREY, thin_dataset
from training.data.windows import Batch, WindowSampler
from training.data.workers import Workers
from training.renderer.texture import NeuralTexture, sum_levels
from visualdub.errors import BadInput
from visualdub.stages import Progress

CPU = torch.device("cpu")
AUGMENTED = {"segments": 2, "mirrored": 0.5, "recoloured": 1.0}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of one clip of 30 frames."""
    folder = tmp_path_factory.mktemp("people")
    write_movie(folder / "anna_1.mkv", portrait_pictures(30))
    prepare_dataset([folder], folder / "set", Settings(60, 90, (), 1))
    return folder / "set"


def assert_same(a: Batch, b: Batch, exact: bool = True) -> None:
    for field in fields(Batch):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert x.dtype == y.dtype and x.shape == y.shape, field.name
        assert torch.equal(x, y) if exact else torch.allclose(x, y, atol=1e-6), field.name


@pytest.mark.slow
def test_windows_on_the_device_are_those_of_the_sampler() -> None:
    config = replace(tiny_config(), **AUGMENTED)
    people = [[disc_frames(40), disc_frames(30)], [disc_frames(50)]]
    sampler, resident = WindowSampler(people, config), ResidentSampler(people, config, CPU)
    resident.load(Progress())
    batch = sampler.draw(range(24))
    assert (
        bool(batch.mirrored.any()) and not bool(batch.mirrored.all()) and len(set(batch.person.tolist())) == 2
    )
    assert_same(batch, resident.draw(range(24)), exact=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_goes_on_gets_the_batches_that_come_next(workers: int) -> None:
    config = replace(tiny_config(), **AUGMENTED, batch=3)
    resident = ResidentSampler([[disc_frames(40)]], config, CPU)
    resident.load(Progress())
    for i, batch in enumerate(islice(resident.feed(6, workers), 3)):
        assert_same(batch, resident.draw(range(6 + 3 * i, 9 + 3 * i)))


@pytest.mark.slow
def test_the_trainer_takes_the_same_step_from_either() -> None:
    config = replace(tiny_config(), **AUGMENTED, batch=2, random_texture=True)
    losses = []
    for kind in ("host", "device"):
        people = [[disc_frames(40)], [disc_frames(30)]]
        if kind == "device":
            sampler: WindowSampler = ResidentSampler(people, config, CPU)
            sampler.load(Progress())  # type: ignore[attr-defined]
        else:
            sampler = WindowSampler(people, config)
        trainer = Trainer(config, sampler, [None, None], CPU, torch.float32)
        losses.append([trainer.step(i / 3) for i in range(3)])
    for a, b in zip(*losses, strict=True):
        assert a == pytest.approx(b, rel=1e-4)


@pytest.mark.slow
def test_processes_load_what_one_process_loads(packed: Path) -> None:
    dataset, config = Dataset(packed), PriorConfig(GeneratorConfig(width=0.0625), steps=1, segments=1)
    clips = [[dataset.open(c, VIEW) for c in dataset.clips]]
    alone, together = (ResidentSampler(clips, config, CPU) for _ in range(2))
    alone.load(Progress())
    with Workers(1) as pool:
        together.load(Progress(), pool)
    batch = alone.draw(range(4))
    assert_same(batch, together.draw(range(4)))
    assert_same(batch, WindowSampler(clips, config).draw(range(4)), exact=False)
    assert batch.aligned[:, :, 3].amax() > 0.5, "the confidence of other frames of the clip"


def test_frames_without_a_face_are_off_the_mesh() -> None:
    clip = disc_frames(20)
    usable = clip.usable.copy()
    usable[7] = False
    view = whole_view(replace(clip, usable=usable))
    assert not view.mask[7].any() and (view.uv[7] == 65535).all() and view.mask[6].any()
    assert len(view.mask) == 20


def test_frames_never_stay_on_a_cpu() -> None:
    assert not fits_on_device([[disc_frames(10)]], tiny_config(), CPU)


def test_textures_of_a_batch_are_those_of_its_windows() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = [torch.rand(2, 7, 32, 32, generator=generator) for _ in range(2)]
    textures = [NeuralTexture(32, 7, start, generator) for start in starts]
    for texture in textures:
        for level in texture.levels:
            level.data.normal_(generator=generator)
    together = sum_levels([textures[1], textures[0], textures[1]], 1.0, [0, 1, 1])
    one_by_one = [textures[1](1.0, 0), textures[0](1.0, 1), textures[1](1.0, 1)]
    assert torch.equal(together, torch.cat(one_by_one))
    colouring = torch.randn(3, 3, 4, generator=generator)
    augmented = augmented_textures(together, torch.tensor([True, False, True]), colouring)
    plain = mirrored_texture(together[:1])
    assert torch.allclose(augmented[:1, :3], recolour(plain[:, :3], colouring[0]), atol=1e-5)
    assert torch.allclose(augmented[1:2, :3], recolour(together[1:2, :3], colouring[1]), atol=1e-5)
    assert torch.equal(augmented[1:2, 3:4], together[1:2, 3:4])


@pytest.mark.slow
def test_a_thin_copy_holds_the_view_and_nothing_around_it(packed: Path, tmp_path: Path) -> None:
    size = thin_dataset(packed, tmp_path / "small", frames=25, quality=95, sound_clips=0)
    assert size < sum(p.stat().st_size for p in packed.iterdir())
    whole, small = Dataset(packed), Dataset(tmp_path / "small")
    a, b = (d.open(d.clips[0], VIEW) for d in (whole, small))
    assert len(b) == 25 and small.clips[0].frames == 25 and b.mel is None
    assert np.array_equal(a.view([3]).uv, b.view([3]).uv) and np.array_equal(a.mouth[:25], b.mouth)
    difference = np.abs(a.view([3]).crops.astype(int) - b.view([3]).crops)
    assert difference.mean() < 4
    outside = b.picture(3)[:80]
    assert np.abs(outside.astype(int) - GREY).max() < 12


@pytest.mark.slow
def test_a_dataset_is_never_thinned_onto_itself(packed: Path) -> None:
    with pytest.raises(BadInput):
        thin_dataset(packed, packed, 25, 80, 0)
