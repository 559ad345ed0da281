"""`vdub adapt` and `vdub train`: their options and what they print."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from visualdub.console import Json, err, given_consent, out, print_json, shown_progress
from visualdub.console_edits import CastIn, PlanOnly, Relink, require_fitting
from visualdub.errors import BadInput

if TYPE_CHECKING:
    from training.data.prepare import PreparedDataset, Refusal
    from visualdub.actor.record import ActorRecord
    from visualdub.edit.footage import Footage
    from visualdub.services import AdaptRequest


# ---- vdub adapt --------------------------------------------------------------------------------------------

FROM_SCRATCH = "none"  # value of --prior
NO_CONSENT = 'adapt needs the consent of the person: --consent "who, when, scope"'


MostFrames = Annotated[
    int | None,
    typer.Option(
        "--most",
        metavar="FRAMES",
        help="Of an edit: most frames to adapt to, those that differ most; 750 by default.",
        rich_help_panel="Edits",
    ),
]


def adapt(
    clips: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP[@A:B]...|EDIT",
            help="Clips of one person talking, with the frames to use; or an edit that shows them.",
            show_default=False,
        ),
    ],
    actor: Annotated[
        str, typer.Option("--actor", metavar="NAME", help="Name of the person or role.", show_default=False)
    ],
    frames: Annotated[
        str | None, typer.Option("--frames", metavar="A:B", help="Frames of the clips that name none.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="How long to take, tracking included; training gets at least half of it. 5 by default.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimiser steps, instead of --minutes.")
    ] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", metavar='"WHO, WHEN, SCOPE"', help="Consent of the person.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="The package; NAME.actor by default.")
    ] = None,
    face: Annotated[
        str | None, typer.Option("--face", metavar="N|X,Y", help="Which face: its number, or a point in it.")
    ] = None,
    size: Annotated[
        str, typer.Option("--size", help="Size of the network: small (for CPUs) or full (for GPUs).")
    ] = "small",
    prior: Annotated[
        str | None,
        typer.Option(
            "--prior",
            metavar="FILE|none",
            help="The prior to start from, or none; by default the one shipped for the size.",
        ),
    ] = None,
    rehearsal: Annotated[
        Path | None,
        typer.Option(
            "--rehearsal",
            metavar="DATASET",
            help="Mix in people of a packed dataset, 1:1, instead of holding the weights near the prior.",
        ),
    ] = None,
    random_texture: Annotated[
        bool, typer.Option("--random-texture", help="Start the texture at random, as the paper does.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")] = 0,
    cast: CastIn = None,
    relink: Relink = None,
    most: MostFrames = None,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Train a renderer of one person on a few seconds of footage and write an actor package. Ctrl-C stops,
    and the same command resumes.
    """
    options = dict(locals())
    from training.core.config import run_folder
    from visualdub.actor.package import SUFFIX, require_package_path
    from visualdub.edit.reading import is_edit
    from visualdub.services import AdaptClip, AdaptRequest
    from visualdub.storage import protect

    if not actor.strip() or re.search(r"[/\\]", actor):
        raise BadInput(
            f"--actor {actor!r} is not a name; expected some letters without slashes (the folder is -o)"
        )
    require_fitting(Path(clips[0]), options, adapt, allowed=("minutes", "consent"))
    edit = EditFootage(Path(clips[0]), actor, cast, tuple(relink or ()), most)
    if is_edit(edit.path):
        if clips[1:]:
            raise BadInput(f"{edit.path} is an edit; expected it alone")
        if json and not plan:
            raise BadInput(f"{edit.path}: --json is for --plan")
        footage = edit.find(as_json=json)
        if plan:
            return
        sources = tuple(footage.clips)
    else:
        if json:
            raise BadInput("--json is for the --plan of an edit")
        sources = tuple(AdaptClip.parse(c, frames, face) for c in clips)
    start = Path(prior) if prior not in (None, FROM_SCRATCH) else None
    folder = output or Path(f"{actor}{SUFFIX}")
    read = [*(s.path for s in sources), cast, edit.path if is_edit(edit.path) else None, start, rehearsal]
    protect(read, [folder, run_folder(folder)])
    require_package_path(folder)
    request = AdaptRequest(
        sources,
        actor,
        folder,
        given_consent(consent, actor, NO_CONSENT),
        minutes,
        steps,
        size,
        start,
        prior == FROM_SCRATCH,
        rehearsal,
        random_texture,
        seed,
    )
    _adapt(request)


