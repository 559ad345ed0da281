"""What a worker does for a job, through the core's own seams: prepare a shot, dub, track, adapt, predict."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from daemon.access import Roots
from daemon.frame_cache import FrameCache
from daemon.messages import Work
from daemon.page.facts import measured, write_facts
from daemon.shot_frames import CHUNK, ShotFrames
from visualdub.actor.library import find_actor
from visualdub.actor.package import load_actor
from visualdub.actor.record import Consent, load_record
from visualdub.dub import (
    AUDIO_RATE,
    Mouth,
    Output,
    PreparedRender,
    audio_notes,
    check_output,
    dialogue_performance,
    prepare_render,
    save_performance,
    shot_audio,
    spoken_in,
    track_driver,
    track_notes,
    track_shot,
    write_frames,
)
from visualdub.edit.dubbing import BAKING, DIALOGUE, SHOTS
from visualdub.edit.request import EditRequest, EditWords, EditWritten, dub_plans, plan_request
from visualdub.edit.shot import DialogueCue, Shot, plan_shot
from visualdub.errors import ActorError, BadInput
from visualdub.face.recognise import only_frames_of
from visualdub.face.tracker import track_clip
from visualdub.media.audio import read_audio
from visualdub.render.shot_renderer import RenderOptions
from visualdub.render.watermark import Watermark
from visualdub.services import AdaptClip, AdaptRequest, adapt_service
from visualdub.speech.alignment import Alignment, align_script
from visualdub.speech.performance import PerformanceAdjustments
from visualdub.speech.performance_file import read_performance_file
from visualdub.speech.retarget import DrivenMouth
from visualdub.speech.script import read_script
from visualdub.stages import Progress, StageClock
from visualdub.storage import Together, protect, require_writable, write_text
from visualdub.temporaries import remove
from visualdub.timing import FrameChoice, FrameRange

WARM = 3  # prepared shots that a worker keeps
PERFORMANCE = "performance.json"  # in a job's folder: what the mouth does


@dataclass(frozen=True)
class Setting:
    """What is the same for all work of a worker."""

    roots: Roots
    actors: Path  # the service's library
    cache: FrameCache


@dataclass
class PreparedDub:
    """A shot that is ready to be drawn, and how it is written."""

    render: PreparedRender
    output: Output
    frames: ShotFrames
    actor: Path


class Preparer:
    """Prepares shots, and keeps the last ones ready."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._warm: OrderedDict[str, PreparedDub] = OrderedDict()

    def prepared(self, work: Work, progress: Progress) -> PreparedDub:
        """The shot of a dub, ready to be drawn. Raises as the core does, and `ActorError` once consent is
        withdrawn.
        """
        key = _key(work)
        ready = self._warm.get(key)
        if ready is None:
            ready = self._warm[key] = prepare_dub(work, self.setting, progress)
        self._warm.move_to_end(key)
        while len(self._warm) > WARM:
            self._warm.popitem(last=False)[1].frames.close()
        require_consent(ready.actor)
        return ready

    def is_ready(self, work: Work) -> bool:
        """Whether the shot needs no more preparation."""
        return _key(work) in self._warm

    def forget(self, job: int) -> None:
        """Prepare a job's shot anew the next time: something of it may have changed."""
        for key in [k for k in self._warm if k.split()[0] == str(job)]:
            self._warm.pop(key).frames.close()

    def asked(self, work: Work) -> PreparedDub:
        """The shot of a question: as `prepared`; what is in memory of the frames of others is let go."""
        ready = self.prepared(work, Progress())
        for other in self._warm.values():
            if other is not ready:
                other.frames.forget_plates()
        return ready

    def rest(self) -> None:
        """End what runs ahead of questions that do not come."""
        for ready in self._warm.values():
            ready.frames.rest()

    def fill(self) -> bool:
        """Use a moment in which nothing is to be done for the questions to come; whether there is more."""
        return any(ready.frames.fill() for ready in reversed(self._warm.values()))


def _key(work: Work) -> str:
    """What a prepared shot is known by."""
    return f"{work.job} {work.quality} {work.performance}"


# ---- a dub -------------------------------------------------------------------------------------------------


def prepare_dub(work: Work, setting: Setting, progress: Progress) -> PreparedDub:
    """Plan, track, and make the performance of a dub; it is written to the job's folder, too."""
    asked, roots = work.request, setting.roots
    actor_folder = actor_path(asked["actor"], setting)
    actor = load_actor(actor_folder)
    clip, output = roots.readable(asked["clip"]), output_of(asked, roots)
    driver = _optional(asked.get("driver"), roots)
    dialogue = _optional(asked.get("dialogue"), roots) or driver
    if dialogue is None:
        raise BadInput("nothing is said; expected a dialogue or a driver")
    edited = Path(work.performance) if work.performance else _optional(asked.get("use_performance"), roots)
    check_output(output, clip, dialogue, driver, edited, actor_folder)
    shot, cue = planned(asked, clip, progress), DialogueCue(dialogue)
    mouth = mouth_of(asked, edited, driver, shot, progress)
    who = actor.likeness if asked.get("face") is None else None
    tracked = track_shot(shot, asked.get("face"), progress, who)
    track = only_frames_of(tracked.track, actor.likeness)
    tracked = replace(tracked, shot=shot.with_cue(cue), track=track)
    audio = shot_audio(tracked.shot)
    script = script_of(asked, dialogue, roots)
    performance, notes = dialogue_performance(tracked, audio, actor, mouth, script)
    notes += audio_notes(audio, tracked.shot, cue) + track_notes(tracked.shot, output.keep_audio)
    folder = Path(work.folder)
    folder.mkdir(parents=True, exist_ok=True)
    spoken = spoken_in(audio, tracked.shot, script)
    save_performance(folder / PERFORMANCE, tracked, performance, spoken, actor, mouth)
    options = render_options(work.quality, output.watermark)
    render = prepare_render(tracked, performance, actor, output, options=options, progress=progress)
    render.notes, render.mouth = notes, mouth
    write_facts(folder, render)
    if work.mark is not None and render.renderer.watermark is not None:
        render.renderer.watermark = Watermark(np.array([int(c) for c in work.mark], np.uint8))
    return PreparedDub(render, output, ShotFrames(render.renderer, setting.cache), actor_folder)


