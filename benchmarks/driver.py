"""How well a filmed voice actor's mouth drives another's: the opening of the driven lips against the driving
ones, over people who say the words of the GRID corpus and over clips of one person.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from visualdub.actor import Actor, load_actor
from visualdub.dub import Output, dub_shot, track_driver, track_shot
from visualdub.edit import DialogueCue, plan_shot
from visualdub.face.landmarks import LIPS, lip_opening
from visualdub.face.models import FaceModel, posed_landmarks
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.measure.mouth import correlation
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.source import probe
from visualdub.speech.activity import mouth_activity, tracked_opening
from visualdub.speech.closure import close_lips
from visualdub.speech.predict import SpeechMotion
from visualdub.speech.retarget import DrivenMouth, DriverMouth, driver_mouth, retarget
from visualdub.speech.style import SpeechStyle, fit_style, rest_pose
from visualdub.timing import FrameRange

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
CLOSED_SHARE = 0.15  # of the way from a person's rest to the mean opening while active: lips below it touch
RATE = Fraction(30)  # frames/s of the driven mouth where no clip gives it: another than the drivers'


@dataclass(frozen=True)
class Person:
    """One clip of somebody, as a driver and as an actor."""

    name: str
    speaker: str
    track: Track
    driver: DriverMouth
    opening: Array  # (n,) of the landmarks, in distances between the outer eye corners
    touching_below: float
    spread: float  # standard deviation of the opening while the mouth is active

    @property
    def model(self) -> FaceModel:
        """The face model of the track."""
        return self.track.model


@dataclass(frozen=True)
class Row:
    """One driver and one actor."""

    driver: str
    actor: str
    correlation: float  # of the driven with the driving opening
    spread: float  # standard deviation of the driven opening, over the actor's own
    touching: int  # frames in which the driver's lips touch
    driven_touching: int  # ... in which the driven lips do
    both: int


def read_person(clip: Path, speaker: str) -> Person | None:
    """The person in a clip; None where the mouth hardly moves."""
    track, _ = cached_track(clip)
    opening, active = tracked_opening(track), mouth_activity(track)
    if active.sum() < float(track.rate):
        return None
    driver = driver_mouth(clip, track, probe(clip).frame_times())
    rest = float(np.median(np.sort(opening)[: max(1, len(opening) // 10)]))
    below = rest + CLOSED_SHARE * (float(opening[active].mean()) - rest)
    return Person(clip.name, speaker, track, driver, opening, below, float(opening[active].std()))


def driven_mouth(driver: DriverMouth, actor: Person, style: SpeechStyle, times_s: Array) -> Array:
    """(k, m) the mouth of `actor` at `times_s`, moved by `driver`."""
    jaw, expression = rest_pose(actor.track)
    rest = np.concatenate([[jaw], expression[: len(style.mean) - 1]])
    driven = retarget(driver, actor.model, actor.track.identity, style, rest)
    motion: SpeechMotion = driven.at(times_s, RATE)
    mouth = rest + motion.speech_activity[:, None] * (style.apply(motion) - rest)
    return close_lips(actor.model, actor.track.identity, mouth, motion.closure, np.array(style.scale))


def lips_of(actor: Person, mouth: Array) -> tuple[Array, Array]:
    """Opening (k,) and lip landmarks (k, L, 3) of mouths (k, m) of a person."""
    expression = np.zeros((len(mouth), actor.model.n_expression))
    expression[:, : mouth.shape[1] - 1] = mouth[:, 1:]
    openings, lips = [], []
    for _, points in posed_landmarks(actor.model, actor.track.identity, mouth[:, 0], expression):
        openings.append(lip_opening(points))
        lips.append(points[:, list(LIPS)])
    return np.concatenate(openings), np.concatenate(lips)


def drive(driver: Person, actor: Person) -> Row:
    """The actor's mesh driven, at another frame rate than the driver's."""
    own = driver.driver.times_s
    times_s = np.arange(int(own[-1] * RATE) + 1) / float(RATE)
    opening, _ = lips_of(actor, driven_mouth(driver.driver, actor, fit_style(actor.track), times_s))
    active = np.interp(times_s, own, driver.driver.active.astype(float)) > 0.5
    driving = np.interp(times_s, own, driver.opening)
    names = driver.name, actor.name
    return compare(names, driving, opening, active, (driver.touching_below, actor))


def compare(
    names: tuple[str, str], driving: Array, opening: Array, active: Flags, limits: tuple[float, Person]
) -> Row:
    """The row of a driving and a driven opening (k,), over the frames in which the driver is `active`.

    limits: the opening below which the driver's lips touch, and the actor.
    """
    below, actor = limits
    a, b = driving[active], opening[active]
    touching, driven = a < below, b < actor.touching_below
    counts = int(touching.sum()), int(driven.sum()), int((touching & driven).sum())
    return Row(*names, correlation(a, b), float(np.nanstd(b)) / actor.spread, *counts)


def lip_error(driver: Person, actor: Person) -> float:
    """Of a person who drives another clip of themselves: mean over frames of the largest squared distance of
    a lip landmark from where the driver's own mouth has it, as a ratio to a mouth still at its mean.
    """
    own = driver.driver
    _, real = lips_of(actor, own.values)
    _, still = lips_of(actor, np.repeat(own.values[own.active].mean(0, keepdims=True), len(own), 0))
    _, found = lips_of(actor, driven_mouth(own, actor, fit_style(actor.track), own.times_s))
    errors = [((real - other)[own.active] ** 2).sum(-1).max(-1).mean() for other in (found, still)]
    return float(errors[0] / errors[1])


def dubbed(driver: Person, folder: Path, clip: Path, actor: Actor, who: Person) -> Row:
    """A whole dub of `clip` by `driver`, tracked again in its pictures."""
    info, movie = probe(clip), driver.driver.path
    count = min(info.frame_count, int(driver.driver.end_s * info.rate))
    shot = track_shot(plan_shot(clip, FrameRange(0, count)), who=actor.likeness)
    mouth = DrivenMouth(track_driver(DialogueCue(movie), count / info.rate))
    output = folder / f"{Path(driver.name).stem}.mkv"
    dub_shot(shot, movie, actor, Output(output, watermark=False), mouth=mouth)
    track, _ = cached_track(output)
    times_s = probe(output).frame_times()
    active = np.interp(times_s, driver.driver.times_s, driver.driver.active.astype(float)) > 0.5
    driving = np.interp(times_s, driver.driver.times_s, driver.opening)
    opening = np.where(track.usable, tracked_opening(track), np.nan)
    names = driver.name, clip.name
    return compare(names, driving, opening, active & track.usable, (driver.touching_below, who))


# ---- the tables --------------------------------------------------------------------------------------------


def summary(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    """One line of the table."""
    r = np.array([row.correlation for row in rows])
    spread = np.array([row.spread for row in rows])
    touching, driven, both = (
        sum(getattr(x, k) for x in rows) for k in ("touching", "driven_touching", "both")
    )
    low, middle, high = np.percentile(spread, [10, 50, 90])
    return (
        name,
        str(len(rows)),
        f"{r.mean():.3f}",
        f"{r.min():.3f}",
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        str(touching),
        f"{both / max(touching, 1):.0%}",
        f"{both / max(driven, 1):.0%}",
    )


def people_of(folder: Path, only_grid: bool) -> Iterator[Person]:
    """The people of the listed clips: those of the GRID corpus, or those who are in several."""
    listed = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    several = {c["speaker"] for c in listed if sum(c["speaker"] == d["speaker"] for d in listed) > 1}
    for clip in listed:
        if clip["file"].startswith("grid_") if only_grid else clip["speaker"] in several:
            person = read_person(folder / clip["file"], clip["speaker"])
            if person is not None:
                yield person


def main() -> None:
    """`python -m benchmarks.driver CLIPS [--dub CLIP --actor DIR]`: print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder with clips.json")
    parser.add_argument("--dub", type=Path, metavar="CLIP", help="dub it by every GRID clip")
    parser.add_argument("--actor", type=Path, metavar="DIR", help="who is in --dub")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    grid = list(people_of(args.clips, True))
    same = list(people_of(args.clips, False))
    across = [drive(d, a) for d, a in itertools.permutations(grid, 2)]
    mixed = [drive(d, a) for d in grid for a in same] + [drive(d, a) for d in same for a in grid]
    pairs = [(d, a) for d, a in itertools.permutations(same, 2) if d.speaker == a.speaker]
    themselves, errors = [drive(d, a) for d, a in pairs], [lip_error(d, a) for d, a in pairs]
    rows = [
        summary("GRID speakers drive each other", across),
        summary("GRID speakers and others", mixed),
        summary("another clip of the same person", themselves),
    ]
    pictures: list[Row] = []
    if args.dub and args.actor:
        who, actor = read_person(args.dub, "actor"), load_actor(args.actor)
        if who is None:
            parser.error(f"{args.dub} has no mouth that moves")
        with tempfile.TemporaryDirectory() as folder:
            pictures = [dubbed(d, Path(folder), args.dub, actor, who) for d in grid]
        rows.append(summary(f"finished dubs of {args.dub.name}, tracked again", pictures))
    columns = ("driven", "pairs", "correlation", "smallest", "spread", "touching", "recall", "precision")
    print(table(columns, rows), f"lip error, same person: {np.mean(errors):.3f}", sep="\n", flush=True)
    if args.json:
        save(args.json, table(columns, rows), (across, themselves, pictures), errors)


