"""The neural texture of one actor: a pyramid that learns coarse to fine, colours from the actor's mean
unwrapped frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4  # sizes: full, 1/2, 1/4, 1/8
UNLOCKED_BY = 0.15  # share of the run after which the finest level learns


class NeuralTexture(nn.Module):
    """Sum of a fixed base picture and learned levels of rising size; what the renderer samples is their sum.

    A texel of the coarsest level moves an area of the face at once, so that light and colour settle long
    before detail does.
    """

    base: Tensor

    def __init__(self, size: int, channels: int, start: Tensor | None, generator: torch.Generator) -> None:
        """start: (P, channels, size, size), one for each passage, as
        `training.renderer.unwrap.starting_texture` makes them.

        None: the paper's random one.
        """
        super().__init__()
        self.register_buffer(
            "base", torch.zeros(1, channels, size, size) if start is None else start.clone(), persistent=False
        )  # made again from the same frames
        self.levels = nn.ParameterList()
        for i in reversed(range(LEVELS)):
            level = torch.zeros(1, channels, size >> i, size >> i)
            if start is None:
                level = 0.25 * torch.randn(level.shape, generator=generator)
            self.levels.append(nn.Parameter(level))

    def forward(self, progress: float = 1.0, passage: int = 0) -> Tensor:
        """(1, channels, size, size). `progress` 0..1 of the run: levels finer than it allows take no
        gradient.
        """
        total = self.base[passage : passage + 1]
        for i, level in enumerate(self.levels):
            learned = level if progress >= UNLOCKED_BY * i / (LEVELS - 1) else level.detach()
            if level.shape[-1] != total.shape[-1]:
                learned = F.interpolate(learned, size=total.shape[-2:], mode="bilinear", align_corners=False)
            total = total + learned
        return total
