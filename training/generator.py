"""The renderer: StyleSync's generator over a window of frames, deferred neural rendering with a texture per actor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import GeneratorConfig
from training.layers import BlurDown, Conv, Linear, ModulatedConv, activate, blur_up


SHARED = 2  # halvings of the crop above which frames share weights


class AudioEncoder(nn.Module):
    """Mel-spectrogram of the centre frame to the audio code: 2-D residual convolutions with GroupNorm."""

    def __init__(self, style: int) -> None:
        super().__init__()
        widths = (16, 32, 64, 128)
        self.stem = Conv(1, widths[0], 3)
        self.downs = nn.ModuleList(Conv(a, b, 3, stride=2) for a, b in zip(widths, widths[1:], strict=False))
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
        self.convs = nn.ModuleList(Conv(a, b, 3) for a, b in zip(channels, channels[1:], strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (N, channels[0], h, w) -> [x, (N, channels[1], h/2, w/2), ...]."""
        features = [x]
        for blur, conv in zip(self.blurs, self.convs, strict=True):
            features.append(activate(conv(blur(features[-1]))))
        return features


class Stage(nn.Module):
    """One resolution of the decoder: modulated convolutions, the encoder's feature where StyleGAN2 adds noise, to-RGB."""

    def __init__(self, before: int, beside: int, channels: int, outputs: int, style: int) -> None:
        super().__init__()
        self.first = ModulatedConv(before, channels, 3, style)
        self.second = ModulatedConv(channels + beside, channels, 3, style)
        self.to_rgb = ModulatedConv(channels, outputs, 1, style, demodulate=False)
        nn.init.zeros_(self.to_rgb.weight)

    def forward(self, x: Tensor, feature: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, before, h, w), feature (N, beside, H, W), H = h or 2h -> (N, channels, H, W), (N, outputs, H, W)."""
        x = self.first(x, style)
        x = activate(blur_up(x) if x.shape[-1] != feature.shape[-1] else x)
        x = activate(self.second(torch.cat([x, feature], 1), style))
        return x, self.to_rgb(x, style)


class Generator(nn.Module):
    """Window of masked frames with sampled texture, references, audio code -> the window's frames.

    Two choices differ from the paper, both because a few seconds of one actor must do. Above a quarter of the crop's size every
    frame passes through the same weights, and the window is stacked only below: stacked at full size, each of the T slots would
    learn the same drawing anew (here, on two cores in eight minutes, that is what kept faces blurred). And the network draws what
    is to be added to its own input picture (real frame outside the mask, texture colours inside), so that an untrained one
    already shows the actor's texture.
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
        self.stem = Conv(config.texture_channels + 1, fine[0], 1)
        self.frame_encoder = Pyramid(fine)
        self.gather = Conv(config.window * fine[-1] + 3 * config.references, coarse[0], 1)
        self.face_encoder = Pyramid(coarse)
        self.project = Linear(coarse[-1] * deepest[0] * deepest[1], s)
        self.mix = Linear(2 * s, s)
        self.constant = nn.Parameter(torch.randn(1, coarse[-1], *deepest))
        ups = coarse[::-1]
        self.stages = nn.ModuleList(Stage(before, channels, channels, 3 * config.window, s)
                                    for before, channels in zip([ups[0], *ups], ups, strict=False))
        self.spread = Conv(coarse[0], config.window * fine[-1], 1)
        befores = [2 * fine[-1], *fine[1:-1][::-1]]
        self.frame_stages = nn.ModuleList(Stage(before, channels, channels, 3, s)
                                          for before, channels in zip(befores, fine[:-1][::-1], strict=True))

    def forward(self, sampled: Tensor, mask: Tensor, references: Tensor, audio: Tensor) -> Tensor:
        """Draw a window; all pictures are of the view, h x w pixels of the crop.

        sampled: (N, T, C, h, w) channels 0-2 R'G'B' 0..1 outside the mask and texture inside, 3-15 texture inside, 0 outside.
        mask: (N, T, h, w) 1 = draw. references: (N, K, 3, h, w) 0..1. audio: (N, style) code. Returns (N, T, 3, h, w), about 0..1.
        """
        n, t, c, h, w = sampled.shape
        if (t, c, (h, w)) != (self.config.window, self.config.texture_channels, self.config.view_size):
            raise ValueError(f"sampled is {tuple(sampled.shape)}; expected (N, {self.config.window}, "
                             f"{self.config.texture_channels}, *{self.config.view_size})")
        picture = torch.cat([sampled, mask[:, :, None]], 2).reshape(n * t, c + 1, h, w)
        fine = self.frame_encoder(activate(self.stem(picture)))
        small = fine[-1]
        known = F.avg_pool2d(references.reshape(n, -1, h, w), 1 << SHARED) - 0.5
        stacked = torch.cat([small.reshape(n, -1, *small.shape[-2:]), known.to(small.dtype)], 1)
        coarse = self.face_encoder(activate(self.gather(stacked)))
        face = self.project(coarse[-1].flatten(1))
        style = activate(self.mix(torch.cat([audio.to(face.dtype), face], 1)))
        x, rgb = self._coarse(coarse, style)
        x = torch.cat([activate(self.spread(x)).reshape(small.shape), small], 1)
        rgb = rgb.reshape(n * t, 3, *rgb.shape[-2:])
        each = style[:, None].expand(n, t, -1).reshape(n * t, -1)
        for feature, stage in zip(fine[-2::-1], self.frame_stages, strict=True):
            x, drawn = stage(x, feature, each)
            rgb = blur_up(rgb) + drawn
        return sampled[:, :, :3] + rgb.reshape(n, t, 3, h, w)

    def _coarse(self, features: list[Tensor], style: Tensor) -> tuple[Tensor, Tensor]:
        """The stacked window, from the learned constant up to a quarter of the crop: feature and (N, 3T, ...) colours."""
        x, rgb = self.constant.expand(len(style), -1, -1, -1), None
        for feature, stage in zip(features[::-1], self.stages, strict=True):
            x, drawn = stage(x, feature, style)
            rgb = drawn if rgb is None else blur_up(rgb) + drawn
        if rgb is None:
            raise ValueError("the generator has no resolution below a quarter of its view")
        return x, rgb


