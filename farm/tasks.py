"""The tasks of a job on the farm: adapt an actor, prepare a shot, render a chunk of it, write its movie, and
put the edit together. Each may run again at any time, on any machine, also twice at once.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from farm.job import CLIP, INPUTS, OUTPUT, WORK, JobFile, JobShot
from farm.pieces import Pieces, made_from
from visualdub.actor.package import Actor, load_actor
from visualdub.actor.record import Consent
from visualdub.dub import (
    Output,
    PreparedRender,
    TrackedShot,
    audio_notes,
    check_output,
    dialogue_performance,
    shot_audio,
    track_notes,
    track_shot,
    write_frames,
)
from visualdub.edit.dubbing import (
    JOB_SUFFIX,
    EditOutput,
    ShotResult,
    bake,
    check_edit_output,
    dub_planned_shot,
    job_of,
    write_dialogue,
)
from visualdub.edit.media import unpack
from visualdub.edit.plan import BAKE, KEEP
from visualdub.edit.reading import read_edit
from visualdub.edit.report import PICTURES
from visualdub.edit.request import BUNDLE, with_notes, write_results
from visualdub.edit.shot import DialogueCue, Shot, plan_shot
from visualdub.edit.writing import host_rules
from visualdub.errors import BadInput
from visualdub.face.occlusion import Occlusion
from visualdub.face.recognise import only_frames_of
from visualdub.face.track import Performance, Track
from visualdub.render.occluders import find_occlusion, treat
from visualdub.render.providers import RuntimeChoice
from visualdub.render.shot_renderer import RenderOptions, ShotRenderer
from visualdub.services import AdaptClip, AdaptRequest, adapt_service
from visualdub.speech.performance import pass_through
from visualdub.stages import Progress
from visualdub.storage import atomic_path, write_json
from visualdub.timing import FrameRange

PREPARED, MADE = "prepared.json", "movie.json"
TRACK, PERFORMANCE, OCCLUSION, BAKED, FRAMES = (
    "track.npz",
    "performance.npz",
    "occlusion.npz",
    "baked.mkv",
    "frames",
)


# ---- an actor ----------------------------------------------------------------------------------------------


def adapt(file: JobFile, name: str, progress: Progress) -> str:
    """Adapt one of the job's actors into its folder below `WORK`; one line of what was done."""
    job = file.job
    folder = job.actors[name]
    if folder.is_dir():
        return f"{name} is adapted already"
    asked = next(a for a in job.adapt if a.name == name)
    clip = AdaptClip(asked.clip, asked.frames, asked.face)
    request = AdaptRequest((clip,), name, folder, Consent.parse(asked.consent), minutes=asked.minutes)
    folder.parent.mkdir(parents=True, exist_ok=True)
    record = adapt_service()(request, progress)
    return f"{name} is adapted in {record.steps} steps"


def actor_of(file: JobFile, shot: JobShot) -> Actor:
    """The actor who speaks in a shot. Raises `ActorError` where consent is withdrawn."""
    return load_actor(
        file.job.actors[shot.planned.speaking[0].role.actor or ""],
        RuntimeChoice(file.job.provider, file.job.fast),
    )


# ---- preparing a shot --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepared:
    """What the render tasks of a shot share, as a prepare task left it in a folder of its own."""

    folder: Path
    words: str  # file name of the recording that the shot speaks; empty: the cue's own
    notes: tuple[str, ...]
    from_cache: bool
    named: bool


def shot_folder(file: JobFile, number: int) -> Path:
    """Where all that is made of one shot on the way lies."""
    return file.roots[WORK] / "shots" / f"{number:04d}"


def prepare(file: JobFile, number: int, progress: Progress) -> str:
    """Track a shot and make its performance; one line of what was done.

    What is there already stays. Of two tasks that prepare one shot at once the first to end counts. A shot of
    an edit that cannot be dubbed is noted as kept; for a clip `BadInput` is raised.
    """
    folder = shot_folder(file, number)
    if read_made(folder / PREPARED, file) is not None:
        return f"shot {number} is prepared already"
    shot = file.shot(number)
    actor = actor_of(file, shot)  # one that is missing is a failure of the job, not of the shot
    own = folder / f"prepared-{secrets.token_hex(6)}"
    own.mkdir(parents=True)
    try:
        found = _prepare(file, shot, actor, own, progress)
    except BadInput as e:
        if file.job.kind == CLIP:
            raise
        found = {"kept": str(e)}
    if read_made(folder / PREPARED, file) is not None:
        shutil.rmtree(own, ignore_errors=True)
        return f"shot {number} was prepared by another task"
    write_json(folder / PREPARED, {"job": file.key, "folder": own.name, **found})
    return f"shot {number} is kept: {found['kept']}" if "kept" in found else f"shot {number} is prepared"


