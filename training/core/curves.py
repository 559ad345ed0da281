"""Curves of a run: TensorBoard where it is installed, a plot of the CSV where matplotlib is."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

from visualdub.storage import atomic_path

PLOT = "curves.png"


class Curves:
    """Records what a run measures; TensorBoard's files are in `tensorboard` beside the CSV."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return  # the CSV holds the same numbers
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Record the values of one evaluation after `step` steps."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def close(self, table: Path) -> None:
        """Close TensorBoard's file and plot the CSV `table`."""
        if self._writer is not None:
            self._writer.close()
        if table.is_file():
            plot_curves(table, self.folder / PLOT)


def read_curves(table: Path) -> dict[str, list[tuple[int, float]]]:
    """The values of a run's CSV (step, name, value), one list of (step, value) per name."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with table.open(newline="") as f:
        for step, name, value in csv.reader(f):
            curves[name].append((int(step), float(value)))
    return dict(curves)


def plot_curves(table: Path, picture: Path) -> None:
    """Plot PSNR (above) and losses (below) over steps; does nothing where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    curves = read_curves(table)
    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for name, points in curves.items():
        if name in ("seconds", "mask_share"):
            continue
        axis = above if name.startswith("psnr") else below
        axis.plot(*zip(*points, strict=True), label=name)
    above.set_ylabel("PSNR, dB")
    below.set_ylabel("loss")
    below.set_xlabel("steps")
    for axis in (above, below):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