OFF = 4.0  # grid units (the texture is 2 wide): far enough out that nothing of the texture is read


def sample_texture(texture: Tensor, uv: Tensor, mask: Tensor) -> Tensor:
    """Bilinear look-up inside the mask, 0 outside it and where there is no mesh; texel centres at (i + 0.5) / size.

    texture (N, C, S, S), uv (N, T, h, w, 2) 0..1 (u right, v down), -1 where there is no mesh, mask (N, T, h, w) 0/1
    -> (N, T, C, h, w).
    """
    n, t, h, w, _ = uv.shape
    grid = uv * 2 + (mask[..., None] * OFF - (1 + OFF))  # outside the mask, as off the mesh, no texel is near
    picture = F.grid_sample(texture, grid.reshape(n, t * h, w, 2), align_corners=False, padding_mode="zeros")
    return picture.reshape(n, -1, t, h, w).transpose(1, 2)


def render_inputs(frames: Tensor, sampled: Tensor, mask: Tensor) -> Tensor:
    """The real frame outside the mask and the texture inside: DESIGN.md 2.3's network input.

    frames (N, T, 3, h, w) 0..1, sampled (N, T, C, h, w) 0 outside the mask, mask (N, T, h, w) -> (N, T, C, h, w). Nothing of
    `frames` under the mask survives.
    """
    return torch.cat([sampled[:, :, :3] + frames * (1 - mask[:, :, None]), sampled[:, :, 3:]], 2)


def view_of(picture: Tensor, config: GeneratorConfig) -> Tensor:
    """The view's part of a crop-sized picture (..., H, W) -> (..., h, w)."""
    top, bottom, left, right = config.view
    return picture[..., top:bottom, left:right]
