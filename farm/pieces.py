"""Rendered frames on storage that many machines share: files of records that are only ever appended to.

Every run of a chunk writes a file under a name of its own, `A-B.TOKEN.part`, a record for each frame, and
calls it `A-B.TOKEN.frames` at its end. Nobody writes to the file of another, so that two machines that render
one chunk cannot harm each other, and the whole records of a run that was killed count for the next.

A record keeps what differs from the source: the samples inside the bounds of the matte, without loss.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput, OutputError
from visualdub.media.frame import Frame
from visualdub.media.source import open_source
from visualdub.records import digest, tool_version
from visualdub.render.changed_samples import Box, bounds, cut, pasted, within
from visualdub.render.shot_renderer import FrameInputs, RenderedFrame, ShotRenderer
from visualdub.stages import Progress
from visualdub.timing import FrameRange

MAGIC = (
    b"VDPIECE1"  # then BLAKE2b (128 bits) of head and samples, their lengths, the head as JSON, the samples
)
_LENGTHS = struct.Struct("<16sIQ")
PART, WHOLE = ".part", ".frames"


@dataclass(frozen=True)
class Record:
    """Where one frame lies. made: what its pixels depend on, by name."""

    path: Path
    offset: int  # of the record
    number: int
    key: str
    made: dict[str, str]


def made_from(renderer: ShotRenderer) -> dict[str, str]:
    """What the pixels of the renderer's frames depend on, by name: equal values, equal pixels."""
    execution = renderer.actor.renderer.execution
    return {
        **renderer.key(renderer.shot.frames.start).job_hashes,
        "version": tool_version(),
        "precision": execution.precision,
        "provider": execution.provider,
        "library": execution.library,
    }


class Pieces:
    """The rendered frames of one shot in `folder`. made: what `made_from` says of the renderer here."""

    def __init__(self, folder: Path, made: dict[str, str]) -> None:
        self.folder, self.made = folder, made
        self.key = digest(*(f"{k}={v}" for k, v in sorted(made.items())))

    # ---- reading -------------------------------------------------------------------------------------------

    def records(self) -> Iterator[Record]:
        """Every record whose end is there, of whichever key; a file that was cut off ends with its last."""
        files = sorted(p for p in self.folder.glob("*") if p.suffix in (PART, WHOLE))
        for path in files:
            with path.open("rb") as f:
                size = os.fstat(f.fileno()).st_size
                while (found := _head(f, size)) is not None:
                    offset, head, end = found
                    yield Record(path, offset, head["number"], head["key"], head["made"])
                    f.seek(end)

    def known(self, frames: Iterable[int]) -> dict[int, Record]:
        """The records of `frames` with this key, by number, each read and found whole."""
        wanted = set(frames)
        known: dict[int, Record] = {}
        for record in self.records():
            if record.key == self.key and record.number in wanted and record.number not in known:
                try:
                    read_record(record)
                except BadInput:
                    continue
                known[record.number] = record
        return known

    def finished(self, renderer: ShotRenderer, progress: Progress) -> Iterator[RenderedFrame]:
        """Every frame of the renderer's shot, in order, as it was rendered.

        Raises `BadInput` where one is missing or was rendered from anything else.
        """
        whole = renderer.shot.frames
        mine: dict[int, list[Record]] = {}
        others: dict[int, Record] = {}
        for record in self.records():
            if record.key == self.key:
                mine.setdefault(record.number, []).append(record)
            else:
                others[record.number] = record
        missing = [n for n in whole if n not in mine]
        if missing:
            raise BadInput(self._missing(missing, others))
        with open_source(renderer.shot.source) as source:
            for frame in source.frames(whole):
                progress.check()
                yield _restored(*_first_whole(mine[frame.index]), frame, whole.start)

    def _missing(self, missing: list[int], others: dict[int, Record]) -> str:
        """What is said of frames that are not there."""
        first, *_, last = missing if len(missing) > 1 else missing * 2
        said = f"{self.folder}: {len(missing)} frames of {first}:{last + 1} are not rendered"
        foreign = next((others[n] for n in missing if n in others), None)
        if foreign is None:
            return f"{said}; run the render tasks of this shot again"
        differs = [
            f"{name} {foreign.made.get(name)!s:.24}, expected {value:.24}"
            for name, value in self.made.items()
            if foreign.made.get(name) != value
        ]
        where = f"frame {foreign.number} in {foreign.path.name}"
        return f"{said} as this job has it: {where} has {'; '.join(differs)}"

    # ---- writing -------------------------------------------------------------------------------------------

    def render(self, renderer: ShotRenderer, frames: FrameRange, progress: Progress) -> int:
        """Render `frames` but those that are there already; how many were rendered.

        Raises as `ShotRenderer.frames` does, and `OutputError` where they cannot be written.
        """
        known = self.known(frames)
        missing = [n for n in frames if n not in known]
        done = len(known)
        if not missing:
            return 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f"{frames.start}-{frames.end_exclusive}.{secrets.token_hex(6)}{PART}"
            with part.open("xb", buffering=0) as f:
                for run in _runs(missing):
                    for finished in renderer.frames(run, progress):
                        f.write(self._record(finished))
                        done += 1
                        progress.report("rendering", done, len(frames))
                os.fsync(f.fileno())
            part.replace(part.with_suffix(WHOLE))
        except OSError as e:
            raise OutputError(f"{e.filename or self.folder} cannot be written: {e.strerror or e}") from e
        return len(missing)

    def _record(self, finished: RenderedFrame) -> bytes:
        inputs, box = finished.inputs, bounds(finished.matte)
        arrays = [
            finished.matte[within(box, finished.matte, finished.matte)],
            *cut(finished.frame.planes, box),
        ]
        head = {
            "number": finished.frame.index,
            "key": self.key,
            "made": self.made,
            "draw": inputs.draw,
            "light": None if inputs.light is None else [float(v) for v in inputs.light],
            "box": list(box),
            "arrays": [[list(a.shape), a.dtype.str] for a in arrays],
        }
        text = json.dumps(head).encode()
        samples = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
        return MAGIC + _LENGTHS.pack(_checksum(text, samples), len(text), len(samples)) + text + samples


