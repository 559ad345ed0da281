"""Starting values of a texture in closed form: mean colours, confidence, and the basis layers that explain
most of the residual.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.renderer.generator import CONFIDENCE_GAIN, initial_composite, sample_texture
from visualdub.compiled import compiled

JUMP = 8.0  # texels between neighbouring pixels, from which on they show different parts of the face
SHRINKAGE_PIXELS = 1.0  # weight of a residual of 0: it keeps a texel that few pixels show near 0
MOST_CONFIDENCE = 4.0  # largest logit of the confidence, and the negative of the smallest
LOGITS_PER_NEPER = 4.0  # by which the surroundings explain a texel worse than the texture does
# Logit where both explain a texel equally well. Inside the mouth neither does, and skin must not show there.
EQUAL_ERROR_LOGIT = 2.0


def splat(values: Tensor, uv: Tensor, size: int) -> Tensor:
    """Sum a picture into the texels that it shows, each place of it shared among the four nearest by bilinear
    weight.

    Where pixels lie farther apart than texels the picture between them counts, too: its pixels alone would
    leave every other texel to another frame, which is seen as a comb in all that is drawn from it. Between
    pixels whose coordinates jump there is nothing.

    values: (C, h, w). uv: (h, w, 2) 0..1, -1 where there is no mesh. Returns (size * size, C + 1): weighted
    sums of the values, and the sums of the weights last; a pixel has the weight 1.
    """
    sums = np.zeros((size, size, len(values) + 1), np.float32)
    pixels = np.ascontiguousarray(values.permute(1, 2, 0).float().numpy())
    _splat(pixels, np.ascontiguousarray(uv.float().numpy() * size - 0.5), np.float32(JUMP), sums)
    return torch.from_numpy(sums.reshape(size * size, -1))


@compiled
def _add(
    value: NDArray[np.float32], u: float, v: float, share: float, size: int, sums: NDArray[np.float32]
) -> None:
    """Add `value` (C,) to the four texels around a place."""
    left, top = int(np.floor(u)), int(np.floor(v))
    for dy in range(2):
        for dx in range(2):
            weight = share * abs(1 - dx - (u - left)) * abs(1 - dy - (v - top))
            x, y = min(max(left + dx, 0), size - 1), min(max(top + dy, 0), size - 1)
            for c in range(len(value)):
                sums[y, x, c] += weight * value[c]
            sums[y, x, len(value)] += weight


@compiled
def _splat(
    pixels: NDArray[np.float32], place: NDArray[np.float32], jump: float, sums: NDArray[np.float32]
) -> None:
    """Loops of `splat`. pixels: (h, w, C). place: (h, w, 2) texels, below -0.5 where there is no mesh."""
    height, width, channels = pixels.shape
    size = sums.shape[0]
    value, between = np.empty(channels, np.float32), np.zeros((height, width), np.bool_)
    for y in range(height - 1):
        for x in range(width - 1):
            corners = place[y : y + 2, x : x + 2]
            u, v = corners[..., 0], corners[..., 1]
            apart = max(u.max() - u.min(), v.max() - v.min())
            if u.min() < -0.5 or apart > jump:
                continue
            between[y : y + 2, x : x + 2] = True
            steps = max(1, int(np.ceil(apart)))
            share = np.float32(1) / np.float32(steps * steps)
            for j in range(steps):
                for i in range(steps):
                    b, a = (j + 0.5) / steps, (i + 0.5) / steps
                    w00, w01, w10, w11 = (1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b
                    for c in range(channels):
                        value[c] = (
                            w00 * pixels[y, x, c]
                            + w01 * pixels[y, x + 1, c]
                            + w10 * pixels[y + 1, x, c]
                            + w11 * pixels[y + 1, x + 1, c]
                        )
                    to_u = w00 * u[0, 0] + w01 * u[0, 1] + w10 * u[1, 0] + w11 * u[1, 1]
                    to_v = w00 * v[0, 0] + w01 * v[0, 1] + w10 * v[1, 0] + w11 * v[1, 1]
                    _add(value, to_u, to_v, share, size, sums)
    for y in range(height):
        for x in range(width):
            if not between[y, x] and place[y, x, 0] >= -0.5:  # a strip that is one pixel wide
                _add(pixels[y, x], place[y, x, 0], place[y, x, 1], np.float32(1), size, sums)


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
