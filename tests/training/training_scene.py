"""A small actor whose face is known: a textured disc that moves, with a mouth that opens."""

from __future__ import annotations

import numpy as np
import torch

from training.config import AdaptConfig, GeneratorConfig, LossConfig
from training.data import FrameSet, WindowSampler, pack_uv
from training.trainer import Trainer

SIZE = 64
TINY = GeneratorConfig(width=0.0625, size=SIZE, view=(16, 64, 0, 64), texture_size=32, style=16, references=2)


def tiny_config(**changes: object) -> AdaptConfig:
    """A configuration whose steps take milliseconds."""
    values = {"generator": TINY, "losses": LossConfig(crop=32), "steps": 6, "adversarial_start": 0.0, **changes}
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
    return FrameSet(np.stack(crops), np.stack(uvs), np.stack(masks), mouth, np.ones(count, bool), mel)


def tiny_trainer(sound: bool = False, **changes: object) -> Trainer:
    """A trainer on the disc."""
    config = tiny_config(**changes)
    sampler = WindowSampler([disc_frames(sound=sound)], config.generator, config.held_out, config.scattered)
    return Trainer(config, sampler, torch.device("cpu"), torch.float32)
