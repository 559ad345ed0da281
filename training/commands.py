"""`vdub adapt` and `vdub train`."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from visualdub.actor.record import Consent
from visualdub.console import Json, err, out, print_json, shown_progress
from visualdub.errors import BadInput

if TYPE_CHECKING:
    from training.data.prepare import Prepared, Refusal


# ---- vdub adapt --------------------------------------------------------------------------------------------

MINUTES = 5.0  # where neither minutes nor steps are given
FROM_SCRATCH = "none"


def adapt(
    clips: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP[@A:B]...",
            help="Clips of one person talking, with their frames.",
            show_default=False,
        ),
    ],
    actor: Annotated[
        str, typer.Option("--actor", metavar="NAME", help="Name of the person or role.", show_default=False)
    ],
    frames: Annotated[
        str | None, typer.Option("--frames", metavar="A:B", help="Of clips that name no frames.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", help="How long, tracking included; learning gets half at least. 5 by default."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="How many optimiser steps, instead of --minutes.")
    ] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", metavar='"WHO, WHEN, SCOPE"', help="Consent of the person.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="The package: NAME.actor.")
    ] = None,
    face: Annotated[
        str | None, typer.Option("--face", metavar="N|X,Y", help="Which face: its number, or a point in it.")
    ] = None,
    size: Annotated[str, typer.Option("--size", help="small (for CPUs) or full (for GPUs).")] = "small",
    prior: Annotated[
        str | None,
        typer.Option(
            "--prior",
            metavar="FILE|none",
            help="Where the network starts; by default the prior that is shipped for the size.",
        ),
    ] = None,
    rehearsal: Annotated[
        Path | None,
        typer.Option(
            "--rehearsal",
            metavar="DATASET",
            help="People of a packed dataset to mix in, 1:1, instead of holding the weights near the prior.",
        ),
    ] = None,
    random_texture: Annotated[bool, typer.Option("--random-texture", help="Start as in the paper.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
) -> None:
    """Learn to draw one person from a few seconds of footage; leaves an actor package. Ctrl-C stops, the same
    command resumes.
    """
    from training.core.config import WIDTHS, GeneratorConfig, adapt_config, run_folder
    from training.data.sources import split_clip
    from visualdub.actor.package import SUFFIX, require_package_path
    from visualdub.storage import protect

    if size not in WIDTHS:
        raise BadInput(f"--size {size!r} is not one of {', '.join(WIDTHS)}")
    if not actor.strip() or re.search(r"[/\\]", actor):
        raise BadInput(
            f"--actor {actor!r} is not a name; expected some letters without slashes (the folder is -o)"
        )
    start, folder = prior_file(prior, size), output or Path(f"{actor}{SUFFIX}")
    protect([*(split_clip(c)[0] for c in clips), start, rehearsal], [folder, run_folder(folder)])
    require_package_path(folder)
    given = _consent(consent, actor)
    budget = MINUTES if minutes is None and steps is None else minutes
    generator = GeneratorConfig(width=WIDTHS[size])
    config = adapt_config(
        start is not None,
        rehearsal is not None,
        generator=generator,
        minutes=budget,
        steps=steps,
        random_texture=random_texture,
        seed=seed,
    )
    from training.adapt import Job, Source  # loads torch: only now, when nothing is left to refuse
    from training.adapt import adapt as run
    from training.core.progress import training_progress

    sources = tuple(Source.parse(c, frames, face) for c in clips)
    notes: list[str] = []
    with training_progress() as (show, count):
        record = run(Job(sources, actor, folder, given, config, start, rehearsal), show, count, notes.append)
    for note in notes:
        err.print(note)
    if record.metrics["best_step"] == 0 and "psnr_mask" in record.metrics:
        err.print("frames kept aside did not gain by learning: the weights are those it started from")
    figures = ", ".join(f"{k} {v:.2f} dB" for k, v in record.metrics.items() if k.startswith("psnr"))
    out.print(
        f"{folder}: {record.steps} steps in {record.metrics['seconds'] / 60:.1f} minutes"
        + (f", held-out frames {figures}" if figures else "")
    )


def prior_file(given: str | None, size: str) -> Path | None:
    """The prior to start from: the file given, the shipped one where it is of this size, or none, which is
    said.
    """
    from training.prior_file import SHIPPED

    if given == FROM_SCRATCH:
        return None
    if given is not None:
        return Path(given)
    shipped = SHIPPED.with_name(f"prior-{size}.safetensors")
    if shipped.is_file():
        return shipped
    err.print(
        f"no prior is shipped for --size {size}: the network starts from scratch, which takes longer and"
        " looks softer"
    )
    return None


def _consent(text: str | None, actor: str) -> Consent:
    """The consent given, asked for where there is somebody to ask."""
    if text is None and sys.stdin.isatty():
        text = typer.prompt(
            f'Who consented to {actor} being redrawn, when, and for what? ("who, when, scope")'
        )
    if text is None:
        raise BadInput('adapt needs the consent of the person: --consent "who, when, scope"')
    return Consent.parse(text)


# ---- vdub train --------------------------------------------------------------------------------------------

STEPS = 20_000  # where neither steps nor minutes are given
SHOWN = 20  # refused clips that are printed; all of them stand in refused.csv

train = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Pack clips into datasets; train what ships with the project.",
)


@train.command()
def prepare(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="Folders of clips, or HDTF as published.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DATASET",
            help="Folder of the dataset, new or to go on with.",
            show_default=False,
        ),
    ],
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation",
            metavar="IDS|FILE",
            help="Speakers kept out of training: a,b,c or a text file with one on each line.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", help="At most, of one person, at 25 frames/s.")] = 1500,
    quality: Annotated[int, typer.Option("--quality", help="Of the crops as WebP, 1 to 100.")] = 90,
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Clips at a time; as many as there are cores by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Track, crop and pack clips into a dataset. Ctrl-C stops, the same command resumes.

    The speaker is what clips.json says, else the sub-folder, else the file's name without its last _number. A
    clip that cannot be used is listed with the reason in DATASET/refused.csv and the rest goes on: the exit
    status is 0 as long as one clip is packed.
    """
    from training.data.prepare import Settings, prepare_dataset, read_validation
    from training.data.sources import files_read
    from visualdub.storage import protect

    protect(files_read(folders), [output])
    settings = Settings(
        frames, quality, read_validation(validation or ""), jobs if jobs is not None else _cores()
    )
    with shown_progress() as progress:
        prepared = prepare_dataset(folders, output, settings, progress)
    if json:
        print_json(
            {
                "dataset": str(output),
                "clips": [asdict(c) for c in prepared.clips],
                "kept": prepared.kept,
                "refused": [asdict(r) for r in prepared.refused],
                "notes": list(prepared.notes),
            }
        )
    else:
        _say(output, prepared)


