"""A dub of several people who speak in one shot, drawn in one pass over its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

from visualdub.actor.package import Actor
from visualdub.dub import (
    Output,
    PreparedRender,
    TrackedShot,
    audio_notes,
    check_output,
    dialogue_performance,
    dub_shot,
    prepare_render,
    shot_audio,
    track_notes,
    write_frames,
)
from visualdub.edit.shot import DialogueCue
from visualdub.errors import BadInput, InternalError
from visualdub.face.occlusion import Occlusion
from visualdub.face.recognise import only_frames_of
from visualdub.memory import return_free_memory
from visualdub.records import DubReport, PersonRecord, pass_reasons, passed_runs
from visualdub.render.shot_renderer import ShotRenderer, stacked
from visualdub.stages import Progress, StageClock
from visualdub.storage import content_hash


@dataclass(frozen=True)
class Part:
    """What one person of a shot says."""

    tracked: TrackedShot  # their face in the shot
    cue: DialogueCue
    actor: Actor


def dub_people(
    parts: Sequence[Part], sound: DialogueCue, output: Output, *, progress: Progress | None = None
) -> DubReport:
    """Every person of `parts`, which are of one shot, speaks; `sound` is what is heard of them all.

    parts: one person or more; of one alone the dialogue is `sound`. The frames are decoded and encoded once.
    Whose face is larger is drawn over the others. Somebody who is
    not in the shot is heard and not drawn, which the report says. Raises what `dub_shot` raises, and
    `BadInput` where two of `parts` are one face.
    """
    if not parts:
        raise InternalError("nobody speaks in the shot")
    if len(parts) == 1:
        return dub_shot(parts[0].tracked, sound, parts[0].actor, output, progress=progress)
    parts, notes = _in_the_shot(parts)
    shot, clock, progress = parts[0].tracked.shot.with_cue(sound), StageClock(), progress or Progress()
    check_output(output, shot.source, sound.recording, *(p.actor.folder for p in parts))
    prepared = []
    for part in parts:
        made, said = _prepared(part, output, clock, progress)
        prepared.append(made)
        notes += [f"{part.actor.record.name}: {note}" for note in (*said, *made.notes)]
    notes += audio_notes(shot_audio(shot), shot, sound) + track_notes(shot, output.keep_audio)
    top = stacked([p.renderer for p in prepared])
    by_track = {id(p.renderer.track): (part, p) for part, p in zip(parts, prepared, strict=True)}
    people = tuple(_record(person, *by_track[id(person.track)]) for person in top.people)
    nearest = by_track[id(top.track)][1]
    top.shot = top.shot.with_cue(sound)
    whole = PreparedRender(top, nearest.occlusion, all(p.from_cache for p in prepared), notes, people=people)
    return write_frames(whole, top.frames(progress=progress), output, progress)


def _in_the_shot(parts: Sequence[Part]) -> tuple[list[Part], list[str]]:
    """The parts of those who are seen, all where nobody is, and a note about each of the others."""
    shown, notes = [], []
    for part in parts:
        track = only_frames_of(part.tracked.track, part.actor.likeness)
        if track.usable.any():
            shown.append(replace(part, tracked=replace(part.tracked, track=track)))
        else:
            notes.append(f"{part.actor.record.name} is not seen in the shot and is heard alone")
    for a, b in combinations(shown, 2):
        first, second = a.tracked.track, b.tracked.track
        both = first.usable & second.usable
        if first.person == second.person and bool(both.any()):
            raise BadInput(
                f"{a.actor.record.name} and {b.actor.record.name} are both taken for person {first.person} of"
                f" {first.source}; expected a face for each (person = ... in the cast file)"
            )
    return shown or list(parts[:1]), notes


def _prepared(
    part: Part, output: Output, clock: StageClock, progress: Progress
) -> tuple[PreparedRender, list[str]]:
    """A renderer of this person alone."""
    tracked = replace(part.tracked, shot=part.tracked.shot.with_cue(part.cue))
    with clock.stage("speech", len(tracked.track)):
        performance, notes = dialogue_performance(tracked, shot_audio(tracked.shot), part.actor)
    return_free_memory()
    return prepare_render(tracked, performance, part.actor, output, clock=clock, progress=progress), notes


def _record(person: ShotRenderer, part: Part, prepared: PreparedRender) -> PersonRecord:
    """What is done to the frames in which this person speaks."""
    record = part.actor.record
    reasons = _reasons(person, prepared.occlusion)
    return PersonRecord(
        actor=record.name,
        consent=asdict(record.consent),
        prior_hash=record.prior_hash,
        dialogue=part.cue.recording.name,
        dialogue_hash=content_hash(part.cue.recording),
        drawn=int((person.performance.draw > 0).sum()),
        passed=passed_runs(person.shot.frames.start, reasons),
    )


def _reasons(person: ShotRenderer, occlusion: Occlusion) -> list[str | None]:
    return pass_reasons(person.track, person.performance, person.shot.skips(), occlusion.reasons())