def read_record(record: Record) -> tuple[dict[str, Any], list[NDArray[np.generic]]]:
    """Head and arrays of a record. Raises `BadInput` where a byte is not as it was written."""
    with record.path.open("rb") as f:
        f.seek(record.offset + len(MAGIC))
        checksum, head_size, size = _LENGTHS.unpack(f.read(_LENGTHS.size))
        text, samples = f.read(head_size), f.read(size)
    if _checksum(text, samples) != checksum:
        raise BadInput(f"{record.path}: frame {record.number} is damaged; render it again")
    head = json.loads(text)
    arrays, at = [], 0
    for shape, kind in head["arrays"]:
        count = math.prod(shape)
        arrays.append(np.frombuffer(samples, kind, count, at).reshape(shape))
        at += arrays[-1].nbytes
    return head, arrays


def _first_whole(records: list[Record]) -> tuple[dict[str, Any], list[NDArray[np.generic]]]:
    """The first of several records of one frame that is not damaged."""
    for record in records[:-1]:
        try:
            return read_record(record)
        except BadInput:
            continue
    return read_record(records[-1])


def _head(f: BinaryIO, size: int) -> tuple[int, dict[str, Any], int] | None:
    """Offset, head and end of the record that begins here; None where none does, or its end is missing."""
    offset = f.tell()
    start = f.read(len(MAGIC) + _LENGTHS.size)
    if len(start) < len(MAGIC) + _LENGTHS.size or not start.startswith(MAGIC):
        return None
    _, head_size, samples = _LENGTHS.unpack(start[len(MAGIC) :])
    end = offset + len(start) + head_size + samples
    if end > size:
        return None
    try:
        return offset, json.loads(f.read(head_size)), end
    except ValueError:
        return None


def _checksum(text: bytes, samples: bytes) -> bytes:
    found = hashlib.blake2b(text, digest_size=16)
    found.update(samples)
    return found.digest()


def _runs(numbers: list[int]) -> Iterator[FrameRange]:
    """Ascending numbers as runs without a gap."""
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            yield FrameRange(numbers[start], numbers[i - 1] + 1)
            start = i


def _restored(
    head: dict[str, Any], arrays: list[NDArray[np.generic]], frame: Frame, first: int
) -> RenderedFrame:
    """The finished frame of a record, over the source's own `frame`. first: of the shot, in the clip."""
    left, top, right, bottom = head["box"]
    box: Box = (left, top, right, bottom)
    matte = np.zeros(frame.planes[0].shape, np.uint8)
    inside, *parts = arrays
    planes = frame.planes
    if inside.size:
        matte[within(box, matte, matte)] = inside
        planes = pasted(planes, tuple(parts), box)
    light = None if head["light"] is None else np.array(head["light"], np.float32)
    inputs = FrameInputs(frame.index - first, frame, None, None, None, head["draw"], light)
    return RenderedFrame(replace(frame, planes=planes), matte, None, inputs)
