"""What a dub did to each frame and how fast: the report beside every output and the line at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from visualdub.face.track import Performance, Track
from visualdub.files import write_json
from visualdub.profile import StageClock, peak_memory_mib
from visualdub.render.provenance import PassedThrough, passed_runs
from visualdub.timing import FrameRange

NO_FACE, BOTH_SILENT = "no usable face", "neither the dialogue nor the actor speaks"
SUFFIX = ".report.json"


def pass_reasons(track: Track, performance: Performance) -> list[str | None]:
    """Why each frame of the shot keeps the source's pixels; None where it is redrawn."""
    return [
        None if draw > 0 else BOTH_SILENT if usable else NO_FACE
        for draw, usable in zip(performance.draw, track.usable, strict=True)
    ]


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
    sync: dict[str, Any] | None = None  # picture against sound of the finished movie, see `Sync.as_dict`; None: not measured
    notes: list[str] = field(default_factory=list)  # anything else the user should know, one line each

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def summary(self) -> str:
        """One line: how many frames are dubbed, how many passed through and why."""
        counts: dict[str, int] = {}
        for run in self.passed:
            counts[run.reason] = counts.get(run.reason, 0) + len(FrameRange.parse(run.frames))
        through = "".join(f"; {n} passed through: {reason}" for reason, n in counts.items())
        return f"{self.output}: {self.frames} frames, {self.drawn} redrawn{through}"


def make_report(
    source: Path, output: Path, track: Track, performance: Performance, clock: StageClock, from_cache: bool
) -> DubReport:
    """The report of one finished output."""
    passed = passed_runs(track.start, pass_reasons(track, performance))
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
    return output.with_name(output.name + SUFFIX)


def write_report(report: DubReport, output: Path) -> Path:
    """Write the report beside `output`, whole or not at all."""
    path = report_path(output)
    write_json(path, report.as_dict())
    return path
