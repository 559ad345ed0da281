"""What commands of every package share: options described once, progress with rate and time left, JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

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

from visualdub.stages import Progress, cancel_on_signals

# ---- options -----------------------------------------------------------------------------------------------

Clip = Annotated[Path, typer.Argument(help="A movie with somebody talking.", show_default=False)]
ActorName = Annotated[
    str,
    typer.Option("--actor", help="Actor package: a folder, or its name without .actor.", show_default=False),
]
Frames = Annotated[
    str | None, typer.Option("--frames", metavar="A:B", help="Frames A to B-1 of the clip; all by default.")
]
Face = Annotated[
    str | None,
    typer.Option(
        "--face",
        metavar="N|X,Y",
        help="Which face: its number, or a point in it. The most present by default.",
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the measures as JSON; - prints them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Codec = Annotated[
    str | None,
    typer.Option("--codec", help="ffv1, prores, prores4444 or h264; by the output's suffix otherwise."),
]
Crf = Annotated[int, typer.Option("--crf", min=0, max=51, help="Quality of h264, lower is better.")]
Matte = Annotated[
    Path | None,
    typer.Option("--matte", metavar="FILE", help="Write where pixels were changed as a second, grey movie."),
]
NoWatermark = Annotated[
    bool, typer.Option("--no-watermark", help="Leave out the invisible watermark; the record says so.")
]
Profile = Annotated[bool, typer.Option("--profile", help="Print what each stage took.")]


# ---- output ------------------------------------------------------------------------------------------------

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class RateColumn(ProgressColumn):
    """Frames per second so far."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s", style="progress.data.speed")


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
