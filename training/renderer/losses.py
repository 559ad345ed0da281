"""Losses of the renderer: weighted L1 and L2, perceptual, texture colour. The adversarial loss is in
`training.renderer.discriminator`.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from training.core.config import LossConfig
from visualdub.errors import BadInput

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256)  # channels up to relu3_3; 0 = halve by maximum
TAPS = (1, 3, 6)  # convolutions whose output is compared: relu1_2, relu2_2, relu3_3
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def weight_map(mask: Tensor, mouth: Tensor, config: LossConfig) -> Tensor:
    """(..., H, W) weight of each pixel: inside the mouth, in the rest of the mask, elsewhere.

    mask, mouth: (..., H, W) 0/1.
    """
    lower = mask * config.lower_face + (1 - mask) * config.elsewhere
    inside = mouth * mask
    return inside * config.mouth + (1 - inside) * lower


def window_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean within each window, then the mean over windows, so that a batch may be split; a scalar.

    values, weight: (N, T, H, W).
    """
    return ((values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)).mean()


def weighted_l1(rendered: Tensor, filmed: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the absolute difference. rendered, filmed: (N, T, 3, H, W). weight: (N, T, H, W)."""
    return window_mean((rendered.float() - filmed).abs().mean(2), weight)


def weighted_l2(rendered: Tensor, filmed: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the squared difference. Shapes as in `weighted_l1`."""
    return window_mean((rendered.float() - filmed).square().mean(2), weight)


def colour_reg(sampled: Tensor, filmed: Tensor, mask: Tensor) -> Tensor:
    """L1 between the sampled colours, the texture's first three channels, and the frame inside the mask.

    sampled: (N, T, C, H, W). filmed: (N, T, 3, H, W). mask: (N, T, H, W) 0/1.
    """
    return window_mean((sampled[:, :, :3] - filmed).abs().mean(2), mask)


class Perceptual(nn.Module):
    """L1 between VGG16 features, each layer divided by its mean magnitude on the filmed picture.

    The network has ImageNet weights where a file is given, otherwise random (orthogonal, seeded) weights;
    `weights` says which, for the run's record.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str | None = None, seed: int = 0) -> None:
        """weights: a safetensors file, its tensors named as in torchvision. Raises `BadInput` for another
        file.
        """
        super().__init__()
        self.convs = nn.ModuleList()
        before = 3
        for channels in (c for c in VGG16 if c):
            self.convs.append(nn.Conv2d(before, channels, 3, padding=1))
            before = channels
        self._random(seed)
        if weights is not None:
            self._load(Path(weights))
        self.weights = "random" if weights is None else f"imagenet ({Path(weights).name})"
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def _random(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            nn.init.orthogonal_(conv.weight, gain=2**0.5, generator=generator)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def _load(self, path: Path) -> None:
        """Load weights that are named as in torchvision (`features.N.weight`)."""
        try:
            stored = load_file(path)
            positions = [i for i, c in enumerate(_torchvision_layers()) if c]
            state = {
                f"convs.{n}.{kind}": stored[f"features.{i}.{kind}"]
                for n, i in enumerate(positions)
                for kind in ("weight", "bias")
            }
            self.load_state_dict(state, strict=False)
        except (OSError, SafetensorError, KeyError, RuntimeError) as e:
            raise BadInput(
                f"{path} does not hold VGG16 weights: {e}; expected a safetensors file with features.N.weight"
            ) from e

    def features(self, picture: Tensor) -> list[Tensor]:
        """The compared layers' outputs for pictures (N, 3, H, W) in 0..1."""
        x = (picture - self.mean) / self.std
        taps, n = [], 0
        for channels in VGG16:
            if channels == 0:
                x = F.max_pool2d(x, 2)
                continue
            x = F.relu(self.convs[n](x))
            if n in TAPS:
                taps.append(x)
            n += 1
        return taps

    def forward(self, rendered: Tensor, filmed: Tensor) -> Tensor:
        """The loss, a scalar, of rendered and filmed (N, 3, H, W) in 0..1."""
        with torch.no_grad():
            targets = self.features(filmed)
        total = torch.zeros((), device=rendered.device)
        for a, b in zip(self.features(rendered), targets, strict=True):
            a, b = a.float(), b.float()
            total = total + ((a - b).abs().mean((1, 2, 3)) / b.abs().mean((1, 2, 3)).clamp_min(1e-6)).mean()
        return total / len(TAPS)


def _torchvision_layers() -> list[int]:
    """Channels of each entry of torchvision's `vgg16().features` up to relu3_3; 0 for ReLU and pooling."""
    layers: list[int] = []
    for channels in VGG16:
        layers += [channels, 0] if channels else [0]
    return layers


def psnr(rendered: Tensor, filmed: Tensor, weight: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of pictures in 0..1. rendered, filmed: (..., 3, H, W). weight: (...,
    H, W), or None for all pixels alike.
    """
    error = (rendered.float().clamp(0, 1) - filmed).square().mean(-3)
    mse = error.mean() if weight is None else (error * weight).sum() / weight.sum()
    return float(-10 * torch.log10(mse.clamp_min(1e-12)))
