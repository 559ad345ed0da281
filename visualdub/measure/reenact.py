"""Re-enactment: frames of a clip rendered again with a tracked performance, their own or that of another
segment of the same actor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.package import Actor
from visualdub.dub import Output, TrackedShot, check_output, write_performance
from visualdub.errors import BadInput
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import require_face
from visualdub.records import DubReport
from visualdub.stages import Progress
from visualdub.timing import FrameRange


def ping_pong(length: int, count: int) -> NDArray[np.int64]:
    """(count,) frame numbers that play `length` frames forwards and backwards in turns: 0, 1, .., length - 1,
    length - 2, .., 1, 0, 1, ..
    """
    period = max(1, 2 * (length - 1))
    position = np.arange(count) % period
    return np.minimum(position, period - position) if length > 1 else np.zeros(count, np.int64)


def borrowed_performance(track: Track, source: Track) -> Performance:
    """The performance of `track` with the jaw and the speech components of `source`; the upper face stays.

    Where `source` is shorter it is played ping-pong. Raises `BadInput` where a frame that would be played has
    no usable face, or the face models differ.
    """
    if track.face_model != source.face_model:
        raise BadInput(
            f"the segments are tracked with {track.face_model} and {source.face_model}; expected the same"
            " face model"
        )
    order = ping_pong(len(source), len(track))
    faceless = np.flatnonzero(~source.usable[order])
    if len(faceless):
        raise BadInput(
            f"{source.source}: frame {source.start + order[faceless[0]]} has no usable face; its performance"
            " cannot be borrowed"
        )
    speech = track.model.n_speech
    expression = track.expression.copy()
    expression[:, :speech] = source.expression[order, :speech]
    return Performance(source.jaw[order].copy(), expression, track.usable.astype(np.float64))


def segment_performance(
    whole: Track, frames: FrameRange, segment: FrameRange | None
) -> tuple[Track, Performance]:
    """The track of `frames` and the performance that drives it: its own, or that of `segment` of the same
    clip.
    """
    track = whole.span(frames)
    return track, (
        Performance.of_track(track) if segment is None else borrowed_performance(track, whole.span(segment))
    )


def reenact(
    tracked: TrackedShot,
    frames: FrameRange,
    actor: Actor,
    output: Output,
    segment: FrameRange | None = None,
    progress: Progress | None = None,
) -> DubReport:
    """Render `frames` of the clip with their own performance, or that of `segment`, and write them.

    The clip's own sound is kept. Raises `BadInput` for frames outside the clip, `NoFace` where none of them
    has a usable face, `OutputError` where the result cannot be written.
    """
    shot = tracked.shot
    check_output(output, shot.source, actor.folder)
    frames.within(shot.info.frame_count, str(shot.source))
    track, performance = segment_performance(tracked.track, frames, segment)
    require_face(track, shot.source, frames)
    notes = [
        f"frames {frames} drawn with"
        f" {'their own performance' if segment is None else f'the performance of {segment}'}"
    ]
    return write_performance(tracked.trim(frames), performance, actor, output, notes=notes, progress=progress)
