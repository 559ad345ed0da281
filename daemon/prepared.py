"""Prepares the shots of dubs for a worker: planned, tracked, heard, with a performance, ready to be drawn."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.access import Roots
from daemon.frame_cache import FrameCache
from daemon.library import drafted_consent
from daemon.messages import Work
from daemon.page.facts import write_facts
from daemon.shot_frames import ShotFrames, kept_frames
from visualdub.actor.draft import draft_actor
from visualdub.actor.library import find_actor
from visualdub.actor.package import Actor, load_actor
from visualdub.actor.record import load_record
from visualdub.dub import (
    AUDIO_RATE,
    Mouth,
    Output,
    PreparedRender,
    TrackedShot,
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
)
from visualdub.edit.shot import DialogueCue, Shot, plan_shot
from visualdub.errors import ActorError, BadInput
from visualdub.face.recognise import only_frames_of
from visualdub.media.audio import read_audio
from visualdub.media.kept_frames import KeptFrames
from visualdub.render.watermark import Watermark
from visualdub.speech.alignment import Alignment, align_script
from visualdub.speech.performance import PerformanceAdjustments
from visualdub.speech.performance_file import Spoken, read_performance_file
from visualdub.speech.retarget import DrivenMouth
from visualdub.speech.script import read_script
from visualdub.stages import Progress
from visualdub.timing import FrameChoice, FrameRange

WARM = 3  # prepared shots that a worker keeps
PERFORMANCE = "performance.json"  # in a job's folder: what the mouth does


@dataclass(frozen=True)
class Setting:
    """What is the same for all work of a worker."""

    roots: Roots
    actors: Path  # the service's library
    cache: FrameCache


@dataclass(frozen=True)
class HeardShot:
    """A shot with its actor and its words: what edits of the performance leave as it is."""

    actor: Actor
    tracked: TrackedShot  # with its dialogue
    audio: NDArray[np.float32]  # (n,) at AUDIO_RATE, by the shot's clock
    script: Alignment | None
    spoken: Spoken
    plates: KeptFrames  # of the clip, for who asks for single frames


@dataclass
class PreparedDub:
    """A shot that is ready to be drawn, and how it is written."""

    render: PreparedRender
    output: Output
    frames: ShotFrames
    actor: Path | None  # the package; None: a draft of nobody's


class Preparer:
    """Prepares shots, and keeps the last ones ready."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._heard: OrderedDict[int, HeardShot] = OrderedDict()  # by job
        self._warm: OrderedDict[str, PreparedDub] = OrderedDict()

    def prepared(self, work: Work, progress: Progress) -> PreparedDub:
        """The shot of a dub, ready to be drawn. Raises as the core does, and `ActorError` once consent is
        withdrawn.
        """
        key = _key(work)
        ready = self._warm.get(key)
        if ready is None:
            heard = self._heard.get(work.job)
            if heard is None:
                heard = self._heard[work.job] = hear(work, self.setting, progress)
            ready = self._warm[key] = prepare_dub(work, self.setting, heard, progress)
            while len(self._heard) > WARM:
                self._heard.popitem(last=False)
        self._warm.move_to_end(key)
        while len(self._warm) > WARM:
            self._warm.popitem(last=False)[1].frames.rest()
        if ready.actor is not None:
            require_consent(ready.actor)
        return ready

    def is_ready(self, work: Work) -> bool:
        """Whether the shot needs no more preparation."""
        return _key(work) in self._warm

    def forget(self, job: int) -> None:
        """Prepare a job's shot anew the next time: something of it may have changed."""
        self._heard.pop(job, None)
        for key in [k for k in self._warm if k.split()[0] == str(job)]:
            self._warm.pop(key).frames.rest()

    def asked(self, work: Work) -> PreparedDub:
        """The shot of a question: as `prepared`; what is in memory of the frames of others is let go."""
        ready = self.prepared(work, Progress())
        for other in self._warm.values():
            if other.frames.plates is not ready.frames.plates:
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


# ---- a shot ------------------------------------------------------------------------------------------------


