"""The renderer: StyleSync's generator over a window of frames, for deferred neural rendering with one texture
per actor.
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

SHARED = (
    4  # halvings of the crop down to which every frame passes alone, through weights shared by all frames
)
ALIGNED_SHARE = 0.5  # of the aligned references in the picture, before the network has learned better
PLAIN = 3  # finest resolutions, decoded without modulation
SOFT = 2  # halvings of the crop at which light and the weights of the basis layers are computed


class AudioEncoder(nn.Module):
    """Encodes the mel spectrogram of the centre frame: 2-D residual convolutions with GroupNorm."""

    def __init__(self, style: int) -> None:
        super().__init__()
        widths = (16, 32, 64, 128)
        self.stem = Conv(1, widths[0], 3)
        self.downs = nn.ModuleList(Conv(a, b, 3, stride=2) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(8, b) for b in widths[1:])
        self.residuals = nn.ModuleList(Conv(b, b, 3) for b in widths[1:])
        self.out = Linear(widths[-1], style)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel spectrogram (N, 80, 16) to audio code (N, style)."""
        x = self.stem(mel[:, None])
        for down, norm, residual in zip(self.downs, self.norms, self.residuals, strict=True):
            x = activate(norm(down(x)))
            x = x + activate(residual(x))
        code: Tensor = self.out(x.mean((2, 3)))
        return code


class Pyramid(nn.Module):
    """Blurred convolutions of stride 2, which give one feature per resolution."""

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
    """One resolution of the decoder: two modulated convolutions and a to-RGB skip. The encoder's feature is
    concatenated where StyleGAN2 adds noise.
    """

    def __init__(self, before: int, encoded: int, channels: int, outputs: int, style: int) -> None:
        """Channels of the input, of the encoder's feature, of the output and of the to-RGB skip."""
        super().__init__()
        self.first = ModulatedConv(before, channels, 3, style)
        self.second = ModulatedConv(channels + encoded, channels, 3, style)
        self.to_rgb = ModulatedConv(channels, outputs, 1, style, demodulate=False)

    def forward(self, x: Tensor, feature: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, before, h, w) and feature (N, encoded, H, W), H = h or 2h, to (N, channels, H, W) and
        (N, outputs, H, W).
        """
        x = self.first(x, style)
        x = activate(blur_up(x) if x.shape[-1] != feature.shape[-1] else x)
        x = activate(self.second(torch.cat([x, feature], 1), style))
        return x, self.to_rgb(x, style)


class PlainStage(nn.Module):
    """One of the finest resolutions: a `Stage` without modulation that adds the feature instead of
    concatenating it. It gives the same picture in half the time.
    """

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.first = Conv(before, channels, 3)
        self.second = Conv(channels, channels, 3)
        self.to_rgb = Conv(channels, 3, 1, bias=False)
        self.to_rgb.scale = OUTPUT_GAIN
        nn.init.zeros_(self.to_rgb.weight)

    def forward(self, x: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, before, h, w) and feature (N, C, 2h, 2w) to (N, C, 2h, 2w) and (N, 3, 2h, 2w)."""
        x = activate(self.second(blur_up(activate(self.first(x))) + feature))
        return x, self.to_rgb(x)


