"""One actor's renderer as it is exported: the network with the actor's texture and references and the null
audio code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.renderer.generator import Generator, sample_texture, sharpen, uv_discontinuities, view_of


class ActorRenderer(nn.Module):
    """What `renderer.onnx` computes; this module in eager mode is its reference.

    texture (1, C, S, S), kept with the UV embedding behind it; references (1, K, 3, H, W) 0..1, whole crops.
    """

    texture: Tensor
    references: Tensor

    def __init__(
        self, network: Generator, texture: Tensor, references: Tensor, sharpening_gain: float = 0.0
    ) -> None:
        """sharpening_gain: see `training.renderer.sharpening`."""
        super().__init__()
        self.sharpening_gain = sharpening_gain
        self.network = network
        layers = network.with_uv_embedding(texture).detach()
        if torch.equal(texture.half().float(), texture):  # of a package in half precision
            layers = layers.half().float()
        self.register_buffer("texture", layers.clone())
        self.register_buffer("references", view_of(references, network.config).detach().clone())

    def forward(self, frame: Tensor, uv: Tensor, mask: Tensor, aligned: Tensor | None = None) -> Tensor:
        """Render windows of whole crops.

        frame (N, T, 3, H, W) 0..1, uv (N, T, H, W, 2), mask (N, T, H, W) 0/1, aligned (N, T, 4, H, W) 0..1,
        where
        the network takes aligned references -> rgb (N, T, 3, H, W) in 0..1.
        Outside the view, which no mask reaches in any pose, the frame is returned unchanged.
        """
        config, n = self.network.config, frame.shape[0]
        left, top, right, bottom = config.view_box
        mask = view_of(mask, config)
        uv = uv[:, :, top:bottom, left:right]
        sampled = sample_texture(self.texture.expand(n, -1, -1, -1), uv)
        references, audio = self.references.expand(n, -1, -1, -1, -1), self.network.null_audio.expand(n, -1)
        rendered = self.network(
            view_of(frame, config),
            sampled,
            uv_discontinuities(uv),
            mask,
            references,
            audio,
            None if aligned is None else view_of(aligned, config),
        )
        if self.sharpening_gain:
            gain = self.sharpening_gain * mask.flatten(0, 1)[:, None]
            rendered = sharpen(rendered.flatten(0, 1), gain).reshape(rendered.shape)
        rows = (frame[..., top:bottom, :left], rendered.clamp(0, 1), frame[..., top:bottom, right:])
        return torch.cat([frame[..., :top, :], torch.cat(rows, -1), frame[..., bottom:, :]], -2)
