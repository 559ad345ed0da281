"""The performance file: the mouth's parameters in every frame of a dub, as JSON for artists and scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.models import FaceModel, face_model
from visualdub.face.track import Performance, Track
from visualdub.speech.alignment import AlignedWord
from visualdub.storage import Together, content_hash, write_text
from visualdub.timing import FrameRange

FORMAT, VERSION = "visualdub performance", 2
READABLE = (1, 2)  # version 1 had no words, and ARPABET for phones
ROWS = "curves"  # the key in the file under which the rows lie, one for each frame
# No mouth moves as far as these; a greater number is a slip of the keyboard.
MOST_RADIANS, MOST_DEVIATIONS = 1.5, 100.0
UNITS = {
    "frame": "number in the clip, counted from 0 in order of presentation, as --frames counts",
    "phone": "what is said when the frame comes on screen (IPA, SIL in pauses); to read, not used",
    "words": "of the script: seconds from the first frame, confidence 0 to 1; to read, not used",
    "draw": "1 = the mouth is redrawn, 0 = the frame keeps its pixels, between = cross-fade",
    "jaw": "radians, positive opens",
    "speech_NN": "mouth component NN of the face model, standard deviations over many speakers",
    "rest": "the actor's closed mouth, to copy from; not used",
}


@dataclass(frozen=True)
class PerformanceFile:
    """The content of a performance file: the mouth in `frames`, n frames of a clip."""

    path: Path
    hash: str  # of the file's bytes, for the record
    frames: FrameRange
    rate: Fraction
    face_model: str
    mouth: NDArray[np.float64]  # (n, 1 + n_speech) jaw in radians, then the face model's speech components
    draw: NDArray[np.float64]  # (n,) as in `Performance`

    def describe(self) -> str:
        """Where the mouth comes from, for the report."""
        return f"as {self.path.name} has it"

    def performance(self, track: Track) -> Performance:
        """The performance that has this mouth and the upper face of `track`.

        Raises `BadInput` where the file belongs to other frames, another rate or another face model than the
        track, and where a frame without a usable face is to be drawn.
        """
        if self.face_model != track.face_model:
            raise BadInput(
                f"{self.path} moves face model {self.face_model}; {track.source} is tracked with"
                f" {track.face_model}"
            )
        if self.rate != track.rate:
            raise BadInput(
                f"{self.path} has {self.rate} frames/s; expected {track.rate}, the rate of {track.source}"
            )
        if self.frames != track.frames:
            raise BadInput(
                f"{self.path} holds frames {self.frames}; expected {track.frames}, what is dubbed of"
                f" {track.source}"
            )
        faceless = np.flatnonzero((self.draw > 0) & ~track.usable)
        if len(faceless):
            raise BadInput(
                f"{self.path}: frame {track.start + faceless[0]} is to be drawn, but has no usable face;"
                " expected draw 0"
            )
        expression = track.expression.copy()
        expression[:, : self.mouth.shape[1] - 1] = self.mouth[:, 1:]
        return Performance(self.mouth[:, 0].copy(), expression, self.draw.copy())


@dataclass(frozen=True)
class Spoken:
    """What is said in n frames."""

    phones: list[str]  # one for each frame
    words: Sequence[AlignedWord] = ()  # of a script, with their times from the first frame

    def head(self) -> dict[str, Any]:
        """The words, for the head of a performance file; nothing without a script."""
        rows = [
            {
                "word": w.text,
                "start": round(w.start, 3),
                "end": round(w.end, 3),
                "confidence": round(w.confidence, 3),
                "phones": [[p.phone, round(p.start, 3), round(p.end, 3)] for p in w.phones],
            }
            for w in self.words
        ]
        return {"words": rows} if rows else {}


def parameter_names(model: FaceModel) -> list[str]:
    """Names of the mouth's parameters in their order: jaw, speech_00, speech_01, ..."""
    return ["jaw", *(f"speech_{i:02d}" for i in range(model.n_speech))]


# ---- writing -----------------------------------------------------------------------------------------------


def write_performance_file(
    path: Path,
    track: Track,
    performance: Performance,
    spoken: Spoken,
    rest: NDArray[np.float64],
    about: dict[str, Any],
    together: Together | None = None,
) -> None:
    """Write the mouth of `performance` over `track`, one line for each frame, whole or not at all.

    Numbers are written so that reading them gives the same bits. rest: (1 +
    n_speech,) the closed mouth. about: further facts for the head of the file. together: as `write_text`.
    Raises `OutputError` where it cannot be written.
    """
    names = parameter_names(track.model)
    mouth = np.column_stack([performance.jaw, performance.expression[:, : len(names) - 1]])
    head = {
        "format": FORMAT,
        "version": VERSION,
        "clip": track.source,
        **about,
        "rate": str(track.rate),
        "frames": str(track.frames),
        "face_model": track.face_model,
        "units": UNITS,
        **spoken.head(),
    }
    lines = [f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)},\n" for k, v in head.items()]
    lines.append(f' "rest": {json.dumps(dict(zip(names, rest.tolist(), strict=True)))},\n "{ROWS}": [\n')
    rows = [
        {"frame": frame, "phone": phone, "draw": draw, **dict(zip(names, values, strict=True))}
        for frame, phone, draw, values in zip(
            track.frames, spoken.phones, performance.draw.tolist(), mouth.tolist(), strict=True
        )
    ]
    body = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    write_text(path, "{\n" + "".join(lines) + body + "\n ]\n}\n", together)


