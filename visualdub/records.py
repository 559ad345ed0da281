"""Records beside every dub: its provenance, and the report of what was done to each frame and how fast."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.track import Performance, Track
from visualdub.stages import StageClock, peak_memory_mib
from visualdub.storage import Together, write_json
from visualdub.timing import FrameRange

# ---- keys --------------------------------------------------------------------------------------------------


def digest(*parts: str | NDArray[np.generic]) -> str:
    """Hexadecimal BLAKE2b (128 bits) of texts and arrays, their shapes and types included."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, str):
            data = part.encode()
            total.update(f"text {len(data)} ".encode())
        else:
            array = np.ascontiguousarray(part)
            total.update(f"array {array.dtype} {array.shape} ".encode())
            data = array.tobytes()
        total.update(data)
    return total.hexdigest()


@dataclass(frozen=True)
class FrameKey:
    """What a finished frame's pixels depend on, by hash: equal keys are equal pixels, on machines that
    compute alike.

    Cache, farm and provenance name frames by it.
    """

    shot: str  # the clip's bytes, the shot's frames and their track
    actor: str  # the network with the actor's texture
    performance: str  # what the mouth does in every frame of the shot
    options: str  # of the renderer, and its version
    number: int  # of the frame in the clip

    def of_frame(self, number: int) -> FrameKey:
        """The key of another frame of the same job."""
        return replace(self, number=number)

    @property
    def job_hashes(self) -> dict[str, str]:
        """The four hashes by name, which all frames of one job share."""
        return {k: v for k, v in asdict(self).items() if k != "number"}

    @property
    def job(self) -> str:
        """One text for all frames of the job; the watermark carries bits of its hash."""
        return "|".join(self.job_hashes.values())


# ---- provenance --------------------------------------------------------------------------------------------

# Records of format 1 have no `job`, those up to 2 no occluders, up to 3 no driver, up to 4 no renderer, up to
# 5 one person alone.
FORMAT = 6
PROVENANCE_SUFFIX = ".provenance.json"


@dataclass(frozen=True)
class PassedThrough:
    """A run of frames of the clip left as they were, and why."""

    frames: str  # half open, A:B
    reason: str


@dataclass(frozen=True)
class PersonRecord:
    """One of several people who speak in the frames of a dub, as the fields of `Provenance`."""

    actor: str
    consent: dict[str, Any]
    prior_hash: str | None
    dialogue: str
    dialogue_hash: str
    drawn: int
    passed: tuple[PassedThrough, ...]


@dataclass(frozen=True)
class WatermarkRecord:
    """What is in the pixels. `box`: (left, top, right, bottom), pixels of the frame, holds every marked block
    of every frame.
    """

    on: bool
    payload: str | None = None  # hexadecimal
    scheme: str | None = None
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Provenance:
    """One dub. Hashes are hexadecimal; `consent` is the actor package's own entry."""

    source: str
    source_hash: str
    frames: str  # of the clip, half open, A:B
    actor: str
    consent: dict[str, Any]
    prior_hash: str | None
    dialogue: str | None
    dialogue_hash: str | None
    drawn: int
    passed: tuple[PassedThrough, ...]
    watermark: WatermarkRecord
    # the file an edited performance was read from; None = as predicted from the dialogue
    performance: str | None = None
    performance_hash: str | None = None
    job: dict[str, str] | None = None  # the hashes of `FrameKey`; None in records of format 1
    # what became of frames with something before the mouth: pass, draw or hold; None up to format 2
    occluded: str | None = None
    holdout: str | None = None  # the artist's matte of what stays the plate's; None: there was none
    holdout_hash: str | None = None
    # the movie of a filmed voice actor, who moved the mouth; None: there was none
    driver: str | None = None
    driver_hash: str | None = None
    # what the actor's network ran on, see `Execution.as_dict`: provider, precision, library and mode, and in
    # the fast mode what that costs; None up to format 4
    renderer: dict[str, str] | None = None
    # where several speak, each of them, the nearest to the camera last; `actor` and `consent` are theirs, and
    # `dialogue` is what is heard of all. Empty where one speaks
    people: tuple[PersonRecord, ...] = ()
    synthetic: bool = True  # the mouth in the drawn frames is machine-made
    tool: str = "Visual Dub"
    tool_version: str = field(default_factory=lambda: tool_version())
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    format: int = FORMAT


