"""What a job on the farm is made of, as its bundle keeps it: which shots, whose mouth, what is said, how it
is written. Paths are kept below named folders (roots), which every machine may have elsewhere.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from visualdub.edit.layout import Edit, EditClip
from visualdub.edit.media import Media
from visualdub.edit.plan import EditPlan, PlannedShot
from visualdub.edit.shot import DialogueCue
from visualdub.errors import BadInput
from visualdub.media.source import probe
from visualdub.records import digest, tool_version
from visualdub.render.shot_renderer import VERSION
from visualdub.speech.performance import AS_PREDICTED, PerformanceAdjustments
from visualdub.storage import write_json
from visualdub.timing import FrameRange

FORMAT = 1
JOB_FILE = "job.json"
INPUTS, WORK, OUTPUT = "Inputs", "Work", "Output"  # the roots that every job has
CLIP, EDIT = "clip", "edit"
LEFT_OUT = {EditClip: ("node", "track_meta"), Media: ("info",)}  # read again from the edit and the media
Roots = Mapping[str, Path]
T = TypeVar("T")


# ---- what is asked for -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """How the results are written."""

    codec: str | None = None  # None: by the suffix
    crf: int = 16
    watermark: bool = True
    host: str | None = None  # of an edit, as `host_rules` takes it
    as_default: bool = False
    keep_audio: bool = False  # of a clip, as `Output` has it
    occluded: str = "hold"


@dataclass(frozen=True)
class ToAdapt:
    """An actor that the job adapts first."""

    name: str
    clip: Path
    frames: FrameRange | None
    face: str | None
    consent: str  # "who, when, scope"
    minutes: float


@dataclass(frozen=True)
class JobShot:
    """One shot of a job. number: from 1, over all languages; steps and folders are named by it."""

    number: int
    language: str | None
    planned: PlannedShot
    movie: Path  # below `OUTPUT`
    frame_count: int  # that are rendered; of a baked shot those of the edit
    first: int  # number of the first of them in the movie that is drawn on
    chunked: bool = True  # False: it is dubbed whole in one task, as several people speak in it


@dataclass(frozen=True)
class FarmJob:
    """A whole job. actors: packages by what the plan calls them; those that are adapted lie below `WORK`."""

    kind: str  # CLIP or EDIT
    name: str
    edit: Path | None  # the edit's copy, or None
    rate: Fraction  # of the edit
    start_frame: int | None  # of the edit, as `Edit` has it
    plan_notes: tuple[tuple[str, ...], ...]  # of the plan of each language
    languages: tuple[str | None, ...]
    actors: Mapping[str, Path]
    adapt: tuple[ToAdapt, ...]
    written: Written
    mouth: PerformanceAdjustments = AS_PREDICTED
    provider: str = "cpu"
    fast: bool = False
    chunk: int = 48  # frames of a chunk
    tool: str = field(default_factory=tool_version)
    picture: int = VERSION  # of the renderer
    format: int = FORMAT


# ---- the bundle's file -------------------------------------------------------------------------------------


class JobFile:
    """The file `job.json` of a bundle, read shot by shot. roots: where its folders lie on this machine."""

    def __init__(self, roots: Roots) -> None:
        self.roots = dict(roots)
        self.path = self.roots[INPUTS] / JOB_FILE
        try:
            self._data: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            found = self._data["job"]["format"]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise BadInput(f"{self.path} is not the description of a job of vdub farm: {e}") from e
        if found != FORMAT:
            raise BadInput(f"{self.path} has format {found}; this version reads {FORMAT}")
        self.job: FarmJob = built(FarmJob, self._data["job"], self.roots)
        here = tool_version(), VERSION
        if (self.job.tool, self.job.picture) != here:
            raise BadInput(
                f"{self.path} is of version {self.job.tool} (pictures {self.job.picture}); this machine has"
                f" {here[0]} (pictures {here[1]}); expected one version on the whole farm"
            )

    @cached_property
    def key(self) -> str:
        """A hash of the job, the same on every machine."""
        return digest(json.dumps(self._data, sort_keys=True))

    @property
    def numbers(self) -> list[int]:
        """The numbers of the shots that are dubbed."""
        return [entry["number"] for entry in self._data["shots"]]

    def shot(self, number: int) -> JobShot:
        """One shot, with the facts of its media. Raises `BadInput` for a number that there is none of, and
        `MediaError` where the media cannot be read.
        """
        for entry in self._data["shots"]:
            if entry["number"] == number:
                shot: JobShot = built(JobShot, entry, self.roots)
                return replace(shot, planned=_probed(shot.planned))
        raise BadInput(f"{self.path} has no shot {number}; expected one of 1 to {len(self.numbers)}")

    def plans(self, edit: Edit) -> list[EditPlan]:
        """The plan of each language, kept shots too, with the clips of `edit` as it was read again."""
        ordered = sorted(edit.clips, key=lambda c: (c.start, c.track))
        plans = []
        for entries, notes, language in zip(
            self._data["plans"], self.job.plan_notes, self.job.languages, strict=True
        ):
            shots = [built(PlannedShot, entry, self.roots) for entry in entries]
            shots = [replace(_probed(s), clip=ordered[s.number - 1]) for s in shots]
            plans.append(EditPlan(edit, tuple(shots), notes, language))
        return plans

    def shot_of(self, plan: EditPlan, planned: PlannedShot) -> JobShot | None:
        """The job's shot for one of a plan; None where it is kept."""
        for entry in self._data["shots"]:
            if (entry["planned"]["number"], entry["language"]) == (planned.number, plan.language):
                shot: JobShot = built(JobShot, entry, self.roots)
                return shot
        return None

    def small_plan(self, shot: JobShot) -> EditPlan:
        """A plan of this shot alone, without the edit's clips: what dubbing one shot needs to know."""
        job = self.job
        path = job.edit or self.path
        edit = Edit(path, job.name, "", job.rate, job.start_frame, 0, (), ())
        return EditPlan(edit, (shot.planned,), (), shot.language)