def save(path: Path, text: str, rows: tuple[list[Row], ...], errors: list[float]) -> None:
    """Write the result as JSON."""
    names = ("grid", "same_person", "dubs")
    figures: dict[str, float] = {"same_person_lip_error": round(float(np.mean(errors)), 4)}
    for name, part in zip(names, rows, strict=True):
        if part:
            figures[f"{name}_pairs"] = len(part)
            figures[f"{name}_correlation"] = round(float(np.mean([r.correlation for r in part])), 4)
            figures[f"{name}_smallest_correlation"] = round(min(r.correlation for r in part), 4)
            figures[f"{name}_spread"] = round(float(np.median([r.spread for r in part])), 4)
            hits = sum(r.both for r in part)
            figures[f"{name}_recall"] = round(hits / max(1, sum(r.touching for r in part)), 4)
            figures[f"{name}_precision"] = round(hits / max(1, sum(r.driven_touching for r in part)), 4)
    explained = (
        "The inner-lip opening of the driver's landmarks against that of the driven actor, resampled to"
        f" {RATE} frames/s, over the frames in which the driver's mouth is active. Spread: standard deviation"
        " of the driven opening over the actor's own, median (10th to 90th percentile). Touching: frames in"
        f" which the driver's lips are open by less than {CLOSED_SHARE:.0%} of the way from their rest to"
        " their mean; recall and precision of the frames in which the driven lips are, by the actor's rest"
        " and mean. Finished dubs are measured in their pictures."
    )
    error = (
        "A person who drives another clip of themselves should move as they did: the lip error, as a ratio to"
        f" a still mouth, is {np.mean(errors):.3f}."
    )
    smallest = figures["grid_smallest_correlation"]
    finding = Finding(
        "a filmed driver, GRID speakers on each other: correlation of driven and driving opening",
        "0.9",
        f"{figures['grid_correlation']:.3f}, smallest of {figures['grid_pairs']} pairs {smallest:.3f}",
    )
    write_result(path, "Driver", [explained, text, error], [finding], figures)


if __name__ == "__main__":
    main()
