"""Adaptation: clips of one person in, an actor package out; stops and goes on where the user says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from training.core.config import WIDTHS, AdaptConfig, GeneratorConfig
from training.core.precision import choose_dtype
from training.core.run import CONFIG, LOSSES, SHEET, Count, Run, Show, enough_memory
from training.core.trainer import Probe, Trainer, texture_of
from training.data.frames import Frames, FrameSet, read_frame_set
from training.data.packed import Dataset
from training.data.segments import Start
from training.data.windows import WindowSampler, has_window, hold_out, pick_references, still_windows
from training.prior_file import Prior, check_fits, load_prior
from training.renderer.sharpening import choose_crispness
from training.speech.adapter import source_style
from visualdub.actor.package import RENDERER, SUFFIX, TEXTURE, WEIGHTS, actor_folder, write_package
from visualdub.actor.record import ActorRecord, Consent, SourceFrames
from visualdub.errors import BadInput, NoFace, OutputError
from visualdub.face.track import Track
from visualdub.speech.style import rest_pose
from visualdub.speech.sync import trusted_offset
from visualdub.stages import Progress
from visualdub.timing import FrameRange

MOST_PREPARATION = (
    0.5  # of the minutes given: a slow machine that tracked for longer still learns for the rest
)
REHEARSED = 8  # people of a dataset that an adaptation is mixed with
REHEARSAL_FRAMES = 25  # frames that make the starting texture of each of them


@dataclass(frozen=True)
class Source:
    """Frames of one clip to learn from."""

    path: Path
    frames: FrameRange | None = None  # None = all
    face: str | None = None  # as `--face`

    @classmethod
    def parse(cls, text: str, frames: str | None, face: str | None) -> Source:
        """Read `CLIP` or `CLIP@A:B`; `frames` holds where the clip names none."""
        head, at, tail = text.rpartition("@")
        if at and ":" in tail and not Path(text).exists():
            return cls(Path(head), FrameRange.parse(tail), face)
        return cls(Path(text), FrameRange.parse(frames) if frames else None, face)


@dataclass(frozen=True)
class Job:
    """One adaptation as asked for."""

    sources: tuple[Source, ...]
    name: str
    output: Path  # of the package
    consent: Consent
    config: AdaptConfig
    prior: Path | None = None  # where the network starts; None = from scratch
    rehearsal: Path | None = None  # packed dataset whose people are mixed in 1:1

    @property
    def run_folder(self) -> Path:
        """Checkpoint, contact sheet and losses while the run lasts; removed when the package is whole."""
        return self.output.with_name(self.output.name.removesuffix(SUFFIX) + ".run")


def adapt(
    job: Job, show: Show | None = None, count: Count | None = None, say: Callable[[str], None] | None = None
) -> ActorRecord:
    """Track, train, export, package. Returns the record of the package at `job.output`. `say` gets what a
    user should know.

    Raises `NoFace` and `MediaError` for clips it cannot use, `BadInput` for impossible ranges, `Interrupted`
    on Ctrl-C once the checkpoint is written: the same job then goes on where it stopped.
    """
    began = time.monotonic()
    prior = _prior(job)
    if job.rehearsal is not None:
        Dataset(job.rehearsal)  # refused before the work, not after it
    _check_writable(job)
    tracks = [_track(source, count) for source in job.sources]
    own = {t.source_hash for t in tracks}
    others = rehearsal_people(job.rehearsal, job.config, own) if job.rehearsal is not None else []
    view = job.config.generator.view
    found = {key: _offset(*key, say) for key in dict.fromkeys((s.path, s.face) for s in job.sources)}
    offsets = [found[s.path, s.face] for s in job.sources]
    sets = [
        read_frame_set(source.path, track, view, _counter(count, "reading"), (offset or 0.0) / 1000)
        for source, track, offset in zip(job.sources, tracks, offsets, strict=True)
    ]
    with torch.random.fork_rng(devices=[]):
        with enough_memory(job.config):
            trainer = make_trainer(job.config, sets, others, prior)
        began = max(began, time.monotonic() - 60 * MOST_PREPARATION * (job.config.minutes or 0))
        fingerprint = _fingerprint(job, tracks, offsets, prior)
        run = Run(job.run_folder, trainer, fingerprint, *_looks(job, sets, trainer.sampler.faces[0]), began)
        run.train(show)
        if run.probes:
            trainer.crispness = choose_crispness(trainer, run.probes[0], run.started)
            run.metrics = run.measure() | {"crispness": trainer.crispness}
    return _package(job, run, tracks, offsets, sets, prior, len(others), say)


def _prior(job: Job) -> Prior | None:
    if job.prior is None:
        return None
    prior = load_prior(job.prior)
    check_fits(prior, job.config.generator, job.config.losses, str(job.prior))
    return prior


def rehearsal_people(folder: Path, config: AdaptConfig, own: Set[str]) -> list[list[Frames]]:
    """Some people of a packed dataset, chosen by the seed, none of whose clips is one of `own`, the actor's
    (hashes of files).

    Raises `BadInput` where it holds nobody to train on.
    """
    dataset, found = Dataset(folder), []
    people = [clips for clips in dataset.people("train").values() if not own & {c.source_hash for c in clips}]
    for i in np.random.default_rng(config.seed).permutation(len(people)):
        clips: list[Frames] = [dataset.open(c, config.generator.view, keep=True) for c in people[i]]
        if has_window(clips, config.generator.window):
            found.append(clips)
        if len(found) == REHEARSED:
            break
    if not found:
        raise BadInput(f"{folder} holds nobody to rehearse with; expected a dataset with people to train on")
    return found


def make_trainer(
    config: AdaptConfig, sets: Sequence[Frames], others: Sequence[Sequence[Frames]], prior: Prior | None
) -> Trainer:
    """A trainer for the person of `sets`, from the prior where there is one, mixed with `others` where there
    are some.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kept = hold_out(sets, config.generator.window, config.held_out)
    sampler = WindowSampler([sets, *others], config, kept, mixed=bool(others))
    starts: list[torch.Tensor | None] = [None] * (1 + len(others))
    if not config.random_texture:
        starts[0] = texture_of(sets, sampler.faces[0], config)
        for i, clips in enumerate(others, 1):
            starts[i] = texture_of(clips, sampler.faces[i], config, REHEARSAL_FRAMES)
    return Trainer(config, sampler, starts, device, choose_dtype(device), prior)


