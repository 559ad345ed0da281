"""Shared by the experiments: their command line, and runs that are made once and recorded with their
conditions.
"""

from __future__ import annotations

import argparse
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import cv2
import torch

from training.core.config import AdaptConfig, GeneratorConfig
from training.experiments.subjects import (
    Row,
    Subject,
    adapt_and_measure,
    append_rows,
    done,
    read_records,
    read_rows,
)
from training.prior_file import SHIPPED, Prior, check_fits, load_prior
from visualdub.errors import BadInput, VisualDubError
from visualdub.face.tracker import cached_track

RUNS = "runs.csv"
SUBJECTS = "hill,webcam,stage"


@dataclass(frozen=True)
class Variant:
    """One way to train a network."""

    name: str
    config: AdaptConfig  # generator and seed are replaced by the study's
    prior: bool  # whether it starts from the study's prior
    rehearsal: Path | None = None  # packed dataset that is mixed in


@dataclass(frozen=True)
class Study:
    """One experiment: `name`.csv, `name`.md and `name`.png in `output`, beside `RUNS`."""

    name: str
    output: Path
    seeds: tuple[int, ...] = (0,)
    prior_file: Path | None = None
    prior: Prior | None = None
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    command: str = ""  # as typed, without the folders of paths

    @property
    def table(self) -> Path:
        """The CSV of its measurements."""
        return self.output / f"{self.name}.csv"


@dataclass(frozen=True)
class RunRecord:
    """The conditions of one run."""

    experiment: str
    subject: str
    variant: str
    learned: int  # frames
    tested: str  # A:B
    seed: int
    steps: int
    seconds: float  # of optimisation
    wall_seconds: float  # reading and measuring included
    threads: int
    torch: str
    device: str
    machine: str
    width: float  # of the network
    prior: str  # first 12 digits of its SHA-256, or "none"
    rehearsal: str
    command: str


# ---- one run -----------------------------------------------------------------------------------------------


def measured_at(steps: int) -> list[int]:
    """The numbers of steps after which a run is measured: often at first, then every 50, and at its end."""
    return sorted({s for s in (0, 10, 20, 30, 40, 50, 75, *range(100, steps, 50), steps) if s <= steps})


def run_once(study: Study, subject: Subject, variant: Variant, seed: int, at: Sequence[int]) -> None:
    """Make one run, measured after each number of steps in `at`, and add it to the study's tables; a run that
    they hold is skipped.

    Raises `BadInput` where the table holds the same run with another number of steps.
    """
    steps, label = (
        variant.config.steps or 1,
        f"{subject.name} {variant.name}, {subject.learned} frames, seed {seed}",
    )
    rows = read_rows(study.table)
    if done(rows, subject, variant.name, seed):
        last = max(r.step for r in rows if done([r], subject, variant.name, seed))
        if last != steps:
            raise BadInput(
                f"{study.table} holds {label} of {last} steps; expected {steps}: give as many, or another"
                " folder"
            )
        _require_same_prior(study, subject, variant, seed, label)
        print(f"{label}: done already", flush=True)
        return
    began = time.monotonic()
    config = replace(variant.config, generator=study.generator, seed=seed)
    made, _ = adapt_and_measure(
        subject, variant.name, config, at, study.prior if variant.prior else None, variant.rehearsal
    )
    append_rows(
        study.output / RUNS,
        [record(study, subject, variant, config, made[-1].seconds, time.monotonic() - began)],
    )
    append_rows(study.table, made)
    print(f"{label}: {made[-1].psnr_crop:.2f} dB after {steps} steps, {made[-1].seconds:.0f} s", flush=True)


def _require_same_prior(study: Study, subject: Subject, variant: Variant, seed: int, label: str) -> None:
    """Raise `BadInput` where a run that would be skipped started from another prior than the study's."""
    expected = study.prior.hash[:12] if variant.prior and study.prior else "none"
    for run in read_runs(study):
        same = (run.subject, run.variant, run.learned, run.seed) == (
            subject.name,
            variant.name,
            subject.learned,
            seed,
        )
        if same and run.prior != expected:
            raise BadInput(
                f"{study.table} holds {label} from prior {run.prior}; expected {expected}: give another"
                " folder"
            )


