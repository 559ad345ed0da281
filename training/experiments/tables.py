"""Curves of PSNR, means with their standard deviation, and both as Markdown tables and plots."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from training.experiments.subjects import Row
from visualdub.measure.result import Finding, write_result
from visualdub.storage import atomic_path, write_text

if TYPE_CHECKING:
    from training.experiments.study import RunRecord

NONE = "–"
Curve = Sequence[tuple[float, float]]  # (iterations or seconds, dB), sorted by the first


# ---- curves ------------------------------------------------------------------------------------------------


def curves(
    rows: Iterable[Row], subject: str, variant: str, over: str = "step", of: str = "psnr_crop"
) -> list[Curve]:
    """One curve of each seed: column `of` over column `over`."""
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for r in rows:
        if (r.subject, r.variant) == (subject, variant):
            by_seed.setdefault(r.seed, []).append((float(getattr(r, over)), float(getattr(r, of))))
    return [sorted(curve) for curve in by_seed.values()]


def iterations_to(curve: Curve, target: float) -> float | None:
    """The place where a curve first reaches `target`, linear between measurements; its first place where it
    starts there. None where it never reaches it.
    """
    before: tuple[float, float] | None = None
    for x, value in curve:
        if value >= target:
            return (
                x
                if before is None
                else before[0] + (target - before[1]) / (value - before[1]) * (x - before[0])
            )
        before = x, value
    return None


def iterations_to_stay(curve: Curve, target: float) -> float | None:
    """The place from which on a curve stays at `target` or above, linear between measurements; None where it
    ends below.
    """
    below = [i for i, (_, value) in enumerate(curve) if value < target]
    return iterations_to(curve[below[-1] :] if below else curve, target)


def value_at(curve: Curve, place: float) -> float | None:
    """The curve at `place`, linear between measurements; None outside it."""
    for (x0, v0), (x1, v1) in pairwise(curve):
        if x0 <= place <= x1:
            return v0 + (v1 - v0) * (place - x0) / (x1 - x0) if x1 > x0 else v1
    return None


def last(curve: Curve) -> float:
    """The last value of the curve, dB."""
    return curve[-1][1]


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """The mean; None where there are no values or one of them is None: a target that one seed does not reach
    is not reached by the subject.
    """
    given = [v for v in values if v is not None]
    return statistics.fmean(given) if given and len(given) == len(values) else None


# ---- text --------------------------------------------------------------------------------------------------


def mean_and_deviation(values: Iterable[float | None], digits: int = 2) -> str:
    """`mean ± sample standard deviation` of the values that are not None, with their number where some
    are.
    """
    every = list(values)
    given = [v for v in every if v is not None]
    if not given:
        return NONE
    text = f"{statistics.fmean(given):.{digits}f}"
    if len(given) > 1:
        text += f" ± {statistics.stdev(given):.{digits}f}"
    return text if len(given) == len(every) else f"{text} ({len(given)} of {len(every)})"


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash."""
    return NONE if value is None else f"{value:.{digits}f}"


def times(slow: float | None, fast: float | None) -> str:
    """The factor by which `fast` is fewer iterations than `slow`, as text."""
    if slow is None or fast is None:
        return NONE
    return "at once" if fast == 0 else f"{slow / fast:.1f}x"


def markdown(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose first column is aligned left and whose others are aligned right."""
    lines = ["| " + " | ".join(heading) + " |", "|---|" + "---:|" * (len(heading) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, r)) + " |" for r in rows)]) + "\n"


def runs_table(runs: Sequence[RunRecord]) -> str:
    """A table of the conditions of every run, with the commands below it."""
    heading = [
        "subject",
        "variant",
        "frames learned",
        "tested on",
        "seed",
        "steps",
        "optimising, s",
        "in all, s",
        "threads",
        "torch",
        "device",
        "machine",
        "prior",
    ]
    table = markdown(
        heading,
        [
            (
                r.subject,
                r.variant,
                r.learned,
                r.tested,
                r.seed,
                r.steps,
                f"{r.seconds:.0f}",
                f"{r.wall_seconds:.0f}",
                r.threads,
                r.torch,
                r.device,
                r.machine,
                r.prior,
            )
            for r in runs
        ],
    )
    return table + "".join(f"\n`{c}`\n" for c in dict.fromkeys(r.command for r in runs))


def write_page(
    path: Path,
    title: str,
    parts: Iterable[str],
    findings: Iterable[Finding] = (),
    figures: Mapping[str, float | int | str] | None = None,
) -> None:
    """Write a Markdown page of a title and `parts`, which are paragraphs and tables, and beside it the same
    as JSON for docs/results, with the findings and figures of `write_result`.
    """
    text = [p.rstrip() for p in parts]
    write_text(path, "\n".join([f"# {title}\n", *(p + "\n" for p in text)]))
    write_result(path.with_suffix(".json"), title, text, findings, figures)


# ---- plots -------------------------------------------------------------------------------------------------


def plot_curves(
    picture: Path, panels: Mapping[str, Mapping[str, Sequence[Curve]]], across: str, log: bool
) -> None:
    """Plot PSNR over `across`, with a panel for each subject, a colour for each variant and a line for each
    seed.

    log: whether the scale is logarithmic from 10 on and linear below, so that it shows 0. Does nothing where
    matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(4.5 * max(1, len(panels)), 4), layout="constrained")
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    colours = {v: f"C{i}" for i, v in enumerate(dict.fromkeys(v for lines in panels.values() for v in lines))}
    for axis, (name, lines) in zip(axes, panels.items(), strict=False):
        for variant, seeds in lines.items():
            for i, curve in enumerate(seeds):
                axis.plot(
                    *zip(*curve, strict=True),
                    marker=".",
                    color=colours[variant],
                    label=variant if i == 0 else None,
                )
        if log:
            axis.set_xscale("symlog", linthresh=10)
        axis.set_title(name)
        axis.set_xlabel(across)
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("PSNR of the crop, dB")
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def plot_bars(
    picture: Path, panels: Mapping[str, Mapping[str, Sequence[float]]], names: Sequence[str]
) -> None:
    """Plot PSNR as bars, with a colour for each variant and a group for each of `names` in every panel.

    Does nothing where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(5.5 * max(1, len(panels)), 4), layout="constrained")
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for axis, (title, variants) in zip(axes, panels.items(), strict=False):
        width = 0.8 / max(1, len(variants))
        for i, (variant, values) in enumerate(variants.items()):
            axis.bar([k + i * width for k in range(len(names))], values, width, label=variant)
        heights = [v for values in variants.values() for v in values if v == v]
        if heights:
            axis.set_ylim(min(heights) - 1, max(heights) + 0.5)
        axis.set_xticks([k + 0.4 - width / 2 for k in range(len(names))], names)
        axis.set_title(title)
        axis.set_ylabel("PSNR of the crop, dB")
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3, axis="y")
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
