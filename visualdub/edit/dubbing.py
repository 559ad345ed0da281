"""Carries out the plan of an edit: every shot dubbed through the usual path, then the edit written.

A shot that is done is not done again: `NAME.job.json` beside its movie holds what it was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from visualdub.actor.draft import draft_actor
from visualdub.actor.package import Actor
from visualdub.actor.record import Consent
from visualdub.dub import Output, track_shot
from visualdub.dub_people import Part, dub_people
from visualdub.edit.layout import Edit
from visualdub.edit.plan import BAKE, KEEP, EditPlan, PlannedShot, Speaking
from visualdub.edit.reading import as_otio
from visualdub.edit.report import PICTURES, ShotMade, report_files, write_edit_report
from visualdub.edit.shot import DialogueCue, Shot, plan_shot
from visualdub.edit.state import ORIGINAL_SUFFIX, STATE_SUFFIX, write_dubbed
from visualdub.edit.who import looks_of
from visualdub.edit.writing import DubbedClip, HostRules, patched
from visualdub.errors import BadInput, InternalError
from visualdub.face.recognise import only_frames_of
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.media.audio import channel_weights
from visualdub.media.frame import ClipInfo
from visualdub.media.movie_writer import MovieWriter
from visualdub.media.sound_decoder import DecodedSound, at_rate
from visualdub.media.source import open_source
from visualdub.render.quality import DRAFT, FINAL
from visualdub.stages import Progress
from visualdub.storage import content_hash, protect, require_writable, write_json
from visualdub.timing import FrameRange, shift_timecode

JOB_SUFFIX = ".job.json"
WAV_RATE = 48000  # Hz, where recordings of several rates meet in one shot
QUIET = 0.1  # of the loudest channel's power; quieter ones are left out of a shot's dialogue
SHOTS, DIALOGUE = "shots", "dialogue"  # folders beside a dubbed edit
BAKING = ".baking-"  # how the folders begin in which a shot's frames lie while it is dubbed
_VERSION = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class EditOutput:
    """Where and how a dubbed edit is written."""

    folder: Path
    rules: HostRules
    codec: str | None = None
    crf: int = 16
    watermark: bool = True
    shown_as: PurePath | None = None  # the folder as the editor's machine knows it, where that differs
    quality: str = FINAL  # or DRAFT, as in `Output`
    consent: Consent | None = None  # of the people who have no actor, to a draft of them

    def shown(self, path: Path) -> PurePath:
        """A path in the folder as the edit and its report name it."""
        return path if self.shown_as is None else self.shown_as.joinpath(*path.relative_to(self.folder).parts)

    def edit_path(self, edit: Edit, language: str | None) -> Path:
        """The dubbed edit; always an .otio, whatever the original is."""
        return self.folder / f"{edit.path.stem}{f'.{language}' if language else ''}.otio"

    def converted_path(self, edit: Edit, language: str | None) -> Path | None:
        """The dubbed edit in the original's own format; None where that is .otio or packed as .otioz."""
        suffix = edit.path.suffix.lower()
        if suffix in (".otio", ".otioz"):
            return None
        return self.edit_path(edit, language).with_suffix(f".dub{suffix}")

    def movie_path(self, shot: PlannedShot, language: str | None) -> Path:
        """The dubbed movie of a shot: its number, the clip's name and the language."""
        suffix = {"ffv1": ".mkv", "h264": ".mp4", "hevc": ".mp4"}.get(self.codec or "", self.rules.suffix)
        if self.codec in ("prores", "prores4444"):
            suffix = ".mov"
        name = re.sub(r"[^\w.-]+", "_", Path(shot.clip.name).stem)[:60] or "clip"
        ending = f"_{language}" if language else ""
        return self.folder / SHOTS / f"{shot.number:04d}_{name}{ending}{suffix}"

    def picture_path(self, shot: PlannedShot, language: str | None) -> Path:
        """The picture of a shot in the report."""
        return self.folder / PICTURES / f"{self.movie_path(shot, language).stem}.jpg"


