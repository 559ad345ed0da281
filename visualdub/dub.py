"""One clip from decode to encode: the whole pipeline, readable top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.package import Actor
from visualdub.errors import BadInput
from visualdub.face.models import load_face_model
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import cached_track, require_face
from visualdub.media.audio import read_audio
from visualdub.media.frame import MediaInfo
from visualdub.media.movie_reader import content_hash, probe
from visualdub.media.movie_writer import AudioSource, VideoWriter, choose_codec, gray_frame, gray_info
from visualdub.records import (
    DubReport,
    Provenance,
    WatermarkRecord,
    job_payload,
    make_report,
    report_path,
    sidecar_path,
    write_provenance,
    write_report,
)
from visualdub.render.shot_renderer import Redrawer, Redrawn
from visualdub.render.watermark import Watermark, payload_from_text
from visualdub.speech.performance import (
    AS_PREDICTED,
    PerformanceAdjustments,
    blend_performance,
    motion_at,
    smooth_motion,
)
from visualdub.speech.performance_file import PerformanceFile, write_performance_file
from visualdub.speech.phones import labels_at, phone_labels
from visualdub.speech.predict import SpeechMotion, predict_motion
from visualdub.stages import WAIT, Progress, StageClock, prefetch
from visualdub.storage import require_writable
from visualdub.timing import FrameRange

AUDIO_RATE = 16000  # Hz, what the speech model listens to
FINER = 4  # times the clip's rate: how often a mouth is predicted that is moved by a part of a frame
SCHEME = "DWT-DCT-SVD on luma, blocks of 8 x 8"


@dataclass(frozen=True)
class Output:
    """How one result is written."""

    path: Path
    codec: str | None = None  # None: by the suffix
    crf: int = 16  # quality of h264, lower is better
    matte: Path | None = None  # a second, grey movie of where pixels were changed
    watermark: bool = True
    performance: Path | None = None  # what the mouth does in each frame, see `speech.performance_file`


@dataclass(frozen=True)
class Shot:
    """One clip, probed and tracked: what every language of a dub shares."""

    clip: Path
    info: MediaInfo
    track: Track  # of the frames that are written
    from_cache: bool
    begins: Fraction = Fraction(0)  # seconds into the clip


# ---- the two passes ----------------------------------------------------------------------------------------


def open_shot(
    clip: Path, face: str | None = None, frames: FrameRange | None = None, progress: Progress | None = None
) -> Shot:
    """First pass: the facts of the clip and its track, from the cache where it was tracked before."""
    info = probe(clip)
    if frames is not None:
        frames.within(info.frame_count, str(clip))
    track, from_cache = cached_track(clip, face, progress)
    part = track if frames is None else track.span(frames)
    require_face(part, clip, frames)
    return cut_shot(Shot(clip, info, track, from_cache), part.frames)


def cut_shot(shot: Shot, frames: FrameRange) -> Shot:
    """`frames` of `shot`, a whole clip, as a shot of its own. Raises `BadInput` where they are not all
    tracked.
    """
    held = sum(n for f, n in shot.info.held if f < frames.start)
    begins = (frames.start + held) / shot.info.rate
    return Shot(shot.clip, shot.info.part(frames), shot.track.span(frames), shot.from_cache, begins)


def dub_clip(
    shot: Shot,
    dialogue: Path,
    actor: Actor,
    output: Output,
    progress: Progress | None = None,
    mouth: PerformanceAdjustments | PerformanceFile = AS_PREDICTED,
) -> DubReport:
    """Second pass: `shot` speaks `dialogue`, written to `output`. Frames out = frames in; nothing half is
    left behind.

    mouth: how the predicted performance is shaped, or the curves of an edited one, in whose place nothing is
    predicted. Raises `MediaError` for a recording that cannot be heard, `OutputError` where the result cannot
    be written, `BadInput` for curves of other frames.
    """
    clock = StageClock()
    check_output(output, shot.clip)
    with clock.stage("speech", len(shot.track)):
        audio = read_audio(dialogue, AUDIO_RATE)
        if isinstance(mouth, PerformanceFile):
            performance, speaks = mouth.performance(shot.track), True
        else:
            performance, speaks = predicted(shot, audio, actor, mouth)
    notes = [] if mouth == AS_PREDICTED else [f"mouth: {mouth.describe()}"]
    unheard = unheard_seconds(audio, shot.info)
    if unheard > 0:
        notes.append(f"{dialogue.name} is {unheard:.2f} s longer than the clip; its end is not heard")
    if not speaks:
        notes.append(f"no speech is heard in {dialogue.name}; the mouth rests")
    if (
        not isinstance(mouth, PerformanceFile)
        and actor.style.adapter
        and actor.style.usable_adapter() is None
    ):
        notes.append(
            f"{actor.record.name} learned to speak with another speech model and speaks the generic way;"
            " adapt again"
        )
    edited = mouth if isinstance(mouth, PerformanceFile) else None
    report = write_performance(shot, performance, actor, output, dialogue, clock, notes, progress, edited)
    if output.performance is not None:
        times = shot.info.frame_times()
        phones = labels_at(phone_labels(audio[: math.ceil((times[-1] + 1) * AUDIO_RATE)]), times)
        rest = np.array([actor.rest_jaw, *actor.rest_expression[: load_face_model().n_speech]])
        about = {"dialogue": dialogue.name, "actor": actor.record.name, "mouth": mouth.describe()}
        write_performance_file(output.performance, shot.track, performance, phones, rest, about)
    return report


def write_performance(
    shot: Shot,
    performance: Performance,
    actor: Actor,
    output: Output,
    dialogue: Path | None,
    clock: StageClock,
    notes: list[str],
    progress: Progress | None = None,
    edited: PerformanceFile | None = None,
) -> DubReport:
    """Render `performance` of `actor` into the frames of `shot` and encode them; decode, network and encode
    overlap.

    dialogue: the recording that is muxed; None keeps the clip's own sound. edited: the file `performance`
    came from.
    """
    check_actor(shot, actor)
    dialogue_hash = content_hash(dialogue) if dialogue else None
    payload = job_payload(shot.track.source_hash, actor.record.name, dialogue_hash)
    mark = Watermark(payload_from_text(payload)) if output.watermark else None
    redrawer = Redrawer(shot.clip, shot.track, performance, actor.renderer, clock, mark)
    touched = Touched()
    with _writers(shot, output, dialogue) as write:
        clock.started()
        for done, finished in enumerate(clock.each(WAIT, prefetch(redrawer.frames(), 2)), 1):
            with clock.stage("encode"):
                write(finished)
            touched.add(finished)
            if progress is not None:
                progress.report("rendering", done, len(shot.track))
    report = make_report(shot.clip, output.path, shot.track, performance, clock, shot.from_cache)
    report.notes += notes
    write_report(report, output.path)
    consent = dataclasses.asdict(actor.record.consent)
    marked = WatermarkRecord(True, payload, SCHEME, touched.box) if mark else WatermarkRecord(False)
    write_provenance(
        output.path,
        Provenance(
            shot.clip.name,
            shot.track.source_hash,
            str(shot.track.frames),
            actor.record.name,
            consent,
            actor.record.prior_hash,
            dialogue.name if dialogue else None,
            dialogue_hash,
            report.drawn,
            report.passed,
            marked,
            performance=edited.path.name if edited else None,
            performance_hash=edited.hash if edited else None,
        ),
    )
    return report


def predicted(
    shot: Shot, audio: NDArray[np.float32], actor: Actor, shaping: PerformanceAdjustments
) -> tuple[Performance, bool]:
    """What the speech model has `actor` do in `shot` while `audio` is heard, shaped; and whether it speaks at
    all.
    """
    motion = dialogue_motion(audio, shot.info, shaping, actor.style.usable_adapter())
    performance = blend_performance(
        shot.track, motion, actor.style, actor.rest_jaw, actor.rest_expression, shaping.gain
    )
    return performance, bool(motion.speech_activity.any())


def dialogue_motion(
    audio: NDArray[np.float32],
    info: MediaInfo,
    shaping: PerformanceAdjustments = AS_PREDICTED,
    adapter: NDArray[np.float64] | None = None,
) -> SpeechMotion:
    """The mouth that speaks `audio` at the frames of `info`, moved and smoothed as `shaping` has it; its gain
    is for `blend_performance`.

    Frames that stay on screen longer than others are allowed for. adapter: the actor's, as `predict_motion`
    takes it.
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
    motion = smooth_motion(motion, shaping.smooth_ms / 1000 * float(info.rate))
    return replace(
        motion,
        jaw=motion.jaw[times],
        expression=motion.expression[times],
        speech_activity=motion.speech_activity[times],
        closure=motion.closure[times],
    )


