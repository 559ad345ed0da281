"""The renderer: StyleSync's generator over a window of frames, deferred neural rendering with a texture per
actor.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.core.config import GeneratorConfig
from training.renderer.layers import (
    OUTPUT_GAIN,
    BlurDown,
    Conv,
    Linear,
    ModulatedConv,
    activate,
    blur_up,
    enlarge,
)

SHARED = 4  # halvings of the crop above which frames share weights
PLAIN = 3  # finest resolutions, drawn without modulation
SOFT = 2  # halvings of the crop at which light and the weights of colour layers are computed


class AudioEncoder(nn.Module):
    """Mel-spectrogram of the centre frame to the audio code: 2-D residual convolutions with GroupNorm."""

    def __init__(self, style: int) -> None:
        super().__init__()
        widths = (16, 32, 64, 128)
        self.stem = Conv(1, widths[0], 3)
        self.downs = nn.ModuleList(Conv(a, b, 3, stride=2) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(8, b) for b in widths[1:])
        self.residuals = nn.ModuleList(Conv(b, b, 3) for b in widths[1:])
        self.out = Linear(widths[-1], style)

    def forward(self, mel: Tensor) -> Tensor:
        """mel (N, 80, 16), log scale -> (N, style)."""
        x = self.stem(mel[:, None])
        for down, norm, residual in zip(self.downs, self.norms, self.residuals, strict=True):
            x = activate(norm(down(x)))
            x = x + activate(residual(x))
        code: Tensor = self.out(x.mean((2, 3)))
        return code


class Pyramid(nn.Module):
    """Stride-2 blurred convolutions: one feature per resolution."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.blurs = nn.ModuleList(BlurDown(c) for c in channels[:-1])
        self.convs = nn.ModuleList(Conv(a, b, 3) for a, b in pairwise(channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (N, channels[0], h, w) -> [x, (N, channels[1], h/2, w/2), ...]."""
        features = [x]
        for blur, conv in zip(self.blurs, self.convs, strict=True):
            features.append(activate(conv(blur(features[-1]))))
        return features


class Stage(nn.Module):
    """One resolution of the decoder: modulated convolutions, the encoder's feature where StyleGAN2 adds
    noise, to-RGB.
    """

    def __init__(self, before: int, beside: int, channels: int, outputs: int, style: int) -> None:
        super().__init__()
        self.first = ModulatedConv(before, channels, 3, style)
        self.second = ModulatedConv(channels + beside, channels, 3, style)
        self.to_rgb = ModulatedConv(channels, outputs, 1, style, demodulate=False)

    def forward(self, x: Tensor, feature: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, before, h, w), feature (N, beside, H, W), H = h or 2h -> (N, channels, H, W), (N, outputs, H,
        W).
        """
        x = self.first(x, style)
        x = activate(blur_up(x) if x.shape[-1] != feature.shape[-1] else x)
        x = activate(self.second(torch.cat([x, feature], 1), style))
        return x, self.to_rgb(x, style)


class PlainStage(nn.Module):
    """One of the finest resolutions: as `Stage`, without modulation, the feature added. Half the time at the
    same picture.
    """

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.first = Conv(before, channels, 3)
        self.second = Conv(channels, channels, 3)
        self.to_rgb = Conv(channels, 3, 1, bias=False)
        self.to_rgb.scale = OUTPUT_GAIN
        nn.init.zeros_(self.to_rgb.weight)

    def forward(self, x: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, before, h, w), feature (N, C, 2h, 2w) -> (N, C, 2h, 2w), (N, 3, 2h, 2w)."""
        x = activate(self.second(blur_up(activate(self.first(x))) + feature))
        return x, self.to_rgb(x)


class Generator(nn.Module):
    """Window of masked frames with sampled texture, references, audio code -> the window's frames.

    Three choices differ from the paper, all because a few seconds of one actor must do. Down to a sixteenth
    of the crop's size every frame passes through the same weights, and the window is stacked only below:
    stacked at full size, each of the T slots would learn the same drawing anew. The network draws what is to
    be added to `first_guess`, so that an untrained one already shows the actor in the light of the frame. And
    channels 4 and up of the texture are colour layers that it mixes by weights of a quarter of the size: wet
    teeth and folds come sharp out of the texture, when to show them is little to learn.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        c, s, (height, width), depth = config.channels, config.style, config.view_size, config.depth
        fine = [config.frame_channels(i) for i in range(SHARED + 1)]
        coarse = [c(i) for i in range(SHARED, depth + 1)]
        deepest = (height >> depth, width >> depth)
        self.audio = AudioEncoder(s)
        self.null_audio = nn.Parameter(torch.zeros(s))
        self.atlas = nn.Parameter(smooth_noise(config.atlas_channels, config.texture_size // 2))
        self.stem = Conv(config.texture_channels + config.atlas_channels + 1, fine[0], 1)
        self.frame_encoder = Pyramid(fine)
        self.gather = Conv(config.window * fine[-1] + 3 * config.references, coarse[0], 1)
        self.face_encoder = Pyramid(coarse)
        self.project = Linear(coarse[-1] * deepest[0] * deepest[1], s)
        self.mix = Linear(2 * s, s)
        self.constant = nn.Parameter(torch.randn(1, coarse[-1], *deepest))
        ups = coarse[::-1]
        self.stages = nn.ModuleList(
            Stage(before, channels, channels, 3 * config.window, s)
            for before, channels in zip([ups[0], *ups], ups, strict=False)
        )
        self.spread = Conv(coarse[0], config.window * fine[-1], 1)
        self.layer_weights = ModulatedConv(fine[SOFT], config.colour_layers, 1, s, demodulate=False)
        befores = [2 * fine[-1], *fine[1:-1][::-1]]
        pairs = list(zip(befores, fine[:-1][::-1], strict=True))
        self.frame_stages = nn.ModuleList(
            [
                *(Stage(b, a, a, 3, s) for b, a in pairs[:-PLAIN]),
                *(PlainStage(b, a) for b, a in pairs[-PLAIN:]),
            ]
        )

    def with_atlas(self, texture: Tensor) -> Tensor:
        """An actor's texture (N, C, S, S) with the atlas behind it: what is sampled, (N, C + A, S, S)."""
        atlas = F.interpolate(self.atlas, size=texture.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([texture, atlas.expand(len(texture), -1, -1, -1)], 1)

    def forward(
        self, frames: Tensor, sampled: Tensor, jumps: Tensor, mask: Tensor, references: Tensor, audio: Tensor
    ) -> Tensor:
        """Draw a window; all pictures are of the view, h x w pixels of the crop.

        frames: (N, T, 3, h, w) R'G'B' 0..1; nothing of them under the mask is looked at. sampled: (N, T, C +
        A, h, w) texture and atlas where the mesh is, 0 elsewhere. jumps: (N, T, h, w) as `uv_jumps` finds
        them. mask: (N, T, h, w) 1 = draw. references: (N, K, 3, h, w) 0..1. audio: (N, style) code. Returns
        (N, T, 3, h, w), about 0..1: the frames outside the mask.
        """
        n, t, c, h, w = sampled.shape
        channels = self.config.texture_channels + self.config.atlas_channels
        if (t, c, (h, w)) != (self.config.window, channels, self.config.view_size):
            raise ValueError(
                f"sampled is {tuple(sampled.shape)}; expected (N, {self.config.window}, "
                f"{channels}, *{self.config.view_size})"
            )
        frames, sampled, mask = (
            frames.reshape(n * t, 3, h, w),
            sampled.reshape(n * t, c, h, w),
            mask.reshape(n * t, 1, h, w),
        )
        parts = [3, 1, 3 * self.config.colour_layers, self.config.atlas_channels]
        colours, trust, layers, atlas = torch.split(sampled, parts, 1)
        guess = first_guess(frames, colours, trust, mask)
        guess = smooth_jumps(guess, jumps.reshape(n * t, 1, h, w) * mask)
        layers = layers * mask
        seen = torch.cat([guess - 0.5, trust * mask, layers, atlas * mask, mask], 1)
        fine = self.frame_encoder(activate(self.stem(seen)))
        small = fine[-1]
        known = F.avg_pool2d(references.reshape(n, -1, h, w), 1 << SHARED) - 0.5
        stacked = torch.cat([small.reshape(n, -1, *small.shape[-2:]), known.to(small.dtype)], 1)
        coarse = self.face_encoder(activate(self.gather(stacked)))
        face = self.project(coarse[-1].flatten(1))
        style = activate(self.mix(torch.cat([audio.to(face.dtype), face], 1)))
        x, rgb = self._coarse(coarse, style)
        x = torch.cat([activate(self.spread(x)).reshape(small.shape), small], 1)
        each = style[:, None].expand(n, t, -1).reshape(n * t, -1)
        drawn, rgb = guess, rgb.reshape(n * t, 3, *rgb.shape[-2:])
        for level, stage in zip(range(SHARED - 1, -1, -1), self.frame_stages, strict=True):
            x, added = stage(x, fine[level], each) if level >= PLAIN else stage(x, fine[level])
            rgb = blur_up(rgb) + added
            if level == SOFT:
                drawn = guess + self._mixed(layers, self.layer_weights(x, each))
        return (drawn + rgb * mask).reshape(n, t, 3, h, w)

    def _coarse(self, features: list[Tensor], style: Tensor) -> tuple[Tensor, Tensor]:
        """The stacked window, from the learned constant up to where frames part: feature and (N, 3T, ...)
        colours.
        """
        x, rgb = self.constant.expand(len(style), -1, -1, -1), None
        for feature, stage in zip(features[::-1], self.stages, strict=True):
            x, drawn = stage(x, feature, style)
            rgb = drawn if rgb is None else blur_up(rgb) + drawn
        if rgb is None:
            raise ValueError("the generator has no resolution at which its window is stacked")
        return x, rgb

    def _mixed(self, layers: Tensor, weights: Tensor) -> Tensor:
        """Colour layers of the texture, each times its weight. layers (N, 3L, h, w), weights (N, L, h/4, w/4)
        -> (N, 3, h, w).
        """
        n, _, h, w = layers.shape
        weights = enlarge(weights, 1 << SOFT)[:, :, None]
        return (layers.reshape(n, self.config.colour_layers, 3, h, w) * weights).sum(1)


# ---- the first guess ---------------------------------------------------------------------------------------

OUTLIER = (
    0.2  # difference of texture and frame, in 0..1, beyond which a pixel says less and less about the light
)
JUMP = 0.04  # difference of texture coordinates of neighbouring pixels that no smooth surface shows
TRUST_GAIN = 10.0  # logits per unit of the texture's channel 3, so that it learns at the pace of the colours
COARSER = 0.05  # weight of what coarser levels say where finer ones know something


def first_guess(frames: Tensor, colours: Tensor, logit: Tensor, mask: Tensor) -> Tensor:
    """The frame outside the mask; inside it the texture in the frame's light, as far as the texture trusts
    itself.

    The light is what texture and frame differ by on the mesh outside the mask, carried smoothly inwards,
    which also closes the seam. Channel 3 of the texture is the trust, a logit over `TRUST_GAIN`: where it is
    low, at the outline, colours of the surroundings are carried inwards instead. frames (N, 3, h, w), colours
    (N, 3, h, w) and logit (N, 1, h, w) as sampled from channels 0-2 and 3, 0 off the mesh, mask (N, 1, h, w)
    -> (N, 3, h, w).
    """
    known = 1 - mask
    with torch.no_grad():
        on_mesh = (colours.abs().sum(1, keepdim=True) > 0).to(frames.dtype)
        difference = (frames - colours) * (known * on_mesh)
        agreeing = known * on_mesh * torch.exp(difference.square().mean(1, keepdim=True) * (-1 / OUTLIER**2))
        light, around = carry_inwards(
            torch.cat([difference * agreeing, frames * known], 1), torch.cat([agreeing, known], 1)
        )
    trust = torch.sigmoid(TRUST_GAIN * logit) * on_mesh
    inside = around + trust * (colours + light - around)
    return frames * known + inside * mask


def smooth_jumps(picture: Tensor, jumps: Tensor) -> Tensor:
    """The picture (N, 3, h, w), averaged over 3 x 3 pixels where jumps (N, 1, h, w) is 1: no stairs where the
    mesh ends.
    """
    return picture + jumps * (F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False) - picture)


def crisp(picture: Tensor, amount: Tensor) -> Tensor:
    """The picture (N, 3, h, w) with `amount` (N, 1, h, w) times of its own detail, what a 3 x 3 mean takes
    away, added.
    """
    return picture + amount * (picture - F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False))


def carry_inwards(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Smooth extrapolation of two pictures at once (push-pull): known pixels are averaged down, unknown ones
    filled from above.

    values (N, 6, h, w), already times their weights (N, 2, h, w) -> two (N, 3, h, w).
    """
    step = 1 << SOFT
    n, _, h, w = weights.shape
    value, weight = (
        F.avg_pool2d(x, step).reshape(2 * n, -1, h // step, w // step) for x in (values, weights)
    )
    levels = [(value, weight)]
    while levels[-1][0].shape[-1] % 2 == 0 and levels[-1][0].shape[-2] % 2 == 0:
        levels.append((F.avg_pool2d(levels[-1][0], 2), F.avg_pool2d(levels[-1][1], 2)))
    value, weight = levels[-1]
    filled = value.mean((2, 3), keepdim=True) / (weight.mean((2, 3), keepdim=True) + 1e-4)
    for value, weight in levels[::-1]:
        coarse = filled if filled.shape[-1] == 1 else blur_up(filled)
        filled = (value + COARSER * coarse) / (weight + COARSER)
    both = enlarge(filled, step).reshape(n, 6, h, w)
    return both[:, :3], both[:, 3:]


# ---- the texture -------------------------------------------------------------------------------------------


def smooth_noise(channels: int, size: int) -> Tensor:
    """(1, channels, size, size) random values of deviation about 0.5, smooth: any two places of a face
    differ.
    """
    return (
        F.interpolate(torch.randn(1, channels, 8, 8), size=(size, size), mode="bicubic", align_corners=False)
        * 0.6
    )


def sample_texture(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear look-up, 0 where there is no mesh; texel centres at (i + 0.5) / size.

    texture (N, C, S, S), uv (N, T, h, w, 2) 0..1 (u right, v down), -1 where there is no mesh -> (N, T, C, h,
    w).
    """
    n, t, h, w, _ = uv.shape
    picture = F.grid_sample(
        texture, uv.reshape(n, t * h, w, 2) * 2 - 1, align_corners=False, padding_mode="zeros"
    )
    return picture.reshape(n, -1, t, h, w).transpose(1, 2)


def uv_jumps(uv: Tensor) -> Tensor:
    """1 where texture coordinates jump between neighbouring pixels: at the mesh's outline and where the lips
    meet the mouth.

    uv (N, T, h, w, 2), -1 where there is no mesh -> (N, T, h, w) of 0 and 1.
    """
    across, down = (uv[:, :, :, 1:] - uv[:, :, :, :-1]).abs(), (uv[:, :, 1:] - uv[:, :, :-1]).abs()
    across, down = ((x.amax(-1) > JUMP).to(uv.dtype) for x in (across, down))
    return torch.maximum(
        torch.maximum(F.pad(across, (0, 1)), F.pad(across, (1, 0))),
        torch.maximum(F.pad(down, (0, 0, 0, 1)), F.pad(down, (0, 0, 1, 0))),
    )


def view_of(picture: Tensor, config: GeneratorConfig) -> Tensor:
    """The view's part of a crop-sized picture (..., H, W) -> (..., h, w)."""
    top, bottom, left, right = config.view
    return picture[..., top:bottom, left:right]