def _prepare(file: JobFile, shot: JobShot, actor: Actor, own: Path, progress: Progress) -> dict[str, Any]:
    job, planned = file.job, shot.planned
    who = planned.speaking[0]
    if planned.action == BAKE:
        bake(file.small_plan(shot), planned, own / BAKED, progress)
    drawn_on = _drawn_on(shot, own)
    words = ""
    if job.kind != CLIP:
        words = f"{shot.movie.stem}_0.wav"
        length_s = Fraction(len(drawn_on.frames)) / (drawn_on.rate * drawn_on.retime)
        write_dialogue(who.cues, length_s, own / words)
    cue = DialogueCue(own / words) if words else who.cues[0]
    tracked = track_shot(
        drawn_on, who.role.person, progress, actor.likeness if who.role.person is None else None
    )
    track = only_frames_of(tracked.track, actor.likeness)
    tracked = replace(tracked, shot=drawn_on.with_cue(cue), track=track)
    audio = shot_audio(tracked.shot)
    performance, notes = dialogue_performance(tracked, audio, actor, job.mouth)
    notes += audio_notes(audio, tracked.shot, cue) + track_notes(tracked.shot, job.written.keep_audio)
    track.save(own / TRACK)
    occlusion = find_occlusion(tracked.shot, track, progress)
    with atomic_path(own / OCCLUSION) as path, path.open("wb") as f:
        occlusion.write(f)
    with atomic_path(own / PERFORMANCE) as path, path.open("wb") as f:
        np.savez(f, jaw=performance.jaw, expression=performance.expression, draw=performance.draw)
    return {
        "words": words,
        "notes": notes,
        "from_cache": tracked.from_cache,
        "named": track.named,
        "drawn": int((pass_through(track, performance, drawn_on.skips()).draw > 0).sum()),
    }


def _drawn_on(shot: JobShot, own: Path) -> Shot:
    """The shot that is drawn on: of the media, or of the movie that was baked of them."""
    if shot.planned.action == BAKE:
        return replace(plan_shot(own / BAKED), skipped=shot.planned.skipped)
    return shot.planned.shot


def read_made(path: Path, file: JobFile) -> dict[str, Any] | None:
    """What an earlier task of this very job left in a file; None where there is nothing."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("job") == file.key:
            return found
    return None


def prepared_render(file: JobFile, shot: JobShot, output: Output, progress: Progress) -> PreparedRender | str:
    """The renderer of a prepared shot, or why it is kept. Raises `BadInput` where it is not prepared."""
    folder = shot_folder(file, shot.number)
    found = read_made(folder / PREPARED, file)
    if found is None:
        raise BadInput(f"{folder / PREPARED}: shot {shot.number} is not prepared; run its prepare task first")
    if "kept" in found:
        return str(found["kept"])
    own, actor = folder / found["folder"], actor_of(file, shot)
    track = replace(Track.load(own / TRACK), named=found["named"])
    with np.load(own / PERFORMANCE, allow_pickle=False) as z:
        performance = Performance(z["jaw"], z["expression"], z["draw"])
    with (own / OCCLUSION).open("rb") as f:
        occlusion = Occlusion.read(f)
    cue = DialogueCue(own / found["words"]) if found["words"] else shot.planned.speaking[0].cues[0]
    tracked = TrackedShot(_drawn_on(shot, own).with_cue(cue), track, found["from_cache"])
    performance, holdouts = treat(occlusion, output.occluded, track, performance)
    renderer = ShotRenderer(
        tracked.shot,
        actor,
        track=track,
        performance=performance,
        options=RenderOptions(watermark=output.watermark),
        holdouts=holdouts,
    )
    return PreparedRender(renderer, occlusion, tracked.from_cache, list(found["notes"]), file.job.mouth)


# ---- rendering ---------------------------------------------------------------------------------------------


def render(file: JobFile, number: int, frames: FrameRange, progress: Progress) -> str:
    """Render `frames` of a shot, those that are not there yet; one line of what was done."""
    shot = file.shot(number)
    ready = prepared_render(file, shot, output_of(file, shot), progress)
    if isinstance(ready, str):
        return f"shot {number} is kept: {ready}"
    pieces = Pieces(shot_folder(file, number) / FRAMES, made_from(ready.renderer))
    made = pieces.render(ready.renderer, frames, progress)
    return f"shot {number}, frames {frames}: {made} rendered, {len(frames) - made} there already"


def output_of(file: JobFile, shot: JobShot) -> Output:
    """How a shot's movie is written."""
    w = file.job.written
    return Output(
        shot.movie, w.codec, w.crf, watermark=w.watermark, keep_audio=w.keep_audio, occluded=w.occluded
    )


# ---- movies ------------------------------------------------------------------------------------------------


