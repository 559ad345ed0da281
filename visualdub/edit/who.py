"""Who speaks in a shot of which nobody says it: by the faces in the shot, and by its original sound.

A face is an actor's where it is as like them as `face.recognise` asks for. Of several people, the one speaks
whose mouth fits the sound that the shot was filmed with; where nobody's does, the shot shows people who
listen. Whatever is not clear is left alone, with the reason. In a draft, whoever speaks and is no actor is
drawn out of the clip's own frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from visualdub.actor.library import find_actor, list_actors
from visualdub.actor.package import load_actor
from visualdub.actor.record import ActorRecord
from visualdub.dub import AUDIO_RATE
from visualdub.edit.cast import Role
from visualdub.edit.dialogue import Line, sound_lines
from visualdub.edit.layout import Edit
from visualdub.edit.plan import KEEP, EditPlan, PlannedShot, Speaking
from visualdub.edit.shot import Shot
from visualdub.errors import BadInput, NoFace
from visualdub.face.appearance import distance, joined_likeness
from visualdub.face.looks import likeness_in
from visualdub.face.recognise import people_like
from visualdub.face.seen import Likeness, SeenFace
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.media.audio import read_span
from visualdub.speech.sync import Sync, estimate_sync
from visualdub.stages import Progress
from visualdub.timing import FrameRange

NEARER = 0.3  # distance by which an actor must be nearer to a face than another whom it is like, too
# Confidence of `estimate_sync` from which on a mouth speaks what is heard: in stretches of 1.6 to 4 s of real
# clips, 49 of 55 who speak reach it, and of 58 who do not none exceeds 0.75.
SPEAKS = 0.85
MOST_PEOPLE = 4  # of a shot whose mouths are compared with the sound, the most present ones
MOST_SOUNDS = 3  # of an edit that mouths are compared with
AROUND_S = 1.0  # of sound before and after a shot that is read
SHOWN_FOR = 5  # frames from which on a face counts as being in the shot
SAY_SO = "--cast says who speaks"


Speakers = dict[tuple[Path, FrameRange], tuple[int, str] | str]  # by shot: as `number_of_speaker`, or why not


@dataclass(frozen=True)
class Sound:
    """A sound that a shot was filmed with."""

    path: Path
    later_s: float = 0.0  # seconds that it is ahead of the media: of what is heard with their first frame


@dataclass(frozen=True)
class Candidate:
    """Somebody who may speak in a shot."""

    role: Role  # with an actor
    name: str
    likeness: Likeness  # of the actor, or as the cast file shows them
    named: bool = False  # whether the cast names both the actor and the face


@dataclass
class Enrolled:
    """The actors that are looked for in shots of which nobody says who speaks, by what a plan calls them.

    folder: where their packages lie; None where nobody is looked for. find: gives the package of an actor
    whom a cast file names. drafts: whether whoever speaks and is none of them is drafted.
    """

    folder: Path | None = None
    find: Callable[[str], Path] = find_actor
    drafts: bool = False
    speakers: Speakers = field(default_factory=dict)  # what was found for one language holds for the next
    _likeness: dict[str, Likeness] = field(default_factory=dict)

    @cached_property
    def packages(self) -> dict[str, ActorRecord]:
        """Record by package folder, of those who did not withdraw their consent."""
        if self.folder is None:
            return {}
        found = ((path, record) for path, record in list_actors(self.folder))
        return {
            str(path): record
            for path, record in found
            if isinstance(record, ActorRecord) and record.consent.withdrawn is None
        }

    @property
    def known(self) -> tuple[tuple[str, str], ...]:
        """Names that tracks and channels may have, and the packages of those who are called so."""
        named = ((Path(path).stem, path) for path in self.packages)
        return (*((r.name, path) for path, r in self.packages.items()), *named)

    def candidates(self, role: Role) -> list[Candidate]:
        """Who may play a role: its actor, or every enrolled one. Raises `BadInput` for what is no actor, and
        for a picture in which nobody is seen.
        """
        if role.actor is not None:
            shown = self._of_file(role.looks) if role.looks is not None else self._of_actor(role.actor)
            return [Candidate(role, Path(role.actor).stem, shown, named=role.person is not None)]
        return [
            Candidate(replace(role, actor=path), Path(path).stem, self._of_actor(path))
            for path in self.packages
        ]

    def to_draft(self, group: Sequence[Speaking]) -> Role | None:
        """The role of `group` that a person without an actor may play, one for which none is named.

        None where there is none, or nobody is drafted.
        """
        return next((s.role for s in group if s.role.actor is None), None) if self.drafts else None

    def _of_actor(self, actor: str) -> Likeness:
        if actor not in self._likeness:
            path = Path(actor) if actor in self.packages else self.find(actor)
            self._likeness[actor] = load_actor(path).likeness
        return self._likeness[actor]

    def _of_file(self, looks: Path) -> Likeness:
        if str(looks) not in self._likeness:
            self._likeness[str(looks)] = looks_of(looks)
        return self._likeness[str(looks)]


def looks_of(path: Path) -> Likeness:
    """What somebody looks like in a picture, in a clip, or in what an actor was adapted on.

    Raises `NoFace` where nobody is seen, `BadInput` where several people are.
    """
    return load_actor(path).likeness if path.is_dir() else likeness_in(path)


# ---- a plan ------------------------------------------------------------------------------------------------


def decide(plan: EditPlan, enrolled: Enrolled, progress: Progress | None = None) -> EditPlan:
    """The plan with an actor for everybody who speaks. Shots of which that is not clear are kept, with the
    reason; their frames are tracked, which a dub of them then has in the cache.
    """
    shots = [s if s.action == KEEP else decide_shot(s, plan.edit, enrolled, progress) for s in plan.shots]
    return replace(plan, shots=tuple(shots))


def open_roles(shot: PlannedShot) -> list[list[Speaking]]:
    """Those of whom each list holds one who speaks the same words, and nobody says which: one without an
    actor, or several whose lines no name tells apart.
    """
    wild = [s for s in shot.speaking if s.role.dialogue is None]
    named = [[s] for s in shot.speaking if s.role.dialogue is not None and s.role.actor is None]
    return [*([wild] if len(wild) > 1 or any(s.role.actor is None for s in wild) else []), *named]


def original_sounds(shot: PlannedShot, edit: Edit, lines: Sequence[Line]) -> list[Sound]:
    """What was heard when a shot was filmed: the sound of its media, or else what the edit plays beside it,
    but for the new dialogue. Of a shot at another speed only its media have it.
    """
    media = shot.shot
    if media.info.has_audio:
        return [Sound(media.source)]
    if shot.map is None or shot.map.kind != "plain":
        return []
    new = {cue.recording for who in shot.speaking for cue in who.cues}
    low, high = (Fraction(frame) / edit.rate for frame in shot.timeline)
    first_s = media.info.start_of(media.frames.start)
    return [
        Sound(line.recording, float(line.in_point_s + low - line.start_s - first_s))
        for line in lines
        if line.recording not in new and line.start_s <= low and high <= line.end_s
    ]


def decide_shot(
    shot: PlannedShot, edit: Edit, enrolled: Enrolled, progress: Progress | None = None
) -> PlannedShot:
    """A planned shot with an actor for everybody who speaks in it, or kept."""
    groups = open_roles(shot)
    if not groups:
        return shot
    speaking, notes = list(shot.speaking), list(shot.notes)
    try:
        several = [[c for s in group for c in enrolled.candidates(s.role)] for group in groups]
        unknown = [enrolled.to_draft(group) for group in groups]
        if not all(actors or role for actors, role in zip(several, unknown, strict=True)):
            raise Unclear("nobody says who speaks in it (--actor, --cast or metadata.visualdub.actor)")
        sounds = original_sounds(shot, edit, sound_lines(edit))
        people = People(shot.shot, sounds, enrolled.speakers, progress)
        for group, candidates, role in zip(groups, several, unknown, strict=True):
            chosen, why = people.speaker(candidates, role)
            drawn = "" if chosen.role.actor else ", drafted out of the clip's own frames"
            notes.append(f"{chosen.name} speaks{drawn}: {why}")
            rest = [s for s in speaking if all(s is not one for one in group)]
            speaking = [*rest, replace(group[0], role=chosen.role)]
    except (Unclear, BadInput) as e:
        return replace(shot, action=KEEP, reason=str(e), speaking=())
    return replace(shot, speaking=tuple(speaking), notes=tuple(notes))


# ---- a shot ------------------------------------------------------------------------------------------------


class Unclear(Exception):
    """Why it is not clear who speaks."""


class People:
    """The people who are seen in a shot. sounds: what was heard when it was filmed. speakers: what is known
    of shots already, and is added to.
    """

    def __init__(
        self,
        shot: Shot,
        sounds: Sequence[Sound] | None = None,
        speakers: Speakers | None = None,
        progress: Progress | None = None,
    ) -> None:
        own = [Sound(shot.source)] if shot.info.has_audio else []
        self.shot, self._progress = shot, progress
        self._sounds = (own if sounds is None else list(sounds))[:MOST_SOUNDS]
        self._speakers: Speakers = {} if speakers is None else speakers
        try:
            self._whole = self._tracked(None)
        except NoFace:
            raise Unclear("no usable face is in it") from None
        self.track = self._whole.span(shot.frames)
        faces: dict[int, list[SeenFace]] = {}
        for face in self.track.faces:
            faces.setdefault(face.person, []).append(face)
        self.likeness = {n: joined_likeness([f.likeness for f in several]) for n, several in faces.items()}
        shown = {n: sum(self._frames(f) for f in several) for n, several in faces.items()}
        self.numbers = [n for n in sorted(shown, key=lambda n: -shown[n]) if shown[n] >= SHOWN_FOR]
        self.numbers = self.numbers or sorted(shown)[:1]

    def _frames(self, face: SeenFace) -> int:
        """Frames of the shot in which a face is."""
        frames = self.shot.frames
        return min(face.end_exclusive, frames.end_exclusive) - max(face.start, frames.start)

    def _tracked(self, face: str | None) -> Track:
        """With the shot's handles."""
        shot = self.shot
        return cached_track(shot.source, frames=shot.tracked, face=face, progress=self._progress)[0]

    def speaker(self, candidates: Sequence[Candidate], unknown: Role | None = None) -> tuple[Candidate, str]:
        """Who of `candidates` speaks, and what tells so. Raises `Unclear` where nothing does.

        unknown: the role of whoever speaks and is none of them; None where nobody else may speak.
        """
        seen = self.seen(candidates)
        if not seen and unknown is None:
            raise Unclear(self._nobody_like(candidates))
        said = {role.person for role in (*(c.role for c in candidates), *([unknown] if unknown else []))}
        if len(said) == 1 and None not in said:
            number = self._tracked(said.pop()).person
            return self._who_is(number, seen, unknown), "the cast names the face"
        key = self.shot.source, self.shot.frames
        if key not in self._speakers:
            try:
                self._speakers[key] = self.number_of_speaker()
            except Unclear as e:
                self._speakers[key] = str(e)
        known = self._speakers[key]
        if isinstance(known, str):
            raise Unclear(known)
        number, why = known
        return self._who_is(number, seen, unknown), why

    def seen(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, list[int]]]:
        """The candidates who are in the shot, with the numbers of the faces that are theirs. Raises `Unclear`
        where a face may be that of two.
        """
        found = [(c, self._faces_of(c)) for c in candidates]
        found = [(c, numbers) for c, numbers in found if numbers]
        for number in {n for _, numbers in found for n in numbers}:
            rivals = sorted(
                ((distance(c.likeness, self.likeness[number]), c.name, c) for c, ns in found if number in ns),
                key=lambda rival: rival[0],
            )
            if len(rivals) > 1 and rivals[1][0] - rivals[0][0] < NEARER:
                both = " and ".join(f"{name} ({apart:.2f})" for apart, name, _ in rivals[:2])
                raise Unclear(f"a face in it is like {both}; {SAY_SO}")
            lost = [c for _, _, c in rivals[1:]]
            found = [(c, [n for n in ns if n != number or c not in lost]) for c, ns in found]
        return [(c, numbers) for c, numbers in found if numbers]

    def _nobody_like(self, candidates: Sequence[Candidate]) -> str:
        """What is said where none of `candidates`, of whom there are some, is in the shot."""
        apart = [(distance(c.likeness, self.likeness[n]), c.name) for c in candidates for n in self.numbers]
        near, name = min(apart)
        return (
            f"the people in it are none of the actors: the most alike is {name} with {near:.2f}, expected"
            f" less than 1; in another light or year {SAY_SO}"
        )

    def _faces_of(self, candidate: Candidate) -> list[int]:
        """The numbers of a candidate's faces: those that the cast names, or that are like them."""
        if candidate.named:
            return [self._tracked(candidate.role.person).person]
        return people_like(self.track, candidate.likeness)

    def _who_is(
        self, number: int, seen: Sequence[tuple[Candidate, list[int]]], unknown: Role | None
    ) -> Candidate:
        for candidate, numbers in seen:
            if number in numbers:
                return candidate
        if unknown is not None:
            return self._drafted(number, unknown)
        there = ", ".join(candidate.name for candidate, _ in seen)
        raise Unclear(f"person {number} speaks in it, who is none of the actors ({there} is seen); {SAY_SO}")

    def _drafted(self, number: int, role: Role) -> Candidate:
        """Person `number`, who has no actor, in `role`. The most present one is not named: they are whom
        `track_shot` takes by default, in the track that is made already.
        """
        if number not in self.likeness:
            raise Unclear(f"person {number}, whom the cast names, is not seen in it")
        person = role.person or (None if number == self._whole.person else str(number))
        return Candidate(replace(role, person=person), f"person {number}", self.likeness[number])

    def number_of_speaker(self) -> tuple[int, str]:
        """The number of the person whose mouth fits the shot's own sound, and a word about it.

        A person who is seen alone is taken to speak where the sound cannot tell. Raises `Unclear` where
        nobody's mouth fits the sound, several do, or it cannot tell.
        """
        alone = self.numbers[0] if len(self.numbers) == 1 else None
        syncs: dict[int, Sync] = {}
        silent = ""
        for number in self.numbers[:MOST_PEOPLE]:
            try:
                syncs[number] = self._sync(number)
            except BadInput as e:
                silent = str(e).removeprefix(f"{self.track.source}: ")
        fitting = [n for n, sync in syncs.items() if sync.confidence >= SPEAKS]
        if len(fitting) == 1:
            confidence = syncs[fitting[0]].confidence
            return fitting[0], f"the mouth fits the original sound (confidence {confidence:.2f})"
        if not syncs:
            if alone is not None:
                return alone, f"nobody else is seen, and the original sound cannot tell ({silent})"
            raise Unclear(
                f"{len(self.numbers)} people are seen and the original sound cannot tell who speaks"
                f" ({silent}); {SAY_SO}"
            )
        measured = ", ".join(f"person {n} {sync.confidence:.2f}" for n, sync in syncs.items())
        if fitting:
            raise Unclear(f"the mouths of several people fit its original sound ({measured}); {SAY_SO}")
        raise Unclear(
            f"nobody's mouth fits its original sound, as in a reaction shot ({measured}; expected"
            f" {SPEAKS}); {SAY_SO}"
        )

    def _sync(self, number: int) -> Sync:
        """How a person's mouth fits the sound that fits it best. Raises `BadInput` where none can be
        compared.
        """
        if not self._sounds:
            raise BadInput("it has no sound")
        whole = self._whole if number == self._whole.person else self._tracked(str(number))
        found: list[Sync] = []
        problem = BadInput("it has no sound")
        for sound in self._sounds:
            times = self.shot.info.frame_times()[whole.start : whole.frames.end_exclusive] + sound.later_s
            start_s = max(0.0, float(times[0]) - AROUND_S)
            try:
                length_s = float(times[-1]) - start_s + AROUND_S
                audio = read_span(sound.path, AUDIO_RATE, Fraction(start_s), length_s)
                found.append(estimate_sync(whole, times - start_s, audio))
            except BadInput as e:
                problem = e
        if not found:
            raise problem
        return max(found, key=lambda sync: sync.confidence)
