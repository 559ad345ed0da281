"""Many people out of few: faces mirrored, light and skin of other colours. A texture recoloured draws the
frame recoloured.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.face.topology import FACE_PART

LUMA = np.array([0.299, 0.587, 0.114])
# v from which on the mouth's sheets lie side by side, above it the face; see `training.face.topology.unwrap`
STRIP = FACE_PART
SHEETS = (
    (0.0, 0.3325),
    (0.3325, 0.6675),
    (0.6675, 1.0),
)  # u of upper teeth, lower teeth, cap; each is its own mirror
CENTRES = (0.165, 0.5, 0.835)  # u of their middles
GAIN, CHANNEL, SATURATION, OFFSET = (
    0.15,
    0.06,
    0.2,
    0.04,
)  # standard deviations at strength 1; all but the last in nepers


def random_colouring(rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """(3, 4) a linear map of R'G'B' and an offset: exposure about mid-grey, white balance, saturation, black
    level.
    """
    gain, saturation = np.exp(strength * np.array([GAIN, SATURATION]) * rng.standard_normal(2))
    channels = np.exp(strength * CHANNEL * rng.standard_normal(3))
    mix = np.diag(channels) @ (saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))) * gain
    offset = 0.5 - mix @ np.full(3, 0.5) + strength * OFFSET * rng.standard_normal()
    return np.asarray(np.concatenate([mix, offset[:, None]], 1), np.float32)


def mirrored_uv(uv: Tensor) -> Tensor:
    """Where the mirrored face keeps what lies at uv (..., 2); -1, no mesh, stays. The face and each sheet of
    the mouth turn about their own middles, so that teeth stay teeth: mirrored twice is as before.
    """
    u, v = uv.unbind(-1)
    turned = 1 - u
    for (left, right), centre in zip(SHEETS, CENTRES, strict=True):
        turned = torch.where((v >= STRIP) & (u >= left) & (u < right), 2 * centre - u, turned)
    return torch.stack([torch.where(u >= 0, turned.clamp(0, 1), u), v], -1)


def mirrored_texture(texture: Tensor) -> Tensor:
    """A texture (1, C, S, S) for the mirrored face. Columns are moved whole: half a texel's error at the
    sheets of the mouth.
    """
    size = texture.shape[-1]
    rows = round(STRIP * size)
    centres = (torch.arange(size) + 0.5) / size
    strip = mirrored_uv(torch.stack([centres, torch.full_like(centres, 1.0)], -1))[:, 0]
    columns = (strip * size).long().clamp(0, size - 1)
    return torch.cat([texture[..., :rows, :].flip(-1), texture[..., rows:, columns]], -2)


def augmented_texture(texture: Tensor, mirror: bool, colouring: Tensor) -> Tensor:
    """A person's texture (1, C, S, S) as it draws frames mirrored and recoloured by (3, 4): colours, trust,
    colour layers.
    """
    if mirror:
        texture = mirrored_texture(texture)
    colours, trust, layers = texture[:, :3], texture[:, 3:4], texture[:, 4:]
    layers = layers.reshape(len(layers), -1, 3, *layers.shape[-2:])
    turned = torch.einsum("ij,nljhw->nlihw", colouring[:, :3], layers).flatten(1, 2)
    return torch.cat([recolour(colours, colouring), trust, turned], 1)


def recolour(pictures: Tensor, colouring: Tensor) -> Tensor:
    """Pictures (..., 3, H, W) in other colours, which may leave 0..1. colouring (3, 4), see
    `random_colouring`.
    """
    mixed = torch.einsum("ij,...jhw->...ihw", colouring[:, :3], pictures)
    return mixed + colouring[:, 3, None, None]