# ---- reading -----------------------------------------------------------------------------------------------


def read_performance_file(path: Path) -> PerformanceFile:
    """Read a file that `write_performance_file` wrote and that somebody may have edited since.

    The rows may be in any order. Raises `BadInput` that names the frame and the parameter at fault.
    """
    file_hash = content_hash(path)
    values = _document(path)
    head = {k: values.get(k) for k in ("rate", "frames", "face_model")}
    try:
        rate, frames = Fraction(str(head["rate"])), FrameRange.parse(str(head["frames"]))
    except (ValueError, ZeroDivisionError) as e:
        raise BadInput(
            f"{path} has rate {head['rate']!r}, frames {head['frames']!r}; expected text like 25 and 0:40"
        ) from e
    try:
        model = face_model(str(head["face_model"]))
    except BadInput as e:
        raise BadInput(f"{path} cannot be played: {e}") from None
    rows = values.get(ROWS)
    if not isinstance(rows, list):
        raise BadInput(f"{path} has no {ROWS}; expected a list of one row for each frame")
    names = ["draw", *parameter_names(model)]
    numbers: dict[int, list[float]] = {}  # by frame: draw, then the mouth's parameters
    for row in rows:
        frame = _frame_of(row, frames, path)
        if frame in numbers:
            raise BadInput(f"{path} has frame {frame} twice; expected each of {frames} once")
        numbers[frame] = _numbers(row, names, f"{path}: frame {frame}")
    missing = next((f for f in frames if f not in numbers), None)
    if missing is not None:
        raise BadInput(f"{path} lacks frame {missing}; expected each of {frames} once")
    table = np.array([numbers[f] for f in frames])
    return PerformanceFile(path, file_hash, frames, rate, str(head["face_model"]), table[:, 1:], table[:, 0])


def _document(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises `BadInput` unless it is a performance of this version."""

    def no_number(text: str) -> NoReturn:
        raise BadInput(f"{path} holds {text}; expected numbers")

    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_number)
    except UnicodeDecodeError as e:
        raise BadInput(f"{path} is not text; expected a performance written by vdub dub --performance") from e
    except json.JSONDecodeError as e:
        raise BadInput(f"{path} is not JSON: line {e.lineno}, column {e.colno}: {e.msg}") from e
    except (RecursionError, ValueError) as e:
        if isinstance(e, BadInput):
            raise
        raise BadInput(
            f"{path} is JSON of another kind; expected a performance written by vdub dub --performance"
        ) from e
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BadInput(
            f"{path} is JSON of another kind; expected a performance written by vdub dub --performance"
        )
    if values.get("version") not in READABLE:
        raise BadInput(
            f"{path} is a performance of version {values.get('version')!r}; this version reads"
            f" {' and '.join(map(str, READABLE))}"
        )
    return values


def _frame_of(row: Any, frames: FrameRange, path: Path) -> int:
    """The number of the frame that a row is for. Raises `BadInput` without one, and outside `frames`."""
    frame = row.get("frame") if isinstance(row, dict) else None
    if not isinstance(frame, int) or isinstance(frame, bool):
        shown = json.dumps(row)[:60]
        raise BadInput(f'{path} has a row without a frame number, {shown}; expected {{"frame": N, ...}}')
    if frame not in range(frames.start, frames.end_exclusive):
        raise BadInput(f"{path} has a row for frame {frame}; expected frames {frames} alone")
    return frame


def _numbers(row: dict[str, Any], names: list[str], where: str) -> list[float]:
    """The numbers of one row in the order of `names`. Raises `BadInput` for one outside its range."""
    unknown = [k for k in row if k not in names and k not in ("frame", "phone")]
    missing = [n for n in names if n not in row]
    if missing or unknown:
        fault = f"lacks {missing[0]}" if missing else f"has {unknown[0]}"
        raise BadInput(f"{where} {fault}; expected frame, draw, jaw and {names[2]} to {names[-1]}")
    for name in names:
        low, high = {"draw": (0.0, 1.0), "jaw": (-MOST_RADIANS, MOST_RADIANS)}.get(
            name, (-MOST_DEVIATIONS, MOST_DEVIATIONS)
        )
        value = row[name]
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise BadInput(
                f"{where}: {name} is {json.dumps(value)[:40]}; expected a number from {low:g} to {high:g}"
            )
    return [float(row[n]) for n in names]
