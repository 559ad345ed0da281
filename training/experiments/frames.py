"""Table 5 of the paper: quality over the number of frames of the person, from scratch and from the prior."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.experiments.speed import PRIOR, SCRATCH, variants
from training.experiments.study import (
    Study,
    Variant,
    names,
    numbers,
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
    last,
    markdown,
    mean_and_deviation,
    mean_of_all,
    number,
    plot_curves,
    runs_table,
    write_page,
)
from visualdub.face.tracker import cached_track
from visualdub.timing import MARGIN, FrameRange

# by number of frames: FID of the baseline and with the prior
PAPER = {100: (17.71, 11.37), 250: (12.33, 11.88), 500: (11.84, 11.74), 1000: (11.78, 11.21)}
LAST = 50  # last frames of a clip, which are measured whatever it is adapted to
EVERY = 100  # steps between measurements


def plan(
    folder: Path, names: Sequence[str], counts: Sequence[int], tested: int = LAST
) -> tuple[list[Subject], list[str]]:
    """A subject for each name and each number of frames that ends at least `MARGIN` frames before the clip's
    last `tested` ones.

    Besides, a line with the frames that each name is measured on, and one for each clip that is too short for
    a number of frames.
    """
    people: list[Subject] = []
    lines: list[str] = []
    for subject in subjects(folder, names):
        with_counts, notes = fitting(subject, counts, tested)
        people += with_counts
        lines += notes
    return people, lines


def fitting(subject: Subject, counts: Sequence[int], tested: int = LAST) -> tuple[list[Subject], list[str]]:
    """The subjects and lines of `plan` for one name."""
    total = len(cached_track(subject.clip)[0])
    possible = [c for c in counts if c + MARGIN + tested <= total]
    short = [c for c in counts if c not in possible]
    lines = []
    if possible:
        lines.append(f"{subject.name} is tested on its last {tested} frames, {total - tested}:{total}.")
    if short:
        lines.append(
            f"{subject.name} is left out with {', '.join(map(str, short))} frames: its clip has {total},"
            f" which leaves at most {max(0, total - tested - MARGIN)} to adapt to, {MARGIN} before the"
            f" {tested} tested ones."
        )
    return [
        Subject(subject.name, subject.clip, c, FrameRange(total - tested, total)) for c in possible
    ], lines


def run(
    study: Study, people: Sequence[Subject], chosen: Sequence[Variant], lines: Sequence[str] = ()
) -> None:
    """Make the runs that are not in the table yet and write table, page and plot. lines: from `plan`."""
    for subject in people:
        for variant in chosen:
            for seed in study.seeds:
                steps = variant.config.steps or 1
                run_once(study, subject, variant, seed, [*range(0, steps, EVERY), steps])
                write(study, lines)


# ---- results -----------------------------------------------------------------------------------------------


def write(study: Study, lines: Sequence[str] = ()) -> None:
    """Write the page and the plot of everything in the table."""
    rows = read_rows(study.table)
    names, kinds = people_of(rows), list(dict.fromkeys(r.variant for r in rows))
    steps = sorted(
        {
            max(r.step for r in rows if (r.variant, r.learned, r.subject) == key)
            for key in {(r.variant, r.learned, r.subject) for r in rows}
        }
    )
    write_page(
        study.output / f"{study.name}.md",
        "Frames of the person (Table 5)",
        [
            (
                f"After {', '.join(map(str, steps))} iterations, all variants alike. PSNR of the raw network"
                " output on the same later frames whatever it is adapted to. Mean ± sample standard deviation"
                " over subjects, each the mean over its seeds. The paper gives FID (lower is better), whose"
                " weights are not at hand: the two are set side by side, not compared."
            ),
            "\n".join(f"- {line}" for line in lines),
            "## PSNR of the crop",
            frames_table(rows, names, kinds, "psnr_crop"),
            "## PSNR inside the mask",
            frames_table(rows, names, kinds, "psnr_mask"),
            "## Fewest frames with the prior against most from scratch",
            contest_table(rows, names),
            "## Runs",
            runs_table(read_runs(study)),
        ],
    )
    panels = {n: {k: _over_frames(rows, n, k) for k in kinds} for n in names}
    plot_curves(study.output / f"{study.name}.png", panels, "frames adapted to", log=False)


def end_of(
    rows: Sequence[Row], subject: str, variant: str, learned: int, of: str = "psnr_crop"
) -> float | None:
    """The mean over seeds of the last values of the runs with `learned` frames, dB; None where there are
    none.
    """
    return mean_of_all(
        [last(c) for c in curves([r for r in rows if r.learned == learned], subject, variant, of=of)]
    )


def frames_table(rows: Sequence[Row], names: Sequence[str], kinds: Sequence[str], of: str) -> str:
    """A table with a row for each number of frames, ours and the paper's: the paper's FID, mean and standard
    deviation of each variant, and each subject's values.
    """
    lines = []
    for count in sorted({r.learned for r in rows} | set(PAPER)):
        ends = {k: [end_of(rows, n, k, count, of) for n in names] for k in kinds}
        fid = [f"{v:.2f}" for v in PAPER[count]] if count in PAPER else [NONE, NONE]
        each = [" / ".join(number(ends[k][i]) for k in kinds) for i in range(len(names))]
        lines.append([count, *fid, *(mean_and_deviation(ends[k]) for k in kinds), *each])
    return markdown(
        [
            "frames",
            "paper, baseline, FID",
            "paper, prior, FID",
            *kinds,
            *(f"{n}: {' / '.join(kinds)}" for n in names),
        ],
        lines,
    )


def contest_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A table that compares, for each subject, the prior with the fewest frames and scratch with the most."""
    lines: list[list[object]] = []
    gaps: dict[str, list[float | None]] = {"psnr_crop": [], "psnr_mask": []}
    for name in names:
        few = min((r.learned for r in rows if (r.subject, r.variant) == (name, PRIOR)), default=None)
        most = max((r.learned for r in rows if (r.subject, r.variant) == (name, SCRATCH)), default=None)
        if few is None or most is None:
            continue
        line: list[object] = [name, few, most]
        for of, so_far in gaps.items():
            prior, scratch = end_of(rows, name, PRIOR, few, of), end_of(rows, name, SCRATCH, most, of)
            so_far.append(None if prior is None or scratch is None else prior - scratch)
            line += [number(prior), number(scratch), number(so_far[-1])]
        lines.append(line)
    lines.append(
        [
            "mean",
            NONE,
            NONE,
            NONE,
            NONE,
            mean_and_deviation(gaps["psnr_crop"]),
            NONE,
            NONE,
            mean_and_deviation(gaps["psnr_mask"]),
        ]
    )
    return markdown(
        [
            "subject",
            "frames, prior",
            "frames, scratch",
            "prior, crop",
            "scratch, crop",
            "gain",
            "prior, mask",
            "scratch, mask",
            "gain",
        ],
        lines,
    )