@train.command()
def prior(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="As vdub train prepare left it.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The prior, .safetensors; its run folder stands beside it.",
            show_default=False,
        ),
    ],
    steps: Annotated[
        int | None, typer.Option("--steps", help="How many optimiser steps; 20000 by default.")
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="How long, instead of --steps.")] = None,
    size: Annotated[str, typer.Option("--size", help="small (for CPUs) or full (for GPUs).")] = "small",
    batch: Annotated[
        int, typer.Option("--batch", help="Windows of five frames per pass of each process.")
    ] = 1,
    accumulate: Annotated[int, typer.Option("--accumulate", help="Passes per step.")] = 1,
    workers: Annotated[int, typer.Option("--workers", help="Processes that read ahead, for each GPU.")] = 0,
    keep: Annotated[int, typer.Option("--keep", help="Frames kept in memory, 0.25 MB each.")] = 20_000,
    start: Annotated[
        Path | None, typer.Option("--prior", metavar="FILE", help="Go on from this one, a second stage.")
    ] = None,
    adversarial: Annotated[
        float, typer.Option("--adversarial", help="Weight of the adversarial loss; 0 leaves it out.")
    ] = 1.0,
    rate: Annotated[float | None, typer.Option("--rate", help="Adam's learning rate of the network.")] = None,
    vgg: Annotated[
        Path | None, typer.Option("--vgg", metavar="FILE", help="ImageNet weights of VGG16; none: random.")
    ] = None,
    random_texture: Annotated[
        bool, typer.Option("--random-texture", help="Start textures as in the paper.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check dataset and options, print the configuration, stop.")
    ] = False,
) -> None:
    """Train the network that adaptations start from. Ctrl-C stops, the same command resumes; torchrun spreads
    it over GPUs.
    """
    from training.core.config import prior_config, run_folder
    from visualdub.storage import protect, require_writable

    protect([dataset, start, vgg], [output, run_folder(output)])
    require_writable(output)
    steps = STEPS if steps is None and minutes is None else steps
    config = prior_config(
        size,
        steps=steps,
        minutes=minutes,
        batch=batch,
        accumulate=accumulate,
        vgg=vgg,
        adversarial=adversarial,
        rate=rate,
        random_texture=random_texture,
        seed=seed,
    )
    from training.core.progress import training_progress
    from training.prior import PriorJob, check_start, open_people, train_prior

    job = PriorJob(dataset, output, config, start, keep, workers)
    if dry_run:
        check_start(job)
        print_json({"people": sorted(open_people(job)), "config": asdict(config)})
        return
    with training_progress() as (show, count):
        facts = train_prior(job, show, count)
    if not facts:  # another process speaks
        return
    measured = ", ".join(f"{k} {v:.2f} dB" for k, v in facts["measures"].items() if k.startswith("psnr"))
    out.print(
        f"{output}: {facts['people']} people, {facts['steps']} steps in {facts['hours']:.2f} hours"
        + (
            f"; left out, no five frames in a row with a face: {', '.join(facts['left_out'])}"
            if facts["left_out"]
            else ""
        )
        + (f"; people never trained on, before any adaptation: {measured}" if measured else "")
    )


