"""The display of a training run on a terminal: a bar for every stage, with losses, PSNR, rate and time
left.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from visualdub.console import err
from visualdub.stages import Progress
from visualdub.stops import cancel_on_signals

if TYPE_CHECKING:
    from training.core.run import OnStatus, Status

TRAINING = "training"  # the stage whose bar shows the run's status instead of a count


@contextlib.contextmanager
def training_progress() -> Iterator[tuple[Progress, OnStatus]]:
    """Show a run on stderr: yields the progress and the status callback to hand to it.

    Within the block the first Ctrl-C or SIGTERM cancels the progress, the second one aborts.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=err, transient=False) as bars:
        tasks: dict[str, TaskID] = {}
        lock = threading.Lock()

        def move(stage: str, done: float, total: float, note: str) -> None:
            with lock:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total, note=note)
            bars.update(tasks[stage], completed=done, total=total, note=note)

        def on_stage(stage: str, done: int, total: int) -> None:
            if stage != TRAINING:
                move(stage, done, total, f"{done}/{total}")

        progress = Progress(on_stage)
        with cancel_on_signals(progress):
            yield progress, lambda status: move(TRAINING, status.progress, 1.0, status_line(status))


def status_line(status: Status) -> str:
    """Steps, losses, PSNR, rate and time left of a run in one line."""
    losses = " ".join(f"{k} {v:.3f}" for k, v in status.losses.items())
    psnr = "" if status.psnr is None else f" | held-out {status.psnr:.2f} dB in the mask"
    left = round(status.seconds_left)
    return (
        f"step {status.step} | {losses}{psnr} | {status.rate:.2f} steps/s | {left // 60}:{left % 60:02d} left"
    )
