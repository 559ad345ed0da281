"""Table 4 of the paper: the gain of post-processing, of mixed data and of the prior."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.adapt import AdaptJob, adapt
from training.core.config import adapt_config
from training.experiments.speed import SCRATCH, over_seeds
from training.experiments.study import (
    Study,
    Variant,
    long_enough,
    names,
    open_study,
    people_of,
    read_runs,
    require_subjects,
    run_main,
    run_once,
    study_parser,
)
from training.experiments.subjects import Row, Subject, append_rows, read_records, read_rows, subjects
from training.experiments.tables import (
    NONE,
    last,
    markdown,
    mean_and_deviation,
    number,
    plot_bars,
    runs_table,
    write_page,
)
from visualdub.actor.package import Actor, load_actor
from visualdub.actor.record import Consent
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.errors import BadInput
from visualdub.face.track import Performance
from visualdub.measure.evaluate import OutputFaces, evaluated_frames, nothing_rendered
from visualdub.measure.shot import ShotMeasures
from visualdub.render.shot_renderer import RenderOptions
from visualdub.services import AdaptClip
from visualdub.stages import StageClock
from visualdub.timing import FrameRange

FULL, ANCHOR, FREE = "full", "anchor", "free"
LABELS = {
    FULL: "full: prior, mixed 1:1 with other people",
    ANCHOR: "without mixed data: prior, weights held near it (L2-SP)",
    FREE: "without either: prior, nothing holds the weights",
    SCRATCH: "without prior: from scratch",
}
PAPER = {FULL: (29.10, 0.899, 5.76), ANCHOR: (28.95, 0.897, 5.88)}  # PSNR, SSIM, FID at 100 frames
PAPER_PLAIN = (28.20, 0.888, 5.28)  # without post-processing
RAW, COMPOSITE, PLAIN = "raw", "composite", "without post-processing"
FINISHED = "ablation_composite.csv"
EVERY = 100  # steps between measurements
CONSENT = Consent(
    "the publisher of the research clip", "with its publication", "to measure this method; removed afterwards"
)


@dataclass(frozen=True)
class Finished:
    """The measures of one output of one actor on the tested frames; PSNR in dB, sharpness and flicker as
    ratios to the filmed frames.
    """

    subject: str
    variant: str
    learned: int  # frames
    seed: int
    steps: int
    output: str
    psnr_crop: float
    psnr_mask: float
    ssim_crop: float
    ssim_mask: float
    sharpness: float
    flicker: float


# Decimals of each measure in a table, in the order of `Finished`.
MEASURES = {"psnr_crop": 2, "psnr_mask": 2, "ssim_crop": 3, "ssim_mask": 3, "sharpness": 2, "flicker": 2}


def variants(wanted: Sequence[str], steps: int, rehearsal: Path | None) -> tuple[list[Variant], list[str]]:
    """The variants to run, and a line for each that cannot run without rehearsal data. Raises `BadInput` for
    other names.
    """
    offered = {
        FULL: Variant(FULL, adapt_config(True, True, steps=steps), True, rehearsal),
        ANCHOR: Variant(ANCHOR, adapt_config(True, False, steps=steps), True),
        FREE: Variant(FREE, adapt_config(True, False, steps=steps, anchor=0.0), True),
        SCRATCH: Variant(SCRATCH, adapt_config(False, False, steps=steps), False),
    }
    if unknown := [w for w in wanted if w not in offered]:
        raise BadInput(f"variant {unknown[0]!r} is not known; expected some of {', '.join(offered)}")
    left_out = [w for w in wanted if w == FULL and rehearsal is None]
    lines = [f"{w} is left out: no packed dataset to mix in was given with --rehearsal." for w in left_out]
    return [offered[w] for w in wanted if w not in left_out], lines


def run(
    study: Study,
    people: Sequence[Subject],
    chosen: Sequence[Variant],
    finished: Sequence[str],
    lines: Sequence[str] = (),
) -> None:
    """Make the runs that are not in the tables yet and write tables, page and plot. finished: variants whose
    composites are measured.
    """
    for variant in chosen:
        for subject in people:
            for seed in study.seeds:
                steps = variant.config.steps or 1
                run_once(study, subject, variant, seed, [*range(0, steps, EVERY), steps])
                if variant.name in finished:
                    finish_once(study, subject, variant, seed)
                write(study, lines)


# ---- the finished frame ------------------------------------------------------------------------------------


def finish_once(study: Study, subject: Subject, variant: Variant, seed: int) -> None:
    """Adapt an actor and measure its finished frames with and without post-processing; a run that is in the
    table is skipped.
    """
    table = study.output / FINISHED
    run = (subject.name, variant.name, subject.learned, seed)
    if any((f.subject, f.variant, f.learned, f.seed) == run for f in read_records(Finished, table)):
        return
    config = replace(variant.config, generator=study.generator, seed=seed, patience=0)
    with tempfile.TemporaryDirectory() as folder:
        clip = AdaptClip(subject.clip, FrameRange(0, subject.learned))
        package = Path(folder) / f"{subject.name}.actor"
        prior = study.prior_file if variant.prior else None
        adapt(AdaptJob((clip,), subject.name, package, CONSENT, config, prior, variant.rehearsal))
        measured = measure_finished(track_shot(plan_shot(subject.clip)), subject.tested, load_actor(package))
    made = [
        Finished(*run, config.steps or 0, output, *(_figure(values[m]) for m in MEASURES))
        for output, values in measured.items()
    ]
    append_rows(table, made)
    print(
        f"{subject.name} {variant.name}: " + ", ".join(f"{f.output} {f.psnr_crop:.2f} dB" for f in made),
        flush=True,
    )


def measure_finished(shot: TrackedShot, frames: FrameRange, actor: Actor) -> dict[str, dict[str, Any]]:
    """The measures of `frames` rendered with their own performance: raw, composite, and a composite without
    segmentation of the background.

    Raises `NoFace` where no frame is rendered.
    """
    tracked, own, clock = shot.trim(frames), Performance.of_track(shot.track.span(frames)), StageClock()
    plain_options = RenderOptions(watermark=False, matting=False)
    finished, plain = (ShotMeasures(actor.renderer.window) for _ in range(2))
    with OutputFaces(tracked.track) as faces:
        pairs = zip(
            evaluated_frames(tracked, own, actor, clock),
            evaluated_frames(tracked, own, actor, clock, options=plain_options),
            strict=True,
        )
        for with_segmentation, without in pairs:
            faces.add(with_segmentation.rgb)
            if with_segmentation.measured is not None and without.measured is not None:
                finished.add(with_segmentation.measured)
                plain.add(without.measured)
        if not len(finished):
            raise nothing_rendered(tracked)
        mouth = faces.mouth(finished.numbers)
    table = finished.table(mouth)
    return {RAW: table["raw"], COMPOSITE: table["composite"], PLAIN: plain.table(mouth)["composite"]}


def _figure(value: float | None) -> float:
    return math.nan if value is None else round(float(value), 5)


# ---- results -----------------------------------------------------------------------------------------------


def write(study: Study, lines: Sequence[str] = ()) -> None:
    """Write the page and the plot of everything in the tables."""
    rows, finished = read_rows(study.table), read_records(Finished, study.output / FINISHED)
    names, kinds = people_of(rows), [k for k in LABELS if any(r.variant == k for r in rows)]
    learned = sorted({r.learned for r in rows})
    write_page(
        study.output / f"{study.name}.md",
        "The gain of each part (Table 4)",
        [
            (
                f"Adapted on {', '.join(map(str, learned))} frames, measured on later ones. Mean ± sample"
                " standard deviation over subjects, each the mean over its seeds. The paper's figures are of"
                " 100 frames."
            ),
            "\n".join(f"- {line}" for line in lines),
            "## Raw network output",
            variants_table(rows, names, kinds),
            "## Finished frames, with and without post-processing",
            finished_table(finished),
            "## Runs",
            runs_table(read_runs(study)),
        ],
    )
    panels = {
        "raw network output": {k: [_or_nan(over_seeds(rows, n, k, last)) for n in names] for k in kinds}
    }
    for kind in dict.fromkeys(f.variant for f in finished):
        panels[f"finished frames, {kind}"] = {
            o: [_or_nan(_seeds(finished, n, kind, o, "psnr_crop")) for n in names]
            for o in (RAW, COMPOSITE, PLAIN)
        }
    plot_bars(study.output / f"{study.name}.png", panels, names)


def variants_table(rows: Sequence[Row], names: Sequence[str], kinds: Sequence[str]) -> str:
    """A table of the PSNR of each variant's raw output at the end of its run, beside the paper's figures of
    whole pipelines, and of each subject's crop.
    """
    lines = []
    for kind in LABELS:
        if kind not in kinds and kind not in PAPER:
            continue
        crop, mask = (
            [over_seeds(rows, n, kind, last, of=of) for n in names] for of in ("psnr_crop", "psnr_mask")
        )
        lines.append(
            [
                LABELS[kind],
                *_paper(PAPER.get(kind)),
                mean_and_deviation(crop),
                mean_and_deviation(mask),
                *map(number, crop),
            ]
        )
    return markdown(
        [
            "variant",
            "paper, PSNR",
            "paper, SSIM",
            "paper, FID",
            "PSNR crop",
            "PSNR mask",
            *(f"{n}, crop" for n in names),
        ],
        lines,
    )


def finished_table(finished: Sequence[Finished]) -> str:
    """A table of every measure of each output of the packaged actors, beside the paper's figures."""
    lines = []
    for variant in dict.fromkeys(f.variant for f in finished):
        names = list(dict.fromkeys(f.subject for f in finished if f.variant == variant))
        for output in (RAW, COMPOSITE, PLAIN):
            paper = {COMPOSITE: PAPER.get(variant), PLAIN: PAPER_PLAIN}.get(output)
            cells = [
                mean_and_deviation([_seeds(finished, n, variant, output, m) for n in names], d)
                for m, d in MEASURES.items()
            ]
            lines.append([f"{variant}, {output}", *_paper(paper), *cells])
    if not lines:
        lines = [[PLAIN, *_paper(PAPER_PLAIN), *[NONE] * len(MEASURES)]]
    return markdown(
        [
            "output",
            "paper, PSNR",
            "paper, SSIM",
            "paper, FID",
            "PSNR crop",
            "PSNR mask",
            "SSIM crop",
            "SSIM mask",
            "sharpness",
            "flicker",
        ],
        lines,
    )


