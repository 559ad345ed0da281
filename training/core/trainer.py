"""One step of training a renderer, and the state it keeps from step to step. One person or many train one
network, each with a texture of their own.
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

from training.core.config import AdaptConfig, RunConfig
from training.core.distributed import World
from training.core.precision import choose_dtype
from training.data.augment import augmented_textures
from training.data.frames import Frames
from training.data.resident import ResidentSampler
from training.data.segments import Start
from training.data.uvmap import unpack_uv
from training.data.windows import Batch, WindowSampler, feed, hold_out, picture_tensor
from training.prior_file import Prior, load_weights
from training.renderer.discriminator import (
    Discriminator,
    crop_windows,
    discriminator_loss,
    generator_loss,
    require_gradients,
)
from training.renderer.generator import Generator, sample_texture, sharpen, uv_discontinuities
from training.renderer.losses import (
    Perceptual,
    colour_reg,
    psnr,
    weight_map,
    weighted_l1,
    weighted_l2,
)
from training.renderer.texture import NeuralTexture, sum_levels
from training.renderer.unwrap import starting_texture

Module = TypeVar("Module", bound=nn.Module)

WARM_UP = 20  # steps over which the learning rate rises
STARTING_FRAMES = 150  # most frames that make a starting texture
REHEARSAL_FRAMES = 25  # most frames that make that of somebody whose data are mixed in
COOL_FROM = 0.5  # share of the run from which the learning rate falls, along a cosine
COOL_TO = 0.05  # share of the full rate at the end


def rate_factor(step: int, progress: float) -> float:
    """Learning rate as a share of the full one: a linear warm-up, a constant, a cosine down to `COOL_TO`.

    progress: 0..1 of the run.
    """
    late = min(max((progress - COOL_FROM) / (1 - COOL_FROM), 0.0), 1.0)
    return min(1.0, (step + 1) / WARM_UP) * (COOL_TO + (1 - COOL_TO) * 0.5 * (1 + math.cos(math.pi * late)))


def to_device(module: Module, device: torch.device) -> Module:
    """The module on its device, its weights laid out channels-last, with which convolutions are much faster
    on CPUs.
    """
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def texture_of(
    clips: Sequence[Frames], frames: Sequence[Start], config: RunConfig, most: int = STARTING_FRAMES
) -> Tensor:
    """The starting texture (1, C, S, S) made of at most `most` of `frames`, spread evenly."""
    g = config.generator
    chosen = frames[:: -(-len(frames) // most)]
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
class Rendered:
    """The output of a forward pass. Shapes as in `Batch`."""

    rgb: Tensor  # (N, T, 3, h, w)
    sampled: Tensor  # (N, T, C + E, h, w) texture and UV embedding as sampled, 0 off the mesh


@dataclass(frozen=True)
class ValidationBatch:
    """Windows of one person to measure on."""

    windows: Batch
    texture: Tensor | None = None  # (1, C, S, S); None: the averaged texture of the first person


class Trainer:
    """Networks, textures, optimisers and averaged weights.

    device and dtype: where and in which precision the networks run; the losses are always computed in
    float32.
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
    ) -> None:
        """starts: each person's starting textures (P, C, S, S), one for each segment; None: random ones.

        prior: weights to start from. world: the processes that train together, by default this one.
        """
        self.config, self.sampler, self.device, self.dtype = config, sampler, device, dtype
        self.world = world or World()
        self.rng = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        g = config.generator
        self.textures = nn.ModuleList(
            NeuralTexture(g.texture_size, g.texture_channels, s, self.rng) for s in starts
        ).to(device)
        self.network = to_device(Generator(g), device)
        self.critic = to_device(Discriminator(g.window, config.losses.crop, g.width / 2), device)
        if prior is not None:
            load_weights(prior, self.network, self.critic)
        self.perceptual = to_device(Perceptual(config.losses.vgg_weights), device)
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
        self.sharpening_gain = 0.0  # applied to what is measured; see `training.renderer.sharpening`
        self._feed: Iterator[Batch] | None = None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules that a checkpoint holds, by name."""
        return {
            "network": self.network,
            "textures": self.textures,
            "critic": self.critic,
            "averaged": self.averaged,
            "averaged_texture": self.averaged_texture,
        }

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers that a checkpoint holds, by name."""
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
        """Render the step's windows, change every weight once and return the losses. progress: 0..1 of the
        run.
        """
        self._set_rates(progress)
        if self._feed is None:
            first = self.step_count * self.windows_per_step
            self._feed = self._batches(first)
        adversarial = progress >= self.config.adversarial_start and self.config.losses.adversarial > 0
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for _ in range(self.config.accumulate):
            batch = next(self._feed).to(self.device)
            for name, value in self._add_gradients(batch, progress, adversarial).items():
                sums[name] = sums.get(name, 0.0) + value / self.config.accumulate
        self._change_weights(adversarial)
        self.step_count += 1
        return sums

    def _batches(self, first: int) -> Iterator[Batch]:
        """Batches from window `first` of the run on."""
        if isinstance(self.sampler, ResidentSampler):
            return self.sampler.feed(first, self.world.workers)
        return feed(self.sampler, first, self.world.rank, self.world.size, self.world.workers)

    def _add_gradients(self, batch: Batch, progress: float, adversarial: bool) -> dict[str, float]:
        """Run one batch forward and backward; its gradients are added to those that are there. Returns the
        losses.
        """
        rendered = self.render(batch, progress)
        losses = self._generator_losses(batch, rendered, adversarial)
        (torch.stack(list(losses.values())).sum() / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
        if adversarial:
            losses["critic"] = self._critic_loss(batch, rendered)
            (losses["critic"] / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
        values = torch.stack([v.detach() for v in losses.values()]).tolist()  # the device is waited for once
        return dict(zip(losses, values, strict=True))

    def _set_rates(self, progress: float) -> None:
        config, factor = self.config, rate_factor(self.step_count, progress)
        rates = (config.learning_rate, config.texture_rate, config.discriminator_rate)
        for rate, optimiser in zip(rates, self.optimisers.values(), strict=True):
            optimiser.param_groups[0]["lr"] = rate * factor

    def _change_weights(self, adversarial: bool) -> None:
        """Move every weight one step along its gradient, anchored weights a little back to the prior, and the
        averages after them.
        """
        first = self.step_count * self.windows_per_step
        people = sorted({self.sampler.person(n) for n in range(first, first + self.windows_per_step)})
        self.world.average_gradients(self.network.parameters())
        self.world.average_gradients(p for i in people for p in self.textures[i].parameters())
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

    def render(self, batch: Batch, progress: float) -> Rendered:
        """Run the network on a batch, with gradients. progress: 0..1 of the run."""
        sampled = sample_texture(self._textures(batch, progress), batch.uv)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            rgb = self.network(
                batch.frames,
                sampled,
                uv_discontinuities(batch.uv),
                batch.mask,
                batch.references,
                self._audio(batch),
                batch.aligned,
            )
        return Rendered(rgb.float(), sampled)

    def _textures(self, batch: Batch, progress: float) -> Tensor:
        """(N, C + E, S, S) the texture that each window samples: the person's, augmented as the window's
        frames are, with the UV embedding.
        """
        people, segments = batch.person.tolist(), batch.segment.tolist()
        textures = sum_levels([self.textures[p] for p in people], progress, segments)
        if self.config.mirrored or self.config.recoloured:
            textures = augmented_textures(textures, batch.mirrored, batch.colouring)
        return self.network.with_uv_embedding(textures)

    def _audio(self, batch: Batch) -> Tensor:
        """(N, style) the audio codes; the null code for silent windows."""
        null = self.network.null_audio.expand(len(batch), -1)
        if bool(batch.silent.all()):
            return null
        return torch.where(batch.silent[:, None], null, self.network.audio(batch.mel).to(null.dtype))

    def _generator_losses(self, batch: Batch, rendered: Rendered, adversarial: bool) -> dict[str, Tensor]:
        weights = self.config.losses
        pixel_weights = weight_map(batch.mask, batch.mouth, weights)
        losses = {
            "l1": weights.l1 * weighted_l1(rendered.rgb, batch.frames, pixel_weights),
            "l2": weights.l2 * weighted_l2(rendered.rgb, batch.frames, pixel_weights),
            "reg": weights.reg * colour_reg(rendered.sampled, batch.frames, batch.mask),
        }
        pasted, filmed = self._mouths(batch, rendered)
        if weights.perceptual > 0:
            weight = weights.perceptual / weights.perceptual_share
            losses["perceptual"] = weight * self._perceptual_loss(batch, pasted, filmed)
        if adversarial:
            require_gradients(self.critic, False)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                score, _ = self.critic(pasted)
            losses["adversarial"] = weights.adversarial * generator_loss(score)
        return losses

    def _perceptual_loss(self, batch: Batch, pasted: Tensor, filmed: Tensor) -> Tensor:
        """The perceptual loss, over one frame of each window that gets it, times the share of those windows;
        a scalar.
        """
        windows = (batch.perceptual_frame >= 0).nonzero().flatten()
        if not len(windows):
            return torch.zeros((), device=pasted.device)
        frames = (windows, batch.perceptual_frame[windows])
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss: Tensor = self.perceptual(pasted[frames], filmed[frames])
        return loss * (len(windows) / len(batch))

    def _critic_loss(self, batch: Batch, rendered: Rendered) -> Tensor:
        require_gradients(self.critic, True)
        pasted, filmed = self._mouths(batch, rendered)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            filmed_scores, rendered_scores = self.critic(torch.cat([filmed, pasted.detach()]))[0].chunk(2)
        return discriminator_loss(filmed_scores, rendered_scores)

    def _mouths(self, batch: Batch, rendered: Rendered) -> tuple[Tensor, Tensor]:
        """Squares around the mouths, rendered (pasted into the frame) and filmed: (N, T, 3, crop, crop)
        each.
        """
        mask = batch.mask[:, :, None]
        pasted = rendered.rgb * mask + batch.frames * (1 - mask)
        corners, size = self._corners(batch), self.config.losses.crop
        return crop_windows(pasted, corners, size), crop_windows(batch.frames, corners, size)

    def _corners(self, batch: Batch) -> Tensor:
        """(N, 2) x, y of the left top of a square around the mouths of each window, inside the view."""
        height, width = self.config.generator.view_size
        boxes = batch.boxes.float()
        centre = torch.stack([boxes[..., 0] + boxes[..., 2], boxes[..., 1] + boxes[..., 3]], -1).mean(1) / 2
        corner = (centre - self.config.losses.crop / 2).round().long()
        limit = torch.tensor([width, height], device=corner.device) - self.config.losses.crop
        return torch.minimum(corner.clamp_min(0), limit)

    def _average(self) -> None:
        """Move the averaged weights towards the trained ones, quickly in the first steps."""
        decay = min(self.config.ema, (1 + self.step_count) / (10 + self.step_count))
        for average, module in ((self.averaged, self.network), (self.averaged_texture, self.textures[0])):
            torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)

    # ---- measuring -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def measure(self, validation: ValidationBatch) -> tuple[dict[str, float], Rendered]:
        """PSNR of the averaged renderer over the windows of `validation`, and what it renders.

        Returns `psnr_mask`, inside the mask, and `psnr_crop`, of the crop with the mask pasted in, both in
        dB, and `mask_share`, the mask's share of the crop.
        """
        texture = validation.texture
        texture = self.averaged_texture() if texture is None else texture.to(self.device)
        texture, audio = self.averaged.with_uv_embedding(texture), self.averaged.null_audio[None]
        windows, parts = validation.windows, []
        for i in range(len(windows)):
            one = windows[i : i + 1].to(self.device)
            sampled = sample_texture(texture, one.uv)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                rgb = self.averaged(
                    one.frames,
                    sampled,
                    uv_discontinuities(one.uv),
                    one.mask,
                    one.references,
                    audio,
                    one.aligned,
                )
            rgb = sharpen(rgb[0].float(), self.sharpening_gain * one.mask[0, :, None])[None]
            parts.append((rgb.clamp(0, 1).cpu(), sampled[:, :, :3].cpu()))
        rendered = Rendered(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]))
        mask = windows.mask
        inside = psnr(rendered.rgb, windows.frames, mask)
        share = float(mask.sum()) / (mask.shape[0] * mask.shape[1] * self.config.generator.size**2)
        return {
            "psnr_mask": inside,
            "psnr_crop": inside - 10 * math.log10(max(share, 1e-6)),
            "mask_share": share,
        }, rendered


def adaptation_trainer(
    config: AdaptConfig, sets: Sequence[Frames], others: Sequence[Sequence[Frames]], prior: Prior | None
) -> Trainer:
    """A trainer for the person in `sets`. others: clips of other people to mix in, one list for each person.
    prior: the weights to start from; None: random ones.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    held_out = hold_out(sets, config.generator.window, config.held_out)
    sampler = WindowSampler([sets, *others], config, held_out, mixed=bool(others))
    starts: list[torch.Tensor | None] = [None] * (1 + len(others))
    if not config.random_texture:
        starts[0] = texture_of(sets, sampler.frames[0], config)
        for i, clips in enumerate(others, 1):
            starts[i] = texture_of(clips, sampler.frames[i], config, REHEARSAL_FRAMES)
    return Trainer(config, sampler, starts, device, choose_dtype(device), prior)