def render_options(quality: str, watermark: bool) -> RenderOptions:
    """How a quality is drawn. A draft leaves out the grain, the look at the background and the frame's light,
    and keeps the network's own picture: the mouth moves as it will, its edge and noise do not fit yet.
    """
    if quality == "draft":
        return RenderOptions(grain=False, watermark=watermark, matting=False, light=False)
    return RenderOptions(watermark=watermark)


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


def output_of(asked: dict[str, Any], roots: Roots) -> Output:
    """How a request wants its result written; every path is checked."""
    names = ("matte", "performance")
    matte, performance = (roots.writable(asked[n]) if asked.get(n) else None for n in names)
    holdout = _optional(asked.get("holdout"), roots)
    return Output(
        roots.writable(asked["output"]),
        asked.get("codec"),
        asked.get("crf", 16),
        matte,
        asked.get("watermark", True),
        performance,
        asked.get("keep_audio", False),
        asked.get("occluded", "hold"),
        holdout,
    )


def planned(asked: dict[str, Any], clip: Path, progress: Progress) -> Shot:
    """The shot that a request names."""
    frames = FrameRange.parse(asked["frames"]) if asked.get("frames") else None
    shot = plan_shot(clip, frames, progress=progress)
    return shot.choose(FrameChoice.parse(asked.get("skip"), asked.get("only")))


def mouth_of(
    asked: dict[str, Any], edited: Path | None, driver: Path | None, shot: Shot, progress: Progress
) -> Mouth:
    """Where the performance comes from."""
    if edited is not None:
        return read_performance_file(edited)
    numbers = (asked.get("mouth_gain", 1.0), asked.get("smooth_ms", 0.0), asked.get("offset_ms", 0.0))
    adjustments = PerformanceAdjustments(*numbers)
    if driver is None:
        return adjustments
    length_s: Fraction = shot.info.start_of(shot.frames.end_exclusive) - shot.start_s
    return DrivenMouth(
        track_driver(DialogueCue(driver), length_s, asked.get("driver_face"), progress), adjustments
    )


def script_of(asked: dict[str, Any], dialogue: Path, roots: Roots) -> Alignment | None:
    """What the dialogue says, its words found in the sound, where a request gives a script."""
    script, language = _optional(asked.get("script"), roots), asked.get("language")
    if script is None and language is None:
        return None
    if script is None or language is None or asked.get("use_performance"):
        raise BadInput("a script needs its language, a language its script, an edited performance neither")
    return align_script(read_audio(dialogue, AUDIO_RATE), read_script(script, language))


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


def _optional(text: str | None, roots: Roots) -> Path | None:
    return roots.readable(text) if text else None


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
            _optional(asked.get("dialogue_folder"), roots),
            _optional(asked.get("cast"), roots),
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
        ),
        tuple(roots.readable(r) for r in asked.get("relink", ())),
        permit=lambda path: roots.readable(str(path.absolute())),
    )

    def consenting(name: str) -> Path:
        found = actor_path(name, setting)
        require_consent(found)
        return found

    if work.fresh:
        remove_left_over_shots(folder)
    dubbed = dub_plans(request, plan_request(request, progress), find=consenting, progress=progress)
    return {
        "outputs": [d.as_dict() for d in dubbed],
        "shots": [shot for d in dubbed for shot in d.shots_as_dict()],
    }


# ---- actors ------------------------------------------------------------------------------------------------


def actor_path(text: str, setting: Setting) -> Path:
    """The package that a request names: one of the library by its name, or a path."""
    if os.path.isabs(text):
        return setting.roots.readable(text)
    if text != os.path.basename(text) or text in (".", ".."):
        raise BadInput(f"{text!r} is neither the name of an actor nor an absolute path")
    return find_actor(str(setting.actors / text), setting.actors)


def require_consent(folder: Path) -> None:
    """Raise `ActorError` where consent is withdrawn or the package is gone."""
    consent = load_record(folder).consent
    if consent.withdrawn is not None:
        raise ActorError(
            f"{folder}: {consent.who} withdrew consent on {consent.withdrawn}; nothing is rendered from this"
            " actor"
        )


def adapt(work: Work, preparer: Preparer, progress: Progress) -> dict[str, Any]:
    """Make an actor of clips, into the library."""
    asked, setting = work.request, preparer.setting
    frames = FrameRange.parse(asked["frames"]) if asked.get("frames") else None
    clips = tuple(AdaptClip(setting.roots.readable(c), frames, asked.get("face")) for c in asked["clips"])
    folder = setting.actors / f"{asked['name']}.actor"
    setting.actors.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise ActorError(
            f"{asked['name']} is an actor of the library already; give another name, or remove it"
        )
    request = AdaptRequest(
        clips,
        asked["name"],
        folder,
        Consent.parse(asked["consent"]),
        minutes=asked.get("minutes"),
        steps=asked.get("steps"),
    )
    notes: list[str] = []
    record = adapt_service()(request, progress, notes.append)
    return {"actor": record.name, "package": str(folder), "steps": record.steps, "notes": notes}


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