class Generator(nn.Module):
    """Window of masked frames with sampled texture, references and audio code -> the window's frames.

    Three choices differ from the paper, all because a few seconds of one actor must suffice. Down to a
    sixteenth of the crop's size every frame passes through the same weights, and the window is stacked only
    below that: stacked at full size, each of the T slots would have to learn the same rendering anew. The
    network computes what is added to `initial_composite`, so that even an untrained one shows the actor in
    the light of the frame. And channels 4 and up of the texture are basis layers, which the network mixes by
    weights of a quarter of the size: wet teeth and folds come sharp out of the texture, and the network only
    has to learn when to show them.
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
        self.uv_embedding = nn.Parameter(smooth_noise(config.uv_embedding_channels, config.texture_size // 2))
        self.stem = Conv(config.texture_channels + config.uv_embedding_channels + 1, fine[0], 1)
        if config.aligned:
            self.aligned_stem = Conv(config.aligned_channels, fine[0], 1, bias=False)
            nn.init.zeros_(self.aligned_stem.weight)
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
        self.unstack = Conv(coarse[0], config.window * fine[-1], 1)
        self.basis_weights = ModulatedConv(fine[SOFT], config.basis_layers, 1, s, demodulate=False)
        if config.aligned:
            self.aligned_share = nn.Parameter(torch.tensor(ALIGNED_SHARE))
            self.aligned_weights = ModulatedConv(fine[SOFT], 1, 1, s, demodulate=False)
            nn.init.zeros_(self.aligned_weights.weight)
        befores = [2 * fine[-1], *fine[1:-1][::-1]]
        pairs = list(zip(befores, fine[:-1][::-1], strict=True))
        self.frame_stages = nn.ModuleList(
            [
                *(Stage(b, a, a, 3, s) for b, a in pairs[:-PLAIN]),
                *(PlainStage(b, a) for b, a in pairs[-PLAIN:]),
            ]
        )

    def with_uv_embedding(self, texture: Tensor) -> Tensor:
        """An actor's texture (N, C, S, S) with the UV embedding behind it, (N, C + E, S, S), ready to
        sample.
        """
        embedding = F.interpolate(
            self.uv_embedding, size=texture.shape[-2:], mode="bilinear", align_corners=False
        )
        return torch.cat([texture, embedding.expand(len(texture), -1, -1, -1)], 1)

    def forward(
        self,
        frames: Tensor,
        sampled: Tensor,
        discontinuities: Tensor,
        mask: Tensor,
        references: Tensor,
        audio: Tensor,
        aligned: Tensor | None = None,
    ) -> Tensor:
        """Render a window. All pictures are of the view, h x w pixels of the crop.

        frames: (N, T, 3, h, w) R'G'B' 0..1, of which nothing under the mask is used. sampled: (N, T, C + E,
        h, w) texture and UV embedding where the mesh is, 0 elsewhere. discontinuities: (N, T, h, w), see
        `uv_discontinuities`. mask: (N, T, h, w), 1 where the network renders. references: (N, K, 3, h, w)
        0..1. audio: (N, style) code. aligned: (N, T, A, h, w) aligned references, R'G'B' and
        confidence in 0..1; None: there are none. Returns (N, T, 3, h, w), about 0..1; outside the mask these
        are the frames. Raises `ValueError` where `sampled` does not fit the configuration.
        """
        n, t, c, h, w = sampled.shape
        config = self.config
        channels = config.texture_channels + config.uv_embedding_channels
        if (t, c, (h, w)) != (config.window, channels, config.view_size):
            raise ValueError(
                f"sampled is {tuple(sampled.shape)}; expected (N, {config.window}, "
                f"{channels}, *{config.view_size})"
            )
        frames, sampled, mask = (
            frames.reshape(n * t, 3, h, w),
            sampled.reshape(n * t, c, h, w),
            mask.reshape(n * t, 1, h, w),
        )
        parts = [3, 1, 3 * config.basis_layers, config.uv_embedding_channels]
        colours, confidence, basis, embedding = torch.split(sampled, parts, 1)
        initial = initial_composite(frames, colours, confidence, mask)
        initial = smooth_discontinuities(initial, discontinuities.reshape(n * t, 1, h, w) * mask)
        basis = basis * mask
        inputs = torch.cat([initial - 0.5, confidence * mask, basis, embedding * mask, mask], 1)
        stem, layer = self.stem(inputs), None
        if config.aligned and aligned is not None:
            layer = self._aligned_layer(frames, initial, aligned.reshape(n * t, -1, h, w), mask)
            stem = stem + self.aligned_stem(layer)
        fine = self.frame_encoder(activate(stem))
        deepest = fine[-1]
        style, x, rgb = self._stacked(deepest, references, audio)
        x = torch.cat([activate(self.unstack(x)).reshape(deepest.shape), deepest], 1)
        frame_style = style[:, None].expand(n, t, -1).reshape(n * t, -1)
        rendered, rgb = initial, rgb.reshape(n * t, 3, *rgb.shape[-2:])
        for level, stage in zip(range(SHARED - 1, -1, -1), self.frame_stages, strict=True):
            x, added = stage(x, fine[level], frame_style) if level >= PLAIN else stage(x, fine[level])
            rgb = blur_up(rgb) + added
            if level == SOFT:
                rendered = initial + self._weighted(basis, self.basis_weights(x, frame_style))
                if layer is not None:
                    share = self.aligned_share + self.aligned_weights(x, frame_style)
                    rendered = rendered + layer[:, :3] * enlarge(share, 1 << SOFT)
        return (rendered + rgb * mask).reshape(n, t, 3, h, w)

    def _aligned_layer(self, frames: Tensor, initial: Tensor, aligned: Tensor, mask: Tensor) -> Tensor:
        """(N, 4, h, w) by how much the aligned references, in the light of these frames, differ from
        `initial`, times their confidence, and the confidence; 0 outside the mask.
        """
        picture, confidence = aligned[:, :3], aligned[:, 3:4]
        outside = (1 - mask) * (confidence > 0).to(mask.dtype)
        with torch.no_grad():
            light = carried_light(frames, picture, outside)
        return torch.cat([(picture + light - initial) * confidence, confidence], 1) * mask

    def _stacked(self, deepest: Tensor, references: Tensor, audio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The part of the network that sees the whole window at once.

        deepest: (N * T, C, h', w') the frames' deepest features; references and audio as in `forward`.
        Returns the style (N, style), and features and colours (N, 3T, h', w') at the size of `deepest`.
        """
        n, _, _, h, w = references.shape  # not len(): tracing for ONNX would make it a constant
        small = F.avg_pool2d(references.reshape(n, -1, h, w), 1 << SHARED) - 0.5
        stacked = torch.cat([deepest.reshape(n, -1, *deepest.shape[-2:]), small.to(deepest.dtype)], 1)
        coarse = self.face_encoder(activate(self.gather(stacked)))
        face = self.project(coarse[-1].flatten(1))
        style = activate(self.mix(torch.cat([audio.to(face.dtype), face], 1)))
        return style, *self._coarse(coarse, style)

    def _coarse(self, features: list[Tensor], style: Tensor) -> tuple[Tensor, Tensor]:
        """Decode the stacked window, from the learned constant up to where the frames part: features and
        colours (N, 3T, ...).
        """
        x, rgb = self.constant.expand(len(style), -1, -1, -1), None
        for feature, stage in zip(features[::-1], self.stages, strict=True):
            x, added = stage(x, feature, style)
            rgb = added if rgb is None else blur_up(rgb) + added
        if rgb is None:
            raise ValueError("the generator has no resolution at which its window is stacked")
        return x, rgb

    def _weighted(self, basis: Tensor, weights: Tensor) -> Tensor:
        """The sum of the texture's basis layers (N, 3L, h, w), each times its weight (N, L, h/4, w/4):
        (N, 3, h, w).
        """
        n, _, h, w = basis.shape
        weights = enlarge(weights, 1 << SOFT)[:, :, None]
        return (basis.reshape(n, self.config.basis_layers, 3, h, w) * weights).sum(1)


