"""Starting values of a texture, in closed form: mean colours, trust, and the layers that explain most of what
the mean leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.renderer.generator import TRUST_GAIN, first_guess, sample_texture

STRONG = 1.0  # weight, in pixels, that keeps a texel's residual near 0 where few pixels showed it
MOST_TRUST = 4.0  # logit
DOUBT = 4.0  # logits per neper by which the surroundings explain a texel worse than the texture does
FAITH = (
    2.0  # logit where both explain it as well: inside the mouth nothing does, and skin must not show there
)


def splat(values: Tensor, uv: Tensor, size: int) -> Tensor:
    """Sum pixels into the texels they show, each shared among its four nearest by bilinear weight.

    values (C, h, w); uv (h, w, 2) 0..1, -1 where there is no mesh. Returns (size * size, C + 1): sums, and
    the weights last.
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
    """(3, size, size) mean colour the frames (3, h, w) show at each texel; texels no frame shows take their
    surroundings'.
    """
    sums = torch.zeros(size * size, 4)
    for frame, uv in zip(frames, uvs, strict=True):
        sums += splat(frame, uv, size)
    return _fill(sums.reshape(size, size, 4)).permute(2, 0, 1)


def _fill(sums: Tensor) -> Tensor:
    """Weighted colours (S, S, 4) to colours (S, S, 3); empty texels from ever coarser averages of their
    surroundings.
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
    """A texture (channels, size, size) that already draws its frames.

    0-2: mean colours. 3: trust, from how well texture and surroundings each explain a texel's pixels. 4 and
    up: colour layers, what changes as the lips' box grows high, then wide, then the principal components of
    what is left, all scaled to their standard deviation: layers that mean the same for everybody are what a
    network can learn from many people. frames (3, h, w) 0..1, uvs (h, w, 2), masks (h, w) 0/1, one each per
    frame; lips (n, 2) height and width of the lips' box.
    """
    texture = torch.zeros(1, channels, size, size)
    texture[0, :3] = mean_colours(frames, uvs, size)
    texture[0, 3] = _trust(texture, frames, uvs, masks)
    layers = (channels - 4) // 3
    left = torch.stack([_residual(texture, *x) for x in zip(frames, uvs, masks, strict=True)])
    mean = left.mean(0)
    texture[0, :3] += mean.t().reshape(3, size, size)
    flat = (left - mean).reshape(len(left), -1)
    for i, layer in enumerate(_layers(flat, lips, layers)):
        texture[0, 4 + 3 * i : 7 + 3 * i] = layer.reshape(-1, 3).t().reshape(3, size, size)
    return texture[0]


def _layers(flat: Tensor, lips: Tensor, count: int) -> list[Tensor]:
    """The first `count` directions of flat (n, D), whose mean is 0: along lips (n, 2), then principal
    components; (D,) each.
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


def _trust(
    texture: Tensor, frames: Sequence[Tensor], uvs: Sequence[Tensor], masks: Sequence[Tensor]
) -> Tensor:
    """(size, size) trust, a logit over `TRUST_GAIN`: positive where the texture explains the pixels inside
    the mask better than their surroundings do.
    """
    size = texture.shape[-1]
    sums = torch.zeros(size * size, 3)
    for frame, uv, mask in zip(frames, uvs, masks, strict=True):
        errors = []
        for certain in (20.0, -20.0):
            trial = texture.clone()
            trial[:, 3] = certain
            errors.append((_guess(trial, frame, uv, mask) - frame).square().mean(0))
        inside = torch.where(mask[..., None] > 0.5, uv, torch.full_like(uv, -1))
        sums += splat(torch.stack(errors), inside, size)
    own, around = sums[:, 0] + 1e-6, sums[:, 1] + 1e-6
    logit = (DOUBT * torch.log(around / own) + FAITH).clamp(-MOST_TRUST, MOST_TRUST)
    logit[sums[:, 2] < 1e-3] = MOST_TRUST
    smooth = F.avg_pool2d(logit.reshape(1, 1, size, size), 5, 1, 2, count_include_pad=False)
    return smooth[0, 0] / TRUST_GAIN


def _residual(texture: Tensor, frame: Tensor, uv: Tensor, mask: Tensor) -> Tensor:
    """(size * size, 3) what the first guess of one frame lacks at each texel inside the mask."""
    left = (frame - _guess(texture, frame, uv, mask)) * mask
    inside = torch.where(mask[..., None] > 0.5, uv, torch.full_like(uv, -1))
    sums = splat(left, inside, texture.shape[-1])
    return sums[:, :3] / (sums[:, 3:] + STRONG)


def _guess(texture: Tensor, frame: Tensor, uv: Tensor, mask: Tensor) -> Tensor:
    sampled = sample_texture(texture, uv[None, None])[0]
    return first_guess(frame[None], sampled[:, :3], sampled[:, 3:4], mask[None, None])[0]
