"""One clip from decode to encode: the whole pipeline, readable top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.package import Actor
from visualdub.errors import BadInput
from visualdub.face.track import Performance, Track
from visualdub.files import require_writable
from visualdub.media.audio import read_audio
from visualdub.media.encode import AudioSource, VideoWriter, choose_codec
from visualdub.media.frame import MediaInfo
from visualdub.media.probe import content_hash, probe
from visualdub.movies import gray_frame, gray_info
from visualdub.profile import WAIT, StageClock
from visualdub.redraw import Redrawer, Redrawn
from visualdub.render.provenance import Provenance, WatermarkRecord, job_payload, sidecar_path, write_provenance
from visualdub.render.watermark import Watermark, payload_from_text
from visualdub.report import DubReport, make_report, report_path, write_report
from visualdub.speech.perform import perform
from visualdub.speech.predict import SpeechMotion, predict_motion
from visualdub.streams import prefetch
from visualdub.timing import FrameRange
from visualdub.tracking import Progress, cached_track, require_face

AUDIO_RATE = 16000  # Hz, what the speech model listens to
SCHEME = "DWT-DCT-SVD on luma, blocks of 8 x 8"


@dataclass(frozen=True)
class Output:
    """How one result is written."""

    path: Path
    codec: str | None = None  # None: by the suffix
    crf: int = 16  # quality of h264, lower is better
    matte: Path | None = None  # a second, grey movie of where pixels were changed
    watermark: bool = True


@dataclass(frozen=True)
class Shot:
    """One clip, probed and tracked: what every language of a dub shares."""

    clip: Path
    info: MediaInfo
    track: Track  # of the frames that are written
    from_cache: bool
    begins: Fraction = Fraction(0)  # seconds into the clip


# ---- the two passes -----------------------------------------------------------------------------------------------------


def open_shot(clip: Path, face: str | None = None, frames: FrameRange | None = None, progress: Progress | None = None) -> Shot:
    """First pass: the facts of the clip and its track, from the cache where it was tracked before."""
    info = probe(clip)
    if frames is not None:
        frames.within(info.frame_count, str(clip))
    track, from_cache = cached_track(clip, face, progress)
    part = track if frames is None else track.span(frames)
    require_face(part, clip, frames)
    return cut_shot(Shot(clip, info, track, from_cache), part.frames)


def cut_shot(shot: Shot, frames: FrameRange) -> Shot:
    """`frames` of `shot`, a whole clip, as a shot of its own. Raises `BadInput` where they are not all tracked."""
    held = sum(n for f, n in shot.info.held if f < frames.start)
    begins = (frames.start + held) / shot.info.rate
    return Shot(shot.clip, shot.info.part(frames), shot.track.span(frames), shot.from_cache, begins)


def dub_clip(shot: Shot, dialogue: Path, actor: Actor, output: Output, progress: Progress | None = None) -> DubReport:
    """Second pass: `shot` speaks `dialogue`, written to `output`. Frames out = frames in; nothing half is left behind.

    Raises `MediaError` for a recording that cannot be heard, `OutputError` where the result cannot be written.
    """
    clock = StageClock()
    check_output(output, shot.clip)
    with clock.stage("speech", len(shot.track)):
        motion = dialogue_motion(read_audio(dialogue, AUDIO_RATE), shot.info)
        performance = perform(shot.track, motion, actor.style, actor.rest_jaw, actor.rest_expression)
    notes = []
    if motion.unheard_seconds > 0:
        notes.append(f"{dialogue.name} is {motion.unheard_seconds:.2f} s longer than the clip; its end is not heard")
    if not motion.voice.any():
        notes.append(f"no speech is heard in {dialogue.name}; the mouth rests")
    return write_performance(shot, performance, actor, output, dialogue, clock, notes, progress)


def write_performance(
    shot: Shot,
    performance: Performance,
    actor: Actor,
    output: Output,
    dialogue: Path | None,
    clock: StageClock,
    notes: list[str],
    progress: Progress | None = None,
) -> DubReport:
    """Render `performance` of `actor` into the frames of `shot` and encode them; decode, network and encode overlap.

    dialogue: the recording that is muxed; None keeps the clip's own sound.
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
                progress(done, len(shot.track))
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
        ),
    )
    return report


def dialogue_motion(audio: NDArray[np.float32], info: MediaInfo) -> SpeechMotion:
    """The mouth that speaks `audio` at the frames of `info`, frames that stay on screen longer than others allowed for."""
    times = np.rint(info.frame_times() * float(info.rate)).astype(np.int64)
    motion = predict_motion(audio, info.rate, int(times[-1]) + 1)
    return replace(motion, jaw=motion.jaw[times], expression=motion.expression[times], voice=motion.voice[times])


def soundtrack(shot: Shot, dialogue: Path | None) -> AudioSource | None:
    """What is heard with the pictures: the dialogue, or the clip's own sound from the shot's first frame on."""
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


# ---- checks before any work ---------------------------------------------------------------------------------------------


def check_output(output: Output, source: Path) -> None:
    """Raise `OutputError` where the result could not be written, before minutes are spent on it."""
    choose_codec(output.path, output.codec, output.crf)
    if output.matte is not None:
        choose_codec(output.matte)
    for path in (output.path, *([output.matte] if output.matte else [])):
        require_writable(path)
        if path.exists() and path.samefile(source):
            raise BadInput(f"{path} is the source clip; a source is never written to, choose another output")
    if output.matte is not None and output.matte.absolute() == output.path.absolute():
        raise BadInput(f"{output.path} is given for both the movie and its matte; expected two files")


def check_actor(shot: Shot, actor: Actor) -> None:
    """Raise `BadInput` where actor and track speak of different face models."""
    if actor.record.face_model != shot.track.face_model:
        raise BadInput(
            f"{actor.folder} was made with face model {actor.record.face_model}; {shot.clip} is tracked with "
            f"{shot.track.face_model}; adapt the actor again"
        )


# ---- writing ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _writers(shot: Shot, output: Output, dialogue: Path | None) -> Iterator[Callable[[Redrawn], None]]:
    """A function that writes a finished frame to the movie and, where asked for, its matte. Whole on a good end, else nothing."""
    for path in (report_path(output.path), sidecar_path(output.path)):
        path.unlink(missing_ok=True)  # of an earlier dub; it would describe another movie if this one fails
    with contextlib.ExitStack() as stack:
        movie = stack.enter_context(
            VideoWriter(output.path, shot.info, choose_codec(output.path, output.codec, output.crf), soundtrack(shot, dialogue))
        )
        matte_info = gray_info(shot.info)
        matte = output.matte and stack.enter_context(VideoWriter(output.matte, matte_info, choose_codec(output.matte)))

        def write(finished: Redrawn) -> None:
            movie.write(finished.frame)
            if matte:
                matte.write(gray_frame(finished.matte, matte_info, finished.frame.index))

        yield write
