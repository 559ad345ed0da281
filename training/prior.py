"""`vdub train prior`: one network and one texture per person, learned together from a packed dataset
(DESIGN.md 2.4).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from training.core.config import PriorConfig, run_folder
from training.core.curves import Curves
from training.core.distributed import World, end_world, start_world
from training.core.precision import choose_dtype
from training.core.run import LOSSES, Count, Run, Show, enough_memory, require_own_run
from training.core.trainer import Probe, Trainer, texture_of
from training.data.packed import ClipFacts, Dataset, PackedClip, read_whole
from training.data.windows import WindowSampler, has_window, still_windows
from training.prior_file import Prior, check_fits, load_prior, save_prior
from training.renderer.losses import Perceptual
from visualdub.errors import BadInput
from visualdub.measure.evaluate import MARGIN
from visualdub.storage import protect, require_writable

LEAST_PEOPLE = 2
PROBED = (
    100,
    150,
    200,
)  # validation: frames before the first make the texture, from second to third are measured
CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True)
class PriorJob:
    """One training as asked for."""

    dataset: Path
    output: Path  # the prior, .safetensors
    config: PriorConfig
    start: Path | None = None  # a prior to go on from, as a second stage with other settings
    keep: int = 20_000  # frames kept in memory for each GPU, over all its workers
    workers: int = 0  # processes that draw windows ahead

    @property
    def run_folder(self) -> Path:
        """Checkpoint, contact sheet and curves; stays after the run."""
        return run_folder(self.output)


def train_prior(job: PriorJob, show: Show | None = None, count: Count | None = None) -> dict[str, Any]:
    """Train, write the prior, return its facts (of several processes only the first does).

    Resumes where an earlier run of the same job stopped.

    Raises `BadInput` for a dataset that cannot be used, `OutputError` where the prior cannot be written,
    `Interrupted` on Ctrl-C once the checkpoint is written.
    """
    world, config = start_world(), job.config
    require_writable(job.output)
    weights = config.losses.vgg_weights
    protect([job.dataset, job.start, Path(weights) if weights else None], [job.output, job.run_folder])
    earlier = check_start(job)
    dataset, people = Dataset(job.dataset), open_people(job)
    fingerprint, clips = _fingerprint(job, world.size, earlier), list(people.values())
    require_own_run(job.run_folder, fingerprint)
    if world.first:
        for clip in (c for theirs in clips for c in theirs):
            read_whole(clip.path)  # a damaged shard is named now, not in the middle of the night
    job.run_folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sampler = WindowSampler(clips, config, weights=[_detail(c) for c in clips])
    starts = _starts(sampler, config, world, device, count)
    with enough_memory(config):
        trainer = Trainer(
            config, sampler, starts, device, choose_dtype(device, world), earlier, world, job.workers
        )
    probes = [_probe(c, config) for c in _open(dataset, "validation", job, 0).values()] if world.first else []
    log = Curves(job.run_folder) if world.first else None
    shown = Probe(still_windows(clips[0], sampler.starts[0][:1], config.generator), None)
    run = Run(job.run_folder, trainer, fingerprint, probes, shown, time.monotonic(), log, CHECKPOINT_SECONDS)
    run.train(show if world.first else None)
    facts = describe(dataset, people, run, earlier) if world.first else {}
    if world.first:
        run.save()
        save_prior(
            job.output,
            Prior(config.generator, trainer.averaged.state_dict(), trainer.critic.state_dict(), facts),
        )
    if log is not None:
        log.close(job.run_folder / LOSSES)
    end_world()
    return facts


def check_start(job: PriorJob) -> Prior | None:
    """The prior to go on from, None from scratch. Raises `BadInput` where it, or the file of VGG weights,
    cannot be used.
    """
    Perceptual(job.config.losses.vgg_weights)
    if job.start is None:
        return None
    earlier = load_prior(job.start)
    check_fits(earlier, job.config.generator, job.config.losses, str(job.start))
    return earlier


def open_people(job: PriorJob) -> dict[str, list[PackedClip]]:
    """The clips of everyone to train on, by speaker. Raises `BadInput` where those are fewer than
    `LEAST_PEOPLE`.
    """
    people = _open(Dataset(job.dataset), "train", job, job.keep)
    if len(people) < LEAST_PEOPLE:
        raise BadInput(
            f"{job.dataset} holds {len(people)} people to train on ({', '.join(people) or 'none'}); a prior"
            f" needs {LEAST_PEOPLE} or more, better 20: with one it would be that person's renderer"
        )
    return people


def _open(dataset: Dataset, split: str, job: PriorJob, keep: int) -> dict[str, list[PackedClip]]:
    """Every person of one split, about `keep` frames kept in memory. A person without a window of frames is
    left out.
    """
    view, people, left = job.config.generator.view, {}, keep // max(1, job.workers)
    for speaker, clips in dataset.people(split).items():
        opened = []
        for clip in clips:
            left -= clip.frames
            opened.append(dataset.open(clip, view, keep=left >= 0))
        if has_window(opened, job.config.generator.window):
            people[speaker] = opened
    return people


def _starts(
    sampler: WindowSampler, config: PriorConfig, world: World, device: torch.device, count: Count | None
) -> Sequence[torch.Tensor | None]:
    """Everybody's starting textures, one for each passage: the network learns to draw what the texture never
    saw.

    Each process makes those of some people and tells the others.
    """
    people, g = len(sampler.people), config.generator
    if config.random_texture:
        return [None] * people
    starts: list[torch.Tensor | None] = []
    for turn in range(0, people, world.size):
        own = turn + world.rank
        made = _textures(sampler, own, config) if own < people else None
        for person in range(turn, min(turn + world.size, people)):
            shape = (len(sampler.passages[person]), g.texture_channels, g.texture_size, g.texture_size)
            starts.append(world.share(made if person == own else None, person - turn, shape, device))
        if count is not None and world.first:
            count("textures", len(starts), people)
    return starts


def _textures(sampler: WindowSampler, person: int, config: PriorConfig) -> torch.Tensor:
    """(P, C, S, S) one starting texture for each passage of a person."""
    clips = sampler.people[person]
    return torch.cat(
        [texture_of(clips, p.known, config, config.texture_frames) for p in sampler.passages[person]]
    )


def _detail(clips: Sequence[PackedClip]) -> float:
    """How much of the crop's detail a person's clips hold, 0..1: faces filmed small are shown less often."""
    return min(1.0, max(c.face_pixels for c in clips) / clips[0].crop.size)


def _probe(clips: Sequence[PackedClip], config: PriorConfig) -> Probe:
    """A person never trained on, as an adaptation would start: texture and references of early frames, later
    ones measured.
    """
    known, first, last = PROBED
    clip, window = clips[0], config.generator.window
    first = min(first, len(clip) // 2)
    known = min(known, max(1, first - MARGIN))
    sampler = WindowSampler([[clip]], replace(config, passages=0))
    early = [(c, f) for c, f in sampler.faces[0] if f < known] or sampler.faces[0]
    late = [(c, f) for c, f in sampler.starts[0] if first <= f < last and (f - first) % (2 * window) == 0]
    windows = still_windows([clip], late or sampler.starts[0][-1:], config.generator, early)
    return Probe(windows, texture_of([clip], early, config))


def _fingerprint(job: PriorJob, processes: int, start: Prior | None) -> str:
    """Of all that decides the result: a checkpoint is only resumed by the same job. The budget may be
    raised.
    """
    free = ("minutes", "steps", "batch", "accumulate")
    config: dict[str, Any] = {k: v for k, v in dataclasses.asdict(job.config).items() if k not in free}
    config["windows"] = job.config.batch * job.config.accumulate * processes
    facts = [config, Dataset(job.dataset).hash, start.hash if start else None]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def describe(
    dataset: Dataset, people: Mapping[str, Sequence[PackedClip]], run: Run, earlier: Prior | None
) -> dict[str, Any]:
    """What the prior's file says of its training: `people` is who was trained on, `earlier` the prior it went
    on from.
    """
    everybody = dataset.people("train")
    trained: list[ClipFacts] = [c for name in people for c in everybody[name]]
    config = run.trainer.config
    stage = {
        "steps": run.trainer.step_count,
        "windows": run.trainer.step_count * run.trainer.windows_per_step,
        "kept_step": run.best_step if config.keep_best else run.trainer.step_count,
        "hours": round(run.seconds / 3600, 3),
        "rate": config.learning_rate,
        "adversarial": config.losses.adversarial,
        "perceptual": config.losses.perceptual,
        "passages": config.passages,
        "seed": config.seed,
        "start": earlier.hash if earlier else None,
    }
    return {
        "people": len({c.speaker for c in trained}),
        "clips": len(trained),
        "frames": sum(c.usable for c in trained),
        "left_out": sorted(set(everybody) - set(people)),
        "stages": [*(earlier.facts.get("stages", []) if earlier else []), stage],
        "validation": sorted({c.speaker for c in dataset.clips if c.split == "validation"}),
        "clips_trained_on": [c.name for c in trained],
        "median_face_pixels": sorted(c.face_pixels for c in trained)[len(trained) // 2],
        "steps": run.trainer.step_count,
        "windows": run.trainer.step_count * run.trainer.windows_per_step,
        "best_step": run.best_step,
        "hours": round(run.seconds / 3600, 3),
        "device": str(run.trainer.device),
        "processes": run.trainer.world.size,
        "precision": str(run.trainer.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "perceptual": run.trainer.perceptual.weights,
        "config": dataclasses.asdict(config),
        "measures": {k: round(v, 3) for k, v in run.metrics.items()},
    }
