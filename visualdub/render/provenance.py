"""The record that travels beside every dub: what it was made from, by what, with whose consent, and which frames were redrawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from visualdub.errors import BadInput, OutputError
from visualdub.render.watermark import payload_bits, payload_text

FORMAT = 1
SUFFIX = ".provenance.json"


@dataclass(frozen=True)
class PassedThrough:
    """A run of frames of the clip left as they were, and why."""

    frames: str  # half open, A:B
    reason: str


@dataclass(frozen=True)
class WatermarkRecord:
    """What is in the pixels. `box`: (left, top, right, bottom), pixels of the frame, holds every marked block of every frame."""

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
    performance: str | None = None  # the file an edited performance was read from; None = as predicted from the dialogue
    performance_hash: str | None = None
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


def job_payload(source_hash: str, actor: str, dialogue_hash: str | None) -> str:
    """Watermark payload of a job, hexadecimal: the same source, actor and dialogue always carry the same bits."""
    return payload_text(payload_bits(f"{source_hash}|{actor}|{dialogue_hash or ''}"))


def passed_runs(first: int, reasons: Sequence[str | None]) -> tuple[PassedThrough, ...]:
    """Join neighbouring frames of the same reason. reasons: one per frame from frame `first` on, None where it was redrawn."""
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
    """Where the record of `output` lies: beside it, its name and `SUFFIX`."""
    return output.with_name(output.name + SUFFIX)


def write_provenance(output: Path, record: Provenance) -> Path:
    """Write the record beside `output`, whole or not at all. Returns its path. Raises `OutputError` where it cannot be
    written.
    """
    path = sidecar_path(output)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as e:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {e.strerror or e}") from e
    return path


def read_provenance(output: Path) -> Provenance:
    """Read the record beside `output`. Raises `BadInput` where there is none or it is not one of this format."""
    path = sidecar_path(output)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise BadInput(f"{path} is a provenance record of format {raw['format']}; this version reads format {FORMAT}")
        mark = raw.pop("watermark")
        box = mark.pop("box")
        passed = tuple(PassedThrough(**p) for p in raw.pop("passed"))
        return Provenance(passed=passed, watermark=WatermarkRecord(box=tuple(box) if box else None, **mark), **raw)
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as e:
        raise BadInput(f"{path} is not a provenance record of Visual Dub: {e}") from e
