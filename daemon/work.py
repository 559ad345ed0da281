"""What a worker does for a job, through the core's own seams: dub, track, adapt, predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.access import Roots
from daemon.messages import Work
from daemon.page.facts import measured
from daemon.prepared import PERFORMANCE, Preparer, actor_path, optional, output_of, require_consent
from daemon.shot_frames import CHUNK
from visualdub.actor.record import Consent
from visualdub.dub import (
    Output,
    write_frames,
)
from visualdub.edit.cast import Cast
from visualdub.edit.dubbing import BAKING, DIALOGUE, SHOTS
from visualdub.edit.footage import find_footage
from visualdub.edit.media import MediaFinder
from visualdub.edit.reading import is_edit, read_edit
from visualdub.edit.request import EditRequest, EditWords, EditWritten, dub_plans, plan_request
from visualdub.errors import ActorError, BadInput
from visualdub.face.tracker import track_clip
from visualdub.services import AdaptClip, AdaptRequest, adapt_service
from visualdub.stages import Progress, StageClock
from visualdub.storage import Together, protect, require_writable, write_text
from visualdub.temporaries import remove
from visualdub.timing import FrameRange

# ---- a dub -------------------------------------------------------------------------------------------------


def dub(work: Work, preparer: Preparer, progress: Progress) -> dict[str, Any]:
    """Draw and encode a whole shot; its report. Frames that the cache has are not drawn again."""
    remove_left_over(output_of(work.request, preparer.setting.roots))
    ready = preparer.prepared(work, progress)
    render = ready.render
    render.renderer.clock = StageClock()
    wanted = render.renderer.shot.frames
    frames = measured(Path(work.folder), wanted, ready.frames.frames(wanted, progress))
    before = ready.frames.rendered
    with Together() as files:  # the performance takes its name with the movie
        write_asked_performance(work, ready.output, files)
        report = write_frames(render, frames, ready.output, progress)
    return {**report.as_dict(), "rendered": ready.frames.rendered - before}


def chunk(work: Work, preparer: Preparer, progress: Progress) -> dict[str, Any]:
    """Render one chunk of a shot that another worker dubs into the cache, where that one finds it."""
    ready = preparer.prepared(work, progress)
    whole = ready.render.renderer.shot.frames
    start = whole.start + work.chunk * CHUNK
    part = FrameRange(start, min(start + CHUNK, whole.end_exclusive))
    before = ready.frames.rendered
    for done, _ in enumerate(ready.frames.frames(part, progress), 1):
        progress.report("a chunk", done, len(part))
    return {"rendered": ready.frames.rendered - before}


def speech(work: Work, preparer: Preparer, progress: Progress) -> dict[str, Any]:
    """The performance of a dub alone, in the file that the request names."""
    if work.request.get("performance") is None:
        raise BadInput("speech writes a performance; expected the name of its file, performance")
    ready = preparer.prepared(work, progress)
    write_asked_performance(work, ready.output, None)
    performance = ready.render.renderer.performance
    return {
        "performance": work.request["performance"],
        "frames": len(performance),
        "drawn": int((performance.draw > 0).sum()),
        "notes": list(ready.render.notes),
    }


def write_asked_performance(work: Work, output: Output, files: Together | None) -> None:
    """Write the job's performance where the request wants it, if it does."""
    if output.performance is not None:
        text = (Path(work.folder) / PERFORMANCE).read_text(encoding="utf-8")
        write_text(output.performance, text, files)


def remove_left_over(output: Output) -> None:
    """Remove what a killed worker left of these outputs under names of its own: it is dead, and no other
    job writes them.
    """
    for path in output.files():
        for partial in path.parent.glob(f".{_literal(path.name)}.????????.partial"):
            partial.unlink(missing_ok=True)


def remove_left_over_shots(folder: Path) -> None:
    """The same for the folder of a dubbed edit, which is this job's alone."""
    for place in (folder, folder / SHOTS, folder / DIALOGUE):
        for partial in (*place.glob(".*.????????.partial"), *place.glob(f"{BAKING}*")):
            remove(partial)


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


# ---- an edit -----------------------------------------------------------------------------------------------


