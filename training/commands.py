"""`vdub adapt`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from visualdub.actor.record import Consent
from visualdub.console import err, out
from visualdub.errors import BadInput

MINUTES = 5.0  # where neither minutes nor steps are given
FROM_SCRATCH = "none"


def adapt(
    clips: Annotated[list[str], typer.Argument(metavar="CLIP[@A:B]...", help="Clips of one person talking, with their frames.",
                                               show_default=False)],
    actor: Annotated[str, typer.Option("--actor", metavar="NAME", help="Name of the person or role.", show_default=False)],
    frames: Annotated[str | None, typer.Option("--frames", metavar="A:B", help="Of clips that name no frames.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="How long, tracking included; learning gets "
                                         "half at least. 5 by default.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="How many optimiser steps, instead of --minutes.")] = None,
    consent: Annotated[str | None, typer.Option("--consent", metavar='"WHO, WHEN, SCOPE"', help="Consent of the person.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="The package: NAME.actor.")] = None,
    face: Annotated[str | None, typer.Option("--face", metavar="N|X,Y", help="Which face: its number, or a point in it.")] = None,
    size: Annotated[str, typer.Option("--size", help="small (for CPUs) or full (for GPUs).")] = "small",
    prior: Annotated[str | None, typer.Option("--prior", metavar="FILE|none", help="Where the network starts; by default the "
                                              "prior that is shipped for the size.")] = None,
    rehearsal: Annotated[Path | None, typer.Option("--rehearsal", metavar="DATASET", help="People of a packed dataset to mix in, "
                                                   "1:1, instead of holding the weights near the prior.")] = None,
    random_texture: Annotated[bool, typer.Option("--random-texture", help="Start as in the paper.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
) -> None:
    """Learn to draw one person from a few seconds of footage; leaves an actor package. Ctrl-C stops, the same command resumes."""
    from training.adapt import Job, Source
    from training.adapt import adapt as run
    from training.config import WIDTHS, GeneratorConfig, adapt_config
    from training.progress import training_progress
    from visualdub.actor.package import SUFFIX

    if size not in WIDTHS:
        raise BadInput(f"--size {size!r} is not one of {', '.join(WIDTHS)}")
    if not actor.strip() or re.search(r"[/\\]", actor):
        raise BadInput(f"--actor {actor!r} is not a name; expected some letters without slashes (the folder is -o)")
    given = _consent(consent, actor)
    budget = MINUTES if minutes is None and steps is None else minutes
    generator = GeneratorConfig(width=WIDTHS[size])
    start = prior_file(prior, size)
    config = adapt_config(start is not None, rehearsal is not None, generator=generator, minutes=budget, steps=steps,
                          random_texture=random_texture, seed=seed)
    sources = tuple(Source.parse(c, frames, face) for c in clips)
    folder = output or Path(f"{actor}{SUFFIX}")
    notes: list[str] = []
    with training_progress() as (show, count):
        record = run(Job(sources, actor, folder, given, config, start, rehearsal), show, count, notes.append)
    for note in notes:
        err.print(note)
    if record.metrics["best_step"] == 0 and "psnr_mask" in record.metrics:
        err.print("frames kept aside did not gain by learning: the weights are those it started from")
    figures = ", ".join(f"{k} {v:.2f} dB" for k, v in record.metrics.items() if k.startswith("psnr"))
    out.print(f"{folder}: {record.steps} steps in {record.metrics['seconds'] / 60:.1f} minutes"
              + (f", held-out frames {figures}" if figures else ""))


def prior_file(given: str | None, size: str) -> Path | None:
    """The prior to start from: the file given, the shipped one where it is of this size, or none, which is said."""
    from training.prior_file import SHIPPED

    if given == FROM_SCRATCH:
        return None
    if given is not None:
        return Path(given)
    shipped = SHIPPED.with_name(f"prior-{size}.safetensors")
    if shipped.is_file():
        return shipped
    err.print(f"no prior is shipped for --size {size}: the network starts from scratch, which takes longer and looks softer")
    return None


def _consent(text: str | None, actor: str) -> Consent:
    """The consent given, asked for where there is somebody to ask."""
    if text is None and sys.stdin.isatty():
        text = typer.prompt(f'Who consented to {actor} being redrawn, when, and for what? ("who, when, scope")')
    if text is None:
        raise BadInput('adapt needs the consent of the person: --consent "who, when, scope"')
    return Consent.parse(text)