def _looks(job: Job, sets: Sequence[FrameSet], known: Sequence[Start]) -> tuple[list[Probe], Probe]:
    """What is measured while training, and what the contact sheet shows where nothing is kept aside.

    known: frames trained on, of which the references are.
    """
    generator = job.config.generator
    kept = hold_out(sets, generator.window, job.config.held_out)
    first = next(
        (c, i)
        for c, clip in enumerate(sets)
        for i in range(len(clip) - generator.window + 1)
        if clip.usable[i : i + generator.window].all()
    )
    return [Probe(still_windows(sets, kept, generator, known))] if kept else [], Probe(
        still_windows(sets, [first], generator)
    )


def _check_writable(job: Job) -> None:
    """Fail before the work, not after it."""
    if job.output.exists() and not (job.output / "actor.json").is_file() and any(job.output.iterdir()):
        raise BadInput(f"{job.output} exists and is not an actor package; it is not replaced")
    try:
        job.run_folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(
            f"{job.run_folder} cannot be written ({e.strerror}); give another folder with -o"
        ) from e
    if not os.access(job.run_folder, os.W_OK):
        raise OutputError(f"{job.run_folder} cannot be written; give another folder with -o")


def _track(source: Source, count: Count | None) -> Track:
    from visualdub.face.tracker import cached_track

    track, _ = cached_track(source.path, face=source.face, progress=_counter(count, "tracking"))
    if source.frames is not None:
        track = track.span(source.frames.within(len(track), source.path.name))
    if not track.usable.any():
        raise NoFace(
            f"{source.path}: no usable face in frames {track.frames}; expected frames that show the actor's"
            " face"
        )
    return track


def _offset(path: Path, face: str | None, say: Callable[[str], None] | None) -> float | None:
    """How many ms the clip's picture is late against its sound, by all of its frames; None where that cannot
    be found.
    """
    from visualdub.face.tracker import cached_track

    found, line = trusted_offset(path, cached_track(path, face=face)[0])
    if say is not None:
        say(line)
    return None if found is None else round(1000 * found)


def _counter(count: Count | None, stage: str) -> Progress | None:
    return None if count is None else Progress(lambda _, done, total: count(stage, done, total))


