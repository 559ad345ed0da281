"""A job bundle: a folder with the template and all that the job needs, which may be moved as a whole."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from farm.estimate import Cost, Rates, cost_of
from farm.job import EDIT, INPUTS, OUTPUT, WORK, FarmJob, JobShot, ToAdapt, Written, cue_paths, write_job
from farm.template import template
from visualdub.actor.library import find_actor
from visualdub.actor.package import load_actor
from visualdub.actor.record import ActorRecord
from visualdub.edit.dubbing import EditOutput
from visualdub.edit.layout import EditClip
from visualdub.edit.media import Media
from visualdub.edit.plan import BAKE, DUB, KEEP, EditPlan, PlannedShot, Speaking
from visualdub.edit.report import ShotMade, picture_line, write_picture
from visualdub.edit.writing import host_rules
from visualdub.errors import BadInput, OutputError
from visualdub.media.movie_writer import choose_codec
from visualdub.render.providers import RuntimeChoice
from visualdub.speech.performance import AS_PREDICTED, PerformanceAdjustments
from visualdub.storage import protect, write_json
from visualdub.temporaries import remove

MEDIA, DIALOGUE, ACTORS, EDIT_FOLDER = "media", "dialogue", "actors", "edit"  # folders below `INPUTS`
TEMPLATE, VALUES, ASSETS = "template.json", "parameter_values.json", "asset_references.json"
GPU_SIZE = "full"  # of networks that are not drawn on a CPU in reasonable time


@dataclass(frozen=True)
class BundleOptions:
    """How a bundle is made."""

    folder: Path
    written: Written = field(default_factory=Written)
    mouth: PerformanceAdjustments = AS_PREDICTED
    adapt: tuple[ToAdapt, ...] = ()
    provider: str | None = None  # None: cuda for a full network, the CPU for a small one
    fast: bool = False
    chunk: int | None = None  # frames; None: by the estimate
    in_place: bool = False  # media stay where they are and are declared as folders of the job
    rates: Rates = field(default_factory=Rates)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written."""

    folder: Path
    job: FarmJob
    shots: tuple[JobShot, ...]
    cost: Cost

    @property
    def template(self) -> Path:
        """The file that a scheduler reads."""
        return self.folder / TEMPLATE

    def as_dict(self) -> dict[str, Any]:
        """What was written, as JSON."""
        return {
            "bundle": str(self.folder),
            "template": str(self.template),
            "shots": len(self.shots),
            **self.cost.as_dict(),
        }


# ---- a job of an edit or a clip ----------------------------------------------------------------------------


def bundle_of_edit(plans: Sequence[EditPlan], options: BundleOptions) -> Bundle:
    """Write the bundle of an edit's plans, one for each language. Raises `BadInput` where no shot of them can
    be dubbed, `OutputError` where the bundle cannot be written.
    """
    edit, w = plans[0].edit, options.written
    output = EditOutput(Path(), host_rules(w.host, w.as_default), w.codec, w.crf, w.watermark)
    wanted = [(p, shot) for p in plans for shot in p.dubbed]
    if not wanted:
        reasons = sorted({s.reason for p in plans for s in p.shots})
        raise BadInput(f"{edit.path} has no clip that can be dubbed: {'; '.join(reasons) or 'none at all'}")
    shots = [
        job_shot(number, plan.language, planned, output.movie_path(planned, plan.language))
        for number, (plan, planned) in enumerate(wanted, 1)
    ]
    job = FarmJob(
        EDIT,
        edit.name or edit.path.stem,
        edit.path,
        edit.rate,
        edit.start_frame,
        tuple(p.notes for p in plans),
        tuple(p.language for p in plans),
        {},
        options.adapt,
        w,
        options.mouth,
    )
    return _write(job, shots, plans, options)


def bundle_of_clip(
    name: str, shots: Sequence[tuple[PlannedShot, str]], rate: Fraction, options: BundleOptions
) -> Bundle:
    """Write the bundle of a clip: a shot for each dialogue, with the name of its movie."""
    made = [job_shot(n, None, planned, Path(movie)) for n, (planned, movie) in enumerate(shots, 1)]
    for shot in made:
        choose_codec(shot.movie, options.written.codec, options.written.crf)
    w = options.written
    job = FarmJob("clip", name, None, rate, None, (), (), {}, options.adapt, w, options.mouth)
    return _write(job, made, [], options)


