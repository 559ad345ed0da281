"""One step of training a renderer, and what it needs from step to step. One person or many: a texture each,
one network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from training.core.config import RunConfig
from training.core.distributed import World
from training.data.augment import augmented_texture
from training.data.frames import Frames
from training.data.segments import Start
from training.data.uvmap import unpack_uv
from training.data.windows import Batch, WindowSampler, feed, picture_tensor
from training.prior_file import Prior, load_weights
from training.renderer.discriminator import (
    Discriminator,
    crop_windows,
    discriminator_loss,
    generator_loss,
    gradient_free,
)
from training.renderer.generator import Generator, crisp, sample_texture, uv_jumps
from training.renderer.losses import (
    Perceptual,
    colour_reg,
    psnr,
    weight_map,
    weighted_l1,
    weighted_l2,
)
from training.renderer.texture import NeuralTexture
from training.renderer.unwrap import starting_texture

Module = TypeVar("Module", bound=nn.Module)

WARM_UP = 20  # steps over which the learning rate rises
STARTING_FRAMES = 150  # at most this many make a starting texture
COOL_FROM = 0.5  # share of the run from which it falls, along a cosine
COOL_TO = 0.05  # of the full rate, at the end


def rate_factor(step: int, progress: float) -> float:
    """Learning rate as a share of the full one: linear warm-up, constant, cosine to `COOL_TO`. `progress`
    0..1 of the run.
    """
    late = min(max((progress - COOL_FROM) / (1 - COOL_FROM), 0.0), 1.0)
    return min(1.0, (step + 1) / WARM_UP) * (COOL_TO + (1 - COOL_TO) * 0.5 * (1 + math.cos(math.pi * late)))


def placed(module: Module, device: torch.device) -> Module:
    """The module on its device, weights laid out for channels-last convolutions, which are much faster on
    CPUs.
    """
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def texture_of(
    clips: Sequence[Frames], faces: Sequence[Start], config: RunConfig, most: int = STARTING_FRAMES
) -> Tensor:
    """The starting texture (1, C, S, S) that `most` of the frames `faces`, spread evenly, make."""
    g = config.generator
    chosen = faces[:: -(-len(faces) // most)]
    views = [clips[c].view([f]) for c, f in chosen]
    boxes = np.stack([clips[c].mouth[f] for c, f in chosen])
    lips = torch.from_numpy((boxes[:, [3, 2]] - boxes[:, [1, 0]]).astype(np.float32))
    return starting_texture(
        [picture_tensor(v.crops[0]) for v in views],
        [torch.from_numpy(unpack_uv(v.uv[0])) for v in views],
        [torch.from_numpy(v.mask[0]).float() for v in views],
        lips,
        g.texture_size,
        g.texture_channels,
    )[None]


@dataclass(frozen=True)
class Drawn:
    """What a forward pass gave. Shapes as in `Batch`."""

    rgb: Tensor  # (N, T, 3, h, w)
    sampled: Tensor  # (N, T, C + A, h, w) texture and atlas as sampled, 0 off the mesh


@dataclass(frozen=True)
class Probe:
    """Windows of one person to measure on; texture (1, C, S, S), or None for the first person's averaged
    one.
    """

    windows: Batch
    texture: Tensor | None = None


class Trainer:
    """Networks, textures, optimisers and averaged weights.

    device and dtype: where and in which precision the networks run; the losses are always taken in float32.
    """

    def __init__(
        self,
        config: RunConfig,
        sampler: WindowSampler,
        starts: Sequence[Tensor | None],
        device: torch.device,
        dtype: torch.dtype,
        prior: Prior | None = None,
        world: World | None = None,
        workers: int = 0,
    ) -> None:
        """starts: each person's starting textures (P, C, S, S), one for each passage, None = random.

        prior: weights to start from. workers: see `feed`.
        """
        self.config, self.sampler, self.device, self.dtype = config, sampler, device, dtype
        self.world, self.workers = world or World(), workers
        self.rng = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        g = config.generator
        self.textures = nn.ModuleList(
            NeuralTexture(g.texture_size, g.texture_channels, s, self.rng) for s in starts
        ).to(device)
        self.network = placed(Generator(g), device)
        self.critic = placed(Discriminator(g.window, config.losses.crop, g.width / 2), device)
        if prior is not None:
            load_weights(prior, self.network, self.critic)
        self.perceptual = placed(Perceptual(config.losses.vgg_weights), device)
        self.averaged, self.averaged_texture = copy.deepcopy(self.network), copy.deepcopy(self.textures[0])
        self.anchors = (
            [p.detach().clone() for p in self.network.parameters()]
            if prior is not None and config.anchor
            else []
        )
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), config.learning_rate, (0.9, 0.99), fused=True
        )
        self.texture_optimiser = torch.optim.Adam(
            self.textures.parameters(), config.texture_rate, (0.9, 0.99), fused=True
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critic.parameters(), config.discriminator_rate, (0.5, 0.99), fused=True
        )
        self.step_count = 0
        self.crispness = 0.0  # of what is measured and exported, see `training.renderer.sharpening`
        self._feed: Iterator[Batch] | None = None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds, by name."""
        return {
            "network": self.network,
            "textures": self.textures,
            "critic": self.critic,
            "averaged": self.averaged,
            "averaged_texture": self.averaged_texture,
        }

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """What a checkpoint holds, by name."""
        return {
            "optimiser": self.optimiser,
            "texture_optimiser": self.texture_optimiser,
            "critic_optimiser": self.critic_optimiser,
        }

    # ---- one step ------------------------------------------------------------------------------------------

    @property
    def windows_per_step(self) -> int:
        """Windows of one step, over all processes."""
        return self.config.batch * self.config.accumulate * self.world.size

    def step(self, progress: float) -> dict[str, float]:
        """Draw the step's windows, move every weight once; return the losses. `progress` 0..1 of the run."""
        self._set_rates(progress)
        if self._feed is None:
            first = self.step_count * self.windows_per_step
            self._feed = feed(self.sampler, first, self.world.rank, self.world.size, self.workers)
        adversarial = progress >= self.config.adversarial_start and self.config.losses.adversarial > 0
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for _ in range(self.config.accumulate):
            for name, value in self._pass(next(self._feed).to(self.device), progress, adversarial).items():
                sums[name] = sums.get(name, 0.0) + value / self.config.accumulate
        self._move(adversarial)
        self.step_count += 1
        return sums

    def _pass(self, batch: Batch, progress: float, adversarial: bool) -> dict[str, float]:
        """Forward and backward of one batch; gradients are added to those that stand."""
        drawn = self.draw(batch, progress)
        losses = self._generator_losses(batch, drawn, adversarial)
        (torch.stack(list(losses.values())).sum() / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
        if adversarial:
            losses["critic"] = self._critic_loss(batch, drawn)
            (losses["critic"] / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
        return {name: float(value.detach()) for name, value in losses.items()}

    def _set_rates(self, progress: float) -> None:
        config, factor = self.config, rate_factor(self.step_count, progress)
        rates = (config.learning_rate, config.texture_rate, config.discriminator_rate)
        for rate, optimiser in zip(rates, self.optimisers.values(), strict=True):
            optimiser.param_groups[0]["lr"] = rate * factor

    def _move(self, adversarial: bool) -> None:
        """Every weight one step along the gradient; those near the prior a little back to it; the averages
        after them.
        """
        first = self.step_count * self.windows_per_step
        shown = sorted({self.sampler.person(n) for n in range(first, first + self.windows_per_step)})
        self.world.average_gradients(self.network.parameters())
        self.world.average_gradients(p for i in shown for p in self.textures[i].parameters())
        self.optimiser.step()
        self.texture_optimiser.step()
        if adversarial:
            self.world.average_gradients(self.critic.parameters())
            self.critic_optimiser.step()
        with torch.no_grad():
            if self.anchors:
                back = self.config.anchor * self.optimiser.param_groups[0]["lr"]
                torch._foreach_lerp_(list(self.network.parameters()), self.anchors, back)
            self._average()

    def draw(self, batch: Batch, progress: float) -> Drawn:
        """Forward pass with gradients."""
        textures = torch.cat([self._texture(batch, n, progress) for n in range(len(batch))])
        sampled = sample_texture(textures, batch.uv)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            rgb = self.network(
                batch.frames, sampled, uv_jumps(batch.uv), batch.mask, batch.references, self._audio(batch)
            )
        return Drawn(rgb.float(), sampled)

    def _texture(self, batch: Batch, n: int, progress: float) -> Tensor:
        """What window `n` samples: the person's texture, changed as the window's frames were, with the
        atlas.
        """
        texture = self.textures[int(batch.person[n])](progress, int(batch.passage[n]))
        if self.config.mirrored or self.config.recoloured:
            texture = augmented_texture(texture, bool(batch.mirrored[n]), batch.colouring[n])
        return self.network.with_atlas(texture)

    def _audio(self, batch: Batch) -> Tensor:
        """The audio code, the null code where the sample is silent."""
        null = self.network.null_audio.expand(len(batch), -1)
        if bool(batch.silent.all()):
            return null
        return torch.where(batch.silent[:, None], null, self.network.audio(batch.mel).to(null.dtype))

    def _generator_losses(self, batch: Batch, drawn: Drawn, adversarial: bool) -> dict[str, Tensor]:
        weights = self.config.losses
        where = weight_map(batch.mask, batch.mouth, weights)
        losses = {
            "l1": weights.l1 * weighted_l1(drawn.rgb, batch.frames, where),
            "l2": weights.l2 * weighted_l2(drawn.rgb, batch.frames, where),
            "reg": weights.reg * colour_reg(drawn.sampled, batch.frames, batch.mask),
        }
        pasted, real = self._mouths(batch, drawn)
        if weights.perceptual > 0:
            losses["perceptual"] = (
                weights.perceptual / weights.perceptual_share * self._look(batch, pasted, real)
            )
        if adversarial:
            gradient_free(self.critic, False)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                score, _ = self.critic(pasted)
            losses["adversarial"] = weights.adversarial * generator_loss(score)
        return losses

    def _look(self, batch: Batch, pasted: Tensor, real: Tensor) -> Tensor:
        """The perceptual loss of one frame of each window that it looks at, over the number of windows;
        scalar.
        """
        looked = (batch.look >= 0).nonzero().flatten()
        if not len(looked):
            return torch.zeros((), device=pasted.device)
        frames = (looked, batch.look[looked])
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss: Tensor = self.perceptual(pasted[frames], real[frames])
        return loss * (len(looked) / len(batch))

    def _critic_loss(self, batch: Batch, drawn: Drawn) -> Tensor:
        gradient_free(self.critic, True)
        pasted, mouths = self._mouths(batch, drawn)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            real, fake = self.critic(torch.cat([mouths, pasted.detach()]))[0].chunk(2)
        return discriminator_loss(real, fake)

    def _mouths(self, batch: Batch, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Squares around the mouths, drawn (pasted into the frame) and filmed: (N, T, 3, crop, crop) each."""
        mask = batch.mask[:, :, None]
        pasted, corners, size = (
            drawn.rgb * mask + batch.frames * (1 - mask),
            self._corners(batch),
            self.config.losses.crop,
        )
        return crop_windows(pasted, corners, size), crop_windows(batch.frames, corners, size)

    def _corners(self, batch: Batch) -> Tensor:
        """(N, 2) x, y of a square around the mouths of each window, inside the view."""
        height, width = self.config.generator.view_size
        boxes = batch.boxes.float()
        centre = torch.stack([boxes[..., 0] + boxes[..., 2], boxes[..., 1] + boxes[..., 3]], -1).mean(1) / 2
        corner = (centre - self.config.losses.crop / 2).round().long()
        limit = torch.tensor([width, height], device=corner.device) - self.config.losses.crop
        return torch.minimum(corner.clamp_min(0), limit)

    def _average(self) -> None:
        """Move the averaged weights; from scratch they follow quickly at first."""
        decay = min(self.config.ema, (1 + self.step_count) / (10 + self.step_count))
        for average, module in ((self.averaged, self.network), (self.averaged_texture, self.textures[0])):
            torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)

    # ---- looking at it -------------------------------------------------------------------------------------

    @torch.no_grad()
    def measure(self, probe: Probe) -> tuple[dict[str, float], Drawn]:
        """PSNR of the averaged renderer over the probe's windows: inside the mask, and of the crop with the
        mask pasted in.
        """
        texture = self.averaged_texture() if probe.texture is None else probe.texture.to(self.device)
        texture, audio, drawn = self.averaged.with_atlas(texture), self.averaged.null_audio[None], []
        for i in range(len(probe.windows)):
            one = probe.windows[i : i + 1].to(self.device)
            sampled = sample_texture(texture, one.uv)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                rgb = self.averaged(one.frames, sampled, uv_jumps(one.uv), one.mask, one.references, audio)
            rgb = crisp(rgb[0].float(), self.crispness * one.mask[0, :, None])[None]
            drawn.append((rgb.clamp(0, 1).cpu(), sampled[:, :, :3].cpu()))
        whole = Drawn(torch.cat([d[0] for d in drawn]), torch.cat([d[1] for d in drawn]))
        mask = probe.windows.mask
        inside = psnr(whole.rgb, probe.windows.frames, mask)
        share = float(mask.sum()) / (mask.shape[0] * mask.shape[1] * self.config.generator.size**2)
        return {
            "psnr_mask": inside,
            "psnr_crop": inside - 10 * math.log10(max(share, 1e-6)),
            "mask_share": share,
        }, whole