@dataclass(frozen=True)
class ShotResult:
    """What became of one shot."""

    shot: PlannedShot
    movie: Path | None = None
    reason: str = ""  # of a shot that is not dubbed
    again: bool = False  # whether it was there already
    drawn: int = 0
    notes: tuple[str, ...] = ()
    picture: Path | None = None  # as `ShotMade.ready`

    def made(self, picture: Path) -> ShotMade:
        """As the report takes it. picture: where it is to lie."""
        return ShotMade(
            self.shot, picture, self.movie, self.reason, self.drawn, self.notes, ready=self.picture
        )


# ---- the whole edit ----------------------------------------------------------------------------------------


def check_edit_output(plans: Sequence[EditPlan], output: EditOutput, actors: Mapping[str, Actor]) -> None:
    """Raise `BadInput` or `OutputError` where an output would be written over an input, or cannot be."""
    for plan in plans:
        edit = output.edit_path(plan.edit, plan.language)
        written = [edit.with_name(edit.name + s) for s in ("", ORIGINAL_SUFFIX, STATE_SUFFIX)]
        written += report_files(edit)
        written += [p for p in [output.converted_path(plan.edit, plan.language)] if p is not None]
        written += [output.movie_path(s, plan.language) for s in plan.dubbed]
        written.append(output.folder / PICTURES)
        media = [s.media.path for s in plan.shots]
        recordings = [c.recording for s in plan.dubbed for who in s.speaking for c in who.cues]
        looks = [who.role.looks for s in plan.dubbed for who in s.speaking if who.role.looks is not None]
        protect([plan.edit.path, *media, *recordings, *looks, *(a.folder for a in actors.values())], written)
    for folder in (output.folder, *(output.folder / name for name in (SHOTS, DIALOGUE, PICTURES))):
        folder.mkdir(parents=True, exist_ok=True)
    for plan in plans:
        require_writable(output.edit_path(plan.edit, plan.language), (STATE_SUFFIX,))


def dub_planned(
    plan: EditPlan,
    output: EditOutput,
    actors: Mapping[str, Actor],
    *,
    progress: Progress | None = None,
    say: Say = lambda text: None,
) -> list[ShotResult]:
    """Dub every shot of `plan`. actors: by what the plan calls them. A shot that cannot be dubbed after all
    is kept, with its reason.
    """
    results: list[ShotResult] = []
    for shot in plan.shots:
        if shot.action == KEEP:
            results.append(ShotResult(shot, reason=shot.reason))
            continue
        try:
            at = None if progress is None else progress.part(f"shot {shot.number} of {len(plan.shots)}: ")
            results.append(dub_planned_shot(plan, shot, output, actors, at))
        except BadInput as e:
            results.append(ShotResult(shot, reason=str(e)))
        done = results[-1]
        what = f"kept: {done.reason}" if done.movie is None else "there already" if done.again else "dubbed"
        say(f"shot {shot.number} {shot.clip.name}: {what}")
    return results


def write_edit(plan: EditPlan, output: EditOutput, results: Sequence[ShotResult]) -> Path:
    """Write the dubbed edit with the movies of `results`, its state and its report. Returns its path."""
    path = output.edit_path(plan.edit, plan.language)
    original = as_otio(plan.edit.path)
    dubbed = [DubbedClip(r.shot, output.shown(r.movie)) for r in results if r.movie is not None]
    text = patched(original, plan.edit, dubbed, output.rules, language=plan.language)
    clips = {
        "/".join(map(str, d.shot.clip.path)): {"clip": d.shot.clip.name, "movie": str(d.movie)}
        for d in dubbed
    }
    write_dubbed(path, text, original, plan.edit.path, clips)
    made = [r.made(output.picture_path(r.shot, plan.language)) for r in results]
    write_edit_report(plan, made, path, output.shown)
    return path


# ---- one shot ----------------------------------------------------------------------------------------------