def frame_periods(info: MediaInfo) -> NDArray[np.int64]:
    """(frame_count,) the frame period, counted from 0, in which each frame of `info` comes on screen."""
    return np.asarray(np.rint(info.frame_times() * float(info.rate)), np.int64)


def unheard_seconds(audio: NDArray[np.float32], info: MediaInfo) -> float:
    """How much of `audio` lies beyond the last frame's period and is cut."""
    return max(0.0, len(audio) / AUDIO_RATE - float((int(frame_periods(info)[-1]) + 1) / info.rate))


def soundtrack(shot: Shot, dialogue: Path | None) -> AudioSource | None:
    """What is heard with the pictures: the dialogue, or the clip's own sound from the shot's first frame
    on.
    """
    if dialogue is not None:
        return AudioSource(dialogue)
    return AudioSource(shot.clip, shot.begins) if shot.info.has_audio else None


class Touched:
    """The box around every pixel that a dub changed."""

    def __init__(self) -> None:
        self.box: tuple[int, int, int, int] | None = None  # left, top, right, bottom; half open

    def add(self, finished: Redrawn) -> None:
        """Grow the box by one frame's matte."""
        if finished.raw is None:
            return
        rows, columns = np.flatnonzero(finished.matte.any(1)), np.flatnonzero(finished.matte.any(0))
        if len(rows) == 0:
            return
        new = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        old = self.box or new
        self.box = (min(old[0], new[0]), min(old[1], new[1]), max(old[2], new[2]), max(old[3], new[3]))


