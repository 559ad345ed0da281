"""The measures of an actor on frames of a clip, driven by their own performance, by that of another segment
and by silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.package import Actor
from visualdub.dub import AUDIO_RATE, TrackedShot
from visualdub.errors import InternalError, NoFace
from visualdub.face.crop import Crop, crop_of, warp_crop
from visualdub.face.detect import FaceFinder, iou
from visualdub.face.landmarks import lip_opening
from visualdub.face.mediapipe_models import landmark_box
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import require_face
from visualdub.measure.mouth import lip_distances, yaw_degrees
from visualdub.measure.perceptual import PerceptualMeasures, PerceptualNetworks
from visualdub.measure.plate import PlateFrame, PlateMeasures
from visualdub.measure.reenact import segment_performance
from visualdub.measure.shot import MeasuredFrame, OutputMouth, ShotMeasures, Table, plain
from visualdub.media.square import square_pixels
from visualdub.media.yuv import frame_rgb
from visualdub.render.shot_renderer import RenderedFrame, RenderOptions, ShotRenderer
from visualdub.speech.performance import blend_performance
from visualdub.speech.predict import predict_motion
from visualdub.stages import Progress, StageClock, peak_memory_mib
from visualdub.timing import MARGIN, FrameRange


def evaluate(
    tracked: TrackedShot,
    frames: FrameRange,
    actor: Actor,
    segment: FrameRange | None = None,
    progress: Progress | None = None,
    networks: PerceptualNetworks | None = None,
) -> Table:
    """Every measure of DESIGN.md 5 on `frames` of a clip.

    tracked: the whole clip. segment: the frames whose performance drives the measured ones, for control and
    leak; by default the first segment of the same length that does not overlap them, where the clip has one.
    networks: for LPIPS and FID of the re-enacted crops, which are left out without them.
    Frames are measured as they are rendered: memory grows by some numbers for each frame. Raises `NoFace`
    where no frame has a usable face, `BadInput` for frames outside the clip.
    """
    frames.within(tracked.shot.info.frame_count, str(tracked.shot.source))
    whole = tracked.track
    track, tracked_performance = segment_performance(whole, frames, None)
    require_face(track, tracked.shot.source, frames)
    shot = tracked.trim(frames)
    segment = segment or other_segment(frames, len(whole))
    clock = StageClock()
    table: Table = {
        "clip": str(tracked.shot.source),
        "actor": actor.record.name,
        "steps": actor.record.steps,
        "frames": str(frames),
        "adapted_on": adapted_on(actor, whole),
        "unseen": is_unseen(actor, whole, frames),
    }
    table["reenactment"] = measure(
        shot, tracked_performance, actor, clock, progress, own_performance=True, networks=networks
    )
    if segment is not None:
        _, borrowed = segment_performance(whole, frames, segment)
        driven = measure(shot, borrowed, actor, clock, progress, own_performance=False)
        table["driven"] = {"by": str(segment), **driven}
    silent = silent_performance(track, actor)
    if silent.draw.any():
        table["silence"] = measure(shot, silent, actor, clock, progress, own_performance=False)
    table["stages"] = clock.as_dict()
    table["peak_memory_mib"] = round(peak_memory_mib(), 1)
    return table


# ---- what drives the frames --------------------------------------------------------------------------------


def other_segment(frames: FrameRange, frame_count: int) -> FrameRange | None:
    """The first segment as long as `frames` that does not overlap them; None where the clip has none."""
    n = len(frames)
    if n <= frames.start:
        return FrameRange(0, n)
    return (
        FrameRange(frames.end_exclusive, frames.end_exclusive + n)
        if frames.end_exclusive + n <= frame_count
        else None
    )


def silent_performance(track: Track, actor: Actor) -> Performance:
    """The performance of `track` dubbed with silence."""
    seconds = Fraction(len(track)) / track.rate
    silence = np.zeros(int(seconds * AUDIO_RATE) + 1, np.float32)
    motion = predict_motion(silence, track.rate, len(track))
    return blend_performance(track, motion, actor.style, actor.rest_jaw, actor.rest_expression)


def adapted_on(actor: Actor, track: Track) -> list[str]:
    """The ranges of this very clip that the actor was adapted on."""
    return [f"{f.start}:{f.end_exclusive}" for f in actor.record.frames if f.source_hash == track.source_hash]


def is_unseen(actor: Actor, track: Track, frames: FrameRange) -> bool:
    """Whether every one of `frames` is `MARGIN` frames or more away from all that the actor was adapted on.

    Frames that follow the adaptation directly (at a distance of 0) are too near.
    """
    ranges = [FrameRange.parse(r) for r in adapted_on(actor, track)]
    return all(
        frames.start >= r.end_exclusive + MARGIN or frames.end_exclusive + MARGIN <= r.start for r in ranges
    )


# ---- rendering and measuring -------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvaluatedFrame:
    """One finished frame of a shot; `measured` is None where it passed through."""

    rgb: NDArray[np.uint8]  # (H, W, 3) the whole finished picture, in the clip's own pixels
    measured: MeasuredFrame | None
    plate: PlateFrame | None = None  # the frame beside its source; None where it passed through


def measure(
    tracked: TrackedShot,
    performance: Performance,
    actor: Actor,
    clock: StageClock,
    progress: Progress | None = None,
    *,
    own_performance: bool,
    networks: PerceptualNetworks | None = None,
) -> Table:
    """The measures of a shot that gives `performance`. Raises `NoFace` where no frame is rendered."""
    measures = ShotMeasures(actor.renderer.window, own_performance=own_performance)
    on_plate = PlateMeasures(own_performance=own_performance)
    perceptual = None if networks is None else PerceptualMeasures(networks)
    with OutputFaces(tracked.track) as faces:
        for frame in evaluated_frames(tracked, performance, actor, clock, progress):
            faces.add(frame.rgb)
            if frame.measured is not None:
                measures.add(frame.measured)
                if perceptual is not None:
                    perceptual.add(frame.measured.composite, frame.measured.real)
            if frame.plate is not None:
                on_plate.add(frame.plate)
        if not len(measures):
            raise nothing_rendered(tracked)
        table = measures.table(faces.mouth(measures.numbers))
        given = {} if perceptual is None else {"perceptual": plain(perceptual.table())}
        return table | {"plate": plain(on_plate.table())} | given


def evaluated_frames(
    tracked: TrackedShot,
    performance: Performance,
    actor: Actor,
    clock: StageClock,
    progress: Progress | None = None,
    options: RenderOptions | None = None,
) -> Iterator[EvaluatedFrame]:
    """Render a shot and yield every frame of it, in order, with what the measures need.

    options: by default all but the watermark.
    """
    track = tracked.track
    renderer = ShotRenderer(
        tracked.shot,
        actor,
        track=track,
        performance=performance,
        options=options or RenderOptions(watermark=False),
        clock=clock,
    )
    for done, frame in enumerate(renderer.frames(progress=progress), 1):
        rgb = frame_rgb(frame.frame)
        measured = measured_frame(frame, rgb, renderer.crop, track, performance)
        yield EvaluatedFrame(rgb, measured, plate_frame(frame, rgb, renderer.crop, track))
        if progress is not None:
            progress.report("measuring", done, len(track))


def measured_frame(
    frame: RenderedFrame,
    rgb: NDArray[np.uint8],
    crop: Crop,
    track: Track,
    performance: Performance,
) -> MeasuredFrame | None:
    """What the measures take of one rendered frame; None where it passed through."""
    if frame.raw is None:
        return None
    inputs, i = frame.inputs, frame.inputs.index
    if inputs.mask is None:
        raise InternalError(f"frame {frame.frame.index} was rendered without its mask")
    real = crop_of(inputs.frame, crop.stored_affine[i]) if inputs.plate is None else inputs.plate
    mesh = track.model.vertices(track.identity, performance.jaw[i], performance.expression[i])
    return MeasuredFrame(
        number=i,
        real=real,
        raw=np.rint(frame.raw * 255).astype(np.uint8),
        composite=warp_crop(rgb, crop.stored_affine[i]),
        mask=inputs.mask,
        landmarks=track.landmarks[i],
        affine=crop.affine[i],
        commanded=float(lip_opening(track.model.landmarks(mesh))),
        yaw=float(yaw_degrees(track.rotation[i])),
    )


def plate_frame(frame: RenderedFrame, rgb: NDArray[np.uint8], crop: Crop, track: Track) -> PlateFrame | None:
    """One rendered frame beside its source, in the clip's own pixels; None where it passed through."""
    inputs, i = frame.inputs, frame.inputs.index
    if frame.raw is None or inputs.mask is None:
        return None
    real = frame_rgb(inputs.frame)
    return PlateFrame(i, real, rgb, inputs.mask, crop.stored_affine[i], crop.affine[i], track.landmarks[i])


