"""The measures of an actor on frames of a clip: drawn with their own performance, another passage's, and
silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.package import Actor
from visualdub.dub import AUDIO_RATE, TrackedShot
from visualdub.errors import InternalError, NoFace
from visualdub.face.crop import warp_crop
from visualdub.face.detect import FaceTrack, find_faces, iou
from visualdub.face.mediapipe_models import LANDMARKS, landmark_box
from visualdub.face.models import posed_openings
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import require_face
from visualdub.measure.mouth import yaw_degrees
from visualdub.measure.reenact import passage_performance
from visualdub.measure.shot import ShotArrays, Table, evaluate_shot
from visualdub.media.yuv import frame_rgb
from visualdub.render.shot_renderer import RenderedFrame, RenderOptions, ShotRenderer
from visualdub.speech.performance import perform
from visualdub.speech.predict import predict_motion
from visualdub.stages import Progress, StageClock, peak_memory_mib
from visualdub.timing import FrameRange

MARGIN = 20  # frames between adaptation and test below which a measure is not a test


def evaluate(
    tracked: TrackedShot,
    frames: FrameRange,
    actor: Actor,
    passage: FrameRange | None = None,
    progress: Progress | None = None,
) -> Table:
    """Every measure of DESIGN.md 5 that needs no download. tracked: the whole clip.

    passage: whose performance drives the frames for control and leak; by default the first passage as long
    that does not overlap the frames, where the clip holds one.
    """
    frames.within(tracked.shot.info.frame_count, str(tracked.shot.source))
    whole = tracked.track
    track, own = passage_performance(whole, frames, None)
    require_face(track, tracked.shot.source, frames)
    shot = tracked.trim(frames)
    passage = passage or other_passage(frames, len(whole))
    clock = StageClock()
    table: Table = {
        "clip": str(tracked.shot.source),
        "actor": actor.record.name,
        "steps": actor.record.steps,
        "frames": str(frames),
        "adapted_on": adapted_on(actor, whole),
        "unseen": is_unseen(actor, whole, frames),
    }
    table["reenactment"] = evaluate_shot(draw(shot, own, actor, clock, progress))
    if passage is not None:
        _, borrowed = passage_performance(whole, frames, passage)
        driven = evaluate_shot(draw(shot, borrowed, actor, clock, progress), own_performance=False)
        table["driven"] = {"by": str(passage), **driven}
    silent = silence(track, actor)
    if silent.draw.any():
        table["silence"] = evaluate_shot(draw(shot, silent, actor, clock, progress), own_performance=False)
    table["stages"] = clock.as_dict()
    table["peak_memory_mib"] = round(peak_memory_mib(), 1)
    return table


# ---- what drives the frames --------------------------------------------------------------------------------


def other_passage(frames: FrameRange, frame_count: int) -> FrameRange | None:
    """The first passage as long as `frames` that does not overlap them; None where the clip holds none."""
    n = len(frames)
    if n <= frames.start:
        return FrameRange(0, n)
    return (
        FrameRange(frames.end_exclusive, frames.end_exclusive + n)
        if frames.end_exclusive + n <= frame_count
        else None
    )


def silence(track: Track, actor: Actor) -> Performance:
    """The performance of `track` dubbed with silence."""
    seconds = Fraction(len(track)) / track.rate
    quiet = np.zeros(int(seconds * AUDIO_RATE) + 1, np.float32)
    return perform(
        track,
        predict_motion(quiet, track.rate, len(track)),
        actor.style,
        actor.rest_jaw,
        actor.rest_expression,
    )


def adapted_on(actor: Actor, track: Track) -> list[str]:
    """Ranges of this very clip the actor was adapted on."""
    return [f"{f.start}:{f.end_exclusive}" for f in actor.record.frames if f.source_hash == track.source_hash]


def is_unseen(actor: Actor, track: Track, frames: FrameRange) -> bool:
    """Whether every measured frame is `MARGIN` or more away from every frame the actor was adapted on.

    Frames directly after the adaptation (a distance of 0) are near it, not unseen.
    """
    ranges = [FrameRange.parse(r) for r in adapted_on(actor, track)]
    return all(
        frames.start >= r.end_exclusive + MARGIN or frames.end_exclusive + MARGIN <= r.start for r in ranges
    )


# ---- drawing and measuring ---------------------------------------------------------------------------------


def draw(
    tracked: TrackedShot,
    performance: Performance,
    actor: Actor,
    clock: StageClock,
    progress: Progress | None = None,
) -> ShotArrays:
    """Draw the shot's frames and collect what `evaluate_shot` measures; frames that pass through are left
    out.
    """
    shot, track = tracked.shot, tracked.track
    options = RenderOptions(watermark=False)
    renderer = ShotRenderer(shot, actor, track=track, performance=performance, options=options, clock=clock)
    kept: list[RenderedFrame] = []
    crops: list[NDArray[np.uint8]] = []

    def finished() -> Iterator[NDArray[np.uint8]]:
        for done, frame in enumerate(renderer.frames(progress=progress), 1):
            rgb = frame_rgb(frame.frame)
            if frame.raw is not None:
                kept.append(_without_frame(frame))
                crops.append(warp_crop(rgb, renderer.crop.affine[frame.inputs.index]))
            if progress is not None:
                progress.report("measuring", done, len(track))
            yield rgb

    landmarks = same_face(finished(), track)
    if not kept:
        raise NoFace(
            f"{shot.source}: none of frames {track.frames} was drawn; expected at least one with a face"
        )
    rows = np.array([k.inputs.index for k in kept])
    moved = performance.jaw[rows], performance.expression[rows]
    return ShotArrays(
        real=np.stack([_known(k.inputs.crop) for k in kept]),
        raw=np.stack([np.rint(_known(k.raw) * 255).astype(np.uint8) for k in kept]),
        composite=np.stack(crops),
        masks=np.stack([_known(k.inputs.geometry).mask for k in kept]),
        landmarks_real=track.landmarks[rows],
        landmarks_output=landmarks[rows],
        affine=renderer.crop.affine[rows],
        commanded=posed_openings(track.model, track.identity, *moved),
        yaw=yaw_degrees(track.rotation[rows]),
        window=actor.renderer.window,
        first=int(rows[0]),
    )


def _without_frame(drawn: RenderedFrame) -> RenderedFrame:
    """The same without the full-size pictures, so that a long passage fits in memory."""
    import dataclasses

    small = dataclasses.replace(drawn.inputs, frame=dataclasses.replace(drawn.inputs.frame, planes=()))
    return dataclasses.replace(drawn, frame=small.frame, matte=drawn.matte[:0], inputs=small)


def _known(value: Any) -> Any:
    if value is None:
        raise InternalError(
            "a drawn frame came without its crop; expected crop and geometry with every picture"
        )
    return value


def same_face(pictures: Iterable[NDArray[np.uint8]], track: Track) -> NDArray[np.float32]:
    """Landmarks (n, 478, 3) measured anew on pictures of `track`'s frames, of the face that lies where the
    tracked one does.
    """
    faces, count = find_faces(iter(pictures), None)
    if not faces:
        return np.full((count, LANDMARKS, 3), np.nan, np.float32)
    return max(faces, key=lambda f: _overlap(f, track)).dense(count)


def _overlap(face: FaceTrack, track: Track) -> float:
    """Sum over frames of the overlap of a found face with the tracked one."""
    return sum(
        iou(landmark_box(points), landmark_box(track.landmarks[i]))
        for i, points in face.found.items()
        if np.isfinite(track.landmarks[i]).all()
    )