def dub_planned_shot(
    plan: EditPlan,
    planned: PlannedShot,
    output: EditOutput,
    actors: Mapping[str, Actor],
    progress: Progress | None = None,
) -> ShotResult:
    """Dub one shot, or find it done. Raises `BadInput` where it cannot be, `NoFace` without a face."""
    movie = output.movie_path(planned, plan.language)
    job = job_of(plan, planned, output, actors)
    beside = movie.with_name(movie.name + JOB_SUFFIX)
    if (before := _read_job(beside)) is not None and before.get("job") == job and movie.is_file():
        return ShotResult(planned, movie, again=True, drawn=int(before.get("drawn", 0)))
    with tempfile.TemporaryDirectory(dir=output.folder, prefix=BAKING) as scratch:
        shot = planned.shot
        if planned.action == BAKE:
            shot = plan_shot(bake(plan, planned, Path(scratch) / "baked.mkv", progress), progress=progress)
            shot = replace(shot, skipped=planned.skipped)
        length_s = Fraction(len(shot.frames)) / (shot.rate * shot.retime)
        parts = []
        for number, who in enumerate(planned.speaking):
            words = output.folder / DIALOGUE / f"{movie.stem}_{number}.wav"
            write_dialogue(who.cues, length_s, words)
            actor = _actor_of(planned, who, actors, output, progress)
            parts.append(_part(planned, shot, who, words, actor, progress))
        sound = parts[0].cue
        if len(parts) > 1:
            sound = DialogueCue(output.folder / DIALOGUE / f"{movie.stem}.wav")
            write_dialogue([c for who in planned.speaking for c in who.cues], length_s, sound.recording)
        settings = Output(movie, output.codec, output.crf, watermark=output.watermark, quality=output.quality)
        report = dub_people(parts, sound, settings, progress=progress)
    if report.drawn == 0:
        movie.unlink(missing_ok=True)
        passed = dict.fromkeys(run.reason for run in report.passed)
        raise BadInput(f"none of its frames is redrawn: {', '.join(passed)}")
    write_json(beside, {"job": job, "drawn": report.drawn})
    return ShotResult(planned, movie, drawn=report.drawn, notes=tuple(report.notes))


def _actor_of(
    planned: PlannedShot,
    who: Speaking,
    actors: Mapping[str, Actor],
    output: EditOutput,
    progress: Progress | None,
) -> Actor:
    """Their actor, or a draft of them: out of the shot's frames in its media, and of those that the shot is
    tracked with on either side.
    """
    if who.role.actor is not None:
        return actors[who.role.actor]
    if output.consent is None:
        raise InternalError(f"{planned.clip.name} is to be drafted without consent")
    shot, person = planned.shot, who.role.person
    track, _ = cached_track(shot.source, frames=shot.tracked, face=person, progress=progress)
    if planned.action == BAKE:  # its movie counts its frames anew: none of them may be its own source
        track = _without_face_in(shot.frames, track)
    return draft_actor(shot.source, track, output.consent, progress, who.role.dialogue)


def _without_face_in(frames: FrameRange, track: Track) -> Track:
    """`track` with no usable face in `frames`; as it is where there is none in any other."""
    confidence = track.confidence.copy()
    confidence[frames.start - track.start : frames.end_exclusive - track.start] = 0
    return replace(track, confidence=confidence) if confidence.any() else track


def _part(
    planned: PlannedShot, shot: Shot, who: Speaking, words: Path, actor: Actor, progress: Progress | None
) -> Part:
    """One person of a shot, with what they say in it."""
    # a baked movie numbers its people anew; the draft of one has their looks
    face = None if actor.is_draft and planned.action == BAKE else who.role.person
    shown = None if who.role.looks is None else looks_of(who.role.looks)
    likeness = shown or (actor.likeness if face is None else None)
    tracked = track_shot(shot, face, progress, likeness)
    if shown is not None:  # by the cast file: it tells more than what the actor was adapted on
        track = replace(only_frames_of(tracked.track, shown), named=True)
        tracked = replace(tracked, track=track)
    return Part(tracked, DialogueCue(words), actor)


def job_of(plan: EditPlan, planned: PlannedShot, output: EditOutput, actors: Mapping[str, Actor]) -> str:
    """A hash of all that a shot's movie is made from."""
    shot = planned.shot
    spoken = [
        [
            who.role.person,
            _looks_hash(who.role.looks),
            _drawn_by(who, actors, output),
            [
                [content_hash(c.recording), str(c.in_point_s), str(c.place_s), str(c.duration_s), c.channels]
                for c in who.cues
            ],
        ]
        for who in planned.speaking
    ]
    numbers: Any = str(shot.frames)
    if planned.action == BAKE:
        numbers = _baked_numbers(planned)
    parts = [_VERSION, content_hash(shot.source), numbers, str(shot.retime), [str(r) for r in shot.skipped]]
    made = [spoken, output.codec, output.crf, output.watermark, str(plan.edit.rate), planned.action]
    made += [DRAFT] if output.quality == DRAFT else []
    return hashlib.sha256(json.dumps([*parts, *made]).encode()).hexdigest()


