"""Table 3 of the paper: the iterations that a PSNR takes from scratch and from the prior."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from training.core.config import adapt_config
from training.experiments.study import (
    Study,
    Variant,
    long_enough,
    measured_at,
    names,
    open_study,
    people_of,
    read_runs,
    require_subjects,
    run_main,
    run_once,
    study_parser,
)
from training.experiments.subjects import Row, Subject, read_rows, subjects
from training.experiments.tables import (
    NONE,
    Curve,
    curves,
    iterations_to,
    iterations_to_stay,
    last,
    markdown,
    mean_and_deviation,
    mean_of_all,
    number,
    plot_curves,
    runs_table,
    times,
    value_at,
    write_page,
)
from visualdub.errors import BadInput

# dB: iterations of the baseline, with prior
PAPER = {
    25: (2200, 200),
    26: (3000, 300),
    27: (6200, 300),
    28: (9800, 400),
    29: (18000, 700),
    30: (40000, 1600),
}
THRESHOLDS = range(25, 33)  # dB
AFTER = (100, 300, 1000, 3000)  # iterations from scratch whose PSNR the prior is to reach
MINUTES = (1, 2, 3, 5, 8, 15, 20)
SCRATCH, PRIOR = "scratch", "prior"


def variants(
    wanted: Sequence[str], steps: int, prior_steps: int, short: int | None, random: bool = False
) -> list[Variant]:
    """The variants to run. short: number of steps of a second run from scratch, whose learning rates have
    fallen by its end; None: no such run. random: whether textures start at random, as in the paper, and not
    from the mean unwrapped frames. Raises `BadInput` for other names.
    """
    offered = {
        SCRATCH: Variant(SCRATCH, adapt_config(False, False, steps=steps, random_texture=random), False),
        PRIOR: Variant(PRIOR, adapt_config(True, False, steps=prior_steps, random_texture=random), True),
    }
    if unknown := [w for w in wanted if w not in offered]:
        raise BadInput(f"variant {unknown[0]!r} is not known; expected some of {', '.join(offered)}")
    more = (
        [Variant(f"{SCRATCH}{short}", adapt_config(False, False, steps=short, random_texture=random), False)]
        if short
        else []
    )
    return [offered[w] for w in wanted] + more


def run(
    study: Study, people: Sequence[Subject], chosen: Sequence[Variant], lines: Sequence[str] = ()
) -> None:
    """Make the runs that are not in the table yet and write table, page and plot. lines: about what was left
    out.
    """
    for variant in chosen:
        for subject in people:
            for seed in study.seeds:
                run_once(study, subject, variant, seed, measured_at(variant.config.steps or 1))
                write(study, lines)


# ---- results -----------------------------------------------------------------------------------------------


def write(study: Study, lines: Sequence[str] = ()) -> None:
    """Write the page and the plot of everything in the table."""
    rows = read_rows(study.table)
    names, kinds = people_of(rows), list(dict.fromkeys(r.variant for r in rows))
    learned = sorted({r.learned for r in rows})
    write_page(
        study.output / f"{study.name}.md",
        "Iterations to a PSNR (Table 3)",
        [
            (
                f"Adapted on {', '.join(map(str, learned))} frames; PSNR of the raw network output pasted"
                " into the 256x256 crop, on later frames. Mean ± sample standard deviation over subjects,"
                " each the mean over its seeds; linear between measurements."
            ),
            *lines,
            "## Iterations with the prior to what training from scratch reaches",
            reached_table(rows, names),
            "## Iterations to an absolute PSNR, beside the paper's",
            threshold_table(rows, names),
            "## Iterations from which on the PSNR stays there",
            threshold_table(rows, names, iterations_to_stay),
            "## PSNR after so many iterations",
            after_table(rows, names, kinds),
            "## PSNR after so many minutes of optimisation",
            clock_table(rows, names, kinds),
            "## At the end of each run",
            end_table(rows, names, kinds),
            "## Runs",
            runs_table(read_runs(study)),
        ],
    )
    plot_curves(
        study.output / f"{study.name}.png",
        {n: {k: curves(rows, n, k) for k in kinds} for n in names},
        "iterations",
        log=True,
    )


def over_seeds(
    rows: Sequence[Row],
    subject: str,
    variant: str,
    what: Callable[[Curve], float | None],
    over: str = "step",
    of: str = "psnr_crop",
) -> float | None:
    """The mean over seeds of `what` of each of a subject's curves; None where it is None for one of them."""
    return mean_of_all([what(c) for c in curves(rows, subject, variant, over, of)])


