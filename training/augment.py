"""Many people out of few: faces mirrored, light and skin of other colours. A texture recoloured draws the frame recoloured."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LUMA = np.array([0.299, 0.587, 0.114])
GAIN, CHANNEL, SATURATION, OFFSET = 0.15, 0.06, 0.2, 0.04  # standard deviations at strength 1; all but the last in nepers


def random_colouring(rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """(3, 4) a linear map of R'G'B' and an offset: exposure about mid-grey, white balance, saturation, black level."""
    gain, saturation = np.exp(strength * np.array([GAIN, SATURATION]) * rng.standard_normal(2))
    channels = np.exp(strength * CHANNEL * rng.standard_normal(3))
    mix = np.diag(channels) @ (saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))) * gain
    offset = 0.5 - mix @ np.full(3, 0.5) + strength * OFFSET * rng.standard_normal()
    return np.asarray(np.concatenate([mix, offset[:, None]], 1), np.float32)


def augmented_texture(texture: Tensor, mirror: bool, colouring: Tensor) -> Tensor:
    """A person's texture (1, C, S, S) as it draws frames mirrored and recoloured by (3, 4): colours, trust, colour layers."""
    if mirror:
        texture = texture.flip(-1)
    colours, trust, layers = texture[:, :3], texture[:, 3:4], texture[:, 4:]
    layers = layers.reshape(len(layers), -1, 3, *layers.shape[-2:])
    turned = torch.einsum("ij,nljhw->nlihw", colouring[:, :3], layers).flatten(1, 2)
    return torch.cat([recolour(colours, colouring), trust, turned], 1)


def recolour(pictures: Tensor, colouring: Tensor) -> Tensor:
    """Pictures (..., 3, H, W) in other colours, which may leave 0..1. colouring (3, 4), see `random_colouring`."""
    mixed = torch.einsum("ij,...jhw->...ihw", colouring[:, :3], pictures)
    return mixed + colouring[:, 3, None, None]
