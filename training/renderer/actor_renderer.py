"""One actor's renderer put together: texture, references and null audio code around the network, as it is
exported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.renderer.generator import Generator, crisp, sample_texture, uv_jumps, view_of


class ActorRenderer(nn.Module):
    """What `renderer.onnx` computes; PyTorch in eager mode is its reference.

    texture (1, C, S, S), kept with the atlas behind it; references (1, K, 3, H, W) 0..1, whole crops.
    """

    texture: Tensor
    references: Tensor

    def __init__(
        self, network: Generator, texture: Tensor, references: Tensor, crispness: float = 0.0
    ) -> None:
        """crispness: see `training.renderer.sharpening`."""
        super().__init__()
        self.crispness = crispness
        self.network = network
        self.register_buffer("texture", network.with_atlas(texture).detach().clone())
        self.register_buffer("references", view_of(references, network.config).detach().clone())

    def forward(self, frame: Tensor, uv: Tensor, mask: Tensor) -> Tensor:
        """frame (N, T, 3, H, W) 0..1, uv (N, T, H, W, 2), mask (N, T, H, W) 0/1 -> rgb (N, T, 3, H, W) in
        0..1.

        Out of view, where no mask reaches in any pose that is drawn, the frame comes back as it is.
        """
        config, n = self.network.config, frame.shape[0]
        top, bottom, left, right = config.view
        mask = view_of(mask, config)
        uv = uv[:, :, top:bottom, left:right]
        sampled = sample_texture(self.texture.expand(n, -1, -1, -1), uv)
        references, audio = self.references.expand(n, -1, -1, -1, -1), self.network.null_audio.expand(n, -1)
        drawn = self.network(view_of(frame, config), sampled, uv_jumps(uv), mask, references, audio)
        if self.crispness:
            drawn = crisp(drawn.flatten(0, 1), self.crispness * mask.flatten(0, 1)[:, None]).reshape(
                drawn.shape
            )
        sides = (frame[..., top:bottom, :left], drawn.clamp(0, 1), frame[..., top:bottom, right:])
        return torch.cat([frame[..., :top, :], torch.cat(sides, -1), frame[..., bottom:, :]], -2)
