"""One step of training a renderer on one actor, and what it needs from step to step."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import AdaptConfig
from training.data import Batch, WindowSampler, pick_references, picture_tensor, unpack_uv
from training.discriminator import Discriminator, crop_windows, discriminator_loss, generator_loss, gradient_free
from training.generator import Generator, sample_texture, uv_jumps
from training.losses import Perceptual, colour_reg, psnr, weight_map, weighted_l1, weighted_l2
from training.renderer import ActorRenderer
from training.texture import NeuralTexture
from training.unwrap import starting_texture

Module = TypeVar("Module", bound=nn.Module)

WARM_UP = 20  # steps over which the learning rate rises
STARTING_FRAMES = 150  # at most about this many make the starting texture
COOL_FROM = 0.5  # share of the run from which it falls, along a cosine
COOL_TO = 0.05  # of the full rate, at the end


def rate_factor(step: int, progress: float) -> float:
    """Learning rate as a share of the full one: linear warm-up, constant, cosine to `COOL_TO`. `progress` 0..1 of the run."""
    late = min(max((progress - COOL_FROM) / (1 - COOL_FROM), 0.0), 1.0)
    return min(1.0, (step + 1) / WARM_UP) * (COOL_TO + (1 - COOL_TO) * 0.5 * (1 + math.cos(math.pi * late)))


def placed(module: Module, device: torch.device) -> Module:
    """The module on its device, weights laid out for channels-last convolutions, which are much faster on CPUs."""
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True)
class Drawn:
    """What a forward pass gave. Shapes as in `Batch`."""

    rgb: Tensor  # (N, T, 3, h, w)
    sampled: Tensor  # (N, T, C, h, w) the texture as sampled, 0 outside the mask


class Trainer:
    """Networks, texture, optimisers and averaged weights of one actor.

    device and dtype: where and in which precision the networks run; the losses are always taken in float32.
    """

    def __init__(self, config: AdaptConfig, sampler: WindowSampler, device: torch.device, dtype: torch.dtype) -> None:
        self.config, self.sampler, self.device, self.dtype = config, sampler, device, dtype
        self.rng = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        g = config.generator
        start = None if config.random_texture else self._starting_texture()
        self.texture = NeuralTexture(g.texture_size, g.texture_channels, start, self.rng).to(device)
        self.network = placed(Generator(g), device)
        self.critic = placed(Discriminator(g.window, config.losses.crop, g.width / 2), device)
        self.perceptual = placed(Perceptual(config.losses.vgg_weights), device)
        self.averaged, self.averaged_texture = copy.deepcopy(self.network), copy.deepcopy(self.texture)
        self.optimiser = torch.optim.Adam(self.network.parameters(), config.learning_rate, (0.9, 0.99), fused=True)
        self.texture_optimiser = torch.optim.Adam(self.texture.parameters(), config.texture_rate, (0.9, 0.99), fused=True)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), config.discriminator_rate, (0.5, 0.99), fused=True)
        self.references = self._references()
        self.step_count = 0

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds, by name."""
        return {"network": self.network, "texture": self.texture, "critic": self.critic, "averaged": self.averaged,
                "averaged_texture": self.averaged_texture}

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """What a checkpoint holds, by name."""
        return {"optimiser": self.optimiser, "texture_optimiser": self.texture_optimiser,
                "critic_optimiser": self.critic_optimiser}

    def _starting_texture(self) -> Tensor:
        faces, sets = self.sampler.faces, self.sampler.sets
        faces = faces[::max(1, len(faces) // STARTING_FRAMES)]
        top, bottom, left, right = self.config.generator.view
        see = (slice(top, bottom), slice(left, right))
        frames = [picture_tensor(sets[s].crops[(i, *see)]) for s, i in faces]
        uvs = [torch.from_numpy(unpack_uv(sets[s].uv[(i, *see)])) for s, i in faces]
        masks = [torch.from_numpy(sets[s].mask[(i, *see)].astype(np.float32)) for s, i in faces]
        return starting_texture(frames, uvs, masks, self.config.generator.texture_size, self.config.generator.texture_channels)

    def _references(self) -> NDArray[np.uint8]:
        picks = pick_references(self.sampler.sets, self.config.generator.references)
        return np.stack([self.sampler.sets[s].crops[i] for s, i in picks])

    # ---- one step -----------------------------------------------------------------------------------------------------

    def step(self, progress: float) -> dict[str, float]:
        """Draw one batch, move every weight once; return the losses. `progress` 0..1 of the run."""
        batch = self._jittered(self.sampler.draw(self.config.batch, self.rng)).to(self.device)
        factor = rate_factor(self.step_count, progress)
        for name, optimiser in self.optimisers.items():
            base = {"optimiser": self.config.learning_rate, "texture_optimiser": self.config.texture_rate,
                    "critic_optimiser": self.config.discriminator_rate}[name]
            optimiser.param_groups[0]["lr"] = base * factor
        drawn = self.draw(batch, progress)
        adversarial = progress >= self.config.adversarial_start and self.config.losses.adversarial > 0
        losses = self._generator_losses(batch, drawn, adversarial)
        self.optimiser.zero_grad(set_to_none=True)
        self.texture_optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.texture_optimiser.step()
        if adversarial:
            losses["critic"] = self._critic_step(batch, drawn)
        self._average()
        self.step_count += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def draw(self, batch: Batch, progress: float) -> Drawn:
        """Forward pass with gradients."""
        texture = self.texture(progress).expand(len(batch.frames), -1, -1, -1)
        sampled = sample_texture(texture, batch.uv)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            rgb = self.network(batch.frames, sampled, uv_jumps(batch.uv), batch.mask, batch.references, self._audio(batch))
        return Drawn(rgb.float(), sampled)

    def _audio(self, batch: Batch) -> Tensor:
        """The audio code, the null code for a share of the samples and wherever there is no sound."""
        null = self.network.null_audio.expand(len(batch.frames), -1)
        if batch.mel is None or self.config.null_share >= 1:
            return null
        silent = torch.rand(len(null), 1, generator=self.rng).to(null.device) < self.config.null_share
        return torch.where(silent, null, self.network.audio(batch.mel).to(null.dtype))

    def _generator_losses(self, batch: Batch, drawn: Drawn, adversarial: bool) -> dict[str, Tensor]:
        weights, c = self.config.losses, self.config.losses.crop
        where = weight_map(batch.mask, batch.mouth, weights)
        losses = {"l1": weights.l1 * weighted_l1(drawn.rgb, batch.frames, where),
                  "l2": weights.l2 * weighted_l2(drawn.rgb, batch.frames, where),
                  "reg": weights.reg * colour_reg(drawn.sampled, batch.frames, batch.mask)}
        pasted = drawn.rgb * batch.mask[:, :, None] + batch.frames * (1 - batch.mask[:, :, None])
        corners = self._corners(batch)
        pasted_mouth, real_mouth = crop_windows(pasted, corners, c), crop_windows(batch.frames, corners, c)
        if weights.perceptual > 0:
            t = int(torch.randint(self.config.generator.window, (1,), generator=self.rng))
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                losses["perceptual"] = weights.perceptual * self.perceptual(pasted_mouth[:, t], real_mouth[:, t])
        if adversarial:
            gradient_free(self.critic, False)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                score, _ = self.critic(pasted_mouth)
            losses["adversarial"] = weights.adversarial * generator_loss(score)
        return losses

    def _critic_step(self, batch: Batch, drawn: Drawn) -> Tensor:
        c = self.config.losses.crop
        pasted = (drawn.rgb * batch.mask[:, :, None] + batch.frames * (1 - batch.mask[:, :, None])).detach()
        corners = self._corners(batch)
        gradient_free(self.critic, True)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            real, fake = self.critic(torch.cat([crop_windows(x, corners, c) for x in (batch.frames, pasted)]))[0].chunk(2)
        loss = discriminator_loss(real, fake)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.critic_optimiser.step()
        return loss

    def _corners(self, batch: Batch) -> Tensor:
        """(N, 2) x, y of a square around the mouths of each window, inside the view."""
        height, width = self.config.generator.view_size
        boxes = batch.boxes.float()
        centre = torch.stack([boxes[..., 0] + boxes[..., 2], boxes[..., 1] + boxes[..., 3]], -1).mean(1) / 2
        corner = (centre - self.config.losses.crop / 2).round().long()
        limit = torch.tensor([width, height], device=corner.device) - self.config.losses.crop
        return torch.minimum(corner.clamp_min(0), limit)

    def _jittered(self, batch: Batch) -> Batch:
        """The batch with each frame's UV map shifted a little, as a fit's noise would."""
        if self.config.uv_jitter <= 0:
            return batch
        shift = torch.randn(*batch.uv.shape[:2], 1, 1, 2, generator=self.rng) * self.config.uv_jitter
        uv = torch.where(batch.uv >= 0, (batch.uv + shift).clamp(0, 1), batch.uv)
        return Batch(batch.frames, uv, batch.mask, batch.mouth, batch.boxes, batch.references, batch.mel)

    def _average(self) -> None:
        """Move the averaged weights; early in the run they follow quickly."""
        decay = min(self.config.ema, (1 + self.step_count) / (10 + self.step_count))
        with torch.no_grad():
            for average, module in ((self.averaged, self.network), (self.averaged_texture, self.texture)):
                torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)

    # ---- looking at it ------------------------------------------------------------------------------------------------

    def renderer(self) -> ActorRenderer:
        """The averaged renderer with the actor's fixed references: what is exported."""
        with torch.no_grad():
            texture = self.averaged_texture()
        return ActorRenderer(self.averaged, texture, picture_tensor(self.references)[None].to(self.device)).eval()

    def measure(self, starts: list[tuple[int, int]]) -> tuple[dict[str, float], Batch, Drawn]:
        """PSNR of the averaged renderer over windows (set, frame): inside the mask, and of the crop with the mask pasted in."""
        picks = pick_references(self.sampler.sets, self.config.generator.references)
        batch = self.sampler.batch([self.sampler.window(s) for s in starts], [picks] * len(starts)).to(self.device)
        renderer = self.renderer()
        with torch.no_grad():
            rgb, sampled = [], []
            for i in range(len(starts)):
                one = Batch(*(None if x is None else x[i:i + 1] for x in batch._parts()))  # type: ignore[arg-type]
                sampled.append(sample_texture(renderer.texture, one.uv))
                audio = self.averaged.null_audio[None]
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                    drawn = self.averaged(one.frames, sampled[-1], uv_jumps(one.uv), one.mask, one.references, audio)
                rgb.append(drawn.float().clamp(0, 1))
        whole = Drawn(torch.cat(rgb), torch.cat(sampled))
        inside = psnr(whole.rgb, batch.frames, batch.mask)
        share = float(batch.mask.sum()) / (batch.mask.shape[0] * batch.mask.shape[1] * self.config.generator.size ** 2)
        return {"psnr_mask": inside, "psnr_crop": inside - 10 * math.log10(max(share, 1e-6)), "mask_share": share}, batch, whole
