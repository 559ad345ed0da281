"""A small actor with a known face: a textured disc that moves, with a mouth that opens."""

from __future__ import annotations

import numpy as np
import torch

from training.core.config import AdaptConfig, GeneratorConfig, LossConfig
from training.core.distributed import World
from training.core.trainer import Trainer, ValidationBatch, texture_of
from training.data.frames import FrameSet
from training.data.uvmap import pack_uv
from training.data.windows import WindowSampler, hold_out, still_windows
from training.prior_file import Prior
from visualdub.box import Box

SIZE = 64
TINY = GeneratorConfig(
    width=0.0625, size=SIZE, view_box=Box(0, 16, 64, 64), texture_size=32, style=16, references=2
)


def tiny_config(**changes: object) -> AdaptConfig:
    """A configuration whose steps take milliseconds."""
    values = {
        "generator": TINY,
        "losses": LossConfig(crop=32),
        "steps": 6,
        "adversarial_start": 0.0,
        **changes,
    }
    return AdaptConfig(**values)  # type: ignore[arg-type]


def disc_frames(count: int = 30, sound: bool = False) -> FrameSet:
    """Frames of a disc, its texture a gradient, over a grey background; the lower half is the mask."""
    rng = np.random.default_rng(3)
    yy, xx = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
    crops, uvs, masks = [], [], []
    for i in range(count):
        dx = 0.05 * np.sin(i / 3)
        uv = np.stack([xx - dx, yy], -1).astype(np.float32)
        inside = (uv[..., 0] - 0.5) ** 2 + (uv[..., 1] - 0.5) ** 2 < 0.16
        colour = np.stack([0.3 + 0.4 * uv[..., 0], 0.2 + 0.5 * uv[..., 1], np.full_like(xx, 0.4)], -1)
        picture = np.where(inside[..., None], colour, 0.5)
        uvs.append(pack_uv(np.where(inside[..., None], uv.clip(0, 1), -1).astype(np.float32)))
        crops.append((picture * 255).round().astype(np.uint8))
        masks.append((inside & (uv[..., 1] > 0.5)).astype(np.uint8))
    mouth = np.tile(np.array([24, 38, 40, 50], np.int32), (count, 1))
    mel = rng.random((count, 80, 16)).astype(np.float32) if sound else None
    return FrameSet(
        np.stack(crops), np.stack(uvs), np.stack(masks), mouth, np.ones(count, bool), mel, TINY.view_box
    )


def tiny_trainer(
    sound: bool = False,
    people: int = 1,
    mixed: bool = False,
    world: World | None = None,
    prior: Prior | None = None,
    **changes: object,
) -> Trainer:
    """A trainer on the disc, or on several of them."""
    config, clip = tiny_config(**changes), disc_frames(sound=sound)
    held_out = hold_out([clip], TINY.window, config.held_out)
    sampler = WindowSampler([[clip]] * people, config, held_out, mixed)
    starts = [
        None if config.random_texture else texture_of([clip], frames, config) for frames in sampler.frames
    ]
    return Trainer(config, sampler, starts, torch.device("cpu"), torch.float32, prior, world)


def tiny_validation() -> ValidationBatch:
    """The held-out frames of a run on the disc."""
    clip = disc_frames()
    return ValidationBatch(still_windows([clip], hold_out([clip], TINY.window, 10), TINY))
