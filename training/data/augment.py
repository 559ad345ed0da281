"""Augmentation: mirrored faces, and other colours of light and skin. A texture augmented like the frame
renders the augmented frame.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.face.topology import FACE_PART

LUMA = np.array([0.299, 0.587, 0.114])
# The v below which the layout holds the face and from which on it holds the mouth's sheets, side by side; see
# `training.face.topology.unwrap`.
STRIP = FACE_PART
# The u of upper teeth, lower teeth and cap, each of which is symmetric in itself, and of their centres.
SHEETS = ((0.0, 0.3325), (0.3325, 0.6675), (0.6675, 1.0))
CENTRES = (0.165, 0.5, 0.835)
# Standard deviations at strength 1 of exposure, of each channel and of saturation, in nepers, and of the
# offset.
GAIN, CHANNEL, SATURATION, OFFSET = 0.15, 0.06, 0.2, 0.04


def random_colouring(rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """(3, 4) a linear map of R'G'B' and an offset, which change exposure about mid-grey, white balance,
    saturation and black level at random.
    """
    gain, saturation = np.exp(strength * np.array([GAIN, SATURATION]) * rng.standard_normal(2))
    channels = np.exp(strength * CHANNEL * rng.standard_normal(3))
    mix = np.diag(channels) @ (saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))) * gain
    offset = 0.5 - mix @ np.full(3, 0.5) + strength * OFFSET * rng.standard_normal()
    return np.asarray(np.concatenate([mix, offset[:, None]], 1), np.float32)


def mirrored_uv(uv: Tensor) -> Tensor:
    """The texture coordinates (..., 2) at which the mirrored face shows what the face shows at `uv`.

    A coordinate of -1, no mesh, stays. The face and each sheet of the mouth are mirrored about their own
    centres, so that teeth stay teeth; mirroring twice gives `uv` again.
    """
    u, v = uv.unbind(-1)
    mirrored = 1 - u
    for (left, right), centre in zip(SHEETS, CENTRES, strict=True):
        mirrored = torch.where((v >= STRIP) & (u >= left) & (u < right), 2 * centre - u, mirrored)
    return torch.stack([torch.where(u >= 0, mirrored.clamp(0, 1), u), v], -1)


def mirrored_texture(texture: Tensor) -> Tensor:
    """The textures (N, C, S, S) of the mirrored face. Whole columns are moved, which costs half a texel at
    the sheets of the mouth.
    """
    size = texture.shape[-1]
    rows = round(STRIP * size)
    centres = (torch.arange(size) + 0.5) / size
    strip = mirrored_uv(torch.stack([centres, torch.full_like(centres, 1.0)], -1))[:, 0].to(texture.device)
    columns = (strip * size).long().clamp(0, size - 1)
    return torch.cat([texture[..., :rows, :].flip(-1), texture[..., rows:, columns]], -2)


def augmented_textures(textures: Tensor, mirrored: Tensor, colouring: Tensor) -> Tensor:
    """The textures (N, C, S, S) for frames that are mirrored, where `mirrored` (N,) is set, and recoloured by
    `colouring` (N, 3, 4): their colours and basis layers change, their confidence does not.
    """
    if bool(mirrored.any()):
        flags = mirrored[:, None, None, None]
        textures = torch.where(flags, mirrored_texture(textures), textures)
    colours, confidence, basis = textures[:, :3], textures[:, 3:4], textures[:, 4:]
    basis = basis.reshape(len(basis), -1, 3, *basis.shape[-2:])
    recoloured = torch.einsum("nij,nljhw->nlihw", colouring[..., :3], basis).flatten(1, 2)
    return torch.cat([recolour(colours, colouring), confidence, recoloured], 1)


def recolour(pictures: Tensor, colouring: Tensor) -> Tensor:
    """Pictures (..., 3, H, W) in other colours, which may leave 0..1. colouring: (..., 3, 4), whose leading
    dimensions are the pictures' or broadcast to them, see `random_colouring`.
    """
    mixed = torch.einsum("...ij,...jhw->...ihw", colouring[..., :3], pictures)
    return mixed + colouring[..., 3, None, None]