def _over_frames(rows: Sequence[Row], subject: str, variant: str) -> list[Curve]:
    """PSNR of the crop over the number of frames, means over seeds, as one curve; none where there are no
    runs.
    """
    counts = sorted({r.learned for r in rows if (r.subject, r.variant) == (subject, variant)})
    points = [(float(c), end_of(rows, subject, variant, c)) for c in counts]
    curve = [(c, v) for c, v in points if v is not None]
    return [curve] if curve else []


# ---- command line ------------------------------------------------------------------------------------------


def main(given: Sequence[str]) -> None:
    """`python -m training.experiments.frames --clips DIR -o DIR`: PSNR over the number of frames, from
    scratch and from the prior.
    """
    parser = study_parser(main.__doc__ or "", 640)
    parser.add_argument(
        "--frames", type=numbers, default=[25, 50, 100, 150], metavar="A,B", help="default 25,50,100,150"
    )
    parser.add_argument(
        "--variants", type=names, default=[SCRATCH, PRIOR], metavar="A,B", help="default scratch,prior"
    )
    options = parser.parse_args(given)
    chosen = variants(options.variants, options.steps, options.steps, None)
    people, lines = plan(options.clips, options.subjects, options.frames)
    require_subjects(people, lines)
    study = open_study("frames", options, given, any(v.prior for v in chosen))
    run(study, people, chosen, lines)
    print(study.output / "frames.md")


if __name__ == "__main__":
    run_main(main)
