"""Adaptation: clips of one person in, an actor package out. It can be stopped and resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.actor_network import ActorNetwork, save_network
from training.core.config import WIDTHS, AdaptConfig, run_folder
from training.core.run import CONFIG, LOSSES, SHEET, OnStatus, Run, enough_memory
from training.core.trainer import ValidationBatch, adaptation_trainer
from training.data.frames import Frames, FrameSet, read_frame_set, with_aligned_references
from training.data.packed import Dataset
from training.data.segments import Start
from training.data.windows import has_window, hold_out, pick_references, still_windows
from training.prior_file import Prior, check_fits, load_prior
from training.renderer.sharpening import choose_sharpening_gain
from training.speech.adapter import source_style
from visualdub.actor.detail import write_detail
from visualdub.actor.footage import DetailClip, detail_of
from visualdub.actor.package import RENDERER, actor_folder, require_package_path, write_package
from visualdub.actor.record import ActorRecord, Consent, SourceFrames
from visualdub.errors import BadInput, NoFace, OutputError
from visualdub.face.track import Track
from visualdub.locks import only_writer
from visualdub.render.detail_frames import DetailFrames
from visualdub.services import AdaptClip, ExportService, Note, export_service
from visualdub.speech.style import rest_pose
from visualdub.speech.sync import trusted_offset
from visualdub.stages import Progress
from visualdub.storage import protect

MOST_PREPARATION = 0.5  # share of the budget in minutes that tracking and reading may take from the training
REHEARSED = 8  # most people of a dataset whose data are mixed in


@dataclass(frozen=True)
class AdaptJob:
    """One adaptation with everything that decides its result."""

    clips: tuple[AdaptClip, ...]
    name: str
    output: Path  # of the package
    consent: Consent
    config: AdaptConfig
    prior: Path | None = None  # where the network starts; None: from scratch
    rehearsal: Path | None = None  # packed dataset whose people are mixed in 1:1

    @property
    def run_folder(self) -> Path:
        """Holds a folder for each run, by its options: checkpoint, contact sheet and losses while the run
        lasts. A run's folder is removed when its package is whole; stopped runs with other options stay.
        """
        return run_folder(self.output)


@dataclass(frozen=True)
class Footage:
    """One clip's frames as the adaptation uses them."""

    clip: AdaptClip
    track: Track  # of the frames to train on
    whole: Track  # of all frames that were tracked with them
    av_offset_ms: float | None  # ms by which the audio leads the video; None: not known, taken as 0
    frames: FrameSet


def adapt(
    job: AdaptJob,
    progress: Progress | None = None,
    on_status: OnStatus | None = None,
    note: Note | None = None,
) -> ActorRecord:
    """Track, train, export and package. Returns the record of the package, which is at `job.output`.

    progress: gets the stages "tracking", "detail", "reading" and "aligning", in frames, and "training", in
    steps. on_status: gets the losses and the PSNR after every step. note: gets lines that the user should
    read.

    Raises `NoFace` and `MediaError` for clips that cannot be used, `BadInput` for impossible ranges and other
    values, `OutputError` where the package cannot be written or another run is writing it, `Interrupted` once
    `progress` was cancelled; the checkpoint is written then, and the same job resumes from it.
    """
    began, progress = time.monotonic(), progress or Progress()
    protect([*(c.path for c in job.clips), job.prior, job.rehearsal], [job.output, job.run_folder])
    require_package_path(job.output)
    with only_writer(job.output):
        return _adapt(job, progress, on_status, note, began)


def _adapt(
    job: AdaptJob, progress: Progress, on_status: OnStatus | None, note: Note | None, began: float
) -> ActorRecord:
    """`adapt` after its checks."""
    export = export_service()
    prior = _prior(job)
    if job.rehearsal is not None:
        Dataset(job.rehearsal)  # refused before the work, not after it
    tracks = [_track(clip, progress) for clip in job.clips]
    people = _rehearsal(job, tracks)
    clips = [DetailClip(clip.path, track) for clip, track in zip(job.clips, tracks, strict=True)]
    detail = detail_of(clips, progress)
    footage = _footage(job, tracks, detail, progress, note)
    with torch.random.fork_rng(devices=[]):
        with enough_memory(job.config):
            trainer = adaptation_trainer(job.config, [f.frames for f in footage], people, prior)
        began = max(began, time.monotonic() - 60 * MOST_PREPARATION * (job.config.minutes or 0))
        validation, sheet_batch = _batches(job, footage, trainer.sampler.frames[0])
        fingerprint = _fingerprint(job, footage, prior)
        folder = job.run_folder / fingerprint[:12]
        run = Run(folder, trainer, fingerprint, validation, sheet_batch, began)
        run.train(progress, on_status)
        if validation:
            trainer.sharpening_gain = choose_sharpening_gain(trainer, validation[0], run.started)
            run.metrics = run.measure() | {"sharpening_gain": trainer.sharpening_gain}
    record = _record(job, run, footage, prior, len(people))
    _package(job, run, record, footage, detail, export, note)
    return record


