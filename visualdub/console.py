"""What commands of every package share: options described once, progress with rate and time left, JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from visualdub.errors import BadInput, Interrupted
from visualdub.stages import Progress
from visualdub.stops import cancel_on_signals

if TYPE_CHECKING:
    from visualdub.actor.record import Consent
    from visualdub.wire.requests import Requests

# ---- options -----------------------------------------------------------------------------------------------

Clip = Annotated[Path, typer.Argument(help="A movie with somebody talking.", show_default=False)]
ActorName = Annotated[
    str,
    typer.Option("--actor", help="Actor package: a folder, or its name without .actor.", show_default=False),
]
Frames = Annotated[
    str | None, typer.Option("--frames", metavar="A:B", help="Frames A to B-1 of the clip; all by default.")
]
Skip = Annotated[
    list[str] | None,
    typer.Option(
        "--skip",
        metavar="A:B",
        help="Leave frames A to B-1 of the clip as they are; several times for several.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="A:B",
        help="Touch frames A to B-1 of the clip alone, all others stay as they are; several times for"
        " several.",
    ),
]
Face = Annotated[
    str | None,
    typer.Option(
        "--face",
        metavar="N|X,Y",
        help="Which person: a number of track --people (0+2: both are one), or a point in the face. By"
        " default the actor, where one is given, or else the most present.",
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the measures as JSON; - prints them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Codec = Annotated[
    str | None,
    typer.Option("--codec", help="ffv1, prores, prores4444, h264 or hevc; by the output's suffix otherwise."),
]
Crf = Annotated[int, typer.Option("--crf", min=0, max=51, help="Quality of h264 and hevc, lower is better.")]
Matte = Annotated[
    Path | None,
    typer.Option("--matte", metavar="FILE", help="Write where pixels were changed as a second, grey movie."),
]
NoWatermark = Annotated[
    bool, typer.Option("--no-watermark", help="Leave out the invisible watermark; the record says so.")
]
ConsentIn = Annotated[
    str | None,
    typer.Option(
        "--consent",
        metavar='"WHO, WHEN, SCOPE"',
        help="Consent of the person, where no actor is given: their package holds it.",
    ),
]
Quality = Annotated[
    str,
    typer.Option(
        "--quality",
        metavar="draft|final",
        help="A draft is rougher and there in a fraction of the time; it needs no --actor.",
    ),
]
OccludedAs = Annotated[
    str,
    typer.Option(
        "--occluded",
        metavar="hold|pass|draw",
        help="Where a hand or an object covers the mouth: keep its pixels, leave the frame, or draw over it.",
    ),
]
MouthGain = Annotated[
    float,
    typer.Option("--mouth-gain", metavar="X", help="Times the predicted motion away from rest, 0 to 3."),
]
Smooth = Annotated[
    float,
    typer.Option(
        "--smooth",
        metavar="MS",
        help="Smooth the mouth over so many ms, 0 to 500; much parts closed lips.",
    ),
]
OffsetMs = Annotated[
    float,
    typer.Option(
        "--offset-ms",
        metavar="MS",
        help="Move the mouth against the sound, -1000 to 1000; above 0: later.",
    ),
]
KeepAudio = Annotated[
    bool,
    typer.Option(
        "--keep-audio",
        help="Keep the clip's other audio tracks; the dialogue replaces the main one.",
    ),
]
HoldoutIn = Annotated[
    Path | None,
    typer.Option(
        "--holdout",
        metavar="MATTE",
        help="Keep the clip's pixels where this movie, or these numbered pictures, are white.",
    ),
]
ProviderName = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="What the actor's network runs on: tensorrt, cuda, directml, coreml, openvino or cpu; see vdub"
        " doctor.",
    ),
]
Fast = Annotated[
    bool,
    typer.Option(
        "--fast",
        help="Draw faster, inside the mask at least 60 dB PSNR against the exact picture; vdub export"
        " --precision int8 prepares an actor.",
    ),
]
Profile = Annotated[bool, typer.Option("--profile", help="Print what each stage took.")]


def given_consent(text: str | None, actor: str, missing: str) -> Consent:
    """The consent in `text` ("who, when, scope"), which is asked for at a terminal where it is None.

    actor: the name of the person or role. Raises `BadInput` with the message `missing` where there is no
    terminal, and for a text that is not complete.
    """
    from visualdub.actor.record import Consent

    if text is None and sys.stdin.isatty():
        text = typer.prompt(
            f'Who consented to {actor} being redrawn, when, and for what? ("who, when, scope")'
        )
    if text is None:
        raise BadInput(missing)
    return Consent.parse(text)


def draft_consent(clip: Path, consent: str | None) -> Consent:
    """The consent in `consent`, which is asked for at a terminal. Raises `BadInput` where there is none."""
    missing = (
        'no --actor is given and drawing a draft of the person needs consent; give --consent "who, when,'
        f' scope" for {clip.name}, or --actor'
    )
    return given_consent(consent or None, clip.stem, missing)


# ---- output ------------------------------------------------------------------------------------------------

UNITS = {  # of stages; frames for all others
    **{"training": "steps", "examining": "clips", "textures": "people"},
    **{"scanning": "MiB", "hashing": "MiB", "waiting for another process": "s"},
}

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class RateColumn(ProgressColumn):
    """Units per second so far, frames for most stages."""

    def render(self, task: Task) -> Text:
        """The rate of one stage."""
        speed, unit = task.finished_speed or task.speed, UNITS.get(task.description, "frames")
        return Text("" if speed is None else f"{speed:.1f} {unit}/s", style="progress.data.speed")


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress that is shown on stderr, a bar for each stage that reports, and cancelled by Ctrl-C or
    SIGTERM.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=err, transient=True) as bars:
        tasks: dict[str, TaskID] = {}
        lock = threading.Lock()

        def show(stage: str, done: int, total: int) -> None:
            with lock:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        progress = Progress(show)
        with cancel_on_signals(progress):
            yield progress


def follow(client: Requests, job: int, json: bool = False) -> dict[str, Any]:
    """Show how far a job of the service is until it ends; its row.

    Raises `JobFailed` where it ends without a result, `Interrupted` where watching is stopped, while the job
    goes on.
    """
    from visualdub.wire.errors import JobFailed

    row: dict[str, Any] = {}
    with shown_progress() as progress:
        try:
            for row in client.watch(job, beats=True):
                if row["stage"] and row["total"]:
                    progress.report(row["stage"], row["done"], row["total"])
                progress.check()
        except Interrupted:
            raise Interrupted(f"job {job} goes on; vdub jobs cancel {job} stops it") from None
    if row.get("state") != "done":
        raise JobFailed(f"job {job} {row.get('state')}: {row.get('reason')}")
    if json:
        print_json(row)
    else:
        for note in row["result"].get("notes", ()):
            out.print(f"note: {note}", markup=False)
        out.print(f"job {job}: {row['title']}", markup=False)
    return row


class Notes(logging.Handler):
    """Shows warnings of the project's modules on stderr, one line each, above any progress bar."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            err.print(f"note: {' '.join(record.getMessage().split())}", markup=False)
        except Exception:
            self.handleError(record)


def print_json(values: dict[str, Any]) -> None:
    """Machine-readable result on stdout, alone; escaped where stdout cannot hold its characters."""
    text = json.dumps(values, indent=1, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # another encoding, or a file name that is not UTF-8
        text = json.dumps(values, indent=1)
    print(text, flush=True)