def record(
    study: Study, subject: Subject, variant: Variant, config: AdaptConfig, seconds: float, wall: float
) -> RunRecord:
    """The conditions of a run that has just ended. seconds: of optimisation. wall: seconds in all."""
    return RunRecord(
        study.name,
        subject.name,
        variant.name,
        subject.learned,
        str(subject.tested),
        config.seed,
        config.steps or 0,
        round(seconds, 1),
        round(wall, 1),
        torch.get_num_threads(),
        torch.__version__,
        device(),
        machine(),
        config.generator.width,
        study.prior.hash[:12] if variant.prior and study.prior else "none",
        variant.rehearsal.name if variant.rehearsal else "none",
        study.command,
    )


def read_runs(study: Study) -> list[RunRecord]:
    """The conditions of the study's runs, the last record of each."""
    runs = [r for r in read_records(RunRecord, study.output / RUNS) if r.experiment == study.name]
    return list({(r.subject, r.variant, r.learned, r.seed): r for r in runs}.values())


def people_of(rows: Sequence[Row]) -> list[str]:
    """The subjects of the rows, in the order in which they were measured."""
    return list(dict.fromkeys(r.subject for r in rows))


def machine() -> str:
    """The processor's model."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def device() -> str:
    """The device that the networks run on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def long_enough(people: Sequence[Subject]) -> tuple[list[Subject], list[str]]:
    """The subjects whose clips hold all frames that are needed, and a line about each other subject."""
    usable, lines = [], []
    for s in people:
        count = len(cached_track(s.clip)[0])
        if max(s.learned, s.tested.end_exclusive) <= count:
            usable.append(s)
        else:
            lines.append(
                f"{s.name} is left out: its clip has {count} frames, frames 0:{s.learned} and {s.tested} are"
                " needed"
            )
    return usable, lines


def require_subjects(people: Sequence[Subject], lines: Sequence[str]) -> None:
    """Print the lines about what is left out. Raises `BadInput` where no subject is left."""
    for line in lines:
        print(line, flush=True)
    if not people:
        raise BadInput("no subject is left to measure; " + "; ".join(lines))


# ---- command line ------------------------------------------------------------------------------------------


def names(text: str) -> list[str]:
    """`a,b,c` as a list."""
    return [w.strip() for w in text.split(",") if w.strip()]


def numbers(text: str) -> list[int]:
    """`1,2,3` as a list, for argparse."""
    return [int(w) for w in names(text)]


def study_parser(doc: str, steps: int) -> argparse.ArgumentParser:
    """A parser with the options of all experiments. steps: their default number."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument(
        "--clips", type=Path, required=True, metavar="DIR", help="folder of the subjects' clips"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of tables and plots; runs that they hold are skipped",
    )
    parser.add_argument(
        "--subjects", type=names, default=names(SUBJECTS), metavar="A,B", help=f"default {SUBJECTS}"
    )
    parser.add_argument(
        "--prior", type=Path, default=SHIPPED, metavar="FILE", help="default: the shipped one"
    )
    parser.add_argument("--steps", type=int, default=steps, metavar="N", help=f"of each run, default {steps}")
    parser.add_argument("--seeds", type=numbers, default=[0], metavar="A,B", help="default 0")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of torch; by default its own choice"
    )
    return parser


def open_study(name: str, options: argparse.Namespace, given: Sequence[str], needs_prior: bool) -> Study:
    """The study of the given options, whose folder is created. Raises `BadInput` for a prior that does not
    fit.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    prior = load_prior(options.prior) if needs_prior else None
    generator = prior.config if prior else GeneratorConfig()
    if prior:
        check_fits(prior, generator, AdaptConfig(generator, steps=1).losses, str(options.prior))
    options.output.mkdir(parents=True, exist_ok=True)
    command = shlex.join(
        ["python", "-m", f"training.experiments.{name}", *(Path(g).name if "/" in g else g for g in given)]
    )
    return Study(
        name,
        options.output,
        tuple(options.seeds),
        options.prior if prior else None,
        prior,
        generator,
        command,
    )


def run_main(main: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Run a script and exit: with its own status or 0, with 2 and one line for an error, with 130 on
    Ctrl-C.
    """
    try:
        status = main(sys.argv[1:])
    except VisualDubError as e:
        print(e, file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped; the same command resumes with the run it was in", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(status or 0)
