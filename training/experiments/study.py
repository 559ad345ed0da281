"""What the experiments share: their command line, one run of them that is made once and recorded with how it
was made.
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
from training.experiments.subjects import Row, Subject, append_rows, done, learn, read_records, read_rows
from training.prior_file import SHIPPED, Prior, check_fits, load_prior
from visualdub.errors import BadInput, VisualDubError
from visualdub.face.tracker import cached_track

RUNS = "runs.csv"
SUBJECTS = "hill,webcam,stage"


@dataclass(frozen=True)
class Variant:
    """One way to train a network."""

    name: str
    config: AdaptConfig  # generator and seed are the study's
    prior: bool  # whether it starts from the study's
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
    command: str = ""  # as typed, paths as bare names

    @property
    def table(self) -> Path:
        """The CSV of its measurements."""
        return self.output / f"{self.name}.csv"


@dataclass(frozen=True)
class RunRecord:
    """How one run was made."""

    experiment: str
    subject: str
    variant: str
    learned: int  # frames
    tested: str  # A:B
    seed: int
    steps: int
    seconds: float  # of optimisation
    wall_seconds: float  # with reading and measuring
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
    """After how many steps a run is measured: often at first, every 50 later, and at its end."""
    return sorted({s for s in (0, 10, 20, 30, 40, 50, 75, *range(100, steps, 50), steps) if s <= steps})


def run_once(study: Study, subject: Subject, variant: Variant, seed: int, at: Sequence[int]) -> None:
    """Make one run and add it to the study's tables; skip it where it is there already.

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
    made, _ = learn(
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
    mine = study.prior.hash[:12] if variant.prior and study.prior else "none"
    for run in read_runs(study):
        same = (run.subject, run.variant, run.learned, run.seed) == (
            subject.name,
            variant.name,
            subject.learned,
            seed,
        )
        if same and run.prior != mine:
            raise BadInput(
                f"{study.table} holds {label} from prior {run.prior}; expected {mine}: give another folder"
            )


def record(
    study: Study, subject: Subject, variant: Variant, config: AdaptConfig, seconds: float, wall: float
) -> RunRecord:
    """How a run that has just ended was made. seconds: of optimisation; wall: of all."""
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
    """How the study's runs were made, the last record of each."""
    runs = [r for r in read_records(RunRecord, study.output / RUNS) if r.experiment == study.name]
    return list({(r.subject, r.variant, r.learned, r.seed): r for r in runs}.values())


def people_of(rows: Sequence[Row]) -> list[str]:
    """The subjects that rows tell of, in the order they were measured in."""
    return list(dict.fromkeys(r.subject for r in rows))


def machine() -> str:
    """The processor's model."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def device() -> str:
    """What the networks run on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def with_room(people: Sequence[Subject]) -> tuple[list[Subject], list[str]]:
    """The subjects whose clips hold all frames they need, and a line for each other one."""
    kept, lines = [], []
    for s in people:
        count = len(cached_track(s.clip)[0])
        if max(s.learned, s.tested.end_exclusive) <= count:
            kept.append(s)
        else:
            lines.append(
                f"{s.name} is left out: its clip has {count} frames, frames 0:{s.learned} and {s.tested} are"
                " needed"
            )
    return kept, lines


def some(people: Sequence[Subject], lines: Sequence[str]) -> None:
    """Print what is left out and why. Raises `BadInput` where nobody is left."""
    for line in lines:
        print(line, flush=True)
    if not people:
        raise BadInput("no subject is left to measure; " + "; ".join(lines))


# ---- command line ------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """`a,b,c` as a list."""
    return [w.strip() for w in text.split(",") if w.strip()]


def numbers(text: str) -> list[int]:
    """`1,2,3` as a list, for argparse."""
    return [int(w) for w in words(text)]


def study_parser(doc: str, steps: int) -> argparse.ArgumentParser:
    """The options all experiments take. steps: the default number of them."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument(
        "--clips", type=Path, required=True, metavar="DIR", help="folder of the subjects' clips"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder of tables and plots; resumed"
    )
    parser.add_argument(
        "--subjects", type=words, default=words(SUBJECTS), metavar="A,B", help=f"default {SUBJECTS}"
    )
    parser.add_argument(
        "--prior", type=Path, default=SHIPPED, metavar="FILE", help="default: the shipped one"
    )
    parser.add_argument("--steps", type=int, default=steps, metavar="N", help=f"of each run, default {steps}")
    parser.add_argument("--seeds", type=numbers, default=[0], metavar="A,B", help="default 0")
    parser.add_argument("--threads", type=int, metavar="N", help="default: as torch chooses")
    return parser


def open_study(name: str, options: argparse.Namespace, given: Sequence[str], needs_prior: bool) -> Study:
    """The study as asked for; its folder exists afterwards. Raises `BadInput` for a prior that does not
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
    """Run a script: exit status its own or 0, 2 with one line for what cannot be, 130 on Ctrl-C."""
    try:
        status = main(sys.argv[1:])
    except VisualDubError as e:
        print(e, file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped; the same command goes on with the run it was in", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(status or 0)