def _prior(job: AdaptJob) -> Prior | None:
    if job.prior is None:
        return None
    prior = load_prior(job.prior)
    check_fits(prior, job.config.generator, job.config.losses, str(job.prior))
    return prior


def _rehearsal(job: AdaptJob, tracks: Sequence[Track]) -> list[list[Frames]]:
    """The clips of the people to mix in; nobody's where the job names no dataset."""
    if job.rehearsal is None:
        return []
    return rehearsal_people(job.rehearsal, job.config, {t.source_hash for t in tracks})


def rehearsal_people(folder: Path, config: AdaptConfig, actor_hashes: Set[str]) -> list[list[Frames]]:
    """The clips of some people of a packed dataset, chosen by the seed, one list for each person.

    actor_hashes: of the files of the actor's clips; whoever is in one of them is left out. Raises `BadInput`
    where the dataset holds nobody else to train on.
    """
    dataset, chosen = Dataset(folder), []
    people = [
        clips
        for clips in dataset.people("train").values()
        if not actor_hashes & {c.source_hash for c in clips}
    ]
    for i in np.random.default_rng(config.seed).permutation(len(people)):
        clips: list[Frames] = [dataset.open(c, config.generator.view_box, keep=True) for c in people[i]]
        if has_window(clips, config.generator.window):
            chosen.append(clips)
        if len(chosen) == REHEARSED:
            break
    if not chosen:
        raise BadInput(f"{folder} holds nobody to rehearse with; expected a dataset with people to train on")
    return chosen


def _batches(
    job: AdaptJob, footage: Sequence[Footage], reference_pool: Sequence[Start]
) -> tuple[list[ValidationBatch], ValidationBatch]:
    """The held-out frames to measure while training (none where the clips are too short), and the frames of
    the contact sheet where nothing is held out.

    reference_pool: the frames trained on, of which the references are.
    """
    sets, generator = [f.frames for f in footage], job.config.generator
    held_out = hold_out(sets, generator.window, job.config.held_out)
    first = next(
        (c, i)
        for c, clip in enumerate(sets)
        for i in range(len(clip) - generator.window + 1)
        if clip.usable[i : i + generator.window].all()
    )
    sheet_batch = ValidationBatch(still_windows(sets, [first], generator))
    if not held_out:
        return [], sheet_batch
    return [ValidationBatch(still_windows(sets, held_out, generator, reference_pool))], sheet_batch


def _whole_track(clip: AdaptClip, progress: Progress | None = None) -> Track:
    """The track of all frames of a clip that are tracked."""
    from visualdub.face.tracker import cached_track

    return cached_track(clip.path, frames=clip.within, face=clip.face, progress=progress)[0]


def _track(clip: AdaptClip, progress: Progress) -> Track:
    """The track of the clip's frames. Raises `NoFace` where none of them shows a usable face."""
    track = _whole_track(clip, progress)
    if clip.within is not None:
        track = track.span(clip.frames or clip.within)
    elif clip.frames is not None:
        track = track.span(clip.frames.within(len(track), clip.path.name))
    if not track.usable.any():
        raise NoFace(
            f"{clip.path}: no usable face in frames {track.frames}; expected frames that show the actor's"
            " face"
        )
    return track


def _footage(
    job: AdaptJob,
    tracks: Sequence[Track],
    detail: DetailFrames | None,
    progress: Progress,
    note: Note | None,
) -> list[Footage]:
    """The frames of all clips, with the A/V offset of each. detail: the source of aligned references."""
    whole = {replace(clip, frames=None): _whole_track(clip) for clip in job.clips}
    offsets = {clip: _av_offset_ms(clip.path, track, note) for clip, track in whole.items()}
    footage, view_box = [], job.config.generator.view_box
    for clip, track in zip(job.clips, tracks, strict=True):
        key = replace(clip, frames=None)
        offset_ms = offsets[key]
        frames = read_frame_set(clip.path, track, view_box, progress, (offset_ms or 0.0) / 1000)
        frames = with_aligned_references(frames, track, detail, progress)
        footage.append(Footage(clip, track, whole[key], offset_ms, frames))
    return footage


def _av_offset_ms(path: Path, track: Track, note: Note | None) -> float | None:
    """Ms by which the audio leads the video, measured on all frames that are tracked; None where that cannot
    be measured.
    """
    offset, line = trusted_offset(path, track)
    if note is not None:
        note(line)
    return None if offset is None else round(1000 * offset)