def write_job(
    folder: Path, job: FarmJob, shots: list[JobShot], plans: list[list[PlannedShot]], roots: Roots
) -> None:
    """Write `job.json` into `folder`. plans: all shots of each language; empty for a clip. Raises `BadInput`
    for a path that lies in none of `roots`.
    """
    values = {
        "job": plain(job, roots),
        "shots": [plain(s, roots) for s in shots],
        "plans": [[plain(s, roots) for s in plan] for plan in plans],
    }
    write_json(folder / JOB_FILE, values)


def _probed(planned: PlannedShot) -> PlannedShot:
    path = planned.media.path
    if path is None:
        return planned
    return replace(planned, media=Media(path, probe(path), note=planned.media.note))


# ---- plain values ------------------------------------------------------------------------------------------


def plain(value: Any, roots: Roots) -> Any:
    """`value` as JSON; a path as `Root/below/it`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, FrameRange):
            return str(value)
        skipped = LEFT_OUT.get(type(value), ())
        names = [f.name for f in dataclasses.fields(value) if f.name not in skipped]
        return {name: plain(getattr(value, name), roots) for name in names}
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Path):
        return below(value, roots)
    if isinstance(value, Mapping):
        return {str(k): plain(v, roots) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v, roots) for v in value]
    return value


def built(kind: Any, data: Any, roots: Roots) -> Any:
    """The value of type `kind` that `plain` gave `data` for."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else built(next(a for a in arguments if a is not type(None)), data, roots)
    if kind is FrameRange:
        return FrameRange.parse(data)
    if kind is Fraction:
        return Fraction(data)
    if kind is Path:
        return placed(data, roots)
    if origin is tuple:
        kinds = arguments[:1] * len(data) if arguments[-1] is Ellipsis else arguments
        return tuple(built(k, v, roots) for k, v in zip(kinds, data, strict=True))
    if origin is not None and isinstance(data, Mapping):
        return {k: built(arguments[1], v, roots) for k, v in data.items()}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        values = {name: built(hints[name], value, roots) for name, value in data.items()}
        if kind is EditClip:
            values["node"] = {"refs": {}, "active": ""}
        return typing.cast(Any, kind)(**values)
    return data


def below(path: Path, roots: Roots) -> str:
    """A path as `Root/below/it`. Raises `BadInput` where it lies in none of them."""
    for name, folder in sorted(roots.items(), key=lambda r: -len(r[1].parts)):
        if path.is_relative_to(folder):
            return "/".join((name, *path.relative_to(folder).parts))
    raise BadInput(f"{path} lies in none of the job's folders ({', '.join(map(str, roots.values()))})")


def placed(text: str, roots: Roots) -> Path:
    """The path that `below` gave `text` for, on this machine. Raises `BadInput` for an unknown root and for a
    path that leads out of it.
    """
    name, *parts = text.split("/")
    if name not in roots or ".." in parts:
        raise BadInput(f"the job names {text!r}, which lies in none of its folders ({', '.join(roots)})")
    return roots[name].joinpath(*parts)


def cue_paths(planned: PlannedShot) -> list[Path]:
    """The recordings that are heard in a shot."""
    cues: list[DialogueCue] = [c for who in planned.speaking for c in who.cues]
    return [c.recording for c in cues]
