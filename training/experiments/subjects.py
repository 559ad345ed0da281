"""The subjects of the experiments, and an adaptation that is measured on the same later frames while it
runs.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from training.adapt import rehearsal_people
from training.core.config import AdaptConfig
from training.core.trainer import Trainer, ValidationBatch, adaptation_trainer
from training.data.frames import FrameSet, read_frame_set, with_aligned_references
from training.data.windows import still_windows
from training.prior_file import Prior
from visualdub.actor.footage import DetailClip, detail_of
from visualdub.errors import BadInput, NoFace
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.render.detail_frames import DetailFrames
from visualdub.timing import FrameRange

CLIPS = {
    "hill": "hdtf_hill.mp4",
    "webcam": "webcam_1.mp4",
    "stage": "stage_2.mp4",
    "roskam": "hdtf_roskam.mp4",
}
ADAPTED = 100  # frames to adapt to, by default
TESTED = FrameRange(150, 200)  # frames to measure, at least 20 frames after those

Record = TypeVar("Record")  # a dataclass of strings and numbers, one line of a table


@dataclass(frozen=True)
class Subject:
    """One person whom the prior was not trained on: frames 0:`learned` to adapt to, and the frames `tested`,
    which are the same whatever `learned` is.
    """

    name: str
    clip: Path
    learned: int = ADAPTED
    tested: FrameRange = TESTED

    def track(self, frames: FrameRange) -> Track:
        """The clip's track of `frames`."""
        return cached_track(self.clip)[0].span(frames)

    def frame_set(self, frames: FrameRange, config: AdaptConfig) -> FrameSet:
        """The clip's `frames`, ready to train on or to measure."""
        track = self.track(frames)
        read = read_frame_set(self.clip, track, config.generator.view_box)
        return with_aligned_references(read, track, self._footage) if config.generator.aligned else read

    @cached_property
    def _footage(self) -> DetailFrames | None:
        """The frames that the person is known from, as a package keeps them."""
        return detail_of([DetailClip(self.clip, self.track(FrameRange(0, self.learned)))])


@dataclass(frozen=True)
class Row:
    """One measurement of a variant; PSNR in dB of the raw network output."""

    subject: str
    variant: str
    learned: int  # frames
    seed: int
    step: int
    seconds: float  # of optimisation so far, without measuring
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


def adapt_and_measure(
    subject: Subject,
    variant: str,
    config: AdaptConfig,
    at: Sequence[int],
    prior: Prior | None = None,
    rehearsal: Path | None = None,
) -> tuple[list[Row], Trainer]:
    """Adapt for `config.steps` steps and measure the averaged renderer on the tested frames after each number
    of steps in `at` and at the end. Returns the measurements and the trainer.

    Raises `NoFace` where the tested frames hold no window with a usable face.
    """
    frames = subject.frame_set(FrameRange(0, subject.learned), config)
    actor_hashes = {subject.track(subject.tested).source_hash}
    others = rehearsal_people(rehearsal, config, actor_hashes) if rehearsal is not None else []
    trainer = adaptation_trainer(config, [frames], others, prior)
    tested, t = subject.frame_set(subject.tested, config), config.generator.window
    blocks = [(0, i) for i in range(0, len(tested) - t + 1, t) if tested.usable[i : i + t].all()]
    if not blocks:
        raise NoFace(
            f"{subject.clip}: no {t} frames in a row with a usable face in {subject.tested}; expected some to"
            " test on"
        )
    validation = ValidationBatch(still_windows([tested], blocks, config.generator))
    rows, seconds, steps = [], 0.0, config.steps or 1
    for step in range(steps + 1):
        if step in at or step == steps:
            m = trainer.measure(validation)[0]
            crop, mask = round(m["psnr_crop"], 3), round(m["psnr_mask"], 3)
            run = (subject.name, variant, subject.learned, config.seed)
            rows.append(Row(*run, step, round(seconds, 1), crop, mask))
        if step < steps:
            began = time.monotonic()
            trainer.step(step / steps)
            seconds += time.monotonic() - began
    return rows, trainer


def append_rows(table: Path, rows: Sequence[Any]) -> None:
    """Add records, all of one dataclass, to a CSV; a new file gets a heading."""
    new = not table.is_file()
    with table.open("a", newline="") as f:
        writer = csv.writer(f)
        if new and rows:
            writer.writerow([field.name for field in fields(rows[0])])
        writer.writerows([astuple(r) for r in rows])


def read_records(kind: type[Record], table: Path) -> list[Record]:
    """The records of the dataclass `kind` that `append_rows` wrote; none where there is no file. Raises
    `BadInput` for other columns.
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
    """The measurements that `append_rows` wrote; none where there is no file."""
    return read_records(Row, table)


def done(rows: Sequence[Row], subject: Subject, variant: str, seed: int) -> bool:
    """Whether the table holds this run, so that an interrupted experiment resumes with the next one."""
    return any(
        (r.subject, r.variant, r.learned, r.seed) == (subject.name, variant, subject.learned, seed)
        for r in rows
    )