def movie(file: JobFile, number: int, progress: Progress) -> str:
    """Write the movie of a shot out of its rendered frames; one line of what was done.

    Raises `BadInput` where a frame is missing, or was rendered by another version, in another precision or
    for another performance.
    """
    shot, folder = file.shot(number), shot_folder(file, number)
    before = read_made(folder / MADE, file)
    if before is not None and (before["movie"] is None or shot.movie.is_file()):
        return f"the movie of shot {number} is there already"
    shot.movie.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        made = _movie(file, shot, progress) if shot.chunked else _whole(file, shot, progress)
    except _Kept as e:
        made = {"movie": None, "reason": str(e), "drawn": 0, "notes": []}
    write_json(folder / MADE, {"job": file.key, **made})
    return f"shot {number} is kept: {made['reason']}" if made["movie"] is None else f"{shot.movie} is written"


class _Kept(Exception):
    """A shot that cannot be dubbed after all; says why."""


def _movie(file: JobFile, shot: JobShot, progress: Progress) -> dict[str, Any]:
    output = output_of(file, shot)
    ready = prepared_render(file, shot, output, progress)
    if isinstance(ready, str):
        raise _Kept(ready)
    renderer = ready.renderer
    check_output(
        output, renderer.shot.source, renderer.actor.folder, *(c.recording for c in renderer.shot.cues)
    )
    pieces = Pieces(shot_folder(file, shot.number) / FRAMES, made_from(renderer))
    report = write_frames(ready, pieces.finished(renderer, progress), output, progress)
    if report.drawn == 0 and file.job.kind != CLIP:
        shot.movie.unlink(missing_ok=True)
        reasons = ", ".join(dict.fromkeys(run.reason for run in report.passed))
        raise _Kept(f"none of its frames is redrawn: {reasons}")
    if file.job.kind != CLIP:  # a later `vdub dub` of the edit finds it done
        job = job_of(file.small_plan(shot), shot.planned, edit_output(file), _actors(file, shot))
        write_json(shot.movie.with_name(shot.movie.name + JOB_SUFFIX), {"job": job, "drawn": report.drawn})
    return {"movie": shot.movie.name, "reason": "", "drawn": report.drawn, "notes": list(report.notes)}


def _whole(file: JobFile, shot: JobShot, progress: Progress) -> dict[str, Any]:
    """A shot that is not rendered in chunks."""
    output = edit_output(file)
    for folder in (output.folder, output.folder / "shots", output.folder / "dialogue"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        done = dub_planned_shot(file.small_plan(shot), shot.planned, output, _actors(file, shot), progress)
    except BadInput as e:
        raise _Kept(str(e)) from e
    return {"movie": shot.movie.name, "reason": "", "drawn": done.drawn, "notes": list(done.notes)}


def _actors(file: JobFile, shot: JobShot) -> dict[str, Actor]:
    choice = RuntimeChoice(file.job.provider, file.job.fast)
    names = {who.role.actor or "" for who in shot.planned.speaking}
    return {name: load_actor(file.job.actors[name], choice) for name in names}


def edit_output(file: JobFile) -> EditOutput:
    """Where and how the dubbed edit is written."""
    w = file.job.written
    rules = host_rules(w.host, w.as_default)
    return EditOutput(file.roots[OUTPUT], rules, w.codec, w.crf, w.watermark)


# ---- the whole ---------------------------------------------------------------------------------------------


def assemble(
    file: JobFile, shown_as: PurePath | None = None, say: Callable[[str], None] = lambda text: None
) -> str:
    """Write the dubbed edit with its report, as `vdub dub` does; of a clip, see that every movie is there.
    One line of what was done.

    shown_as: the folder `OUTPUT` as the editor's machine knows it, where it has another name there. say: is
    told the notes, and what the edit's own format loses. Raises `BadInput` where a shot's movie is missing.
    """
    missing = [n for n in file.numbers if read_made(shot_folder(file, n) / MADE, file) is None]
    if missing:
        raise BadInput(f"{file.roots[WORK]}: shot {missing[0]} has no movie yet; run its tasks first")
    if file.job.edit is None:
        return f"{len(file.numbers)} movies are in {file.roots[OUTPUT]}"
    output, edit, written = replace(edit_output(file), shown_as=shown_as), read_edit(file.job.edit), []
    plans = file.plans(edit)
    check_edit_output(plans, output, {})
    if edit.path.suffix.lower() == BUNDLE:
        unpack(edit.path, output.folder)
    for plan in (with_notes(p, output, say) for p in plans):
        results = []
        for planned in plan.shots:
            if planned.action == KEEP:
                picture = output.picture_path(planned, plan.language).name
                there = file.roots[INPUTS] / PICTURES / picture
                ready = there if there.is_file() else None
                results.append(ShotResult(planned, reason=planned.reason, picture=ready))
                continue
            shot = file.shot_of(plan, planned)
            assert shot is not None
            made = read_made(shot_folder(file, shot.number) / MADE, file) or {}
            movie_path = None if made["movie"] is None else shot.movie
            notes = tuple(made["notes"])
            results.append(ShotResult(planned, movie_path, made["reason"], drawn=made["drawn"], notes=notes))
        written.append(write_results(plan, output, results, say).path)
    return f"{', '.join(map(str, written))}: {len(file.numbers)} shots"
