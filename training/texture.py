"""The neural texture of one actor: a pyramid that learns coarse to fine, colours from the actor's mean unwrapped frames."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

LEVELS = 4  # sizes: full, 1/2, 1/4, 1/8
UNLOCKED_BY = 0.15  # share of the run after which the finest level learns


class NeuralTexture(nn.Module):
    """Sum of a fixed base picture and learned levels of rising size; what the renderer samples is their sum.

    A texel of the coarsest level moves an area of the face at once, so that light and colour settle long before detail does.
    """

    base: Tensor

    def __init__(self, size: int, channels: int, colours: NDArray[np.float32] | None, generator: torch.Generator) -> None:
        """colours: (size, size, 3) 0..1 for channels 0-2, or None for the paper's random start."""
        super().__init__()
        base = torch.zeros(1, channels, size, size)
        if colours is not None:
            base[0, :3] = torch.from_numpy(np.ascontiguousarray(colours.transpose(2, 0, 1)))
        self.register_buffer("base", base)
        self.levels = nn.ParameterList()
        for i in reversed(range(LEVELS)):
            level = torch.zeros(1, channels, size >> i, size >> i)
            free = slice(0 if colours is None else 3, None)
            noise = torch.randn(level[:, free].shape, generator=generator)
            level[:, free] = noise * (0.5 if colours is None else 0.1)
            self.levels.append(nn.Parameter(level))

    def forward(self, progress: float = 1.0) -> Tensor:
        """(1, channels, size, size). `progress` 0..1 of the run: levels finer than it allows take no gradient."""
        total = self.base
        for i, level in enumerate(self.levels):
            learned = level if progress >= UNLOCKED_BY * i / (LEVELS - 1) else level.detach()
            if level.shape[-1] != total.shape[-1]:
                learned = F.interpolate(learned, size=total.shape[-2:], mode="bilinear", align_corners=False)
            total = total + learned
        return total


# ---- unwrapping -------------------------------------------------------------------------------------------------------


def unwrap_mean(crops: Iterable[NDArray[np.uint8]], uvs: Iterable[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
    """Mean colour that the frames show at each texel.

    crops: uint8 (H, W, 3) each; uvs: (H, W, 2) each, 0..1 (u right, v down), -1 where there is no mesh. Every covered pixel is
    shared among its four nearest texels by bilinear weight. Texels that no frame shows take their surroundings' colour.
    Returns (size, size, 3) in 0..1.
    """
    sums = np.zeros((size * size, 4))
    for crop, uv in zip(crops, uvs, strict=True):
        covered = uv[..., 0] >= 0
        colour = crop[covered].astype(np.float64) / 255
        place = uv[covered].astype(np.float64) * size - 0.5
        corner = np.floor(place).astype(np.int64)
        share = place - corner
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            x, y = (np.clip(corner[:, k] + d, 0, size - 1) for k, d in ((0, dx), (1, dy)))
            weight = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
            index = y * size + x
            for channel in range(3):
                sums[:, channel] += np.bincount(index, weight * colour[:, channel], size * size)
            sums[:, 3] += np.bincount(index, weight, size * size)
    return _fill(sums.reshape(size, size, 4))


def _fill(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weighted colours (S, S, 4) to colours (S, S, 3); empty texels from ever coarser averages of their surroundings."""
    size = len(sums)
    if size == 1 or (sums[..., 3] > 1e-3).all():
        weight = np.maximum(sums[..., 3:], 1e-9)
        return (sums[..., :3] / weight).astype(np.float32)
    coarse = _fill(sums.reshape(size // 2, 2, size // 2, 2, 4).sum((1, 3)))
    filled = coarse.repeat(2, 0).repeat(2, 1)
    covered = sums[..., 3] > 1e-3
    filled[covered] = sums[covered, :3] / sums[covered, 3:]
    return filled