# ---- the initial composite ---------------------------------------------------------------------------------

# Difference of texture and frame, in 0..1, beyond which a pixel says less and less about the light.
OUTLIER = 0.2
DISCONTINUITY = 0.04  # difference of neighbouring pixels' texture coordinates that no smooth surface shows
CONFIDENCE_GAIN = 10.0  # logits per unit of the texture's channel 3, so that it learns as fast as the colours
COARSER = 0.05  # weight of a coarser level where a finer one knows something


def initial_composite(frames: Tensor, colours: Tensor, logit: Tensor, mask: Tensor) -> Tensor:
    """The frame outside the mask; inside it the texture in the frame's light, as far as its confidence goes.

    The light is the difference of frame and texture on the mesh outside the mask, carried smoothly inwards,
    which also closes the seam. Channel 3 of the texture is its confidence, a logit over `CONFIDENCE_GAIN`.
    Where the confidence is low, at the outline, colours of the surroundings are carried inwards instead.

    frames: (N, 3, h, w). colours (N, 3, h, w) and logit (N, 1, h, w): sampled from channels 0-2 and 3, 0 off
    the mesh. mask: (N, 1, h, w). Returns (N, 3, h, w).
    """
    outside = 1 - mask
    with torch.no_grad():
        on_mesh = (colours.abs().sum(1, keepdim=True) > 0).to(frames.dtype)
        difference, agreeing = _light_around(frames, colours, outside * on_mesh)
        light, around = carry_inwards(
            torch.cat([difference * agreeing, frames * outside], 1), torch.cat([agreeing, outside], 1)
        )
    confidence = torch.sigmoid(CONFIDENCE_GAIN * logit) * on_mesh
    inside = around + confidence * (colours + light - around)
    return frames * outside + inside * mask


def carried_light(frames: Tensor, picture: Tensor, known: Tensor) -> Tensor:
    """(N, 3, h, w) how much lighter the frames are than `picture`, from where both are `known` (N, 1, h, w),
    carried smoothly to everywhere else.
    """
    difference, agreeing = _light_around(frames, picture, known)
    return carry_inwards(difference * agreeing, agreeing)[0]


