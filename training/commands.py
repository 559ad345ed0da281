"""`vdub adapt` and `vdub train`."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from visualdub.actor.record import Consent
from visualdub.commands.console import err, out
from visualdub.errors import BadInput

if TYPE_CHECKING:
    from training.adapt import Count, Show, Status

MINUTES = 8.0  # where neither minutes nor steps are given


def adapt(
    clips: Annotated[list[str], typer.Argument(metavar="CLIP[@A:B]...", help="Clips of one person talking, with their frames.",
                                               show_default=False)],
    actor: Annotated[str, typer.Option("--actor", metavar="NAME", help="Name of the person or role.", show_default=False)],
    frames: Annotated[str | None, typer.Option("--frames", metavar="A:B", help="Of clips that name no frames.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="How long, tracking included; 8 by default.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="How many optimiser steps, instead of --minutes.")] = None,
    consent: Annotated[str | None, typer.Option("--consent", metavar='"WHO, WHEN, SCOPE"', help="Consent of the person.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="The package: NAME.actor.")] = None,
    face: Annotated[str | None, typer.Option("--face", metavar="N|X,Y", help="Which face: its number, or a point in it.")] = None,
    size: Annotated[str, typer.Option("--size", help="small (for CPUs) or full (for GPUs).")] = "small",
    random_texture: Annotated[bool, typer.Option("--random-texture", help="Start as in the paper.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
) -> None:
    """Learn to draw one person from a few seconds of footage; leaves an actor package. Ctrl-C stops, the same command resumes."""
    from training.adapt import Job, Source
    from training.adapt import adapt as run
    from training.config import WIDTHS, AdaptConfig, GeneratorConfig
    from visualdub.actor.package import SUFFIX

    if size not in WIDTHS:
        raise BadInput(f"--size {size!r} is not one of {', '.join(WIDTHS)}")
    if not actor.strip() or re.search(r"[/\\]", actor):
        raise BadInput(f"--actor {actor!r} is not a name; expected some letters without slashes (the folder is -o)")
    given = _consent(consent, actor)
    budget = MINUTES if minutes is None and steps is None else minutes
    generator = GeneratorConfig(width=WIDTHS[size])
    config = AdaptConfig(generator, minutes=budget, steps=steps, random_texture=random_texture, seed=seed)
    sources = tuple(Source.parse(c, frames, face) for c in clips)
    folder = output or Path(f"{actor}{SUFFIX}")
    with _progress() as (show, count):
        record = run(Job(sources, actor, folder, given, config), show, count)
    figures = ", ".join(f"{k} {v:.2f} dB" for k, v in record.metrics.items() if k.startswith("psnr"))
    out.print(f"{folder}: {record.steps} steps in {record.metrics['seconds'] / 60:.1f} minutes"
              + (f", held-out frames {figures}" if figures else ""))


def train(
    what: Annotated[str, typer.Argument(metavar="speech", help="What to train: the speech model.", show_default=False)],
    clips: Annotated[Path, typer.Argument(metavar="CLIPS", help="Folder of clips with their clips.json.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="MODEL.onnx", help="Default: the shipped one.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Of each of the networks that are averaged.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
) -> None:
    """Train what ships with the project; writes the model and, beside it, the record of its training."""
    if what != "speech":
        raise BadInput(f"vdub train {what}: this version trains speech only")
    from training.train_speech import main

    main(clips, output, steps, seed, say=out.print)


def _consent(text: str | None, actor: str) -> Consent:
    """The consent given, asked for where there is somebody to ask."""
    if text is None and sys.stdin.isatty():
        text = typer.prompt(f'Who consented to {actor} being redrawn, when, and for what? ("who, when, scope")')
    if text is None:
        raise BadInput('adapt needs the consent of the person: --consent "who, when, scope"')
    return Consent.parse(text)


@contextlib.contextmanager
def _progress() -> Iterator[tuple[Show, Count]]:
    """Bars on stderr: one for reading, then one for training with losses, PSNR, rate and time left."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=err, transient=False) as progress:
        tasks: dict[str, int] = {}

        def move(name: str, done: float, total: float, note: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, note=note)
            progress.update(tasks[name], completed=done, total=total, note=note)  # type: ignore[arg-type]

        yield (lambda status: move("training", status.progress, 1.0, _note(status)),
               lambda stage, done, total: move(stage, done, total, f"{done}/{total} frames"))


def _note(status: Status) -> str:
    losses = " ".join(f"{k} {v:.3f}" for k, v in status.losses.items())
    psnr = "" if status.psnr is None else f" | held-out {status.psnr:.2f} dB in the mask"
    left = round(status.seconds_left)
    return f"step {status.step} | {losses}{psnr} | {status.rate:.2f} steps/s | {left // 60}:{left % 60:02d} left"
