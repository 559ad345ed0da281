"""Adaptation: clips of one person in, an actor package out; stops and goes on where the user says."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from training.checkpoint import checkpoint_facts, load_checkpoint, save_checkpoint
from training.config import WIDTHS, AdaptConfig, GeneratorConfig
from training.data import FrameSet, WindowSampler, prepare
from training.sheet import contact_sheet, save_sheet
from training.trainer import Trainer
from visualdub.actor.package import RENDERER, SUFFIX, TEXTURE, WEIGHTS, actor_folder, write_package
from visualdub.actor.record import ActorRecord, Consent, SourceFrames
from visualdub.errors import BadInput, Interrupted, NoFace, OutputError
from visualdub.face.track import Track
from visualdub.speech.style import fit_style, rest_pose
from visualdub.timing import FrameRange

SAVE_SECONDS = 60.0  # between checkpoints, contact sheets and measurements
CHECKPOINT, SHEET, LOSSES, CONFIG = "checkpoint.safetensors", "sheet.png", "losses.csv", "config.json"


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
class Status:
    """Where a run stands, for whoever shows it."""

    step: int
    progress: float  # 0..1 of the run
    losses: dict[str, float]  # running means
    psnr: float | None  # dB inside the mask on held-out frames, None before the first measurement or without any
    rate: float  # steps per second of this session
    seconds_left: float


Show = Callable[[Status], None]
Count = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class Job:
    """One adaptation as asked for."""

    sources: tuple[Source, ...]
    name: str
    output: Path  # of the package
    consent: Consent
    config: AdaptConfig

    @property
    def run_folder(self) -> Path:
        """Checkpoint, contact sheet and losses while the run lasts; removed when the package is whole."""
        return self.output.with_name(self.output.name.removesuffix(SUFFIX) + ".run")


def adapt(job: Job, show: Show | None = None, count: Count | None = None) -> ActorRecord:
    """Track, train, export, package. Returns the record of the package at `job.output`.

    Raises `NoFace` and `MediaError` for clips it cannot use, `BadInput` for impossible ranges, `Interrupted` on Ctrl-C once the
    checkpoint is written: the same job then goes on where it stopped.
    """
    began = time.monotonic()
    _check_writable(job)
    tracks = [_track(source, count) for source in job.sources]
    sets = [prepare(s.path, t, _counter(count, "reading")) for s, t in zip(job.sources, tracks, strict=True)]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sampler = WindowSampler(sets, job.config.generator, job.config.held_out, job.config.scattered)
    trainer = Trainer(job.config, sampler, device, choose_dtype(device))
    with torch.random.fork_rng(devices=[]):
        run = Run(job, trainer, _fingerprint(job, tracks), began)
        run.train(show)
    return _package(job, run, tracks, sets)


def _check_writable(job: Job) -> None:
    """Fail before the work, not after it."""
    if job.output.exists() and not (job.output / "actor.json").is_file() and any(job.output.iterdir()):
        raise BadInput(f"{job.output} exists and is not an actor package; it is not replaced")
    try:
        job.run_folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{job.run_folder} cannot be written ({e.strerror}); give another folder with -o") from e
    if not os.access(job.run_folder, os.W_OK):
        raise OutputError(f"{job.run_folder} cannot be written; give another folder with -o")


def _track(source: Source, count: Count | None) -> Track:
    from visualdub.tracking import cached_track

    track, _ = cached_track(source.path, source.face, _counter(count, "tracking"))
    if source.frames is not None:
        track = track.span(source.frames.within(len(track), source.path.name))
    if not track.usable.any():
        raise NoFace(f"{source.path}: no usable face in frames {track.frames}; expected frames that show the actor's face")
    return track


def _counter(count: Count | None, stage: str) -> Callable[[int, int], None] | None:
    return None if count is None else lambda done, total: count(stage, done, total)


def _fingerprint(job: Job, tracks: Sequence[Track]) -> str:
    """Of all that decides the result: a checkpoint is only resumed by the same job."""
    facts: dict[str, Any] = {"config": dataclasses.asdict(job.config),
                             "frames": [(t.source_hash, str(t.frames), t.face_model) for t in tracks]}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 or float32 for convolutions, whichever is faster here on a short trial (forward and backward)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        conv = nn.Conv2d(64, 64, 3, padding=1).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.zeros(1, 64, 96, 96, dtype=dtype).to(memory_format=torch.channels_last)
        best = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            conv(x).sum().backward()
            best = min(best, time.perf_counter() - start)
        seconds[dtype] = best
    return min(seconds, key=lambda d: seconds[d])


# ---- the run ----------------------------------------------------------------------------------------------------------


class Run:
    """The optimisation: step after step until the budget is spent, with checkpoints, losses and contact sheets beside it."""

    def __init__(self, job: Job, trainer: Trainer, fingerprint: str, began: float) -> None:
        self.job, self.trainer, self.fingerprint = job, trainer, fingerprint
        self.metrics: dict[str, float] = {}
        self.means: dict[str, float] = {}
        self.resumed_at = 0
        self._spent_before, self._began = 0.0, began
        self._checkpoint = job.run_folder / CHECKPOINT
        job.config.save(job.run_folder / CONFIG)
        if self._checkpoint.is_file() and checkpoint_facts(self._checkpoint).get("fingerprint") == fingerprint:
            facts = load_checkpoint(self._checkpoint, trainer.modules, trainer.optimisers, trainer.rng)
            trainer.step_count = self.resumed_at = int(facts["step"])
            self._spent_before, self.means = float(facts["seconds"]), dict(facts["means"])

    @property
    def seconds(self) -> float:
        """Spent on this run so far, sessions before a resume included."""
        return self._spent_before + time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """0..1."""
        config = self.job.config
        if config.steps is not None:
            return min(1.0, self.trainer.step_count / config.steps)
        return min(1.0, self.seconds / (60 * (config.minutes or 1)))

    def train(self, show: Show | None) -> None:
        """Spend the budget. On Ctrl-C the checkpoint is written and `Interrupted` raised."""
        saved = started = time.monotonic()
        try:
            while (progress := self.progress) < 1:
                for name, value in self.trainer.step(progress).items():
                    self.means[name] = 0.95 * self.means.get(name, value) + 0.05 * value
                if time.monotonic() - saved > SAVE_SECONDS:
                    self.look()
                    self.save()
                    saved = time.monotonic()
                if show is not None:
                    show(self._status(started))
            self.look()
        except KeyboardInterrupt:
            self.save()
            raise Interrupted(f"stopped after {self.trainer.step_count} steps; "
                              f"the same command goes on from {self._checkpoint}") from None

    def _status(self, started: float) -> Status:
        rate = (self.trainer.step_count - self.resumed_at) / max(time.monotonic() - started, 1e-6)
        steps, minutes = self.job.config.steps, self.job.config.minutes
        left = (steps - self.trainer.step_count) / rate if steps else 60 * (minutes or 0) - self.seconds
        return Status(self.trainer.step_count, self.progress, self.means, self.metrics.get("psnr_mask"), rate, max(0.0, left))

    def look(self) -> None:
        """Measure on the held-out frames, write the contact sheet and a line of losses."""
        held_out = self.trainer.sampler.held_out
        metrics, batch, drawn = self.trainer.measure(held_out or self.trainer.sampler.starts[:1])
        self.metrics = metrics if held_out else {}
        middle = self.job.config.generator.window // 2
        sheet = contact_sheet(*(x[:6, middle].cpu() for x in (batch.frames, drawn.rgb, drawn.sampled[:, :, :3], batch.mask)))
        save_sheet(sheet, self.job.run_folder / SHEET)
        row = {"step": float(self.trainer.step_count), "seconds": round(self.seconds, 1), **self.means, **self.metrics}
        path = self.job.run_folder / LOSSES
        with path.open("a", newline="") as f:
            csv.writer(f).writerows([(self.trainer.step_count, k, f"{v:.5g}") for k, v in row.items() if k != "step"])

    def save(self) -> None:
        """Write the checkpoint."""
        facts = {"fingerprint": self.fingerprint, "step": self.trainer.step_count, "seconds": self.seconds, "means": self.means}
        save_checkpoint(self._checkpoint, self.trainer.modules, self.trainer.optimisers, self.trainer.rng, facts)


# ---- the package ------------------------------------------------------------------------------------------------------


def _package(job: Job, run: Run, tracks: Sequence[Track], sets: Sequence[FrameSet]) -> ActorRecord:
    record, trainer = _record(job, run, tracks), run.trainer
    longest = max(tracks, key=lambda t: int(t.usable.sum()))
    jaw, expression = rest_pose(longest)
    with actor_folder(job.output) as folder:
        write_package(folder, record, longest.identity, jaw, expression, trainer.references, fit_style(longest))
        renderer = trainer.renderer()
        meta = {"config": json.dumps(dataclasses.asdict(job.config.generator))}
        save_file({"texture": renderer.texture.cpu().contiguous()}, folder / TEXTURE)
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


def _record(job: Job, run: Run, tracks: Sequence[Track]) -> ActorRecord:
    generator = job.config.generator
    size = next((name for name, width in WIDTHS.items() if width == generator.width), f"width {generator.width:g}")
    losses = {**dataclasses.asdict(job.config.losses), "perceptual_network": f"VGG16, {run.trainer.perceptual.weights} weights"}
    frames = tuple(SourceFrames(t.source, t.source_hash, t.start, t.frames.end_exclusive) for t in tracks)
    metrics = {**run.metrics, **{f"loss_{k}": v for k, v in run.means.items()}, "seconds": run.seconds}
    return ActorRecord(job.name, job.consent, frames, run.trainer.step_count, size, generator.width, generator.window,
                       tracks[0].face_model, losses=losses, metrics={k: round(v, 4) for k, v in metrics.items()})


def _exporter() -> Callable[[Path], Any]:
    """`export` of the exporters room, found the way `vdub` finds commands. Raises `BadInput` where the room is not installed."""
    for point in entry_points(group="visualdub.commands"):
        if point.name == "export":
            export: Callable[[Path], Any] = point.load()
            return export
    raise BadInput("adapt found no `export` command; install visualdub[exporters]")


def load_network(folder: Path) -> tuple[GeneratorConfig, dict[str, torch.Tensor], torch.Tensor]:
    """Configuration, weights and texture of a package. Raises `ActorError` for other content."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from training.config import generator_config
    from visualdub.errors import ActorError

    try:
        with safe_open(folder / WEIGHTS, "pt") as f:
            config = generator_config(json.loads((f.metadata() or {})["config"]))
        return config, load_file(folder / WEIGHTS), load_file(folder / TEXTURE)["texture"]
    except (OSError, KeyError, SafetensorError, json.JSONDecodeError, BadInput) as e:
        raise ActorError(f"{folder} holds no network written by vdub adapt: {e}") from e