def _light_around(frames: Tensor, picture: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The difference (N, 3, h, w) of frames and picture where it is `known` (N, 1, h, w), and how much it
    tells of the light there (N, 1, h, w).
    """
    difference = (frames - picture) * known
    return difference, known * torch.exp(difference.square().mean(1, keepdim=True) * (-1 / OUTLIER**2))


def smooth_discontinuities(picture: Tensor, discontinuities: Tensor) -> Tensor:
    """The picture (N, 3, h, w), averaged over 3 x 3 pixels where `discontinuities` (N, 1, h, w) is 1, so that
    the mesh has no jagged outline.
    """
    mean = F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)
    return picture + discontinuities * (mean - picture)


def sharpen(picture: Tensor, gain: Tensor) -> Tensor:
    """The picture (N, 3, h, w) with `gain` (N, 1, h, w) times its own detail added. The detail is what a 3 x
    3 mean takes away.
    """
    return picture + gain * (picture - F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False))


def carry_inwards(values: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """Smooth extrapolation of K pictures at once by push-pull: known pixels are averaged down to coarser
    levels, unknown ones are filled from them.

    values: (N, 3K, h, w), already multiplied by their weights (N, K, h, w). Returns K pictures (N, 3, h, w).
    """
    step = 1 << SOFT
    n, count, h, w = weights.shape
    value, weight = (
        F.avg_pool2d(x, step).reshape(count * n, -1, h // step, w // step) for x in (values, weights)
    )
    levels = [(value, weight)]
    while levels[-1][0].shape[-1] % 2 == 0 and levels[-1][0].shape[-2] % 2 == 0:
        levels.append((F.avg_pool2d(levels[-1][0], 2), F.avg_pool2d(levels[-1][1], 2)))
    value, weight = levels[-1]
    filled = value.mean((2, 3), keepdim=True) / (weight.mean((2, 3), keepdim=True) + 1e-4)
    for value, weight in levels[::-1]:
        coarse = filled if filled.shape[-1] == 1 else blur_up(filled)
        filled = (value + COARSER * coarse) / (weight + COARSER)
    return torch.split(enlarge(filled, step).reshape(n, 3 * count, h, w), 3, 1)


# ---- the texture -------------------------------------------------------------------------------------------


def smooth_noise(channels: int, size: int) -> Tensor:
    """(1, channels, size, size) smooth random values of a standard deviation of about 0.5. They tell any two
    places of a face apart.
    """
    return (
        F.interpolate(torch.randn(1, channels, 8, 8), size=(size, size), mode="bicubic", align_corners=False)
        * 0.6
    )


def sample_texture(texture: Tensor, uv: Tensor) -> Tensor:
    """Sample a texture bilinearly, 0 where there is no mesh; texel centres lie at (i + 0.5) / size.

    texture: (N, C, S, S). uv: (N, T, h, w, 2) 0..1, u right, v down, -1 where there is no mesh. Returns (N,
    T, C, h, w).
    """
    n, t, h, w, _ = uv.shape
    picture = F.grid_sample(
        texture, uv.reshape(n, t * h, w, 2) * 2 - 1, align_corners=False, padding_mode="zeros"
    )
    return picture.reshape(n, -1, t, h, w).transpose(1, 2)


def uv_discontinuities(uv: Tensor) -> Tensor:
    """1 where neighbouring pixels' texture coordinates are far apart: at the mesh's outline and where the
    lips meet the mouth.

    uv: (N, T, h, w, 2), -1 where there is no mesh. Returns (N, T, h, w) of 0 and 1.
    """
    across, down = (uv[:, :, :, 1:] - uv[:, :, :, :-1]).abs(), (uv[:, :, 1:] - uv[:, :, :-1]).abs()
    across, down = ((x.amax(-1) > DISCONTINUITY).to(uv.dtype) for x in (across, down))
    return torch.maximum(
        torch.maximum(F.pad(across, (0, 1)), F.pad(across, (1, 0))),
        torch.maximum(F.pad(down, (0, 0, 0, 1)), F.pad(down, (0, 0, 1, 0))),
    )


def view_of(picture: Tensor, config: GeneratorConfig) -> Tensor:
    """The view's part (..., h, w) of a picture of the crop (..., H, W)."""
    rows, columns = config.view_box.slices()
    return picture[..., rows, columns]
