"""StyleGAN2-style discriminator over a whole window of frames."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.renderer.layers import BlurDown, Conv, activate

DETAIL = 30.0  # gain of the detail that a 3 x 3 mean takes away; it is faint, and an input of its own


class Residual(nn.Module):
    """Two convolutions and a shortcut, which halve the size."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = Conv(before, before, 3)
        self.second = Conv(before, after, 3)
        self.shortcut = Conv(before, after, 1, bias=False)
        self.blur, self.blur_shortcut = BlurDown(before), BlurDown(before)

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H/2, W/2)."""
        y = activate(self.second(self.blur(activate(self.first(x)))))
        sum_: Tensor = (y + self.shortcut(self.blur_shortcut(x))) / math.sqrt(2)
        return sum_


class Discriminator(nn.Module):
    """Scores a window, all its T frames and their detail stacked; LSGAN's targets are 1 for filmed and 0 for
    rendered.

    Without the detail as an input, a hundred steps did not teach it to tell a frame from a blurred one (loss
    0.25, chance); with it the loss is 0.11.
    """

    def __init__(self, window: int, size: int, width: float) -> None:
        super().__init__()
        self.inputs = 3 * window
        self.size = size

        def channels(resolution: int) -> int:
            full = 512 if resolution <= 32 else 256 if resolution <= 64 else 128
            return max(8, round(full * width))

        self.stem = Conv(2 * self.inputs, channels(size), 1)
        sizes = [size >> i for i in range(size.bit_length() - 3)]  # down to 8
        self.blocks = nn.ModuleList(Residual(channels(s), channels(s // 2)) for s in sizes[:-1])
        self.last = Conv(channels(8), channels(8), 3)
        self.out = Conv(channels(8), 1, 1)

    def forward(self, window: Tensor) -> tuple[Tensor, list[Tensor]]:
        """window (N, T, 3, size, size) about 0..1 -> scores (N, 1, 8, 8), and the features of every block.

        Raises `ValueError` for a window of another shape.
        """
        n, t, c, h, w = window.shape
        if t * c != self.inputs or (h, w) != (self.size, self.size):
            raise ValueError(
                f"window is {tuple(window.shape)}; expected (N, {self.inputs // 3}, 3, {self.size},"
                f" {self.size})"
            )
        picture = window.reshape(n, t * c, h, w)
        detail = picture - F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)
        x = activate(self.stem(torch.cat([picture * 2 - 1, detail * DETAIL], 1)))
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return self.out(activate(self.last(x))), features


def discriminator_loss(filmed: Tensor, rendered: Tensor) -> Tensor:
    """LSGAN: half the mean squared distance of the filmed frames' scores to 1 and of the rendered ones'
    to 0.
    """
    return 0.5 * ((filmed.float() - 1).square().mean() + rendered.float().square().mean())


def generator_loss(rendered: Tensor) -> Tensor:
    """LSGAN: half the mean squared distance of the rendered frames' scores to 1."""
    return 0.5 * (rendered.float() - 1).square().mean()


def require_gradients(module: nn.Module, required: bool) -> None:
    """Set whether the module's weights take gradients."""
    for p in module.parameters():
        p.requires_grad_(required)


def crop_windows(windows: Tensor, corners: Tensor, size: int) -> Tensor:
    """Cut a square of `size` pixels out of each window.

    windows: (N, T, C, H, W). corners: (N, 2) x, y of its left top. Returns (N, T, C, size, size).
    """
    return torch.stack(
        [w[..., y : y + size, x : x + size] for w, (x, y) in zip(windows, corners.tolist(), strict=True)]
    )