def _fingerprint(
    job: Job, tracks: Sequence[Track], offsets: Sequence[float | None], prior: Prior | None
) -> str:
    """Of all that decides the result: a checkpoint is only resumed by the same job. The budget may be
    raised.
    """
    config = {k: v for k, v in dataclasses.asdict(job.config).items() if k not in ("minutes", "steps")}
    facts: dict[str, Any] = {
        "config": config,
        "prior": prior.hash if prior else None,
        "rehearsal": Dataset(job.rehearsal).hash if job.rehearsal else None,
        "frames": [(t.source_hash, str(t.frames), t.face_model) for t in tracks],
        "offsets": list(offsets),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


# ---- the package -------------------------------------------------------------------------------------------


def _package(
    job: Job,
    run: Run,
    tracks: Sequence[Track],
    offsets: Sequence[float | None],
    sets: Sequence[FrameSet],
    prior: Prior | None,
    others: int,
    say: Callable[[str], None] | None,
) -> ActorRecord:
    record, trainer = _record(job, run, tracks, offsets, prior, others), run.trainer
    i = max(range(len(tracks)), key=lambda k: int(tracks[k].usable.sum()))
    longest, late = tracks[i], offsets[i]
    jaw, expression = rest_pose(longest)
    style, line = source_style(job.sources[i].path, longest, None if late is None else late / 1000)
    if say is not None:
        say(line)
    with actor_folder(job.output) as folder:
        write_package(folder, record, longest.identity, jaw, expression, _references(job, sets), style)
        meta = {"config": json.dumps(dataclasses.asdict(job.config.generator))}
        texture = trainer.averaged_texture().detach().cpu().contiguous()
        save_file({"texture": texture, "crispness": torch.tensor(trainer.crispness)}, folder / TEXTURE)
        state = {k: v.cpu().contiguous() for k, v in trainer.averaged.state_dict().items()}
        save_file(state, folder / WEIGHTS, meta)
        for name in (SHEET, LOSSES, CONFIG):
            if (job.run_folder / name).is_file():
                shutil.copy2(job.run_folder / name, folder / name)
        _exporter()(folder)
        if not (folder / RENDERER).is_file():
            raise OutputError(f"{job.output}: the exporter left no {RENDERER}")
    shutil.rmtree(job.run_folder, ignore_errors=True)
    return record


def _references(job: Job, sets: Sequence[FrameSet]) -> NDArray[np.uint8]:
    """(K, S, S, 3) the actor's fixed references, whole crops."""
    return np.stack([sets[c].crops[i] for c, i in pick_references(sets, job.config.generator.references)])


def _record(
    job: Job,
    run: Run,
    tracks: Sequence[Track],
    offsets: Sequence[float | None],
    prior: Prior | None,
    others: int,
) -> ActorRecord:
    generator = job.config.generator
    size = next(
        (name for name, width in WIDTHS.items() if width == generator.width), f"width {generator.width:g}"
    )
    losses = {
        **dataclasses.asdict(job.config.losses),
        "perceptual_network": f"VGG16, {run.trainer.perceptual.weights} weights",
    }
    frames = tuple(
        SourceFrames(track.source, track.source_hash, track.start, track.frames.end_exclusive, offset)
        for track, offset in zip(tracks, offsets, strict=True)
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
        tracks[0].face_model,
        prior.hash if prior else None,
        losses,
        _held_by(job, prior, others),
        {k: round(v, 4) for k, v in metrics.items()},
    )


def _held_by(job: Job, prior: Prior | None, others: int) -> str:
    """How the adaptation was kept from forgetting other people, for the record."""
    if job.rehearsal is not None:
        return f"mixed 1:1 with {others} people of {job.rehearsal.name}"
    if prior is not None and job.config.anchor:
        return f"L2-SP, weights pulled back to the prior by {job.config.anchor:g} times the rate a step"
    return "none"


def _exporter() -> Callable[[Path], Any]:
    """`export` of the exporters room, found the way `vdub` finds commands. Raises `BadInput` where the room
    is not installed.
    """
    for point in entry_points(group="visualdub.commands"):
        if point.name == "export":
            export: Callable[[Path], Any] = point.load()
            return export
    raise BadInput("adapt found no `export` command; install visualdub[exporters]")


def load_network(folder: Path) -> tuple[GeneratorConfig, dict[str, torch.Tensor], torch.Tensor, float]:
    """Configuration, weights, texture and crispness of a package. Raises `ActorError` for other content."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from training.core.config import generator_config
    from visualdub.errors import ActorError

    try:
        with safe_open(folder / WEIGHTS, "pt") as f:
            config = generator_config(json.loads((f.metadata() or {})["config"]))
        drawn_with = load_file(folder / TEXTURE)
        return config, load_file(folder / WEIGHTS), drawn_with["texture"], float(drawn_with["crispness"])
    except (OSError, KeyError, SafetensorError, json.JSONDecodeError, BadInput) as e:
        raise ActorError(f"{folder} holds no network written by vdub adapt: {e}") from e
