"""Starting values of a texture in closed form: mean colours, confidence, and the basis layers that explain
most of the residual.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.renderer.generator import CONFIDENCE_GAIN, initial_composite, sample_texture

SHRINKAGE_PIXELS = 1.0  # weight of a residual of 0: it keeps a texel that few pixels show near 0
MOST_CONFIDENCE = 4.0  # largest logit of the confidence, and the negative of the smallest
LOGITS_PER_NEPER = 4.0  # by which the surroundings explain a texel worse than the texture does
# Logit where both explain a texel equally well. Inside the mouth neither does, and skin must not show there.
EQUAL_ERROR_LOGIT = 2.0


def splat(values: Tensor, uv: Tensor, size: int) -> Tensor:
    """Sum pixels into the texels they show, each pixel shared among the four nearest by bilinear weight.

    values: (C, h, w). uv: (h, w, 2) 0..1, -1 where there is no mesh. Returns (size * size, C + 1): weighted
    sums of the values, and the sums of the weights last.
    """
    covered = uv[..., 0] >= 0
    place = uv[covered] * size - 0.5
    corner = place.floor()
    share = place - corner
    pixels = values[:, covered].t()
    sums = torch.zeros(size * size, len(values) + 1)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (1 - dx - share[:, :1]).abs() * (1 - dy - share[:, 1:]).abs()
            x, y = (corner[:, 0] + dx).clamp(0, size - 1), (corner[:, 1] + dy).clamp(0, size - 1)
            sums.index_add_(0, (y * size + x).long(), torch.cat([pixels * weight, weight], 1))
    return sums


def mean_colours(frames: Sequence[Tensor], uvs: Sequence[Tensor], size: int) -> Tensor:
    """(3, size, size) the mean colour of each texel over the frames (3, h, w); a texel that no frame shows
    takes that of its surroundings.
    """
    sums = torch.zeros(size * size, 4)
    for frame, uv in zip(frames, uvs, strict=True):
        sums += splat(frame, uv, size)
    return _fill(sums.reshape(size, size, 4)).permute(2, 0, 1)


def _fill(sums: Tensor) -> Tensor:
    """Weighted colours (S, S, 4) to colours (S, S, 3); empty texels are filled from ever coarser averages of
    their surroundings.
    """
    size, covered = len(sums), sums[..., 3:] > 1e-3
    colours = sums[..., :3] / sums[..., 3:].clamp_min(1e-9)
    if size == 1 or bool(covered.all()):
        return colours
    coarse = _fill(sums.reshape(size // 2, 2, size // 2, 2, 4).sum((1, 3)))
    return torch.where(covered, colours, coarse.repeat_interleave(2, 0).repeat_interleave(2, 1))


def starting_texture(
    frames: Sequence[Tensor],
    uvs: Sequence[Tensor],
    masks: Sequence[Tensor],
    lips: Tensor,
    size: int,
    channels: int,
) -> Tensor:
    """A texture (channels, size, size) that already renders its frames.

    Channels 0-2 are mean colours. Channel 3 is the confidence, from how well texture and surroundings each
    explain a texel's pixels. Channels 4 and up are basis layers: the changes that go with the height of the
    lips' box, then with its width, then the principal components of the rest, each scaled to its standard
    deviation. Layers that mean the same for everybody are something a network can learn from many people.

    frames: n of (3, h, w) 0..1. uvs: n of (h, w, 2). masks: n of (h, w) 0/1. lips: (n, 2) height and width of
    the lips' box.
    """
    texture = torch.zeros(1, channels, size, size)
    texture[0, :3] = mean_colours(frames, uvs, size)
    texture[0, 3] = _confidence(texture, frames, uvs, masks)
    count = (channels - 4) // 3
    residuals = torch.stack([_residual(texture, *x) for x in zip(frames, uvs, masks, strict=True)])
    mean = residuals.mean(0)
    texture[0, :3] += mean.t().reshape(3, size, size)
    flat = (residuals - mean).reshape(len(residuals), -1)
    for i, layer in enumerate(_basis_layers(flat, lips, count)):
        texture[0, 4 + 3 * i : 7 + 3 * i] = layer.reshape(-1, 3).t().reshape(3, size, size)
    return texture[0]


def _basis_layers(flat: Tensor, lips: Tensor, count: int) -> list[Tensor]:
    """The first `count` directions (D,) of flat (n, D), whose mean is 0: those that go with lips (n, 2), then
    principal components.
    """
    drivers, triangle = torch.linalg.qr((lips - lips.mean(0)).to(flat.dtype))
    drivers = drivers * triangle.diagonal().sign()  # 0 where the lips do not move
    rest = flat - drivers @ (drivers.t() @ flat)
    vectors = torch.linalg.eigh(rest @ rest.t()).eigenvectors.flip(1)[
        :, : max(0, min(count, len(flat) - 1) - drivers.shape[1])
    ]
    brighter = (vectors.t() @ rest).sum(1).sign()
    weights = torch.cat([drivers[:, :count], vectors * brighter], 1)
    return list((weights.t() @ flat) / len(flat) ** 0.5)


def _confidence(
    texture: Tensor, frames: Sequence[Tensor], uvs: Sequence[Tensor], masks: Sequence[Tensor]
) -> Tensor:
    """(size, size) the confidence, a logit over `CONFIDENCE_GAIN`: positive where the texture explains the
    pixels inside the mask better than their surroundings do.
    """
    size = texture.shape[-1]
    sums = torch.zeros(size * size, 3)
    for frame, uv, mask in zip(frames, uvs, masks, strict=True):
        errors = []
        for logit in (20.0, -20.0):
            trial = texture.clone()
            trial[:, 3] = logit
            errors.append((_composite(trial, frame, uv, mask) - frame).square().mean(0))
        inside = torch.where(mask[..., None] > 0.5, uv, torch.full_like(uv, -1))
        sums += splat(torch.stack(errors), inside, size)
    of_texture, of_surroundings = sums[:, 0] + 1e-6, sums[:, 1] + 1e-6
    logits = LOGITS_PER_NEPER * torch.log(of_surroundings / of_texture) + EQUAL_ERROR_LOGIT
    logits = logits.clamp(-MOST_CONFIDENCE, MOST_CONFIDENCE)
    logits[sums[:, 2] < 1e-3] = MOST_CONFIDENCE
    smooth = F.avg_pool2d(logits.reshape(1, 1, size, size), 5, 1, 2, count_include_pad=False)
    return smooth[0, 0] / CONFIDENCE_GAIN


def _residual(texture: Tensor, frame: Tensor, uv: Tensor, mask: Tensor) -> Tensor:
    """(size * size, 3) frame minus initial composite at each texel inside the mask."""
    difference = (frame - _composite(texture, frame, uv, mask)) * mask
    inside = torch.where(mask[..., None] > 0.5, uv, torch.full_like(uv, -1))
    sums = splat(difference, inside, texture.shape[-1])
    return sums[:, :3] / (sums[:, 3:] + SHRINKAGE_PIXELS)


def _composite(texture: Tensor, frame: Tensor, uv: Tensor, mask: Tensor) -> Tensor:
    """The initial composite (3, h, w) of one frame."""
    sampled = sample_texture(texture, uv[None, None])[0]
    return initial_composite(frame[None], sampled[:, :3], sampled[:, 3:4], mask[None, None])[0]
