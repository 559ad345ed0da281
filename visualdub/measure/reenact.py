"""Frames of a clip drawn again with a performance that was tracked: their own, or another passage's of the
same actor.
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


def to_and_fro(length: int, count: int) -> NDArray[np.int64]:
    """Indices that play `length` frames forth and back, `count` in all: 0, 1, .., length - 1, length - 2, ..,
    1, 0, ..
    """
    period = max(1, 2 * (length - 1))
    position = np.arange(count) % period
    return np.minimum(position, period - position) if length > 1 else np.zeros(count, np.int64)


def borrowed_performance(track: Track, source: Track) -> Performance:
    """`track`'s frames with jaw and speech expression of `source`'s, as many frames or played to and fro; the
    upper face stays.

    Raises `BadInput` where a frame that would be played has no usable face.
    """
    if track.face_model != source.face_model:
        raise BadInput(
            f"the passages are tracked with {track.face_model} and {source.face_model}; expected the same"
            " face model"
        )
    order = to_and_fro(len(source), len(track))
    lost = np.flatnonzero(~source.usable[order])
    if len(lost):
        raise BadInput(
            f"{source.source}: frame {source.start + order[lost[0]]} has no usable face; its performance"
            " cannot be borrowed"
        )
    speech = track.model.n_speech
    expression = track.expression.copy()
    expression[:, :speech] = source.expression[order, :speech]
    return Performance(source.jaw[order].copy(), expression, track.usable.astype(np.float64))


def passage_performance(
    whole: Track, frames: FrameRange, passage: FrameRange | None
) -> tuple[Track, Performance]:
    """The track of `frames` and what drives it: its own performance, or that of `passage` of the same
    clip.
    """
    track = whole.span(frames)
    return track, (
        Performance.of_track(track) if passage is None else borrowed_performance(track, whole.span(passage))
    )


def reenact(
    tracked: TrackedShot,
    frames: FrameRange,
    actor: Actor,
    output: Output,
    passage: FrameRange | None = None,
    progress: Progress | None = None,
) -> DubReport:
    """Write `frames` of the clip with their own performance drawn again, or that of `passage`, and the sound
    that the clip has there.
    """
    shot = tracked.shot
    check_output(output, shot.source)
    frames.within(shot.info.frame_count, str(shot.source))
    track, performance = passage_performance(tracked.track, frames, passage)
    require_face(track, shot.source, frames)
    notes = [
        f"frames {frames} drawn with"
        f" {'their own performance' if passage is None else f'the performance of {passage}'}"
    ]
    return write_performance(tracked.trim(frames), performance, actor, output, notes=notes, progress=progress)