def _paper(figures: tuple[float, float, float] | None) -> list[str]:
    return [NONE] * 3 if figures is None else [f"{figures[0]:.2f}", f"{figures[1]:.3f}", f"{figures[2]:.2f}"]


def _seeds(
    finished: Sequence[Finished], subject: str, variant: str, output: str, measure: str
) -> float | None:
    """The mean of a measure over the seeds for which it is finite; None where there are none."""
    values = [
        float(getattr(f, measure))
        for f in finished
        if (f.subject, f.variant, f.output) == (subject, variant, output)
    ]
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) / len(finite) if finite else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


# ---- command line ------------------------------------------------------------------------------------------


def main(given: Sequence[str]) -> None:
    """`python -m training.experiments.ablation --clips DIR -o DIR --rehearsal DATASET`: the gain of each part
    of the method.
    """
    parser = study_parser(main.__doc__ or "", 640)
    parser.add_argument(
        "--rehearsal", type=Path, metavar="DATASET", help="packed dataset whose people are mixed in"
    )
    parser.add_argument(
        "--variants", type=names, default=list(LABELS), metavar="A,B", help=f"default {','.join(LABELS)}"
    )
    parser.add_argument(
        "--finished",
        type=names,
        metavar="A,B",
        help="variants whose composites are measured; by default the first",
    )
    options = parser.parse_args(given)
    chosen, lines = variants(options.variants, options.steps, options.rehearsal)
    if not chosen:
        raise BadInput("nothing is left to run; " + "; ".join(lines))
    finished = options.finished if options.finished is not None else [chosen[0].name]
    if unknown := [f for f in finished if f not in [v.name for v in chosen]]:
        raise BadInput(
            f"--finished {unknown[0]!r} is not run; expected some of {', '.join(v.name for v in chosen)}"
        )
    people, short = long_enough(subjects(options.clips, options.subjects))
    require_subjects(people, [*lines, *short])
    study = open_study("ablation", options, given, any(v.prior for v in chosen))
    run(study, people, chosen, finished, [*lines, *short])
    print(study.output / "ablation.md")


if __name__ == "__main__":
    run_main(main)