# ---- checks before any work --------------------------------------------------------------------------------


def check_output(output: Output, source: Path) -> None:
    """Raise `OutputError` where the result could not be written, before minutes are spent on it."""
    choose_codec(output.path, output.codec, output.crf)
    if output.matte is not None:
        choose_codec(output.matte)
    taken: dict[Path, str] = {}
    for path, name in ((output.path, "movie"), (output.matte, "matte"), (output.performance, "performance")):
        if path is None:
            continue
        require_writable(path)
        if path.exists() and path.samefile(source):
            raise BadInput(f"{path} is the source clip; a source is never written to, choose another output")
        if path.absolute() in taken:
            raise BadInput(
                f"{path} is given for both the {taken[path.absolute()]} and its {name}; expected two files"
            )
        taken[path.absolute()] = name


def check_actor(shot: Shot, actor: Actor) -> None:
    """Raise `BadInput` where actor and track speak of different face models."""
    if actor.record.face_model != shot.track.face_model:
        raise BadInput(
            f"{actor.folder} was made with face model {actor.record.face_model}; {shot.clip} is tracked with "
            f"{shot.track.face_model}; adapt the actor again"
        )


# ---- writing -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _writers(shot: Shot, output: Output, dialogue: Path | None) -> Iterator[Callable[[Redrawn], None]]:
    """A function that writes a finished frame to the movie and, where asked for, its matte. Whole on a good
    end, else nothing.
    """
    for path in (report_path(output.path), sidecar_path(output.path)):
        path.unlink(missing_ok=True)  # of an earlier dub; it would describe another movie if this one fails
    with contextlib.ExitStack() as stack:
        movie = stack.enter_context(
            VideoWriter(
                output.path,
                shot.info,
                choose_codec(output.path, output.codec, output.crf),
                soundtrack(shot, dialogue),
            )
        )
        matte_info = gray_info(shot.info)
        matte = output.matte and stack.enter_context(
            VideoWriter(output.matte, matte_info, choose_codec(output.matte))
        )

        def write(finished: Redrawn) -> None:
            movie.write(finished.frame)
            if matte:
                matte.write(gray_frame(finished.matte, matte_info, finished.frame.index))

        yield write