@dataclass(frozen=True)
class EditFootage:
    """An edit that shows an actor, as the options of `vdub adapt` have it."""

    path: Path
    actor: str
    cast: Path | None
    relink: tuple[Path, ...]
    most: int | None

    def find(self, *, as_json: bool) -> Footage:
        """The frames to adapt to, which are printed."""
        from visualdub.edit.cast import Cast, read_cast
        from visualdub.edit.footage import MOST_FRAMES, find_footage
        from visualdub.edit.media import MediaFinder
        from visualdub.edit.reading import read_edit

        cast = read_cast(self.cast) if self.cast else Cast()
        edit, most = read_edit(self.path), MOST_FRAMES if self.most is None else self.most
        with shown_progress() as progress:
            finder = MediaFinder(self.path, self.relink, None, progress)
            footage = find_footage(edit, finder, self.actor, cast, most=most, progress=progress)
        if as_json:
            print_json(footage.as_dict())
        else:
            show_footage(footage)
        return footage


def show_footage(footage: Footage) -> None:
    """Which frames of which shots an actor is adapted to, as a table."""
    table = Table("#", "clip", "source", "frames", "used", box=None)
    for shot in footage.shots:
        frames = "" if shot.frames is None else str(shot.frames)
        used = f"left out: {shot.reason}" if shot.reason else str(footage.taken(shot))
        table.add_row(str(shot.number), shot.clip, Path(shot.source).name, frames, used)
    out.print(table)
    out.print(
        f"{footage.actor}: {footage.frame_count} frames in {len(footage.clips)} pieces, those that differ"
        f" most of {footage.looked_at} that show the face well"
    )


def _adapt(request: AdaptRequest) -> None:
    """Carry out a request and print its progress, its notes and its result."""
    from training.core.progress import training_progress
    from training.service import adapt_actor

    notes: list[str] = []
    with training_progress() as (progress, on_status):
        record = adapt_actor(request, progress, notes.append, on_status)
    for note in notes:
        err.print(note)
    if record.metrics["best_step"] == 0 and "psnr_mask" in record.metrics:
        err.print("training did not improve the held-out frames: the weights are those that it started from")
    out.print(_summary(request.folder, record))


def _summary(folder: Path, record: ActorRecord) -> str:
    """The line at the end of an adaptation."""
    figures = ", ".join(f"{k} {v:.2f} dB" for k, v in record.metrics.items() if k.startswith("psnr"))
    took = f"{folder}: {record.steps} steps in {record.metrics['seconds'] / 60:.1f} minutes"
    return f"{took}, held-out frames {figures}" if figures else took


# ---- vdub train --------------------------------------------------------------------------------------------