def _drawn_by(who: Speaking, actors: Mapping[str, Actor], output: EditOutput) -> str:
    """What a mouth is drawn out of: an actor's network, or the shot's own frames, with consent."""
    if who.role.actor is not None:
        return actors[who.role.actor].renderer_hash
    return f"draft: {'' if output.consent is None else output.consent.text}"


def _looks_hash(looks: Path | None) -> str | None:
    return None if looks is None else str(looks) if looks.is_dir() else content_hash(looks)


def _read_job(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else None
    return None


# ---- dialogue ----------------------------------------------------------------------------------------------


def write_dialogue(cues: Sequence[DialogueCue], length_s: Fraction, path: Path) -> None:
    """Write what is heard in a shot of `length_s` seconds as one recording: sample 0 at its first frame,
    every cue at its place, to the sample.

    Raises `MediaError` for a recording that cannot be read.
    """
    rates = set()
    for cue in cues:
        with DecodedSound(cue.recording) as sound:
            rates.add(sound.rate)
    rate = rates.pop() if len(rates) == 1 else WAV_RATE
    mixed = np.zeros(round(length_s * rate), np.float32)
    for cue in cues:
        at = round(cue.place_s * rate)
        end = len(mixed) if cue.duration_s is None else round((cue.place_s + cue.duration_s) * rate)
        piece = cue_samples(cue, rate, max(0, min(end, len(mixed)) - at))
        mixed[at : at + len(piece)] += piece
    wavfile.write(path, rate, mixed)


def cue_samples(cue: DialogueCue, rate: int, count: int) -> NDArray[np.float32]:
    """The first `count` samples of a cue, or fewer where its recording ends; the mean of its channels, or
    where it names none of those that carry something.

    Raises `MediaError` for a channel that the recording has not.
    """
    pieces: list[NDArray[np.float32]] = []
    left = count
    with DecodedSound(cue.recording, start_s=Fraction(round(cue.in_point_s * rate), rate)) as sound:
        weights = channel_weights(sound, cue.channels, cue.recording) if cue.channels else None
        for block in at_rate(sound.blocks(), sound.layout, sound.rate, rate):
            if left <= 0:
                break
            pieces.append(block[:left])
            left -= len(pieces[-1])
    if not pieces:
        return np.zeros(0, np.float32)
    channels = np.concatenate(pieces)
    if weights is not None:
        return np.asarray(channels @ weights, np.float32)
    power = np.square(channels).mean(0)
    heard = power >= QUIET * power.max()
    return np.asarray(channels[:, heard].mean(1), np.float32)


# ---- baking ------------------------------------------------------------------------------------------------


def _baked_numbers(planned: PlannedShot) -> list[int]:
    assert planned.map is not None
    low, high = planned.timeline
    return planned.map.frames(low - planned.clip.start, high - planned.clip.start)


def bake(plan: EditPlan, planned: PlannedShot, path: Path, progress: Progress | None = None) -> Path:
    """Write the frames that a retimed clip shows, one for each frame of the edit, as a movie without loss.

    Its bytes are the same each time: the watermark names what was dubbed by the hash of its file.
    """
    numbers, rate = _baked_numbers(planned), plan.edit.rate
    assert planned.media.path is not None
    with open_source(planned.media.path, progress) as source:
        info = baked_info(source.info, rate, len(numbers), path)
        if plan.edit.start_frame is not None:
            at = plan.edit.start_frame + planned.timeline[0]
            info = replace(info, timecode=shift_timecode("00:00:00:00", at, rate))
        with MovieWriter(path, info, "ffv1") as writer:
            held = None
            for index, number in enumerate(numbers):
                if held is None or held.index != number:
                    (held,) = source.frames(FrameRange(number, number + 1))
                writer.write(replace(held, index=index))
                if progress is not None:
                    progress.report("baking", index + 1, len(numbers))
    return path


def baked_info(info: ClipInfo, rate: Fraction, count: int, path: Path) -> ClipInfo:
    """Facts of the movie of a retimed clip."""
    return replace(
        info, path=path, rate=rate, frame_count=count, repeated=(), timecode=None, has_audio=False, notes=()
    )
