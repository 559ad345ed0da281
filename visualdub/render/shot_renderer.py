"""Frames of a shot with the actor's mouth redrawn, any range of them: crop, geometry, network, blend,
composite.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.package import Actor
from visualdub.edit.shot import Shot
from visualdub.errors import BadInput, InternalError
from visualdub.face.crop import Crop, crop_of, stable_crop
from visualdub.face.geometry import Geometry, filmed_mesh, frame_geometry
from visualdub.face.mediapipe_models import Segmenter
from visualdub.face.raster import rasterise
from visualdub.face.recognise import only_frames_of
from visualdub.face.track import Performance, Track
from visualdub.media.frame import Frame
from visualdub.media.source import FrameSource, open_source
from visualdub.media.transfer import TransferFunction
from visualdub.media.yuv import transfer_of
from visualdub.records import FrameKey, digest
from visualdub.render.aligned_references import AlignedReferences
from visualdub.render.composite import Composited, Layer, composite_shot, feather, frames_to_composite
from visualdub.render.detail import Detail, InTurn
from visualdub.render.detail_frames import margin_among
from visualdub.render.holdout import Holdout, Holdouts, face_matte, hand_matte, object_matte
from visualdub.render.light import TOLERANCE, ActorLight, beyond_tolerance, relit
from visualdub.render.matting import background_weight
from visualdub.render.mouth_interior import Interior, MouthInterior
from visualdub.render.near_frames import NearFrames
from visualdub.render.providers import FP32
from visualdub.render.quality import DRAFT
from visualdub.render.recent import Recent
from visualdub.render.shot_detail import Carried, ShotDetail
from visualdub.render.watermark import Watermark, payload_bits
from visualdub.render.windows import Codes, Rendered, frames_needed, render_shot
from visualdub.speech.performance import pass_through
from visualdub.stages import WAIT, Progress, StageClock, mapped, prefetch
from visualdub.timing import MARGIN, FrameRange

VERSION = 7  # of the picture: raised whenever the same inputs give other pixels
PREPARED_AT_ONCE = 2  # frames, in threads of their own
AHEAD = 4  # frames each stage may run in advance of the next; more costs memory and saves no time


# ---- what travels from stage to stage ----------------------------------------------------------------------


@dataclass(frozen=True)
class RenderOptions:
    """What else decides a frame's pixels."""

    grain: bool = True  # add the noise that the drawn mouth lacks against the plate
    watermark: bool = True  # an invisible mark inside the mask
    matting: bool = True  # keep the plate where picture and plate both show background
    light: bool = True  # draw in the light that the actor was adapted in, then in that of the frame
    detail: bool = True  # take the fine band from frames of the actor's footage, where the package has them


def render_options(quality: str, watermark: bool = True) -> RenderOptions:
    """How a quality is drawn. A draft leaves out the grain, the look at the background and the frame's light,
    and keeps the network's own picture: the mouth moves as it will, its edge and noise do not fit yet.
    """
    if quality == DRAFT:
        return RenderOptions(grain=False, watermark=watermark, matting=False, light=False, detail=False)
    return RenderOptions(watermark=watermark)


@dataclass(frozen=True)
class FrameInputs:
    """One decoded frame with what the network and the blend need to know of it; crop and geometry are None
    where the frame has no usable face or no window looks at it. A draft looks at no crop.
    """

    index: int  # in the shot, from 0
    frame: Frame
    plate: NDArray[np.uint8] | None  # (256, 256, 3) the crop as it was filmed, full-range R'G'B'
    geometry: Geometry | None  # of the commanded performance
    source_silhouette: NDArray[np.bool_] | None  # (256, 256) of the performance that was filmed; for matting
    draw: float  # 0 = passes through
    light: NDArray[np.float32] | None = None  # (3,) stops from the actor's light to this frame's, if known
    normalised: NDArray[np.float32] | None = None  # (256, 256, 3) codes in the actor's light, if it differs
    holdout: Holdout | None = None  # what of the frame stays in front of the drawn mouth; None: nothing
    under: RenderedFrame | None = None  # what `frame` is, where people farther away were drawn in it before
    detail: Detail | None = None  # the fine band of the drawn mouth; None: the network's own
    has_detail: bool = False  # whether the frame's detail was looked for
    uv: NDArray[np.float32] | None = None  # (256, 256, 2) texture coordinates, -1 off the mesh
    aligned: NDArray[np.uint8] | None = None  # (256, 256, 4) aligned references
    carried: Carried | None = None  # the picture of a draft; None: the network's

    @property
    def crop(self) -> Codes | None:
        """(256, 256, 3) what the network is shown: the crop in the light that the actor was adapted in."""
        return self.plate if self.normalised is None else self.normalised

    @property
    def stops(self) -> NDArray[np.float32] | None:
        """(3,) stops from the network's picture to the frame's light; None where they are the same."""
        return None if self.normalised is None or self.light is None else _gain(self.light)

    @property
    def mask(self) -> NDArray[np.float32] | None:
        """(256, 256) 0 or 1, the region to draw."""
        return None if self.geometry is None else self.geometry.mask

    @property
    def drawn(self) -> bool:
        """Whether the network's picture of this frame is wanted."""
        return self.draw > 0