@train.command()
def speech(
    clips: Annotated[
        Path,
        typer.Argument(metavar="CLIPS", help="Folder of clips with their clips.json.", show_default=False),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="MODEL.onnx", help="Default: the shipped one.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Of each of the networks that are averaged.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="What it listens to: phone, mel, both, or wav2vec2 with its "
            "weights in the folder $VISUALDUB_WAV2VEC2.",
        ),
    ] = "both",
) -> None:
    """Train the speech model; writes it and, beside it, the record of its training."""
    from training.data.sources import files_read
    from visualdub.speech.predict import MODEL
    from visualdub.storage import protect, require_writable

    model = output or MODEL
    written = (model, model.with_suffix(".json"))
    protect(files_read([clips]), written)
    for path in written:
        require_writable(path)
    from training.speech.train import main

    main(clips, model, steps, seed, say=out.print, listen=features)


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _say(output: Path, prepared: Prepared) -> None:
    """What is in the dataset, what is not and why, and the line at the end."""
    table = Table("split", "people", "clips", "frames", "with a face", "with sound", box=None)
    for split in ("train", "validation"):
        clips = [c for c in prepared.clips if c.split == split]
        figures = (
            len({c.speaker for c in clips}),
            len(clips),
            sum(c.frames for c in clips),
            sum(c.usable for c in clips),
            sum(c.sound for c in clips),
        )
        table.add_row(split, *map(str, figures))
    out.print(table)
    if prepared.refused:
        out.print(_refusals(prepared.refused))
    for note in prepared.notes:
        out.print(f"note: {note}")
    refused = (
        f"; {len(prepared.refused)} refused, listed in {output / 'refused.csv'}" if prepared.refused else ""
    )
    kept = f" ({prepared.kept} of them by a former run)" if prepared.kept else ""
    out.print(f"{output}: {len(prepared.clips)} clips packed{kept}{refused}")


def _refusals(refused: tuple[Refusal, ...]) -> Table:
    table = Table("refused", "reason", box=None)
    for refusal in refused[:SHOWN]:
        table.add_row(refusal.clip, refusal.reason)
    if len(refused) > SHOWN:
        table.add_row(f"and {len(refused) - SHOWN} more", "")
    return table
