"""Progress bars of training: stages that count frames, then the run with losses, PSNR, rate and time left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from visualdub.console import err

if TYPE_CHECKING:
    from training.core.run import Count, Show, Status


@contextlib.contextmanager
def training_progress() -> Iterator[tuple[Show, Count]]:
    """Bars on stderr: one for reading, then one for training with losses, PSNR, rate and time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, transient=False) as progress:
        tasks: dict[str, int] = {}

        def move(name: str, done: float, total: float, note: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, note=note)
            progress.update(tasks[name], completed=done, total=total, note=note)  # type: ignore[arg-type]

        yield (
            lambda status: move("training", status.progress, 1.0, _note(status)),
            lambda stage, done, total: move(stage, done, total, f"{done}/{total}"),
        )


def _note(status: Status) -> str:
    losses = " ".join(f"{k} {v:.3f}" for k, v in status.losses.items())
    psnr = "" if status.psnr is None else f" | held-out {status.psnr:.2f} dB in the mask"
    left = round(status.seconds_left)
    return (
        f"step {status.step} | {losses}{psnr} | {status.rate:.2f} steps/s | {left // 60}:{left % 60:02d} left"
    )
