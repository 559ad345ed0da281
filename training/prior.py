"""`vdub train prior`: one network and one texture per person, trained together on a packed dataset (DESIGN.md
2.4).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.core.config import PriorConfig, RunConfig, run_folder
from training.core.curves import Curves
from training.core.distributed import World, end_world, start_world
from training.core.precision import choose_dtype
from training.core.run import LOSSES, OnStatus, Run, enough_memory, require_own_run
from training.core.trainer import STARTING_FRAMES, Trainer, ValidationBatch, texture_of
from training.data.frames import Frames
from training.data.packed import ClipFacts, Dataset, PackedClip, read_whole
from training.data.resident import ResidentSampler, fits_on_device
from training.data.segments import Start
from training.data.windows import WindowSampler, has_window, still_windows
from training.data.workers import Workers
from training.prior_file import Prior, check_fits, load_prior, save_prior
from training.renderer.losses import Perceptual
from visualdub.errors import BadInput, Interrupted
from visualdub.stages import Progress
from visualdub.storage import protect, require_writable
from visualdub.timing import MARGIN

LEAST_PEOPLE = 2
# Validation: frames before the first number make texture and references, those from the second up to the
# third
# are measured.
VALIDATION_FRAMES = (100, 150, 200)
CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True)
class PriorJob:
    """One training of a prior."""

    dataset: Path
    output: Path  # the prior, .safetensors
    config: PriorConfig
    start: Path | None = None  # a prior to start from, for a second stage with other settings
    keep: int = 20_000  # frames kept in memory for each GPU, over all its workers
    workers: int = 0  # processes that prepare windows ahead

    @property
    def run_folder(self) -> Path:
        """Checkpoint, contact sheet and curves; stays after the run."""
        return run_folder(self.output)


def train_prior(
    job: PriorJob, progress: Progress | None = None, on_status: OnStatus | None = None
) -> dict[str, Any]:
    """Train, write the prior and return its facts; of several processes only the first writes and returns
    them.

    The run resumes where an earlier one of the same job stopped. progress: gets the stages "textures", in
    people, and "training", in steps. on_status: gets the losses and the PSNR besides.

    Raises `BadInput` for a dataset that cannot be used, `OutputError` where the prior cannot be written,
    `Interrupted` once `progress` was cancelled and the checkpoint is written.
    """
    world, config, progress = start_world(job.workers), job.config, progress or Progress()
    require_writable(job.output)
    weights = config.losses.vgg_weights
    protect([job.dataset, job.start, Path(weights) if weights else None], [job.output, job.run_folder])
    earlier = check_start(job)
    dataset, people = Dataset(job.dataset), open_people(job)
    fingerprint, clips = _fingerprint(job, world.size, earlier), list(people.values())  # one list per person
    require_own_run(job.run_folder, fingerprint)
    if world.first:
        for clip in (c for of_person in clips for c in of_person):
            progress.check()
            read_whole(clip.path)  # a damaged shard is named now, not hours later
    job.run_folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _pool(job.workers if world.size == 1 else 0) as pool:
        sampler = _sampler(clips, config, device, world, pool, progress)
        starts = _starts(sampler, config, world, device, progress, pool)
        held_out = _open(dataset, "validation", job, 0).values() if world.first else []
        validation = _validation(list(held_out), config, pool, progress)
    with enough_memory(config):
        trainer = Trainer(config, sampler, starts, device, choose_dtype(device, world), earlier, world)
    log = Curves(job.run_folder) if world.first else None
    sheet_batch = ValidationBatch(still_windows(clips[0], sampler.starts[0][:1], config.generator), None)
    run = Run(
        job.run_folder,
        trainer,
        fingerprint,
        validation,
        sheet_batch,
        time.monotonic(),
        log,
    )
    run.train(progress, on_status if world.first else None, CHECKPOINT_SECONDS)
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
    """The prior to start from; None from scratch. Raises `BadInput` where it, or the file of VGG weights,
    cannot be used.
    """
    Perceptual(job.config.losses.vgg_weights)
    if job.start is None:
        return None
    earlier = load_prior(job.start)
    check_fits(earlier, job.config.generator, job.config.losses, str(job.start))
    return earlier


def open_people(job: PriorJob) -> dict[str, list[PackedClip]]:
    """The clips of all people to train on, by speaker. Raises `BadInput` where there are fewer than
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
    """The clips of every person of one split who has a window of frames, by speaker.

    keep: about how many frames, over all clips, are kept in memory once they were read.
    """
    view_box, people, left = job.config.generator.view_box, {}, keep // max(1, job.workers)
    for speaker, clips in dataset.people(split).items():
        opened = []
        for clip in clips:
            left -= clip.frames
            opened.append(dataset.open(clip, view_box, keep=left >= 0))
        if has_window(opened, job.config.generator.window):
            people[speaker] = opened
    return people


def _pool(workers: int) -> contextlib.AbstractContextManager[Workers | None]:
    """Processes that prepare frames and textures before the first step; none where `workers` is 0."""
    return Workers(workers) if workers else contextlib.nullcontext()


def _sampler(
    clips: Sequence[Sequence[PackedClip]],
    config: PriorConfig,
    device: torch.device,
    world: World,
    pool: Workers | None,
    progress: Progress,
) -> WindowSampler:
    """A sampler of all people's windows; where a single GPU has room for all frames, they stay there."""
    weights = [_detail(c) for c in clips]
    if world.size > 1 or not fits_on_device(clips, config, device):
        return WindowSampler(clips, config, weights=weights)
    sampler = ResidentSampler(clips, config, device, weights)
    sampler.load(progress, pool)
    return sampler