def reached_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A table of the prior's iterations to the PSNR that scratch reaches after 100, 300, 1000, 3000: for each
    subject, then mean and standard deviation.
    """
    lines = []
    for n in AFTER:
        targets = {s: over_seeds(rows, s, SCRATCH, lambda c, n=n: value_at(c, n)) for s in names}  # type: ignore[misc]
        if all(t is None for t in targets.values()):
            continue
        iterations = {s: _prior_to(rows, s, t) for s, t in targets.items() if t is not None}
        reached = [i for i in iterations.values() if i is not None]
        cells = [_reached(targets[s], iterations.get(s), n) for s in names]
        # A mean over only those subjects that reach the target would be too good.
        mean = statistics.fmean(reached) if len(reached) == len(iterations) else None
        lines.append([n, *cells, mean_and_deviation(iterations.values(), 0), times(n, mean)])
    return markdown(
        ["scratch iterations", *(f"{s}: dB, prior iterations" for s in names), "mean", "fewer"], lines
    )


def _prior_to(rows: Sequence[Row], subject: str, target: float) -> float | None:
    return over_seeds(rows, subject, PRIOR, lambda c: iterations_to(c, target))


def _reached(target: float | None, iterations: float | None, scratch: int) -> str:
    if target is None:
        return NONE
    return f"{target:.2f}, " + (
        "not reached" if iterations is None else f"{iterations:.0f} ({times(scratch, iterations)})"
    )


def threshold_table(
    rows: Sequence[Row], names: Sequence[str], to: Callable[[Curve, float], float | None] = iterations_to
) -> str:
    """A table of the iterations to 25..32 dB: the paper's, mean and standard deviation of ours, their ratio
    over the subjects that reach the PSNR both ways, and each subject's.
    """
    lines = []
    for level in THRESHOLDS:
        ours = {
            v: [over_seeds(rows, s, v, lambda c, t=level: to(c, t)) for s in names]  # type: ignore[misc]
            for v in (SCRATCH, PRIOR)
        }
        both = [
            (a, b) for a, b in zip(ours[SCRATCH], ours[PRIOR], strict=True) if a is not None and b is not None
        ]
        ratio = times(sum(a for a, _ in both), sum(b for _, b in both)) if both else NONE
        each = [f"{number(a, 0)} / {number(b, 0)}" for a, b in zip(ours[SCRATCH], ours[PRIOR], strict=True)]
        lines.append(
            [
                level,
                *_paper(level),
                mean_and_deviation(ours[SCRATCH], 0),
                mean_and_deviation(ours[PRIOR], 0),
                ratio,
                *each,
            ]
        )
    return markdown(
        [
            "dB",
            "paper, baseline",
            "paper, prior",
            "fewer",
            "scratch",
            "prior",
            "fewer",
            *(f"{s}: scratch / prior" for s in names),
        ],
        lines,
    )


def _paper(level: int) -> tuple[str, str, str]:
    if level not in PAPER:
        return NONE, NONE, NONE
    baseline, prior = PAPER[level]
    return str(baseline), str(prior), times(baseline, prior)


def after_table(rows: Sequence[Row], names: Sequence[str], kinds: Sequence[str]) -> str:
    """A table of the PSNR of the crop of each variant after 0, 100, 300, 1000, 3000 iterations."""
    return markdown(
        ["iterations", *kinds], _over(rows, names, kinds, [(str(n), n) for n in (0, *AFTER)], "step")
    )


def clock_table(rows: Sequence[Row], names: Sequence[str], kinds: Sequence[str]) -> str:
    """A table of the PSNR of the crop of each variant after some minutes of optimisation; the learning rates
    are those of the whole run.
    """
    return markdown(
        ["minutes", *kinds], _over(rows, names, kinds, [(str(m), 60 * m) for m in MINUTES], "seconds")
    )


def _over(
    rows: Sequence[Row],
    names: Sequence[str],
    kinds: Sequence[str],
    places: Sequence[tuple[str, int]],
    over: str,
) -> Iterator[list[str]]:
    for label, place in places:
        values = [
            [
                over_seeds(rows, s, k, lambda c, p=place: value_at(c, p), over)  # type: ignore[misc]
                for s in names
                if curves(rows, s, k)
            ]
            for k in kinds
        ]
        if any(v is not None for of_kind in values for v in of_kind):
            yield [label, *(mean_and_deviation(of_kind) for of_kind in values)]


def end_table(rows: Sequence[Row], names: Sequence[str], kinds: Sequence[str]) -> str:
    """A table of steps, minutes and PSNR at the end of each variant's runs, with each subject's PSNR of the
    crop.
    """
    lines = []
    for kind in kinds:
        measured = [n for n in names if curves(rows, n, kind)]
        columns = ("step", "seconds", "psnr_crop", "psnr_mask")
        ends = {of: [over_seeds(rows, n, kind, last, of=of) for n in measured] for of in columns}
        minutes = [s / 60 for s in ends["seconds"] if s is not None]
        each = [number(over_seeds(rows, n, kind, last)) for n in names]
        lines.append(
            [
                kind,
                mean_and_deviation(ends["step"], 0),
                mean_and_deviation(minutes, 1),
                mean_and_deviation(ends["psnr_crop"]),
                mean_and_deviation(ends["psnr_mask"]),
                *each,
            ]
        )
    return markdown(
        ["variant", "iterations", "minutes", "PSNR crop", "PSNR mask", *(f"{n}, crop" for n in names)], lines
    )


# ---- command line ------------------------------------------------------------------------------------------


def main(given: Sequence[str]) -> None:
    """`python -m training.experiments.speed --clips DIR -o DIR`: the iterations to a PSNR from scratch and
    from the prior.
    """
    parser = study_parser(main.__doc__ or "", 3000)
    parser.add_argument(
        "--prior-steps",
        type=int,
        default=640,
        metavar="N",
        help="steps of the run from the prior, default 640",
    )
    parser.add_argument(
        "--short", type=int, metavar="N", help="also a run from scratch of N steps, with falling rates"
    )
    parser.add_argument(
        "--random-texture",
        action="store_true",
        help="start textures at random, as the paper does; separate tables",
    )
    parser.add_argument(
        "--variants", type=names, default=[SCRATCH, PRIOR], metavar="A,B", help="default scratch,prior"
    )
    options = parser.parse_args(given)
    chosen = variants(
        options.variants, options.steps, options.prior_steps, options.short, options.random_texture
    )
    people, lines = long_enough(subjects(options.clips, options.subjects))
    require_subjects(people, lines)
    study = open_study("speed", options, given, any(v.prior for v in chosen))
    if options.random_texture:
        study = replace(study, name="speed_random")
    run(study, people, chosen, lines)
    print(study.output / f"{study.name}.md")


if __name__ == "__main__":
    run_main(main)