def tool_version() -> str:
    """The installed version of this project."""
    try:
        return version("visualdub")
    except PackageNotFoundError:
        return "unknown"


def passed_runs(first: int, reasons: Sequence[str | None]) -> tuple[PassedThrough, ...]:
    """Join neighbouring frames of the same reason. reasons: one per frame from frame `first` on, None where
    it was redrawn.
    """
    runs: list[tuple[int, int, str]] = []
    for i, reason in enumerate(reasons, first):
        if reason is None:
            continue
        if runs and runs[-1][1] == i and runs[-1][2] == reason:
            runs[-1] = (runs[-1][0], i + 1, reason)
        else:
            runs.append((i, i + 1, reason))
    return tuple(PassedThrough(f"{a}:{b}", why) for a, b, why in runs)


def sidecar_path(output: Path) -> Path:
    """Where the record of `output` lies: beside it, its name and `PROVENANCE_SUFFIX`."""
    return output.with_name(output.name + PROVENANCE_SUFFIX)


def write_provenance(output: Path, record: Provenance, together: Together | None = None) -> Path:
    """Write the record beside `output`, whole or not at all. Returns its path. Raises `OutputError` where it
    cannot be written.
    """
    path = sidecar_path(output)
    write_json(path, asdict(record), together)
    return path


def read_provenance(output: Path) -> Provenance:
    """Read the record beside `output`. Raises `BadInput` where there is none or it is not one of this
    format.
    """
    path = sidecar_path(output)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] not in range(1, FORMAT + 1):
            raise BadInput(
                f"{path} is a provenance record of format {raw['format']}; this version reads 1 to {FORMAT}"
            )
        mark = raw.pop("watermark")
        box = mark.pop("box")
        mark = WatermarkRecord(box=tuple(box) if box else None, **mark)
        people = tuple(PersonRecord(**{**p, "passed": _runs(p)}) for p in raw.pop("people", ()))
        return Provenance(passed=_runs(raw), people=people, watermark=mark, **_without(raw, "passed"))
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as e:
        raise BadInput(f"{path} is not a provenance record of Visual Dub: {e}") from e


def _runs(raw: dict[str, Any]) -> tuple[PassedThrough, ...]:
    return tuple(PassedThrough(**p) for p in raw["passed"])


def _without(raw: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in raw.items() if k != key}


class ChangedBounds:
    """The box around every pixel that a dub changed."""

    def __init__(self) -> None:
        self.box: tuple[int, int, int, int] | None = None  # left, top, right, bottom; half open

    def add(self, matte: NDArray[np.uint8]) -> None:
        """Grow the box by one frame's matte (H, W), 0 where nothing changed."""
        rows, columns = np.flatnonzero(matte.any(1)), np.flatnonzero(matte.any(0))
        if len(rows) == 0:
            return
        new = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        old = self.box or new
        self.box = (min(old[0], new[0]), min(old[1], new[1]), max(old[2], new[2]), max(old[3], new[3]))


# ---- report ------------------------------------------------------------------------------------------------

NO_FACE, BOTH_SILENT = "no usable face", "neither the dialogue nor the actor speaks"
SKIPPED = "skipped"  # asked for
ANOTHER_PERSON, TURNED = "another person", "the face is upside down or lies"
REPORT_SUFFIX = ".report.json"
SIDECARS = (REPORT_SUFFIX, PROVENANCE_SUFFIX)  # of the files that are written beside every movie