def _starts(
    sampler: WindowSampler,
    config: PriorConfig,
    world: World,
    device: torch.device,
    progress: Progress,
    pool: Workers | None,
) -> Sequence[torch.Tensor | None]:
    """The starting textures of all people, one for each segment, so that the network learns to render frames
    that the texture was not made of.

    Each process makes those of some people and shares them with the others. Raises `Interrupted`, in all
    processes, once `progress` was cancelled in one of them.
    """
    people, g = len(sampler.people), config.generator
    if config.random_texture:
        return [None] * people
    if pool is not None:
        return starts_of(sampler, config, pool, progress)
    starts: list[torch.Tensor | None] = []
    for turn in range(0, people, world.size):
        if world.any(progress.cancelled, device):
            raise Interrupted("stopped before the first step")
        mine = turn + world.rank
        made = _textures(_known(sampler, mine), config) if mine < people else None
        for person in range(turn, min(turn + world.size, people)):
            shape = (len(sampler.segments[person]), g.texture_channels, g.texture_size, g.texture_size)
            starts.append(world.share(made if person == mine else None, person - turn, shape, device))
        if world.first:
            with contextlib.suppress(Interrupted):  # all processes stop together, at the next turn
                progress.report("textures", len(starts), people)
    return starts


@dataclass(frozen=True)
class _Known:
    """What makes the starting textures of one person."""

    number: int
    clips: Sequence[Frames]
    pools: Sequence[Sequence[Start]]  # of each segment
    most: int  # frames of each


def _known(sampler: WindowSampler, person: int) -> _Known:
    pools = [s.reference_pool for s in sampler.segments[person]]
    most = sampler.config.texture_frames if isinstance(sampler.config, PriorConfig) else STARTING_FRAMES
    return _Known(person, sampler.people[person], pools, most)


def _textures(known: _Known, config: RunConfig) -> torch.Tensor:
    """(P, C, S, S) one starting texture for each segment of a person."""
    return torch.cat([texture_of(known.clips, pool, config, known.most) for pool in known.pools])


def starts_of(
    sampler: WindowSampler, config: PriorConfig, pool: Workers, progress: Progress
) -> list[torch.Tensor | None]:
    """The starting textures (P, C, S, S) of each person's segments, made by the processes of `pool`.

    progress: gets the stage "textures", in people. Raises `Interrupted` once it was cancelled.
    """
    return list(_made([_known(sampler, p) for p in range(len(sampler.people))], config, pool, progress))


def _made(work: Sequence[_Known], config: RunConfig, pool: Workers, progress: Progress) -> list[torch.Tensor]:
    """The textures of several people, whose numbers are 0 and up."""
    starts = [torch.empty(0)] * len(work)
    made = pool.run(partial(_numpy_textures, config=config), work, progress)
    for done, (known, textures) in enumerate(made, 1):
        starts[known.number] = torch.from_numpy(textures)
        progress.report("textures", done, len(work))
    return starts


def _numpy_textures(known: _Known, config: RunConfig) -> NDArray[np.float32]:
    """`_textures` as an array, which travels between processes without shared memory; on one thread."""
    torch.set_num_threads(1)
    return np.asarray(_textures(known, config).numpy(), np.float32)


def _detail(clips: Sequence[PackedClip]) -> float:
    """The share of the crop's detail that a person's clips hold, 0..1: people who were filmed small are
    chosen less often.
    """
    return min(1.0, max(c.face_pixels for c in clips) / clips[0].crop.size)


def _validation(
    people: Sequence[Sequence[PackedClip]], config: PriorConfig, pool: Workers | None, progress: Progress
) -> list[ValidationBatch]:
    """People who are not trained on, as an adaptation would start: texture and references come from early
    frames, later ones are measured.
    """
    work, windows = [], []
    for number, clips in enumerate(people):
        early, late = _early_and_late(clips[0], config)
        work.append(_Known(number, [clips[0]], [early], STARTING_FRAMES))
        windows.append(still_windows([clips[0]], late, config.generator, early))
    textures = [_textures(w, config) for w in work] if pool is None else _made(work, config, pool, progress)
    return [ValidationBatch(w, t) for w, t in zip(windows, textures, strict=True)]


def _early_and_late(clip: PackedClip, config: PriorConfig) -> tuple[list[Start], list[Start]]:
    """Frames to know a person from, and first frames of later windows."""
    pool_end, first, last = VALIDATION_FRAMES
    first = min(first, len(clip) // 2)
    pool_end = min(pool_end, max(1, first - MARGIN))
    sampler = WindowSampler([[clip]], replace(config, segments=0))
    early = [(c, f) for c, f in sampler.frames[0] if f < pool_end] or sampler.frames[0]
    step = 2 * config.generator.window
    late = [(c, f) for c, f in sampler.starts[0] if first <= f < last and (f - first) % step == 0]
    return early, late or sampler.starts[0][-1:]


def _fingerprint(job: PriorJob, processes: int, start: Prior | None) -> str:
    """A hash of everything that decides the result: a checkpoint is resumed by the same job only. The budget
    is not part of it, so that it may be raised.
    """
    free = ("minutes", "steps", "batch", "accumulate")
    config: dict[str, Any] = {k: v for k, v in dataclasses.asdict(job.config).items() if k not in free}
    config["windows"] = job.config.batch * job.config.accumulate * processes
    facts = [config, Dataset(job.dataset).hash, start.hash if start else None]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def describe(
    dataset: Dataset, people: Mapping[str, Sequence[PackedClip]], run: Run, earlier: Prior | None
) -> dict[str, Any]:
    """The facts in the prior's file. people: the clips trained on, by speaker. earlier: the prior that the
    training started from.
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
        "segments": config.segments,
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