@dataclass(frozen=True)
class FrameLayer(Layer):
    """What goes over one frame, with the inputs it was made from."""

    inputs: FrameInputs


@dataclass(frozen=True)
class RenderedFrame:
    """One finished frame. Where it passed through, `frame` is the source's own, `matte` zero and `raw`
    None.
    """

    frame: Frame
    matte: NDArray[np.uint8]  # (H, W) 0 where every sample is the source's own
    raw: NDArray[np.float32] | None  # (256, 256, 3) the network's picture, R'G'B' 0..1
    inputs: FrameInputs

    @property
    def drawn(self) -> bool:
        """Whether anybody's mouth is drawn."""
        under = self.inputs.under
        return self.inputs.drawn or (under is not None and under.drawn)


# ---- the renderer ------------------------------------------------------------------------------------------


class ShotRenderer:
    """Draws a shot with its actor performing: any range of its frames, on demand.

    The bits of a frame depend on what `key` holds alone: not on the range, the order of requests or the
    machine's cores. track and performance cover exactly the shot's frames. Frames that the shot skips pass
    through, and `performance` eases towards them.
    """

    def __init__(
        self,
        shot: Shot,
        actor: Actor,
        *,
        track: Track,
        performance: Performance,
        options: RenderOptions | None = None,
        clock: StageClock | None = None,
        holdouts: Holdouts | None = None,
    ) -> None:
        if track.frames != shot.frames or len(performance) != len(track):
            raise InternalError(
                f"{shot.source}: the shot is {shot.frames}, the track {track.frames}, the performance has"
                f" {len(performance)} frames; expected the same frames"
            )
        if actor.record.face_model != track.face_model:
            raise BadInput(
                f"{actor.folder} was made with face model {actor.record.face_model}; {shot.source} is tracked"
                f" with {track.face_model}; adapt the actor again"
            )
        track = only_frames_of(track, actor.likeness)  # nobody else is ever drawn, whoever asks
        performance = replace(performance, draw=np.where(track.usable, performance.draw, 0.0))
        self.shot, self.actor, self.track = shot, actor, track
        self.performance = pass_through(track, performance, shot.skips())
        self.options, self.clock = options or RenderOptions(), clock or StageClock()
        self.holdouts = holdouts or Holdouts()
        self.plates: FrameSource | None = None  # stays open; None: the clip is opened for each range
        self.recent: Recent[FrameInputs] | None = None  # what is kept for the next range; None: nothing
        self.crop: Crop = stable_crop(track)
        self._network = None if actor.is_draft else actor.renderer
        self.window = 1 if self._network is None else self._network.window  # frames that are drawn together
        self._under: ShotRenderer | None = None  # of who is drawn before, farther away; see `stacked`
        self._top: ShotRenderer | None = None  # of who is drawn last, where that is somebody else

    @property
    def runs_on(self) -> dict[str, str]:
        """What the network runs on, for the records: provider, precision, library and mode."""
        if self._network is None:
            return {"provider": "none", "mode": DRAFT}
        return self._network.execution.as_dict()

    @property
    def people(self) -> tuple[ShotRenderer, ...]:
        """The renderers of all who are drawn in the frames, the nearest to the camera last."""
        return (self,) if self._under is None else (*self._under.people, self)

    @cached_property
    def shown_performance(self) -> Performance:
        """The performance, drawn where anybody is."""
        draw = np.maximum.reduce([person.performance.draw for person in self.people])
        return replace(self.performance, draw=draw)

    @cached_property
    def _curve(self) -> TransferFunction:
        return transfer_of(self.shot.info.image)

    @cached_property
    def _light(self) -> ActorLight | None:
        """Measures the light on the face; None where it is turned off or the package holds no colours."""
        colours = self.actor.colours if self.options.light else None
        return None if colours is None else ActorLight(colours, self._curve)

    @cached_property
    def _near(self) -> NearFrames | None:
        """The kept frames of the actor's footage for this shot; None where the package holds none."""
        kept = self.actor.detail_frames
        return None if kept is None else NearFrames(kept, self.track, self.performance, self.crop)

    @cached_property
    def _detail(self) -> ShotDetail | None:
        """Finds the fine detail; None where it is turned off or the package holds no frames for it."""
        if self._lending is None:
            return None
        # a short clip is drafted out of what little is away from the frame that is drawn
        read = sum(part.frame_count for part in self.actor.record.frames)
        margin = margin_among(read) if self.actor.is_draft else MARGIN
        return ShotDetail(self._lending, margin)

    @cached_property
    def _aligned(self) -> AlignedReferences | None:
        """Finds aligned references; None for a network that takes none."""
        takes = self._network is not None and self._network.takes_aligned
        return AlignedReferences(self._near) if takes and self._near is not None else None

    @cached_property
    def _interior(self) -> MouthInterior | None:
        """Finds the inside of the mouth; None where detail is turned off or the package holds no frames."""
        return None if self._network is None or self._lending is None else MouthInterior(self._lending)

    @property
    def _lending(self) -> NearFrames | None:
        """The frames that lend their detail, or of which a draft is drawn."""
        return self._near if self.options.detail or self.actor.is_draft else None

    @cached_property
    def _key(self) -> FrameKey:
        """The key of the shot's first frame."""
        shot = digest(
            self.track.source_hash,
            str(self.shot.frames),
            str(self.shot.retime),
            *map(str, self.shot.skipped),
            *_arrays(self.track),
        )
        performance = digest(self.performance.jaw, self.performance.expression, self.performance.draw)
        colours = self.actor.colours if self.options.light else None
        under = "" if self._under is None else f"over {self._under._key.job}"
        near = self._lending if self._aligned is None else self._near
        kept = "" if near is None else near.frames.digest
        parts = [p for p in (colours, self.holdouts.digest(), under, kept) if p is not None and len(p)]
        options = digest(str(VERSION), repr(self.options), *self._unusual_runtime(), *parts)
        return FrameKey(shot, self.actor.renderer_hash, performance, options, self.shot.frames.start)

    def _unusual_runtime(self) -> tuple[str, ...]:
        """What the network runs on, where that is not ONNX Runtime in fp32 on the CPU."""
        if self._network is None:
            return ()
        execution = self._network.execution
        usual = (execution.provider, execution.precision) == ("cpu", FP32)
        return () if usual else (execution.provider, execution.precision, execution.library)

    def key(self, number: int) -> FrameKey:
        """What the pixels of frame `number` of the clip depend on: equal keys, equal pixels."""
        return self._key.of_frame(number)

    @cached_property
    def watermark(self) -> Watermark | None:
        """The mark that the frames carry: it names the job, `FrameKey.job`, with all who are drawn in them.
        None where it is turned off.
        """
        return Watermark(payload_bits((self._top or self)._key.job)) if self.options.watermark else None

    def frames(
        self, frames: FrameRange | None = None, progress: Progress | None = None
    ) -> Generator[RenderedFrame, None, None]:
        """`frames` of the clip, or all of the shot's, in order; each equal bit for bit to the same frame of
        any other range. Decoding and rendering run ahead in threads of their own.

        Raises `BadInput` for frames outside the shot, `MediaError` where a frame cannot be decoded, and
        `Interrupted` once `progress` is cancelled.
        """
        wanted = self.shot.trim(frames).frames if frames else self.shot.frames
        needed = self.source_frames(wanted)
        progress = progress or Progress()
        decoded = prefetch(self._inputs(needed, progress, wanted), AHEAD)
        with contextlib.closing(Segmenter()) as segmenter, contextlib.closing(decoded) as inputs:
            for scene in self.track.shots:
                part = _common(wanted, scene)
                if part is not None:
                    yield from self._drawn(part, scene, inputs, segmenter)

    def inputs(self, frames: FrameRange) -> Generator[FrameInputs]:
        """What the network and the blend need to know of `frames`; with `recent`, it is kept there."""
        yield from self._inputs(frames, Progress(), frames)

    def source_frames(self, frames: FrameRange) -> FrameRange:
        """The frames of the clip that must be decoded to render `frames` of it: the compositor's reach around
        them, and the whole windows of the network around that, up to the cuts on either side.
        """
        needed = [
            self._needed(part, scene)
            for scene in self.track.shots
            if (part := _common(frames, scene)) is not None
        ]
        return FrameRange(needed[0].start, needed[-1].end_exclusive)

    def _needed(self, frames: FrameRange, scene: FrameRange) -> FrameRange:
        """As `source_frames`, of frames that lie between two cuts, in `scene`."""
        composited = frames_to_composite(frames, scene)
        if self._network is None:
            return composited
        local = FrameRange(composited.start - scene.start, composited.end_exclusive - scene.start)
        needed = frames_needed(local, len(scene), self.window)
        return FrameRange(needed.start + scene.start, needed.end_exclusive + scene.start)

    def _drawn(
        self, wanted: FrameRange, scene: FrameRange, inputs: Iterator[FrameInputs], segmenter: Segmenter
    ) -> Iterator[RenderedFrame]:
        """The frames `wanted` of `scene`, the frames between two cuts, with a window grid of its own."""
        own = itertools.islice(inputs, len(self._needed(wanted, scene)))
        ahead = prefetch(self._rendered(own, frames_to_composite(wanted, scene), scene), AHEAD)
        with contextlib.closing(ahead) as rendered:
            layers = self._layers(rendered, segmenter)
            composited = composite_shot(layers, self.options.grain, self.watermark, wanted)
            for layer, done in self.clock.each("composite", composited):
                yield _finished(layer, done)

    # ---- stages, each in its own thread but the last -------------------------------------------------------

    def _inputs(self, frames: FrameRange, progress: Progress, wanted: FrameRange) -> Iterator[FrameInputs]:
        """Of `frames`; their fine detail only of those that are finished, `wanted`."""
        matte = self.holdouts.matte
        mattes = matte.frames(frames) if matte else repeat(None)

        def prepared(place: tuple[Frame, RenderedFrame | None, NDArray[np.uint8] | None]) -> FrameInputs:
            frame, under, held = place
            progress.check()
            with self.clock.stage("prepare"):
                inputs = self._kept_inputs(frame, held, wanted.start <= frame.index < wanted.end_exclusive)
            return inputs if under is None else replace(inputs, under=under)

        with contextlib.closing(self._drawn_on(frames, progress)) as plates:
            places = ((frame, under, next(mattes)) for frame, under in plates)
            for _, inputs in mapped(prepared, places, PREPARED_AT_ONCE):
                yield inputs

    def _drawn_on(
        self, frames: FrameRange, progress: Progress
    ) -> Generator[tuple[Frame, RenderedFrame | None], None, None]:
        """The frames that are drawn on: the source's, or those in which others are drawn already."""
        if self._under is None:
            opened = contextlib.nullcontext(self.plates) if self.plates else open_source(self.shot.source)
            with opened as source:
                for frame in self.clock.each("decode", source.frames(frames)):
                    yield frame, None
            return
        with contextlib.closing(self._under.frames(frames, progress)) as finished:
            for done in self.clock.each(WAIT, finished):
                yield done.frame, done

    def _kept_inputs(self, frame: Frame, held: NDArray[np.uint8] | None, finished: bool) -> FrameInputs:
        """As `_frame_inputs`, or what is kept of them, with the frame as it was decoded now; with its fine
        detail where it is `finished`.
        """
        inputs = None if self.recent is None else self.recent.inputs.get(frame.index)
        if inputs is not None:
            inputs = replace(inputs, frame=frame)
            if inputs.has_detail or not finished:
                return inputs
        else:
            inputs = self._frame_inputs(frame, frame.index - self.shot.frames.start, held)
        if finished:
            inputs = self._with_detail(inputs)
        if self.recent is not None:
            self.recent.inputs.put(frame.index, replace(inputs, frame=replace(frame, planes=())))
        return inputs

    def _with_detail(self, inputs: FrameInputs) -> FrameInputs:
        """The inputs with the fine detail of the frame, where it is drawn by a network."""
        detail, mask = None, inputs.mask
        if self._network is not None and self._detail is not None and inputs.drawn and mask is not None:
            with self.clock.stage("detail"):
                detail = self._detail.of_frame(inputs.frame, inputs.index, mask)
        return replace(inputs, detail=detail, has_detail=True)

    def _frame_inputs(self, frame: Frame, i: int, held: NDArray[np.uint8] | None = None) -> FrameInputs:
        """Crop and geometry of frame `i` of the shot, also where a neighbour in its window only looks at it.

        held: the artist's matte of the frame.
        """
        if not self.track.usable[i] or not self._in_drawn_window(i):
            return FrameInputs(i, frame, None, None, None, 0.0)
        geometry = frame_geometry(self.track, self.crop, self.performance, i)
        draw = float(self.performance.draw[i])
        looked_at = self._network is not None or self.options.matting or self.holdouts.has_object(i)
        plate = crop_of(frame, self.crop.stored_affine[i]) if looked_at else None
        light, normalised = self._normalised(plate, geometry)
        aligned = None
        if self._aligned is not None:
            with self.clock.stage("align"):
                aligned = self._aligned.of_frame(i)
        uv = None if self._network is None else geometry.uv  # here, in the threads that prepare frames
        known = FrameInputs(i, frame, plate, geometry, None, draw, light, normalised, uv=uv, aligned=aligned)
        if draw <= 0:
            return known
        filmed = filmed_mesh(self.track, self.crop, i)
        silhouette = None
        if self.options.matting:
            silhouette = rasterise(filmed, self.track.model.triangles, self.crop.size, self.crop.size).hit
        holdout = self._holdout(i, plate, filmed, held)
        inputs = replace(known, source_silhouette=silhouette, holdout=holdout)
        if self._detail is None or self._network is not None:
            return inputs
        with self.clock.stage("detail"):
            return replace(inputs, carried=self._detail.carried(frame, i, geometry.mask))

    def _normalised(
        self, plate: NDArray[np.uint8] | None, geometry: Geometry
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """The light of a frame, and its crop in the actor's light where the two differ."""
        if self._light is None or plate is None:
            return None, None
        light = self._light.measure(plate, geometry.uv, geometry.mask)
        if light is None or not _gain(light).any():
            return light, None
        return light, self._light.normalised(plate, _gain(light))

    def _holdout(
        self,
        i: int,
        crop: NDArray[np.uint8] | None,
        filmed: NDArray[np.float64],
        held: NDArray[np.uint8] | None,
    ) -> Holdout | None:
        """What is held out of frame `i`; None where nothing is."""
        occlusion, mattes = self.holdouts.occlusion, []
        if occlusion is not None:
            affine = self.crop.affine[i]
            hands = [hand * affine[0, 0] + affine[:, 2] for hand in occlusion.hands_at(i)]
            mattes += [hand_matte(hands, self.crop.size)] if hands else []
            covered = occlusion.covered_at(i)
            if covered is not None and crop is not None:
                mattes.append(object_matte(crop, filmed, self.track.model.face_triangles, covered))
        others = (face_matte(other, self.crop, i) for other in self.holdouts.in_front)
        mattes += [matte for matte in others if matte is not None]
        if held is not None and not held.any():
            held = None
        if not mattes and held is None:
            return None
        return Holdout(np.maximum.reduce(mattes) if mattes else None, held)

    def _in_drawn_window(self, i: int) -> bool:
        """Whether frame `i` may share a window with a drawn one."""
        reach = self.window - 1
        return bool((self.performance.draw[max(0, i - reach) : i + reach + 1] > 0).any())

    def _rendered(
        self, inputs: Iterable[FrameInputs], frames: FrameRange, scene: FrameRange
    ) -> Iterator[Rendered[FrameInputs]]:
        waited = self.clock.each(WAIT, inputs)
        if self._network is None:
            return (Rendered(x, None if x.carried is None else x.carried.crop) for x in waited)
        chunk = FrameRange(frames.start - scene.start, frames.end_exclusive - scene.start)
        first = scene.start - self.shot.frames.start
        kept, network = None if self.recent is None else self.recent.pictures, self._network
        render = self._timed_render
        return render_shot(render, network.window, waited, len(scene), chunk, first, kept, network.at_once)

    def _timed_render(
        self,
        frames: Codes,
        uv: NDArray[np.float32],
        mask: NDArray[np.float32],
        aligned: NDArray[np.uint8] | None,
    ) -> NDArray[np.float32]:
        # a window finishes all its frames but the border that it shares with the next
        with self.clock.stage("render", self.window - 1):
            return self.actor.renderer.render(frames, uv, mask, aligned)

    def _layers(
        self, rendered: Iterable[Rendered[FrameInputs]], segmenter: Segmenter
    ) -> Iterator[FrameLayer]:
        for picture in self.clock.each(WAIT, rendered):
            inputs, rgb = picture.inputs, picture.rgb
            if rgb is None:
                yield FrameLayer(inputs.frame, None, None, None, inputs)
                continue
            with self.clock.stage("segment"):
                alpha = blend_weight(inputs, rgb, segmenter if self.options.matting else None)
            interior = self._interior_of(inputs, rgb)
            if inputs.stops is not None:
                with self.clock.stage("light"):
                    rgb = relit(rgb, inputs.stops, self._curve).clip(0, 1)
            yield FrameLayer(
                inputs.frame,
                rgb,
                alpha,
                self.crop.stored_affine[inputs.index],
                inputs,
                holdout=inputs.holdout,
                detail=InTurn(tuple(part for part in (inputs.detail, interior) if part is not None)),
                picture=None if inputs.carried is None else inputs.carried.picture,
            )

    def _interior_of(self, inputs: FrameInputs, rgb: NDArray[np.float32]) -> Interior | None:
        """The inside of the mouth, of a frame that is finished."""
        if not inputs.has_detail or self._interior is None:
            return None
        with self.clock.stage("interior"):
            return self._interior.of_frame(inputs.frame, inputs.index, rgb)


def stacked(renderers: Sequence[ShotRenderer]) -> ShotRenderer:
    """One renderer that draws several people of a shot in one pass, each over the frames in which those
    farther from the camera are drawn already.

    Whose face is larger is taken to be nearer, over the whole shot: it is drawn last, and where faces overlap
    its face is held out of the others. The frames of all carry one watermark, that of the whole. Raises
    `InternalError` for renderers of other frames, or of none.
    """
    if len({(r.shot.source, r.shot.frames, r.shot.skipped) for r in renderers}) != 1:
        raise InternalError(f"{len(renderers)} people of several shots cannot be drawn in one pass")
    # a crop pixel is a fixed share of a face: of the larger face it covers more of the plate
    ordered = sorted(renderers, key=lambda r: -float(np.median(r.crop.scale[r.track.usable])))
    chain: list[ShotRenderer] = []
    for k, renderer in enumerate(ordered):
        own = copy.copy(renderer)
        for name in ("_key", "watermark", "shown_performance"):  # made before, of this person alone
            own.__dict__.pop(name, None)
        own.holdouts = replace(own.holdouts, in_front=tuple(r.track for r in ordered[k + 1 :]))
        own._under = chain[-1] if chain else None
        chain.append(own)
    for below in chain[:-1]:
        below._top = chain[-1]
    return chain[-1]


def blend_weight(
    inputs: FrameInputs, rgb: NDArray[np.float32], segmenter: Segmenter | None
) -> NDArray[np.float32]:
    """(256, 256) 0..1: feathered inside the mask, 0 where picture and plate both show background, times
    `draw`.

    rgb: the network's picture, in the light of `inputs.crop`; a plate that is too dark shows no person.
    """
    if inputs.geometry is None:
        raise InternalError(f"frame {inputs.frame.index} was drawn without its geometry")
    mask, crop = inputs.geometry.mask, inputs.crop
    alpha = feather(mask)
    if segmenter is not None and inputs.source_silhouette is not None and crop is not None:
        # of whole codes, unless it was brought to another light
        shown = crop if crop.dtype == np.uint8 else np.rint(crop.clip(0, 255)).astype(np.uint8)
        silhouettes = inputs.source_silhouette, inputs.geometry.silhouette
        alpha = alpha * background_weight(segmenter, shown, rgb, mask, *silhouettes)
    return alpha * np.float32(inputs.draw)


def _gain(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) stops by which a frame in `light` is brought to the actor's: none where the two are close."""
    return beyond_tolerance(light, TOLERANCE)


def _common(a: FrameRange, b: FrameRange) -> FrameRange | None:
    """The frames that are in both; None where there are none."""
    start, end = max(a.start, b.start), min(a.end_exclusive, b.end_exclusive)
    return FrameRange(start, end) if start < end else None


def _finished(layer: FrameLayer, done: Composited) -> RenderedFrame:
    under = layer.inputs.under
    matte = done.matte if under is None else np.maximum(done.matte, under.matte)
    return RenderedFrame(done.frame, matte, layer.patch, layer.inputs)


def _arrays(track: Track) -> tuple[NDArray[np.generic], ...]:
    """The numbers of a track that decide pixels."""
    pose = (track.scale, track.rotation, track.translation)
    cuts = (np.array(track.cuts, np.int64),) if track.cuts else ()
    aspect = track.pixel_aspect
    pixels = (np.array(aspect.as_integer_ratio(), np.int64),) if aspect != 1 else ()
    return (*pose, track.identity, track.jaw, track.expression, track.confidence, *cuts, *pixels)