def pass_reasons(
    track: Track,
    performance: Performance,
    skipped: NDArray[np.bool_] | None = None,
    occluded: Sequence[str | None] = (),
) -> list[str | None]:
    """Why each of the shot's n frames keeps the source's pixels; None where it is redrawn.

    skipped: (n,) True where that was asked for. occluded: for each frame, what covers the mouth; None where
    nothing does.
    """
    silent = [covered or BOTH_SILENT for covered in occluded or [None] * len(track)]
    why = np.where(track.others, ANOTHER_PERSON, np.where(track.turned, TURNED, NO_FACE))
    why = np.where(track.usable, silent, why)
    if skipped is not None:
        why = np.where(skipped, SKIPPED, why)
    return [None if draw > 0 else str(reason) for draw, reason in zip(performance.draw, why, strict=True)]


@dataclass(frozen=True)
class OccludedFrames:
    """A run of frames of the clip in which something covers the mouth."""

    frames: str  # half open, A:B
    reason: str  # what covers it
    treatment: str  # pass, draw or hold


def occluded_runs(track: Track, occluded: Sequence[str | None], treatment: str) -> tuple[OccludedFrames, ...]:
    """The frames of a shot in which something covers the mouth, joined where it is the same. occluded: what,
    for each frame.
    """
    runs = passed_runs(track.start, occluded)
    return tuple(OccludedFrames(run.frames, run.reason, treatment) for run in runs)


@dataclass
class DubReport:
    """Everything `vdub dub` has to say about one output."""

    source: str
    output: str
    frames: int  # frames in = frames out
    drawn: int  # frames whose mouth was redrawn
    passed: tuple[PassedThrough, ...]
    track_from_cache: bool
    start_up_seconds: float  # loading models, predicting speech; the track is not in it
    seconds: float  # wall time after start-up, decode to encode
    frames_per_second: float  # finished frames, start-up apart
    stages: dict[str, dict[str, float]]  # seconds, frames, frames/s of each; stages overlap
    peak_memory_mib: float
    # picture against sound of the finished movie, see `Sync.as_dict`; None: not measured
    sync: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)  # anything else the user should know, one line each
    occluded: tuple[OccludedFrames, ...] = ()  # frames in which something covers the mouth
    driver: str | None = None  # the movie of the voice actor who moved the mouth; None: there was none
    driver_hash: str | None = None
    renderer: dict[str, str] | None = None  # what the network ran on, as in `Provenance`
    people: tuple[PersonRecord, ...] = ()  # where several speak, each of them; `passed` is true of them all

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def summary(self) -> str:
        """One line: how many frames are dubbed, how many passed through and why."""
        counts: dict[str, int] = {}
        for run in self.passed:
            counts[run.reason] = counts.get(run.reason, 0) + len(FrameRange.parse(run.frames))
        through = "".join(f"; {n} passed through: {reason}" for reason, n in counts.items())
        covered = sum(len(FrameRange.parse(run.frames)) for run in self.occluded)
        over = f"; something covers the mouth in {covered} ({self.occluded[0].treatment})" if covered else ""
        return f"{self.output}: {self.frames} frames, {self.drawn} redrawn{through}{over}"


def make_report(
    source: Path,
    output: Path,
    track: Track,
    performance: Performance,
    clock: StageClock,
    from_cache: bool,
    skipped: NDArray[np.bool_] | None = None,
    occluded: Sequence[str | None] = (),
) -> DubReport:
    """The report of one finished output. skipped, occluded: as `pass_reasons` takes them."""
    passed = passed_runs(track.start, pass_reasons(track, performance, skipped, occluded))
    seconds = clock.elapsed - clock.start_up
    return DubReport(
        str(source),
        str(output),
        len(track),
        int((performance.draw > 0).sum()),
        passed,
        from_cache,
        round(clock.start_up, 2),
        round(seconds, 2),
        round(len(track) / max(seconds, 1e-9), 2),
        clock.as_dict(),
        round(peak_memory_mib(), 1),
    )


def report_path(output: Path) -> Path:
    """Where the report of `output` lies."""
    return output.with_name(output.name + REPORT_SUFFIX)


def write_report(report: DubReport, output: Path, together: Together | None = None) -> Path:
    """Write the report beside `output`, whole or not at all."""
    path = report_path(output)
    write_json(path, report.as_dict(), together)
    return path