def nothing_rendered(tracked: TrackedShot) -> NoFace:
    """The error for a shot of which no frame was rendered."""
    return NoFace(
        f"{tracked.shot.source}: none of frames {tracked.track.frames} was rendered; expected at least one"
        " with a face"
    )


# ---- the mouth in the finished frames ----------------------------------------------------------------------


@dataclass
class _FaceMouth:
    """The mouth of one face that was found in finished frames, by number of the frame in the shot."""

    overlap: float  # with the tracked face, summed over the frames
    opening: dict[int, float]
    lip_distance: dict[int, float]


class OutputFaces:
    """Finds the faces in the finished frames of a shot and measures their mouths against `track`.

    Add every frame of the shot in order, then ask `mouth`. Only numbers are kept of each frame, no landmarks.
    """

    def __init__(self, track: Track) -> None:
        self._track = track
        self._finder = FaceFinder()
        self._faces: dict[int, _FaceMouth] = {}  # by index in the finder's list
        self._count = 0

    def __enter__(self) -> OutputFaces:
        return self

    def __exit__(self, *_: object) -> None:
        self._finder.close()

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """Take the next finished picture (H, W, 3), in the clip's own pixels."""
        i, self._count = self._count, self._count + 1
        self._finder.add(square_pixels(rgb, self._track.pixel_aspect))
        for k, face in enumerate(self._finder.faces):
            if i in face.found:
                self._measure(k, i, face.found[i])
                face.found[i] = np.zeros((0, 3), np.float32)  # the finder asks which frames, not where

    def _measure(self, k: int, i: int, landmarks: NDArray[np.float32]) -> None:
        face = self._faces.setdefault(k, _FaceMouth(0.0, {}, {}))
        real = self._track.landmarks[i]
        if np.isfinite(real).all():
            face.overlap += iou(landmark_box(landmarks), landmark_box(real))
        face.opening[i] = float(lip_opening(landmarks.astype(np.float64)))
        face.lip_distance[i] = float(lip_distances(real[None], landmarks[None])[0])

    def mouth(self, numbers: list[int]) -> OutputMouth:
        """The mouth of the face that lies where the tracked one does, in the frames `numbers` of the shot."""
        face = max(self._faces.values(), key=lambda f: f.overlap, default=_FaceMouth(0.0, {}, {}))
        opening, distance = (
            np.array([values.get(i, np.nan) for i in numbers], np.float64)
            for values in (face.opening, face.lip_distance)
        )
        return OutputMouth(opening, distance)
