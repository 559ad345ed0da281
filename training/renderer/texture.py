"""The neural texture of one actor: a pyramid that learns coarse to fine and whose colours start from the
actor's mean unwrapped frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4  # sizes: full, 1/2, 1/4, 1/8
UNLOCKED_BY = 0.15  # share of the run after which the finest level learns


class NeuralTexture(nn.Module):
    """A fixed base picture and learned levels of rising size; the renderer samples their sum.

    A texel of the coarsest level changes an area of the face at once, so that light and colour settle long
    before detail does.
    """

    base: Tensor

    def __init__(self, size: int, channels: int, start: Tensor | None, generator: torch.Generator) -> None:
        """start: (P, channels, size, size), one texture for each segment, as
        `training.renderer.unwrap.starting_texture` makes them; None: the paper's random texture.
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

    def forward(self, progress: float = 1.0, segment: int = 0) -> Tensor:
        """The texture (1, channels, size, size) that starts from segment `segment`.

        progress: 0..1 of the run; levels that are still too fine for it take no gradient.
        """
        return sum_levels([self], progress, [segment])


def sum_levels(textures: Sequence[NeuralTexture], progress: float, segments: Sequence[int]) -> Tensor:
    """The textures (N, channels, size, size) of N windows, each of which starts from a segment.

    progress: as in `NeuralTexture.forward`. All levels are summed for the whole batch at once.
    """
    total = torch.cat([t.base[s : s + 1] for t, s in zip(textures, segments, strict=True)])
    for i in range(LEVELS):
        learned = torch.cat([t.levels[i] for t in textures])
        if progress < UNLOCKED_BY * i / (LEVELS - 1):
            learned = learned.detach()
        if learned.shape[-1] != total.shape[-1]:
            learned = F.interpolate(learned, size=total.shape[-2:], mode="bilinear", align_corners=False)
        total = total + learned
    return total
