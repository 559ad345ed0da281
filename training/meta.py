"""The prior's last stage: adaptation itself is what is trained for.

Reptile (Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018) over people. From the
prior's weights the network is adapted to one person, first on the few seconds of a segment, as an actor's
footage would be, then on other frames of theirs, and the prior moves a part of the way to where that led. It
thus keeps what makes later frames quick to learn.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.core.config import PRIOR_PERCEPTUAL, LossConfig, PriorConfig, prior_config
from training.core.precision import choose_dtype
from training.core.trainer import rate_factor, to_device
from training.data.augment import augmented_textures, random_colouring
from training.data.resident import ResidentSampler
from training.data.segments import Segment, Start
from training.data.windows import Batch, Window
from training.data.workers import Workers
from training.prior import PriorJob, check_start, open_people, starts_of
from training.prior_file import Prior, load_weights, save_prior
from training.renderer.generator import Generator, sample_texture, uv_discontinuities
from training.renderer.losses import Perceptual, colour_reg, weight_map, weighted_l1, weighted_l2
from training.renderer.texture import NeuralTexture
from visualdub.errors import BadInput
from visualdub.stages import Progress

WARM_UP_STEPS = 3  # of a captured step, before it is captured


@dataclass(frozen=True)
class MetaConfig:
    """One training of this stage."""

    minutes: float = 3.0
    people: int = 4  # whose adaptations are averaged before the prior moves
    segment_steps: int = 60  # of an adaptation, on a segment
    later_steps: int = 20  # of an adaptation, on the person's other frames
    batch: int = 2  # windows per step
    rate: float = 1.5e-3  # Adam's, of the network; what `vdub adapt` takes
    texture_rate: float = 1e-4
    move: float = 0.5  # share of the way that the prior moves at first; it falls to 0 along the run
    seed: int = 0


class Adaptation:
    """A network and a texture that are adapted to one person after the other, always from given weights."""

    def __init__(
        self, network: Generator, config: PriorConfig, meta: MetaConfig, device: torch.device
    ) -> None:
        g = network.config
        self.config, self.meta, self.device = config, meta, device
        self.dtype = choose_dtype(device)
        self.network = to_device(copy.deepcopy(network), device)
        blank = torch.zeros(1, g.texture_channels, g.texture_size, g.texture_size)
        self.texture = NeuralTexture(g.texture_size, g.texture_channels, blank, torch.Generator()).to(device)
        self.perceptual = to_device(Perceptual(config.losses.vgg_weights), device)
        self._rates = [torch.tensor(0.0, device=device) for _ in range(2)]
        groups = zip((self.network, self.texture), self._rates, strict=True)
        self.optimiser = torch.optim.Adam(
            [{"params": list(module.parameters()), "lr": rate} for module, rate in groups],
            betas=(0.9, 0.99),
            capturable=device.type == "cuda",
        )
        self._taken = 0  # steps since the last start
        self._batch: Batch | None = None  # the tensors that a captured step reads
        self._graph: torch.cuda.CUDAGraph | None = None

    @torch.no_grad()
    def start(self, weights: Sequence[Tensor], texture: Tensor) -> None:
        """Go back to `weights`, and to a person's starting texture (1, C, S, S), with nothing learned."""
        for mine, given in zip(self.network.parameters(), weights, strict=True):
            mine.copy_(given)
        self.texture.base.copy_(texture)
        for level in self.texture.levels:
            level.zero_()
        for state in self.optimiser.state.values():
            for value in state.values():
                value.zero_()
        self._taken = 0

    def step(self, batch: Batch) -> None:
        """Change weights and texture once. On a GPU the step is captured and replayed, which takes a tenth of
        the time.
        """
        factor = rate_factor(self._taken, 0.0)
        for held_rate, rate in zip(self._rates, (self.meta.rate, self.meta.texture_rate), strict=True):
            held_rate.fill_(rate * factor)
        self._taken += 1
        if self.device.type != "cuda":
            self._step(batch)
            return
        if self._batch is None:
            self._batch = batch
        for field in dataclasses.fields(Batch):
            held, given = getattr(self._batch, field.name), getattr(batch, field.name)
            if held is not given and isinstance(held, Tensor):
                held.copy_(given)
        if self._graph is None:
            self._capture(self._batch)
        else:
            self._graph.replay()

    def _capture(self, batch: Batch) -> None:
        """Take a step and record it."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                self._step(batch)
        torch.cuda.current_stream().wait_stream(stream)
        self.optimiser.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss(batch).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

    def _step(self, batch: Batch) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self._loss(batch).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def _loss(self, batch: Batch) -> Tensor:
        """The losses of an adaptation from a prior. The perceptual loss takes the middle frame of the first
        window.
        """
        textures = self.network.with_uv_embedding(self.texture())
        sampled = sample_texture(textures.expand(len(batch), -1, -1, -1), batch.uv)
        audio = self.network.null_audio.expand(len(batch), -1)
        fast = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=fast, cache_enabled=False):
            rgb = self.network(
                batch.frames,
                sampled,
                uv_discontinuities(batch.uv),
                batch.mask,
                batch.references,
                audio,
                batch.aligned,
            )
        rgb, losses = rgb.float(), self.config.losses
        weights = weight_map(batch.mask, batch.mouth, losses)
        total = losses.l1 * weighted_l1(rgb, batch.frames, weights)
        total = total + losses.l2 * weighted_l2(rgb, batch.frames, weights)
        total = total + losses.reg * colour_reg(sampled, batch.frames, batch.mask)
        middle = batch.frames.shape[1] // 2
        mask = batch.mask[0, middle]
        filmed = batch.frames[0, middle]
        pasted = rgb[0, middle] * mask + filmed * (1 - mask)
        box = batch.boxes[0, middle].float()
        with torch.autocast(self.device.type, self.dtype, enabled=fast, cache_enabled=False):
            perceptual = self.perceptual(
                _square(pasted, box, losses.crop)[None], _square(filmed, box, losses.crop)[None]
            )
        loss: Tensor = total + losses.perceptual * perceptual
        return loss


def _square(picture: Tensor, box: Tensor, size: int) -> Tensor:
    """A square (3, size, size) around the centre of `box` (4,), inside the picture (3, h, w); without waiting
    for the device.
    """
    height, width = picture.shape[-2:]
    x = ((box[0] + box[2]) / 2 - size / 2).round().clamp(0, width - size).long()
    y = ((box[1] + box[3]) / 2 - size / 2).round().clamp(0, height - size).long()
    places = torch.arange(size, device=picture.device)
    return picture.index_select(-2, y + places).index_select(-1, x + places)


# ---- windows of one adaptation -----------------------------------------------------------------------------


def starts_within(frames: Sequence[Start], window: int) -> list[Start]:
    """The first frames of `window` neighbours that are all among `frames`."""
    among = set(frames)
    return [(c, f) for c, f in frames if all((c, f + k) in among for k in range(window))]


def adaptation_windows(
    sampler: ResidentSampler, person: int, k: int, meta: MetaConfig, rng: np.random.Generator
) -> Iterator[list[Window]]:
    """The windows of each step of one adaptation: of the person's segment `k`, then of their other frames.

    The person may be mirrored and in other colours, the same ones in all windows.
    """
    segment: Segment = sampler.segments[person][k]
    pool = list(segment.reference_pool)
    pool_starts = starts_within(pool, sampler.window) or list(sampler.starts[person])
    mirror = bool(rng.random() < sampler.config.mirrored)
    colouring = random_colouring(rng, sampler.config.recoloured)
    parts = (
        (meta.segment_steps, pool, pool_starts),
        (meta.later_steps, segment.targets, segment.starts),
    )
    for steps, frames, starts in parts:
        for _ in range(steps):
            planned = [sampler.plan_among(rng, person, k, frames, starts) for _ in range(meta.batch)]
            yield [dataclasses.replace(w, mirror=mirror, colouring=colouring, silent=True) for w in planned]


# ---- the training ------------------------------------------------------------------------------------------


def train_meta(job: PriorJob, meta: MetaConfig, progress: Progress) -> dict[str, Any]:
    """Move the prior `job.start` towards what adapts well, write it to `job.output` and return its facts.

    progress: gets the stages "loading", "textures" and "adapting", in adaptations. Raises `BadInput` for a
    dataset or a prior that cannot be used, `Interrupted` once `progress` was cancelled.
    """
    prior = check_start(job)
    if prior is None:
        raise BadInput("no prior to start from; expected one that vdub train prior wrote")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clips = list(open_people(job).values())
    sampler = ResidentSampler(clips, job.config, device)
    with Workers(max(1, job.workers)) as pool:
        sampler.load(progress, pool)
        starts = starts_of(sampler, job.config, pool, progress)
    network = Generator(prior.config)
    load_weights(prior, network)
    steps = move_prior(network, sampler, starts, (job.config, meta, device), progress)
    stage = {**dataclasses.asdict(meta), "adaptations": steps, "start": prior.hash, "method": "Reptile"}
    facts = {**prior.facts, "stages": [*prior.facts.get("stages", []), stage]}
    save_prior(job.output, Prior(prior.config, network.state_dict(), prior.critic, facts))
    return facts


def move_prior(
    network: Generator,
    sampler: ResidentSampler,
    starts: Sequence[Tensor | None],
    settings: tuple[PriorConfig, MetaConfig, torch.device],
    progress: Progress,
) -> int:
    """Train `network` for the minutes of the settings; returns the number of adaptations that it was moved
    by.
    """
    config, meta, device = settings
    rng, began, done = np.random.default_rng(meta.seed), time.monotonic(), 0
    adaptation = Adaptation(network, config, meta, device)
    weights = [p.detach().clone().to(device) for p in network.parameters()]
    while (share := (time.monotonic() - began) / (60 * meta.minutes)) < 1 or done == 0:
        moved = [torch.zeros_like(w) for w in weights]
        for person in rng.choice(len(sampler.people), meta.people, p=sampler.shares, replace=True):
            k = int(rng.integers(len(sampler.segments[person])))
            _adapt(adaptation, weights, sampler, (int(person), k), starts[person], rng)
            ends = list(adaptation.network.parameters())
            torch._foreach_add_(moved, [e.detach() - w for e, w in zip(ends, weights, strict=True)])
            done += 1
            progress.report("adapting", done, max(done, round(done / max(share, 1e-3))))
        move = meta.move * max(0.1, 1 - min(1.0, share))
        torch._foreach_add_(weights, moved, alpha=move / meta.people)
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), weights, strict=True):
            parameter.copy_(weight)
    return done


def _adapt(
    adaptation: Adaptation,
    weights: Sequence[Tensor],
    sampler: ResidentSampler,
    who: tuple[int, int],
    start: Tensor | None,
    rng: np.random.Generator,
) -> None:
    """Adapt to a person from a segment. who: the numbers of both. start: the person's starting textures."""
    if start is None:
        raise BadInput("this stage starts from textures in closed form, not from random ones")
    first = True
    for windows in adaptation_windows(sampler, *who, adaptation.meta, rng):
        batch = sampler.collect(windows)
        if first:
            texture = start[who[1] : who[1] + 1].to(adaptation.device)
            augmented = augmented_textures(texture, batch.mirrored[:1], batch.colouring[:1])
            adaptation.start(weights, augmented)
            first = False
        adaptation.step(batch)


def main() -> None:
    """Train this stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--prior", type=Path, required=True, metavar="FILE", help="the prior to start from")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the prior to write")
    parser.add_argument("--size", default="small")
    parser.add_argument("--workers", type=int, default=1)
    for field in dataclasses.fields(MetaConfig):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default)
    args = parser.parse_args()
    meta = MetaConfig(**{f.name: getattr(args, f.name) for f in dataclasses.fields(MetaConfig)})
    config = prior_config(args.size, minutes=meta.minutes, batch=meta.batch, seed=meta.seed)
    losses = LossConfig(perceptual=PRIOR_PERCEPTUAL, adversarial=0.0)
    job = PriorJob(
        args.dataset, args.output, dataclasses.replace(config, losses=losses), args.prior, 0, args.workers
    )
    from training.core.progress import training_progress

    with training_progress() as (progress, _):
        facts = train_meta(job, meta, progress)
    print(f"{args.output}: moved by {facts['stages'][-1]['adaptations']} adaptations")


if __name__ == "__main__":
    main()
