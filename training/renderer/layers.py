"""Layers shared by generator and discriminator: modulated convolution, blurred resampling, activation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = math.sqrt(2.0)
# Gain of layers whose output is added to the picture. At 1 the steps of Adam alone changed every colour by
# 0.01,
# which is as much as there is to learn.
OUTPUT_GAIN = 0.25


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2. StyleGAN2's gain of sqrt 2 is part of the layers' weights, where it costs
    nothing.
    """
    return F.leaky_relu(x, 0.2)


class Conv(nn.Module):
    """Convolution with StyleGAN2's equalised learning rate: weights of unit variance, scaled by
    1 / sqrt(fan-in) when used.

    One step of Adam then changes every layer's output by about as much, whatever its width; without it a rate
    of 1e-3 diverges here.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = True, gain: float = GAIN
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel * kernel)
        self.stride, self.padding = stride, kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class Linear(nn.Module):
    """Linear layer with `Conv`'s equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        return F.linear(x, self.weight * self.scale, self.bias)


class BlurDown(nn.Module):
    """Halves the size through StyleGAN2's separable [1, 3, 3, 1] filter, with zeros around the picture."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = row[:, None] * row[None, :]
        self.register_buffer(
            "kernel", (kernel / kernel.sum()).expand(channels, 1, 4, 4).clone(), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / 2, W / 2)."""
        return F.conv2d(x, self.kernel.to(x.dtype), stride=2, padding=1, groups=x.shape[1])


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Enlarge bilinearly, (N, C, H, W) -> (N, C, fH, fW), in the precision of `x`; autocast would go through
    float32.
    """
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def blur_up(x: Tensor) -> Tensor:
    """Double the size, (N, C, H, W) -> (N, C, 2H, 2W); bilinear doubling is StyleGAN2's [1, 3, 3, 1]
    up-sampling.
    """
    return enlarge(x, 2)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, with demodulation, as in StyleGAN2; the batch
    shares the weights.

    Scaling the input, convolving with shared weights and multiplying by the demodulation factor equals
    StyleGAN2's grouped convolution to rounding, and exports with a dynamic batch.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, demodulate: bool = True) -> None:
        """Without demodulation the layer's output is to be added to a picture: it starts at zero and has no
        bias.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if demodulate else None
        self.affine = Linear(style, inputs, gain=0.25, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * kernel * kernel) if demodulate else OUTPUT_GAIN
        if not demodulate:
            nn.init.zeros_(self.weight)
        self.demodulate = demodulate
        self.padding = kernel // 2

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (N, inputs, H, W) and style (N, S) -> (N, outputs, H, W)."""
        scale = self.affine(style)
        weight = self.weight * self.scale
        y = F.conv2d(x * scale[:, :, None, None].to(x.dtype), weight.to(x.dtype), padding=self.padding)
        if self.demodulate:
            power = weight.float().square().sum((2, 3))
            factor = GAIN * torch.rsqrt(scale.float().square() @ power.t() + 1e-8)
            y = y * factor[:, :, None, None].to(y.dtype)
        return y if self.bias is None else y + self.bias[None, :, None, None].to(y.dtype)