STEPS = 20_000  # where neither steps nor minutes are given
SHOWN = 20  # most refused clips that are printed; refused.csv lists all of them

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
            help="Folder of the dataset, a new one or one to resume.",
            show_default=False,
        ),
    ],
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation",
            metavar="IDS|FILE",
            help="Speakers held out of the training: a,b,c or a text file with one on each line.",
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option("--frames", help="Most frames of one person, at 25 frames/s.")
    ] = 1500,
    quality: Annotated[int, typer.Option("--quality", help="Quality of the crops as WebP, 1 to 100.")] = 90,
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Clips to work on at a time; by default one for each core.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="K/N",
            help="Pack one of N parts of the clips, as several machines do at once into one folder; the same"
            " command without it goes last.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Track, crop and pack clips into a dataset. Ctrl-C stops, and the same command resumes.

    The speaker is named by clips.json, or else by the sub-folder, or else by the file's name without its last
    _number. A clip that cannot be used is listed with the reason in DATASET/refused.csv, and the others are
    packed: the exit status is 0 if at least one clip is packed.
    """
    from training.data.prepare import Part, Settings, prepare_dataset
    from training.data.sources import files_read
    from training.data.splits import read_validation
    from visualdub.storage import protect

    protect(files_read(folders), [output])
    settings = Settings(
        frames,
        quality,
        read_validation(validation or ""),
        jobs if jobs is not None else _cores(),
        None if part is None else Part.parse(part),
    )
    with shown_progress() as progress:
        prepared = prepare_dataset(folders, output, settings, progress)
    if json:
        print_json(
            {
                "dataset": str(output),
                "clips": [asdict(c) for c in prepared.clips],
                "kept": prepared.reused,
                "refused": [asdict(r) for r in prepared.refused],
                "notes": list(prepared.notes),
            }
        )
    else:
        _print_dataset(output, prepared)


@train.command()
def prior(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A dataset of vdub train prepare.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The prior to write, .safetensors; its run folder is beside it.",
            show_default=False,
        ),
    ],
    steps: Annotated[int | None, typer.Option("--steps", help="Optimiser steps; 20000 by default.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="How long to train, instead of --steps.")
    ] = None,
    size: Annotated[
        str, typer.Option("--size", help="Size of the network: small (for CPUs) or full (for GPUs).")
    ] = "small",
    batch: Annotated[
        int, typer.Option("--batch", help="Windows of five frames per pass of each process.")
    ] = 1,
    accumulate: Annotated[int, typer.Option("--accumulate", help="Passes per step.")] = 1,
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that prepare windows ahead, for each GPU.")
    ] = 0,
    keep: Annotated[int, typer.Option("--keep", help="Frames to keep in memory, 0.25 MB each.")] = 20_000,
    start: Annotated[
        Path | None, typer.Option("--prior", metavar="FILE", help="Start from this prior: a second stage.")
    ] = None,
    adversarial: Annotated[
        float, typer.Option("--adversarial", help="Weight of the adversarial loss; 0 leaves it out.")
    ] = 1.0,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Adam's learning rate for the network.")
    ] = None,
    vgg: Annotated[
        Path | None,
        typer.Option("--vgg", metavar="FILE", help="ImageNet weights of VGG16; by default they are random."),
    ] = None,
    random_texture: Annotated[
        bool, typer.Option("--random-texture", help="Start textures at random, as the paper does.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check dataset and options and print the configuration only.")
    ] = False,
) -> None:
    """Train the network that adaptations start from. Ctrl-C stops, and the same command resumes; torchrun
    spreads it over several GPUs.
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
    from training.core.progress import training_progress  # these load torch
    from training.prior import PriorJob, check_start, open_people, train_prior

    job = PriorJob(dataset, output, config, start, keep, workers)
    if dry_run:
        check_start(job)
        print_json({"people": sorted(open_people(job)), "config": asdict(config)})
        return
    with training_progress() as (progress, on_status):
        facts = train_prior(job, progress, on_status)
    if not facts:  # the first process prints them
        return
    measured = ", ".join(f"{k} {v:.2f} dB" for k, v in facts["measures"].items() if k.startswith("psnr"))
    out.print(
        f"{output}: {facts['people']} people, {facts['steps']} steps in {facts['hours']:.2f} hours"
        + (
            f"; left out, no five frames in a row with a face: {', '.join(facts['left_out'])}"
            if facts["left_out"]
            else ""
        )
        + (f"; validation people, before any adaptation: {measured}" if measured else "")
    )


@train.command()
def speech(
    clips: Annotated[
        Path,
        typer.Argument(metavar="CLIPS", help="Folder of clips with their clips.json.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="MODEL.onnx", help="The model; by default the shipped one."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Steps of each of the networks that are averaged.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")] = 0,
    features: Annotated[
        Path | None,
        typer.Option("--features", metavar="DIR", help="Keep input features here, for the next training."),
    ] = None,
) -> None:
    """Train the speech model and write it with the record of its training beside it."""
    from training.data.sources import files_read
    from visualdub.speech.predict import MODEL
    from visualdub.storage import protect, require_writable

    model = output or MODEL
    written = (model, model.with_suffix(".json"))
    protect(files_read([clips]), written)
    for path in written:
        require_writable(path)
    from training.speech.train import main  # loads torch

    main(clips, model, steps, seed, features=features, say=out.print)


@train.command()
def phones(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="MODEL.onnx", help="The head; by default the shipped one."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the training.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")] = 0,
) -> None:
    """Train the head that recognises phones, on synthetic speech, and write it with its record."""
    from visualdub.speech.phones import HEAD
    from visualdub.storage import require_writable

    head = output or HEAD
    for path in (head, head.with_suffix(".json")):
        require_writable(path)
    from training.speech.phone_head import main  # loads torch

    main(head, steps, seed, say=out.print)


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _print_dataset(output: Path, prepared: PreparedDataset) -> None:
    """Print what is in the dataset, what is not and why, and a line at the end."""
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
    reused = f" ({prepared.reused} of them by an earlier run)" if prepared.reused else ""
    out.print(f"{output}: {len(prepared.clips)} clips packed{reused}{refused}")


def _refusals(refused: tuple[Refusal, ...]) -> Table:
    """The first refused clips with their reasons."""
    table = Table("refused", "reason", box=None)
    for refusal in refused[:SHOWN]:
        table.add_row(refusal.clip, refusal.reason)
    if len(refused) > SHOWN:
        table.add_row(f"and {len(refused) - SHOWN} more", "")
    return table