def edit(work: Work, preparer: Preparer, progress: Progress) -> dict[str, Any]:
    """Dub the clips of an edit; where it lies, and what became of each clip. Shots that an earlier run
    finished are not dubbed again.
    """
    asked, setting = work.request, preparer.setting
    roots = setting.roots
    folder = roots.writable(asked["output"])
    actor = asked.get("actor")
    if actor is not None:
        actor = str(actor_path(actor, setting))
    request = EditRequest(
        roots.readable(asked["edit"]),
        actor,
        EditWords(
            asked.get("dialogue_track"),
            optional(asked.get("dialogue_folder"), roots),
            optional(asked.get("cast"), roots),
            asked.get("languages"),
            asked.get("longer", "next-shot"),
        ),
        EditWritten(
            folder,
            asked.get("host"),
            asked.get("as_default", False),
            asked.get("codec"),
            asked.get("crf", 16),
            asked.get("watermark", True),
            work.quality,
        ),
        tuple(roots.readable(r) for r in asked.get("relink", ())),
        actors=setting.actors,
        permit=lambda path: roots.readable(str(path.absolute())),
        consent=Consent.parse(asked["consent"]) if asked.get("consent") else None,
    )

    def consenting(name: str) -> Path:
        found = actor_path(name, setting)
        require_consent(found)
        return found

    if work.fresh:
        remove_left_over_shots(folder)
    dubbed = dub_plans(
        request, plan_request(request, progress, consenting), find=consenting, progress=progress
    )
    return {
        "outputs": [d.as_dict() for d in dubbed],
        "shots": [shot for d in dubbed for shot in d.shots_as_dict()],
    }


# ---- an actor ----------------------------------------------------------------------------------------------


def adapt(work: Work, preparer: Preparer, progress: Progress) -> dict[str, Any]:
    """Make an actor of clips, into the library."""
    asked, setting = work.request, preparer.setting
    folder = setting.actors / f"{asked['name']}.actor"
    setting.actors.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise ActorError(
            f"{asked['name']} is an actor of the library already; give another name, or remove it"
        )
    consent = Consent.parse(asked["consent"])
    request = AdaptRequest(
        _clips(asked, setting.roots, progress),
        asked["name"],
        folder,
        consent,
        minutes=asked.get("minutes"),
        steps=asked.get("steps"),
    )
    notes: list[str] = []
    record = adapt_service()(request, progress, notes.append)
    return {"actor": record.name, "package": str(folder), "steps": record.steps, "notes": notes}


def _clips(asked: dict[str, Any], roots: Roots, progress: Progress) -> tuple[AdaptClip, ...]:
    """What an actor is adapted to: the clips, or the most telling frames of the actor in an edit."""
    paths = [roots.readable(c) for c in asked["clips"]]
    if not any(is_edit(path) for path in paths):
        frames = FrameRange.parse(asked["frames"]) if asked.get("frames") else None
        return tuple(AdaptClip(path, frames, asked.get("face")) for path in paths)
    path = paths[0]
    if paths[1:] or asked.get("frames") or asked.get("face"):
        raise BadInput(f"{path} is an edit, which says itself what of which clips is seen; expected it alone")
    finder = MediaFinder(path, progress=progress, permit=lambda p: roots.readable(str(p.absolute())))
    return tuple(find_footage(read_edit(path), finder, asked["name"], Cast(), progress=progress).clips)


# ---- a track -----------------------------------------------------------------------------------------------


def track(work: Work, preparer: Preparer, progress: Progress) -> dict[str, Any]:
    """The track of a clip, in a file."""
    asked, roots = work.request, preparer.setting.roots
    clip, output = roots.readable(asked["clip"]), roots.writable(asked["output"])
    protect([clip], [output])
    require_writable(output)
    frames = FrameRange.parse(asked["frames"]) if asked.get("frames") else None
    made = track_clip(clip, frames, asked.get("face"), progress)
    made.save(output)
    return {"track": str(output), "frames": len(made), "usable": int(made.usable.sum())}


KINDS: dict[str, Callable[[Work, Preparer, Progress], dict[str, Any]]] = {
    "dub": dub,
    "edit": edit,
    "chunk": chunk,
    "speech": speech,
    "adapt": adapt,
    "track": track,
}