def _fingerprint(job: AdaptJob, footage: Sequence[Footage], prior: Prior | None) -> str:
    """A hash of everything that decides the result: a checkpoint is resumed by the same job only. The budget
    is not part of it, so that it may be raised.
    """
    config = {k: v for k, v in dataclasses.asdict(job.config).items() if k not in ("minutes", "steps")}
    facts: dict[str, Any] = {
        "config": config,
        "prior": prior.hash if prior else None,
        "rehearsal": Dataset(job.rehearsal).hash if job.rehearsal else None,
        "frames": [(f.track.source_hash, str(f.track.frames), f.track.face_model) for f in footage],
        "offsets": [f.av_offset_ms for f in footage],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


# ---- the package -------------------------------------------------------------------------------------------


def _package(
    job: AdaptJob,
    run: Run,
    record: ActorRecord,
    footage: Sequence[Footage],
    detail: DetailFrames | None,
    export: ExportService,
    note: Note | None,
) -> None:
    """Write the package at `job.output` and remove the run's folder; those of stopped runs with other options
    stay, which `note` is told.
    """
    longest = max(footage, key=lambda f: int(f.track.usable.sum()))
    if longest.clip.within is not None:  # pieces of a shot: rest and style are those of the whole of it
        longest = max(footage, key=lambda f: int(f.whole.usable.sum()))
        longest = replace(longest, track=longest.whole)
    track, late = longest.track, longest.av_offset_ms
    jaw, expression = rest_pose(track)
    style, line = source_style(longest.clip.path, track, None if late is None else late / 1000)
    if note is not None:
        note(line)
    trainer = run.trainer
    network = ActorNetwork(
        job.config.generator,
        trainer.averaged.state_dict(),
        trainer.averaged_texture(),
        trainer.sharpening_gain,
    )
    with actor_folder(job.output) as folder:
        write_package(folder, record, track.identity, jaw, expression, _references(job, footage), style)
        if detail is not None:
            write_detail(folder, detail)
        save_network(folder, network)
        for name in (SHEET, LOSSES, CONFIG):
            if (run.folder / name).is_file():
                shutil.copy2(run.folder / name, folder / name)
        export(folder, Progress())  # it takes seconds, and is not worth stopping
        if not (folder / RENDERER).is_file():
            raise OutputError(f"{job.output}: the exporter left no {RENDERER}")
    shutil.rmtree(run.folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        job.run_folder.rmdir()
    if job.run_folder.is_dir() and note is not None:
        note(f"stopped runs with other options are kept in {job.run_folder}")


def _references(job: AdaptJob, footage: Sequence[Footage]) -> NDArray[np.uint8]:
    """(K, S, S, 3) the actor's fixed references, whole crops."""
    sets = [f.frames for f in footage]
    return np.stack([sets[c].crops[i] for c, i in pick_references(sets, job.config.generator.references)])


def _record(
    job: AdaptJob, run: Run, footage: Sequence[Footage], prior: Prior | None, rehearsed: int
) -> ActorRecord:
    """The package's record. rehearsed: the number of people whose data were mixed in."""
    generator = job.config.generator
    size = next(
        (name for name, width in WIDTHS.items() if width == generator.width), f"width {generator.width:g}"
    )
    losses = {
        **dataclasses.asdict(job.config.losses),
        "perceptual_network": f"VGG16, {run.trainer.perceptual.weights} weights",
    }
    frames = tuple(
        SourceFrames(
            f.track.source, f.track.source_hash, f.track.start, f.track.frames.end_exclusive, f.av_offset_ms
        )
        for f in footage
    )
    metrics = {
        **run.metrics,
        **{f"loss_{k}": v for k, v in run.means.items()},
        "seconds": run.seconds,
        "best_step": run.best_step,
    }
    return ActorRecord(
        job.name,
        job.consent,
        frames,
        run.trainer.step_count,
        size,
        generator.width,
        generator.window,
        footage[0].track.face_model,
        prior.hash if prior else None,
        losses,
        _anchoring(job, prior, rehearsed),
        {k: round(v, 4) for k, v in metrics.items()},
    )


def _anchoring(job: AdaptJob, prior: Prior | None, rehearsed: int) -> str:
    """How the adaptation was kept from forgetting other people, for the record."""
    if job.rehearsal is not None:
        return f"mixed 1:1 with {rehearsed} people of {job.rehearsal.name}"
    if prior is not None and job.config.anchor:
        return f"L2-SP, weights pulled back to the prior by {job.config.anchor:g} times the rate a step"
    return "none"
