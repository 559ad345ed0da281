"""A dub, readable top to bottom: plan -> track -> performance -> render -> write."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.draft import draft_notes
from visualdub.actor.package import Actor
from visualdub.edit.shot import DialogueCue, Shot, plan_shot
from visualdub.errors import BadInput
from visualdub.face.occlusion import Occlusion
from visualdub.face.recognise import only_frames_of, people_like
from visualdub.face.seen import Likeness
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import cached_track, require_face
from visualdub.media.audio import read_audio
from visualdub.media.delivery import DRAFT_PRESET, viewer_notes
from visualdub.media.frame import ClipInfo
from visualdub.media.holdout_matte import holdout_files, open_holdout_matte
from visualdub.media.movie_writer import (
    AudioSource,
    CompanionSource,
    MovieWriter,
    choose_codec,
    gray_frame,
    gray_info,
)
from visualdub.media.sound_decoder import audio_tracks
from visualdub.media.source import probe
from visualdub.memory import return_free_memory
from visualdub.records import (
    SIDECARS,
    ChangedBounds,
    DubReport,
    PersonRecord,
    Provenance,
    WatermarkRecord,
    make_report,
    occluded_runs,
    write_provenance,
    write_report,
)
from visualdub.render.light import LightReport
from visualdub.render.occluders import HOLD, find_occlusion, nothing_found, require_treatment, treat
from visualdub.render.quality import DRAFT, FINAL, require_quality
from visualdub.render.shot_renderer import RenderedFrame, RenderOptions, ShotRenderer, render_options
from visualdub.render.watermark import SCHEME, payload_text
from visualdub.speech.alignment import Alignment
from visualdub.speech.performance import (
    AS_PREDICTED,
    PerformanceAdjustments,
    blend_performance,
    motion_at,
    smooth_motion,
)
from visualdub.speech.performance_file import PerformanceFile, Spoken, write_performance_file
from visualdub.speech.phones import labels_at, lips_of, phone_labels
from visualdub.speech.predict import SpeechMotion, predict_motion
from visualdub.speech.retarget import (
    DrivenMotion,
    DrivenMouth,
    DriverMouth,
    driver_mouth,
    driver_notes,
    retarget,
)
from visualdub.stages import WAIT, Progress, StageClock, prefetch
from visualdub.storage import Together, content_hash, protect, require_writable
from visualdub.timing import FrameRange

AUDIO_RATE = 16000  # Hz, of the speech model's input
STATISTICS_S = 30  # seconds of a driver's movie around what is heard; rest and range are measured in them
FINER = 4  # times the clip's rate: how often a mouth is predicted that is moved by a part of a frame


@dataclass(frozen=True)
class Output:
    """How one result is written."""

    path: Path
    codec: str | None = None  # None: by the suffix
    crf: int = 16  # quality of h264, lower is better
    matte: Path | None = None  # a second, grey movie of where pixels were changed
    watermark: bool = True
    performance: Path | None = None  # what the mouth does in each frame, see `speech.performance_file`
    keep_audio: bool = False  # the clip's audio tracks but the main one, which the dialogue replaces
    occluded: str = HOLD  # HOLD, PASS or DRAW: what becomes of frames in which something covers the mouth
    holdout: Path | None = None  # an artist's matte, white where the plate stays, see `open_holdout_matte`
    quality: str = FINAL  # or DRAFT: rougher, in a fraction of the time

    def __post_init__(self) -> None:
        require_treatment(self.occluded)
        require_quality(self.quality)

    def files(self) -> list[Path]:
        """Everything that is written: the movie, its matte and performance, and the records beside it."""
        beside = [self.path.with_name(self.path.name + suffix) for suffix in SIDECARS]
        return [self.path, *(p for p in (self.matte, self.performance) if p is not None), *beside]


@dataclass(frozen=True)
class TrackedShot:
    """A shot and its track: what every language of a dub shares."""

    shot: Shot
    track: Track  # of exactly the shot's frames
    from_cache: bool = False

    def trim(self, frames: FrameRange) -> TrackedShot:
        """`frames` of the clip, all within the shot. Raises `BadInput` outside it."""
        return replace(self, shot=self.shot.trim(frames), track=self.track.span(frames))


# ---- the pipeline ------------------------------------------------------------------------------------------


def track_shot(
    shot: Shot, face: str | None = None, progress: Progress | None = None, who: Likeness | None = None
) -> TrackedShot:
    """The track of a shot's frames, from the cache where they were tracked before.

    The frames are tracked with handles on either side, never the whole of a long clip. face: as `--face`; by
    default the person who is `who`, an actor's likeness, or else the most present one. Raises `NoFace` where
    no frame of the shot shows a usable face.
    """
    track, from_cache = cached_track(shot.source, frames=shot.tracked, face=face, progress=progress)
    if who is not None and face is None:
        numbers = people_like(track.span(shot.frames), who)
        if numbers and numbers != [track.person]:
            chosen = "+".join(map(str, numbers))
            track, from_cache = cached_track(shot.source, frames=shot.tracked, face=chosen, progress=progress)
    return_free_memory()  # tracking and storing leave as much free as the track itself takes
    track = replace(track.span(shot.frames), named=face is not None)
    require_face(track, shot.source)
    return TrackedShot(shot, track, from_cache)


Mouth = PerformanceAdjustments | PerformanceFile | DrivenMouth  # where the performance comes from


def track_driver(
    cue: DialogueCue, length_s: Fraction, face: str | None = None, progress: Progress | None = None
) -> DriverMouth:
    """The mouth of the filmed voice actor in the movie of `cue`, as far as a shot of `length_s` seconds plays
    it and STATISTICS_S more on either side; the track comes from the cache where there is one.

    face: as `--face`; by default the most present person. Frames in which a hand or an object covers the
    mouth count as not visible. Raises `NoFace` where nobody's face is usable, `MediaError` where the movie
    cannot be read, `BadInput` for an in point past its end.
    """
    movie, shot = cue.recording, plan_shot(cue.recording, progress=progress)
    times_s, start_s = shot.info.frame_times(), float(cue.in_point_s)
    if start_s > times_s[-1]:
        raise BadInput(f"{movie} is {times_s[-1]:.2f} s long; the in point {start_s:g} s lies past its end")
    span_s = start_s - STATISTICS_S, start_s + float(length_s) + STATISTICS_S
    first, last = (int(np.searchsorted(times_s, s)) for s in span_s)
    shot = shot.trim(FrameRange(first, last))
    track, _ = cached_track(movie, frames=shot.frames, face=face, progress=progress)
    hidden = find_occlusion(shot, track, progress).kind > 0
    return_free_memory()
    return driver_mouth(movie, track, times_s[first:last], hidden, float(1 / shot.rate + times_s[-1]))


def dub_shot(
    tracked: TrackedShot,
    dialogue: Path | DialogueCue,
    actor: Actor,
    output: Output,
    *,
    mouth: Mouth = AS_PREDICTED,
    script: Alignment | None = None,
    progress: Progress | None = None,
) -> DubReport:
    """The shot speaks `dialogue`, written to `output`. Frames out = frames in; nothing half is left behind.

    mouth: how the predicted performance is adjusted, or the mouth of a filmed voice actor, or an edited
    performance, in whose place nothing is predicted. script: what the recording says and when, by which the
    lips close in every p, b, m and nowhere else; an edited performance stays as it is. Raises `MediaError`
    for a recording that cannot be read, `OutputError` where the result cannot be written, `BadInput` for an
    edited performance of other frames, `Interrupted` once `progress` is cancelled.
    """
    clock = StageClock()
    cue = dialogue if isinstance(dialogue, DialogueCue) else DialogueCue(dialogue)
    track = only_frames_of(tracked.track, actor.likeness)
    tracked = replace(tracked, shot=tracked.shot.with_cue(cue), track=track)
    shot = tracked.shot
    check_output(output, shot.source, cue.recording, actor.folder, file_of(mouth))
    with clock.stage("speech", len(track)):
        audio = shot_audio(shot)
        script = None if script is None else script.moved(float(cue.place_s - cue.in_point_s))
        performance, notes = dialogue_performance(tracked, audio, actor, mouth, script)
    notes += audio_notes(audio, shot, cue) + track_notes(shot, output.keep_audio)
    with Together() as files:
        if output.performance is not None:
            spoken = spoken_in(audio, shot, script)
            save_performance(output.performance, tracked, performance, spoken, actor, mouth, files)
        del audio  # of a long shot it is as large as all that the renderer holds
        return_free_memory()
        return write_performance(
            tracked, performance, actor, output, clock=clock, notes=notes, progress=progress, mouth=mouth
        )


def write_performance(
    tracked: TrackedShot,
    performance: Performance,
    actor: Actor,
    output: Output,
    *,
    clock: StageClock | None = None,
    notes: list[str] | None = None,
    progress: Progress | None = None,
    mouth: Mouth = AS_PREDICTED,
) -> DubReport:
    """Render `performance` of `actor` into the shot's frames and encode them; decode, network and encode
    overlap.

    The shot's cue is muxed; without one the clip's own sound stays. mouth: where `performance` comes from.
    The movie, its matte and the records beside it take their names together, once all are whole.
    """
    progress = progress or Progress()
    prepared = prepare_render(tracked, performance, actor, output, clock=clock, progress=progress)
    prepared.notes = (notes or []) + prepared.notes
    prepared.mouth = mouth
    return write_frames(prepared, prepared.renderer.frames(progress=progress), output, progress)


@dataclass
class PreparedRender:
    """A renderer of a whole shot, with what the records of its dub say beside what the renderer knows."""

    renderer: ShotRenderer
    occlusion: Occlusion  # what was found to cover the mouth
    from_cache: bool  # the track was
    notes: list[str] = field(default_factory=list)  # for the report, a line each
    mouth: Mouth = AS_PREDICTED  # where the performance comes from
    # of a shot in which several speak: each of them, and what they were told to say; empty where one does
    people: tuple[PersonRecord, ...] = ()


def prepare_render(
    tracked: TrackedShot,
    performance: Performance,
    actor: Actor,
    output: Output,
    *,
    options: RenderOptions | None = None,
    clock: StageClock | None = None,
    progress: Progress | None = None,
) -> PreparedRender:
    """All that is done before the first frame of `tracked` is drawn: what covers the mouth is found, unless
    it is a draft, and what of it stays. Of `output` only `occluded`, `holdout`, `quality` and, without
    `options`, `watermark` count.
    """
    clock, progress = clock or StageClock(), progress or Progress()
    options = options or render_options(output.quality, output.watermark)
    shot, track = tracked.shot, tracked.track
    matte = open_holdout_matte(output.holdout, shot.info, progress) if output.holdout else None
    if output.quality == DRAFT:
        found = nothing_found(track)
    else:
        with clock.stage("occluders", len(track)):
            found = find_occlusion(shot, track, progress)
    performance, holdouts = treat(found, output.occluded, track, performance, matte)
    renderer = ShotRenderer(
        shot, actor, track=track, performance=performance, options=options, clock=clock, holdouts=holdouts
    )
    for held in (track, renderer.track):
        held.release_landmarks()
    return_free_memory()
    return PreparedRender(renderer, found, tracked.from_cache, draft_notes(actor, output.quality))


def write_frames(
    prepared: PreparedRender, finished: Iterator[RenderedFrame], output: Output, progress: Progress
) -> DubReport:
    """Encode `finished`, every frame of the renderer's shot in order, as `write_performance` has it; whoever
    hands them in may have some of them from an earlier run.
    """
    renderer, mouth = prepared.renderer, prepared.mouth
    shot, track, clock = renderer.shot, renderer.track, renderer.clock
    bounds, light = ChangedBounds(), LightReport()
    with Together() as files:
        with _writers(shot, output, files) as write:
            clock.started()
            with contextlib.closing(prefetch(finished, 2)) as frames:
                for done, frame in enumerate(clock.each(WAIT, frames), 1):
                    with clock.stage("encode"):
                        write(frame)
                    if frame.drawn:
                        bounds.add(frame.matte)
                    if frame.inputs.drawn:
                        light.add(frame.frame.index, frame.inputs.light)
                    progress.report("rendering", done, len(track))
        report = make_report(
            shot.source,
            output.path,
            track,
            renderer.shown_performance,
            clock,
            prepared.from_cache,
            skipped=shot.skips(),
            occluded=prepared.occlusion.reasons(),
        )
        report.renderer = renderer.runs_on
        report.people = prepared.people
        report.occluded = occluded_runs(track, prepared.occlusion.reasons(), output.occluded)
        viewer = output_notes(shot.info, output)
        report.notes += [*viewer, *prepared.notes, *light.notes()]
        if isinstance(mouth, DrivenMouth):
            report.driver, report.driver_hash = mouth.driver.path.name, mouth.driver.hash
        write_report(report, output.path, files)
        record = _provenance(renderer, report, bounds, mouth)
        write_provenance(output.path, replace(record, occluded=output.occluded), files)
    return report


# ---- the performance ---------------------------------------------------------------------------------------


def shot_audio(shot: Shot) -> NDArray[np.float32]:
    """The shot's dialogue, (n,) mono at AUDIO_RATE, sample 0 at its first frame: every cue at its place.

    Raises `MediaError` for a recording that cannot be read.
    """
    pieces = [(round(cue.place_s * AUDIO_RATE), _cue_audio(cue)) for cue in shot.cues]
    if len(pieces) == 1 and pieces[0][0] == 0:
        return pieces[0][1]
    audio = np.zeros(max((place + len(piece) for place, piece in pieces), default=0), np.float32)
    for place, piece in pieces:
        audio[max(place, 0) : place + len(piece)] += piece[max(-place, 0) :]
    return audio


def _cue_audio(cue: DialogueCue) -> NDArray[np.float32]:
    start = round(cue.in_point_s * AUDIO_RATE)
    end = None if cue.duration_s is None else round((cue.in_point_s + cue.duration_s) * AUDIO_RATE)
    return read_audio(cue.recording, AUDIO_RATE, cue.channels)[start:end]


def dialogue_performance(
    tracked: TrackedShot,
    audio: NDArray[np.float32],
    actor: Actor,
    mouth: Mouth = AS_PREDICTED,
    script: Alignment | None = None,
) -> tuple[Performance, list[str]]:
    """What `actor` does in the shot while `audio` (n,) at AUDIO_RATE is heard, and what the user should know
    of it. script: what is said, by the shot's clock.
    """
    if isinstance(mouth, PerformanceFile):
        return mouth.performance(tracked.track), [f"mouth: {mouth.describe()}"]
    notes = [] if mouth == AS_PREDICTED else [f"mouth: {mouth.describe()}"]
    adapter = actor.style.usable_adapter()
    driven = driven_motion(tracked, actor, mouth) if isinstance(mouth, DrivenMouth) else None
    adjustments = mouth.adjustments if isinstance(mouth, DrivenMouth) else mouth
    motion = dialogue_motion(audio, tracked.shot.played, adjustments, adapter, driven, script)
    if not motion.speech_activity.any():
        notes.append(f"no speech is heard in {tracked.shot.cues[0].recording.name}; the mouth rests")
    if script is not None:
        notes.append(
            f"script: {len(script.words)} words, which fit by {script.confidence:.2f} of 1; the lips close in"
            " its p, b and m and nowhere else"
        )
        notes += script.notes
    if driven is not None:
        notes += driver_notes(len(audio) / AUDIO_RATE, tracked.shot, driven)
    if actor.style.adapter and adapter is None:
        notes.append(
            f"{actor.record.name} learned to speak with another speech model and speaks the generic way;"
            " adapt again"
        )
    rest = actor.rest_jaw, actor.rest_expression
    return blend_performance(tracked.track, motion, actor.style, *rest, mouth.gain), notes


def dialogue_motion(
    audio: NDArray[np.float32],
    info: ClipInfo,
    shaping: PerformanceAdjustments = AS_PREDICTED,
    adapter: NDArray[np.float64] | None = None,
    driven: DrivenMotion | None = None,
    script: Alignment | None = None,
) -> SpeechMotion:
    """The mouth that speaks `audio` at the frames of `info`, moved and smoothed as `shaping` has it; its gain
    is for `blend_performance`.

    Frames that stay on screen longer than others are allowed for. adapter: the actor's, as `predict_motion`
    takes it. driven: what a filmed voice actor does in place of the predicted mouth. script: what is said, by
    the clock of `audio`; its phones decide where lips touch.
    """
    times = frame_periods(info)
    count = int(times[-1]) + 1
    if shaping.offset_ms == 0:
        motion = predict_motion(audio, info.rate, count, adapter=adapter)
    else:  # of a curve as coarse as the frames, a part of a frame's move would cut the peaks
        late = shaping.offset_ms / 1000 * float(info.rate)  # frames
        further = max(0, math.ceil(-late))  # what is heard past the last frame comes into view
        often = predict_motion(audio, info.rate * FINER, (count + further) * FINER, adapter=adapter)
        motion = motion_at(often, (np.arange(count) - late) * FINER)
    shown_s = np.arange(count) / float(info.rate) - shaping.offset_ms / 1000
    if driven is not None:
        motion = driven.over(motion, shown_s, info.rate)
    if script is not None:
        closure, parted = lips_of(script.phones(), shown_s, float(info.rate))
        motion = replace(motion, closure=closure, parted=parted)
    motion = smooth_motion(motion, shaping.smooth_ms / 1000 * float(info.rate))
    return replace(
        motion,
        jaw=motion.jaw[times],
        expression=motion.expression[times],
        speech_activity=motion.speech_activity[times],
        closure=motion.closure[times],
        parted=None if motion.parted is None else motion.parted[times],
    )


def driven_motion(tracked: TrackedShot, actor: Actor, mouth: DrivenMouth) -> DrivenMotion:
    """What `actor` does in the shot when the driver of `mouth` moves the mouth, by the shot's clock: the
    driver's movie lies where the dialogue does.

    Raises `BadInput` for a shot of several cues.
    """
    if len(tracked.shot.cues) > 1:
        raise BadInput(
            f"{tracked.shot.source}: {len(tracked.shot.cues)} cues in one shot; expected one driver"
        )
    track, count = tracked.track, len(actor.style.mean)
    rest = np.concatenate([[actor.rest_jaw], actor.rest_expression[: count - 1]])
    driven = retarget(mouth.driver, track.model, track.identity, actor.style, rest)
    return driven.placed(tracked.shot.cues[0]) if tracked.shot.cues else driven


def frame_periods(info: ClipInfo) -> NDArray[np.int64]:
    """(frame_count,) the frame period, counted from 0, in which each frame of `info` comes on screen."""
    return np.asarray(np.rint(info.frame_times() * float(info.rate)), np.int64)


def audio_notes(audio: NDArray[np.float32], shot: Shot, cue: DialogueCue) -> list[str]:
    """What the user should know of a dialogue that ends after the shot."""
    info = shot.played
    beyond_s = len(audio) / AUDIO_RATE - float(Fraction(int(frame_periods(info)[-1]) + 1) / info.rate)
    if beyond_s <= 0:
        return []
    return [f"{cue.recording.name} is {beyond_s:.2f} s longer than the clip; its end is not heard"]


def track_notes(shot: Shot, keep_audio: bool) -> list[str]:
    """What the user should know of a clip with several audio tracks."""
    others = audio_tracks(shot.source) - 1 if shot.info.has_audio else 0
    if others < 1 or keep_audio:
        return []
    if others == 1:
        return [f"{shot.source.name} has another audio track, which is not written; --keep-audio keeps it"]
    return [f"{shot.source.name} has {others} more audio tracks, not written; --keep-audio keeps them"]


def save_performance(
    path: Path,
    tracked: TrackedShot,
    performance: Performance,
    spoken: Spoken,
    actor: Actor,
    mouth: Mouth,
    files: Together | None = None,
) -> None:
    """Write what the mouth does in each frame, with what is `spoken`, to be edited and read back.

    What `Shot.skipped` changes is not in it: read back with the same frames skipped, it gives the same dub.
    """
    rest = np.array([actor.rest_jaw, *actor.rest_expression[: tracked.track.model.n_speech]])
    dialogue = tracked.shot.cues[0].recording.name
    about = {"dialogue": dialogue, "actor": actor.record.name, "mouth": mouth.describe()}
    write_performance_file(path, tracked.track, performance, spoken, rest, about, files)


def spoken_in(audio: NDArray[np.float32], shot: Shot, script: Alignment | None) -> Spoken:
    """What is said in the shot: as the script has it, or else what is recognised in `audio` (n,)."""
    times = shot.played.frame_times()
    if script is not None:
        return Spoken(labels_at(script.phones(), times), script.words)
    return Spoken(labels_at(phone_labels(audio[: math.ceil((times[-1] + 1) * AUDIO_RATE)]), times))


def file_of(mouth: Mouth) -> Path | None:
    """The file that a mouth was read from."""
    if isinstance(mouth, DrivenMouth):
        return mouth.driver.path
    return mouth.path if isinstance(mouth, PerformanceFile) else None


# ---- checks before any work --------------------------------------------------------------------------------


def check_output(output: Output, clip: Path, *inputs: Path | None) -> None:
    """Raise `OutputError` or `BadInput` where the result could not be written, or would be written over
    `clip` or one of `inputs`, or where the holdout matte does not fit `clip`, before minutes are spent on it.
    """
    protect([clip, *inputs, *holdout_files(output.holdout)], output.files())
    choose_codec(output.path, output.codec, output.crf)
    require_writable(output.path, SIDECARS)
    if output.holdout is not None:
        open_holdout_matte(output.holdout, probe(clip))
    if output.matte is not None:
        choose_codec(output.matte)
        require_writable(output.matte)
    if output.performance is not None:
        require_writable(output.performance)


# ---- writing -----------------------------------------------------------------------------------------------


def soundtrack(shot: Shot, keep_audio: bool = False) -> AudioSource | None:
    """What is heard with the pictures: the shot's dialogue, or the clip's own sound from the shot's first
    frame on.

    keep_audio: the dialogue replaces the clip's main audio track, the others stay beside it. A shot that the
    edit plays at another speed has no sound: its movie does not. Raises `BadInput` for one of several cues.
    """
    if shot.retime != 1:
        return None
    if len(shot.cues) > 1 or any(cue.channels for cue in shot.cues):
        raise BadInput(f"{shot.source}: {len(shot.cues)} cues in one shot; expected one whole recording")
    clip = AudioSource(shot.source, shot.start_s) if shot.info.has_audio else None
    for cue in shot.cues:
        start = cue.in_point_s - cue.place_s
        return AudioSource(cue.recording, start, recording=True, beside=clip if keep_audio else None)
    return clip


def output_notes(info: ClipInfo, output: Output) -> list[str]:
    """What a viewer of the clip `info` misses or finds changed in the result, a sentence each."""
    return viewer_notes(info, output.path, choose_codec(output.path, output.codec, output.crf, info.image))


@contextlib.contextmanager
def _writers(shot: Shot, output: Output, files: Together) -> Iterator[Callable[[RenderedFrame], None]]:
    """A function that writes a finished frame to the movie and, where asked for, its matte, which `files`
    takes over on a good end.
    """
    info = shot.part
    codec = choose_codec(output.path, output.codec, output.crf, info.image)
    carried = CompanionSource(shot.source, shot.start_s)
    with contextlib.ExitStack() as stack:
        sound = soundtrack(shot, output.keep_audio)
        if output.quality == DRAFT:
            codec = replace(codec, preset=DRAFT_PRESET)
        movie = stack.enter_context(MovieWriter(output.path, info, codec, sound, files, carried))
        matte_info = gray_info(info)
        matte = output.matte and stack.enter_context(
            MovieWriter(output.matte, matte_info, choose_codec(output.matte), None, files)
        )

        def write(finished: RenderedFrame) -> None:
            movie.write(finished.frame)
            if matte:
                matte.write(gray_frame(finished.matte, matte_info.image, finished.frame.index))

        yield write


def _provenance(renderer: ShotRenderer, report: DubReport, bounds: ChangedBounds, mouth: Mouth) -> Provenance:
    """The record of a finished dub."""
    shot, actor, mark, held = renderer.shot, renderer.actor, renderer.watermark, renderer.holdouts.matte
    recording = shot.cues[0].recording if shot.cues else None
    watermark = (
        WatermarkRecord(True, payload_text(mark.bits), SCHEME, bounds.box) if mark else WatermarkRecord(False)
    )
    return Provenance(
        source=shot.source.name,
        source_hash=renderer.track.source_hash,
        frames=str(shot.frames),
        actor=actor.record.name,
        consent=asdict(actor.record.consent),
        prior_hash=actor.record.prior_hash,
        dialogue=recording.name if recording else None,
        dialogue_hash=content_hash(recording) if recording else None,
        renderer=report.renderer,
        people=report.people,
        drawn=report.drawn,
        passed=report.passed,
        watermark=watermark,
        performance=mouth.path.name if isinstance(mouth, PerformanceFile) else None,
        performance_hash=mouth.hash if isinstance(mouth, PerformanceFile) else None,
        driver=report.driver,
        driver_hash=report.driver_hash,
        holdout=held.path.name if held else None,
        holdout_hash=held.hash if held else None,
        job=renderer.key(shot.frames.start).job_hashes,
    )