def hear(work: Work, setting: Setting, progress: Progress) -> HeardShot:
    """Plan and track the shot of a dub, and listen to its dialogue."""
    asked, roots = work.request, setting.roots
    clip, output = roots.readable(asked["clip"]), output_of(asked, roots)
    actor = load_actor(actor_path(asked["actor"], setting)) if asked.get("actor") else None
    driver = optional(asked.get("driver"), roots)
    dialogue = optional(asked.get("dialogue"), roots) or driver
    if dialogue is None:
        raise BadInput("nothing is said; expected a dialogue or a driver")
    folder = None if actor is None else actor.folder
    check_output(output, clip, dialogue, driver, edited_mouth(work, roots), folder)
    shot = planned(asked, clip, progress)
    who = actor.likeness if actor is not None and asked.get("face") is None else None
    tracked = track_shot(shot, asked.get("face"), progress, who)
    if actor is None:
        actor = draft_actor(clip, tracked.track, drafted_consent(asked, work.quality), progress)
    track = only_frames_of(tracked.track, actor.likeness)
    tracked = replace(tracked, shot=shot.with_cue(DialogueCue(dialogue)), track=track)
    audio, script = shot_audio(tracked.shot), script_of(asked, dialogue, roots)
    spoken = spoken_in(audio, tracked.shot, script)
    return HeardShot(actor, tracked, audio, script, spoken, kept_frames(clip))


def prepare_dub(work: Work, setting: Setting, heard: HeardShot, progress: Progress) -> PreparedDub:
    """Make the performance of a dub, which is written to the job's folder, too, and what draws it."""
    asked, roots = work.request, setting.roots
    actor, tracked, audio = heard.actor, heard.tracked, heard.audio
    output, (cue,) = replace(output_of(asked, roots), quality=work.quality), tracked.shot.cues
    mouth = mouth_of(work, roots, tracked.shot, progress)
    performance, notes = dialogue_performance(tracked, audio, actor, mouth, heard.script)
    notes += audio_notes(audio, tracked.shot, cue) + track_notes(tracked.shot, output.keep_audio)
    folder = Path(work.folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_performance(folder / PERFORMANCE, tracked, performance, heard.spoken, actor, mouth)
    render = prepare_render(tracked, performance, actor, output, progress=progress)
    render.notes, render.mouth = notes + render.notes, mouth
    write_facts(folder, render)
    if work.mark is not None and render.renderer.watermark is not None:
        render.renderer.watermark = Watermark(np.array([int(c) for c in work.mark], np.uint8))
    frames = ShotFrames(render.renderer, setting.cache, heard.plates)
    return PreparedDub(render, output, frames, None if actor.is_draft else actor.folder)


# ---- what a request says -----------------------------------------------------------------------------------


def output_of(asked: dict[str, Any], roots: Roots) -> Output:
    """How a request wants its result written; every path is checked."""
    names = ("matte", "performance")
    matte, performance = (roots.writable(asked[n]) if asked.get(n) else None for n in names)
    holdout = optional(asked.get("holdout"), roots)
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


def edited_mouth(work: Work, roots: Roots) -> Path | None:
    """The performance that is drawn as it is, where there is one: a client's edit, or else the request's."""
    if work.performance:
        return Path(work.performance)
    return optional(work.request.get("use_performance"), roots)


def mouth_of(work: Work, roots: Roots, shot: Shot, progress: Progress) -> Mouth:
    """Where the performance comes from."""
    asked, edited = work.request, edited_mouth(work, roots)
    if edited is not None:
        return read_performance_file(edited)
    numbers = (asked.get("mouth_gain", 1.0), asked.get("smooth_ms", 0.0), asked.get("offset_ms", 0.0))
    adjustments = PerformanceAdjustments(*numbers)
    driver = optional(asked.get("driver"), roots)
    if driver is None:
        return adjustments
    length_s: Fraction = shot.info.start_of(shot.frames.end_exclusive) - shot.start_s
    cue = DialogueCue(driver)
    return DrivenMouth(track_driver(cue, length_s, asked.get("driver_face"), progress), adjustments)


def script_of(asked: dict[str, Any], dialogue: Path, roots: Roots) -> Alignment | None:
    """What the dialogue says, its words found in the sound, where a request gives a script."""
    script, language = optional(asked.get("script"), roots), asked.get("language")
    if script is None and language is None:
        return None
    if script is None or language is None or asked.get("use_performance"):
        raise BadInput("a script needs its language, a language its script, an edited performance neither")
    return align_script(read_audio(dialogue, AUDIO_RATE), read_script(script, language))


def optional(text: str | None, roots: Roots) -> Path | None:
    """The file of a field that may be left out."""
    return roots.readable(text) if text else None


# ---- actors ------------------------------------------------------------------------------------------------


def actor_path(text: str, setting: Setting) -> Path:
    """The package that a request names: one of the library by its name or where it lies, or another path."""
    if os.path.isabs(text):
        if os.path.realpath(os.path.dirname(text)) == os.path.realpath(setting.actors):
            return find_actor(text, setting.actors)
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