def job_shot(number: int, language: str | None, planned: PlannedShot, movie: Path) -> JobShot:
    """A shot of the job."""
    assert planned.frames is not None
    looks = any(getattr(who.role, "looks", None) is not None for who in planned.speaking)
    chunked = len(planned.speaking) == 1 and not looks
    if planned.action == BAKE:
        low, high = planned.timeline
        return JobShot(number, language, planned, movie, high - low, 0, chunked)
    frames = planned.frames
    return JobShot(number, language, planned, movie, len(frames), frames.start, chunked)


def clip_shot(name: str, media: Media, parts: Speaking, **more: Any) -> PlannedShot:
    """A planned shot of a clip that no edit holds."""
    clip = EditClip(name, "Video", "V1", "", (), 0, 0, (0, 0), Fraction(0), Fraction(0), {})
    return PlannedShot(1, clip, DUB, media=media, speaking=(parts,), **more)


# ---- writing -----------------------------------------------------------------------------------------------


def _write(job: FarmJob, shots: list[JobShot], plans: Sequence[EditPlan], options: BundleOptions) -> Bundle:
    _protect(job, shots, options.folder.absolute())
    bundles: list[Bundle] = []
    folder = fill_bundle(
        options.folder, lambda partial: bundles.append(_fill(partial, job, shots, plans, options))
    )
    return replace(bundles[0], folder=folder)


def fill_bundle(folder: Path, fill: Callable[[Path], object]) -> Path:
    """Write a bundle, whole or not at all. fill: writes it into a folder. Returns its absolute path. Raises
    `OutputError` where something else is there, or it cannot be written.
    """
    folder = folder.absolute()
    if folder.exists() and not (folder / TEMPLATE).is_file():
        raise OutputError(f"{folder} is there already and is no bundle; expected a new name")
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        fill(partial)
        if folder.exists():
            remove(folder)
        partial.rename(folder)
    except OSError as e:
        raise OutputError(f"{e.filename or folder} cannot be written: {e.strerror or e}") from e
    finally:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _protect(job: FarmJob, shots: list[JobShot], folder: Path) -> None:
    inputs = [s.planned.media.path for s in shots] + [c for s in shots for c in cue_paths(s.planned)]
    protect([p for p in (job.edit, *inputs) if p is not None], [folder])


def _fill(
    partial: Path,
    job: FarmJob,
    shots: list[JobShot],
    plans: Sequence[EditPlan],
    options: BundleOptions,
) -> Bundle:
    copies = Copies(partial / "inputs", options.in_place)
    roots = {INPUTS: partial / "inputs", WORK: partial / "work", OUTPUT: partial / "output"}
    actors, records = _actors(job, shots, copies, roots)
    size = max((r.size for r in records), default="small")  # "small" comes after "full" in the alphabet
    if any(r.size == GPU_SIZE for r in records):
        size = GPU_SIZE
    provider = options.provider or ("cuda" if size == GPU_SIZE else "cpu")
    edit = copies.file(job.edit, EDIT_FOLDER) if job.edit else None
    placed = [replace(s, planned=copies.planned(s.planned), movie=roots[OUTPUT] / s.movie) for s in shots]
    _kept_pictures(plans, job.written, roots[INPUTS])
    kept = [[copies.planned(s) for s in plan.shots] for plan in plans]
    cost = cost_of(placed, options.rates, gpu=provider not in ("cpu", "openvino"), chunk=options.chunk)
    adapt = tuple(replace(a, clip=copies.media(a.clip)) for a in job.adapt)
    job = replace(
        job,
        edit=edit,
        actors=actors,
        adapt=adapt,
        provider=provider,
        fast=options.fast,
        chunk=cost.chunk,
    )
    write_job(roots[INPUTS], job, placed, kept, {**roots, **copies.roots})
    write_references(partial, copies, template(job, placed, cost, tuple(copies.roots)))
    return Bundle(partial, job, tuple(placed), cost)


def write_references(folder: Path, copies: Copies, template: dict[str, Any]) -> None:
    """Write what a scheduler reads of a bundle: the template, values of its parameters, what is outside."""
    write_json(folder / TEMPLATE, template)
    for name in ("work", "output"):
        (folder / name).mkdir()
    listed = [{"name": name, "value": str(path)} for name, path in copies.roots.items()]
    write_json(folder / VALUES, {"parameterValues": listed})
    references: dict[str, Any] = {
        "inputs": {"directories": [], "filenames": []},
        "outputs": {"directories": []},
    }
    write_json(folder / ASSETS, {"assetReferences": references})


