"""What a prior is worth: people who were not trained on, adapted from it and from scratch, step by step.

Works on a packed dataset alone: each validation person is known from their first frames and measured on later
ones. Prints the PSNR inside the mask of the averaged weights after some numbers of steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from training.core.config import AdaptConfig, adapt_config
from training.core.trainer import Trainer, ValidationBatch, adaptation_trainer
from training.data.frames import Frames
from training.data.packed import Dataset, PackedClip
from training.data.windows import pick_references, still_windows
from training.prior_file import Prior, load_prior
from visualdub.storage import write_json
from visualdub.timing import MARGIN

SCRATCH = "none"  # in place of a prior's file
STEPS = (0, 10, 50, 150, 500)
MOST_WINDOWS = 12  # that are measured of a person


@dataclass(frozen=True)
class Case:
    """One adaptation: whom, from what, with which random numbers."""

    person: str
    prior: str  # name of the prior's file, or `SCRATCH`
    seed: int


@dataclass(frozen=True)
class Settings:
    """How people are adapted to and measured."""

    frames: int  # that a person is known from
    steps: tuple[int, ...]  # after which the person is measured
    minutes: float | None = None  # no adaptation is begun after so long

    def config(self, prior: Prior | None, seed: int) -> AdaptConfig:
        """The configuration of one adaptation, as `vdub adapt` takes it."""
        config = adapt_config(prior is not None, False, steps=max(self.steps), seed=seed)
        return config if prior is None else replace(config, generator=prior.config)


@dataclass(frozen=True)
class FirstFrames:
    """The first `count` frames of a clip, as `Frames`."""

    clip: PackedClip
    count: int

    def __getattr__(self, name: str) -> object:
        value = getattr(self.clip, name)
        return value[: self.count] if name in ("usable", "mouth", "mel") and value is not None else value

    def __len__(self) -> int:
        return min(self.count, len(self.clip))


def later_windows(clip: PackedClip, first: int, window: int) -> list[tuple[int, int]]:
    """First frames of at most `MOST_WINDOWS` windows from frame `first` on, spread evenly."""
    usable = clip.usable
    starts = [(0, i) for i in range(first, len(clip) - window + 1, window) if usable[i : i + window].all()]
    return starts[:: max(1, -(-len(starts) // MOST_WINDOWS))]


def curve(
    clip: PackedClip, frames: int, prior: Prior | None, config: AdaptConfig, steps: Sequence[int]
) -> dict[int, float]:
    """PSNR in dB inside the mask after each number of `steps` of an adaptation to a clip's first `frames`."""
    known: Frames = FirstFrames(clip, frames)  # type: ignore[assignment]
    trainer: Trainer = adaptation_trainer(config, [known], [], prior)
    pool = trainer.sampler.frames[0]
    starts = later_windows(clip, frames + MARGIN, config.generator.window)
    references = pick_references([known], config.generator.references, pool)
    windows = still_windows([clip], starts, config.generator, references)
    measured, last = {}, max(steps)
    for step in range(last + 1):
        if step in steps:
            texture = trainer.averaged_texture().detach()
            measured[step] = trainer.measure(ValidationBatch(windows, texture))[0]["psnr_mask"]
        if step < last:
            trainer.step(step / last)
    return measured


def people_of(dataset: Dataset, frames: int, config: AdaptConfig) -> dict[str, PackedClip]:
    """The longest clip of each validation person that has later frames to measure."""
    least = frames + MARGIN + 2 * config.generator.window
    people = {}
    for name, clips in dataset.people("validation").items():
        longest = max(clips, key=lambda c: c.frames)
        if longest.frames >= least:
            people[name] = dataset.open(longest, config.generator.view_box, keep=True)
    return people


def measure_margins(
    dataset: Dataset, cases: Sequence[Case], settings: Settings, output: Path
) -> list[dict[str, Any]]:
    """The curve of each case, printed as it ends and written to `output`; no case is begun after the time of
    the settings.
    """
    began, results = time.monotonic(), list[dict[str, Any]]()
    for case in cases:
        if settings.minutes is not None and time.monotonic() - began > 60 * settings.minutes:
            break
        prior = None if case.prior == SCRATCH else load_prior(Path(case.prior))
        config = settings.config(prior, case.seed)
        clip = people_of(dataset, settings.frames, config)[case.person]
        psnr = curve(clip, settings.frames, prior, config, settings.steps)
        results.append({**asdict(case), "psnr_mask": psnr})
        print(case.person, case.prior, f"seed {case.seed}", line_of(psnr), flush=True)
        write_json(output, {"frames": settings.frames, "results": results})
    return results


def line_of(psnr: dict[int, float]) -> str:
    """A curve as one line."""
    return ", ".join(f"{value:.2f} dB after {step}" for step, value in psnr.items())


def main() -> None:
    """Print a line for each adaptation as it ends, and the means; write all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--priors", nargs="+", default=[SCRATCH], help=f"files of priors, or {SCRATCH}")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--frames", type=int, default=100, help="that a person is known from")
    parser.add_argument("--people", nargs="+", help="names of validation people; all by default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="no adaptation is begun after so long")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="JSON")
    args = parser.parse_args()
    dataset = Dataset(args.dataset)
    settings = Settings(args.frames, tuple(args.steps), args.minutes)
    people = args.people or sorted(people_of(dataset, args.frames, settings.config(None, 0)))
    cases = [Case(p, prior, seed) for seed in range(args.seeds) for p in people for prior in args.priors]
    results = measure_margins(dataset, cases, settings, args.output)
    for prior in args.priors:
        curves = [r["psnr_mask"] for r in results if r["prior"] == prior]
        if curves:
            means = {step: mean(c[step] for c in curves) for step in curves[0]}
            print(f"mean of {len(curves)}", prior, line_of(means), flush=True)


if __name__ == "__main__":
    main()
