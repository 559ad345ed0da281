"""Whom the experiments adapt to, and one adaptation measured on the same later frames as it goes."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from training.adapt import make_trainer, rehearsal_people
from training.core.config import AdaptConfig
from training.core.trainer import Probe, Trainer
from training.data.frames import FrameSet, read_frame_set
from training.data.windows import still_windows
from training.prior_file import Prior
from visualdub.errors import BadInput, NoFace
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.timing import FrameRange

CLIPS = {
    "hill": "hdtf_hill.mp4",
    "webcam": "webcam_1.mp4",
    "stage": "stage_2.mp4",
    "roskam": "hdtf_roskam.mp4",
}
ADAPTED = 100  # frames learned from, where nothing else is said
TESTED = FrameRange(150, 200)  # 20 frames or more after those

Record = TypeVar("Record")  # a dataclass of strings and numbers, one line of a table


@dataclass(frozen=True)
class Subject:
    """One person never trained on: frames 0:`learned` to learn from, the same `tested` frames whatever is
    learned from.
    """

    name: str
    clip: Path
    learned: int = ADAPTED
    tested: FrameRange = TESTED

    def track(self, frames: FrameRange) -> Track:
        """The clip's track of `frames`."""
        return cached_track(self.clip)[0].span(frames)

    def frame_set(self, frames: FrameRange, config: AdaptConfig) -> FrameSet:
        """The clip's `frames` ready to train on or to test with."""
        return read_frame_set(self.clip, self.track(frames), config.generator.view)


@dataclass(frozen=True)
class Row:
    """One measurement. `variant` names how the network was trained; PSNR in dB of the raw network output."""

    subject: str
    variant: str
    learned: int  # frames
    seed: int
    step: int
    seconds: float  # of optimisation so far, measuring left out
    psnr_crop: float
    psnr_mask: float


def subjects(
    folder: Path, names: Sequence[str], learned: int = ADAPTED, tested: FrameRange | None = None
) -> list[Subject]:
    """The named people with their clips in `folder`. Raises `BadInput` for a name that is not in `CLIPS`."""
    for name in names:
        if name not in CLIPS:
            raise BadInput(f"subject {name!r} is not known; expected some of {', '.join(CLIPS)}")
    return [Subject(n, folder / CLIPS[n], learned, tested or TESTED) for n in names]


def learn(
    subject: Subject,
    variant: str,
    config: AdaptConfig,
    at: Sequence[int],
    prior: Prior | None = None,
    rehearsal: Path | None = None,
) -> tuple[list[Row], Trainer]:
    """Adapt for `config.steps` steps; measure the averaged renderer on the tested frames after each count of
    steps in `at`.
    """
    learned = subject.frame_set(FrameRange(0, subject.learned), config)
    own = {subject.track(subject.tested).source_hash}
    others = rehearsal_people(rehearsal, config, own) if rehearsal is not None else []
    trainer = make_trainer(config, [learned], others, prior)
    tested, t = subject.frame_set(subject.tested, config), config.generator.window
    blocks = [(0, i) for i in range(0, len(tested) - t + 1, t) if tested.usable[i : i + t].all()]
    if not blocks:
        raise NoFace(
            f"{subject.clip}: no {t} frames in a row with a usable face in {subject.tested}; expected some to"
            " test on"
        )
    probe, rows, seconds, steps = (
        Probe(still_windows([tested], blocks, config.generator)),
        [],
        0.0,
        config.steps or 1,
    )
    for step in range(steps + 1):
        if step in at or step == steps:
            m = trainer.measure(probe)[0]
            rows.append(
                Row(
                    subject.name,
                    variant,
                    subject.learned,
                    config.seed,
                    step,
                    round(seconds, 1),
                    round(m["psnr_crop"], 3),
                    round(m["psnr_mask"], 3),
                )
            )
        if step < steps:
            began = time.monotonic()
            trainer.step(step / steps)
            seconds += time.monotonic() - began
    return rows, trainer


def append_rows(table: Path, rows: Sequence[Any]) -> None:
    """Add records, all of one dataclass, to a CSV, with its heading where it is new."""
    new = not table.is_file()
    with table.open("a", newline="") as f:
        writer = csv.writer(f)
        if new and rows:
            writer.writerow([field.name for field in fields(rows[0])])
        writer.writerows([astuple(r) for r in rows])


def read_records(kind: type[Record], table: Path) -> list[Record]:
    """What `append_rows` wrote of the dataclass `kind`; none where the file is not there. Raises `BadInput`
    for other columns.
    """
    if not table.is_file():
        return []
    kinds = get_type_hints(kind)
    with table.open(newline="") as f:
        lines = csv.DictReader(f)
        if list(lines.fieldnames or []) != list(kinds):
            raise BadInput(
                f"{table} has the columns {','.join(lines.fieldnames or [])}; expected {','.join(kinds)}"
            )
        return [kind(**{k: kinds[k](v) for k, v in line.items()}) for line in lines]


def read_rows(table: Path) -> list[Row]:
    """The measurements that `append_rows` wrote; none where the file is not there."""
    return read_records(Row, table)


def done(rows: Sequence[Row], subject: Subject, variant: str, seed: int) -> bool:
    """Whether this run is in the table already: an interrupted experiment goes on with the next."""
    return any(
        (r.subject, r.variant, r.learned, r.seed) == (subject.name, variant, subject.learned, seed)
        for r in rows
    )