def _kept_pictures(plans: Sequence[EditPlan], written: Written, inputs: Path) -> None:
    """The report's pictures of shots that are kept, whose media are not copied."""
    output = EditOutput(inputs, host_rules(written.host, written.as_default), written.codec)
    for plan in plans:
        for shot in plan.shots:
            if shot.action == KEEP:
                picture = output.picture_path(shot, plan.language)
                picture.parent.mkdir(exist_ok=True)
                made = ShotMade(shot, picture, reason=shot.reason)
                write_picture(made, picture_line(plan, shot, KEEP))


def _actors(
    job: FarmJob, shots: list[JobShot], copies: Copies, roots: Mapping[str, Path]
) -> tuple[dict[str, Path], list[ActorRecord]]:
    """The packages of all who speak, copied, and their records. Raises `ActorError` for one that is not there
    or whose consent is withdrawn.
    """
    names = sorted({who.role.actor or "" for s in shots for who in s.planned.speaking})
    adapted = {a.name for a in job.adapt}
    actors: dict[str, Path] = {}
    records = []
    for name in names:
        if name in adapted:
            actors[name] = roots[WORK] / ACTORS / f"{name}.actor"
            continue
        package = load_actor(find_actor(name), RuntimeChoice("cpu"))
        records.append(package.record)
        actors[name] = copies.folder(package.folder, ACTORS)
    return actors, records


class Copies:
    """Copies of files and folders below `inputs`, each made once; or what stays in place, and its folders."""

    def __init__(self, inputs: Path, in_place: bool) -> None:
        self.inputs, self.in_place = inputs, in_place
        self.roots: dict[str, Path] = {}  # of media in place, by the name of their parameter
        self._made: dict[Path, Path] = {}
        inputs.mkdir(parents=True)

    def planned(self, shot: PlannedShot) -> PlannedShot:
        """A planned shot whose media and recordings are the job's."""
        cues = tuple(
            replace(
                who,
                cues=tuple(replace(c, recording=self.file(c.recording, DIALOGUE)) for c in who.cues),
            )
            for who in shot.speaking
        )
        path = None
        if shot.action in (DUB, BAKE) and shot.media.path is not None:
            path = self.media(shot.media.path)
        return replace(shot, speaking=cues, media=replace(shot.media, path=path))

    def media(self, path: Path) -> Path:
        """A clip, or a sequence with its whole folder."""
        if not self.in_place:
            return self.sequence(path) if "%" in path.name and not path.exists() else self.file(path, MEDIA)
        folder = path.absolute().parent
        if folder not in self.roots.values():
            self.roots[f"Media{len(self.roots) + 1}"] = folder
        return folder / path.name

    def clips(self, path: Path, kind: str) -> Path:
        """A folder of clips with all below it, or the folder itself where it stays."""
        if not self.in_place:
            return self.folder(path, kind)
        self.roots[f"Media{len(self.roots) + 1}"] = path.absolute()
        return path.absolute()

    def sequence(self, path: Path) -> Path:
        """A numbered sequence: the files of its folder that have its beginning and end."""
        start, end = path.name.partition("%")[0], path.suffix
        target = self._place(path, MEDIA)
        if not target.parent.exists():
            target.parent.mkdir(parents=True)
            for frame in sorted(path.parent.glob(f"{start}*{end}")):
                shutil.copyfile(frame, target.with_name(frame.name))
        return target

    def file(self, path: Path, kind: str) -> Path:
        """One file, under its own name in a folder of its own."""
        target = self._place(path, kind)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return target

    def folder(self, path: Path, kind: str) -> Path:
        """A folder with all below it."""
        target = self._place(path, kind)
        if not target.exists():
            shutil.copytree(path, target, copy_function=shutil.copyfile)
        return target

    def _place(self, path: Path, kind: str) -> Path:
        path = path.absolute()
        if path not in self._made:
            number = sum(p.is_relative_to(self.inputs / kind) for p in self._made.values()) + 1
            self._made[path] = self.inputs / kind / f"{number:04d}" / path.name
        return self._made[path]


def parameter_values(bundle: Path) -> dict[str, str]:
    """The values that a bundle gives its parameters beside their defaults."""
    found = json.loads((bundle / VALUES).read_text(encoding="utf-8"))
    return {entry["name"]: entry["value"] for entry in found["parameterValues"]}
