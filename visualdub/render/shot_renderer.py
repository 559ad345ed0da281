"""Frames of a shot with the actor's mouth redrawn, any range of them: crop, geometry, network, blend,
composite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.package import Actor
from visualdub.edit.shot import Shot
from visualdub.errors import BadInput, InternalError
from visualdub.face.crop import SIZE, Crop, stable_crop, warp_crop
from visualdub.face.geometry import Geometry, filmed_mesh, frame_geometry
from visualdub.face.mediapipe_models import Segmenter
from visualdub.face.raster import rasterise
from visualdub.face.track import Performance, Track
from visualdub.media.frame import Frame
from visualdub.media.source import open_source
from visualdub.media.yuv import chroma_factors, frame_rgb
from visualdub.records import FrameKey, digest
from visualdub.render.composite import Composited, Layer, composite_shot, feather, frames_to_composite
from visualdub.render.holdout import Holdout, Holdouts, hand_matte, object_matte
from visualdub.render.matting import background_weight
from visualdub.render.watermark import Watermark, payload_bits
from visualdub.render.windows import Rendered, frames_needed, render_shot
from visualdub.stages import WAIT, Progress, StageClock, prefetch
from visualdub.timing import FrameRange

VERSION = 1  # of the picture: raised whenever the same inputs give other pixels
ALIGN = 8  # pixels; whole chroma samples of every format
AHEAD = 4  # frames each stage may run in advance of the next; more costs memory and saves no time


# ---- what travels from stage to stage ----------------------------------------------------------------------


@dataclass(frozen=True)
class RenderOptions:
    """What else decides a frame's pixels."""

    grain: bool = True  # add the noise that the drawn mouth lacks against the plate
    watermark: bool = True  # an invisible mark inside the mask
    matting: bool = True  # keep the plate where picture and plate both show background


@dataclass(frozen=True)
class FrameInputs:
    """One decoded frame with what the network and the blend need to know of it; crop and geometry are None
    where the frame has no usable face or no window looks at it.
    """

    index: int  # in the shot, from 0
    frame: Frame
    crop: NDArray[np.uint8] | None  # (256, 256, 3) the real picture, full-range R'G'B'
    geometry: Geometry | None  # of the commanded performance
    source_silhouette: NDArray[np.bool_] | None  # (256, 256) of the performance that was filmed
    draw: float  # 0 = passes through
    holdout: Holdout | None = None  # what of the frame stays in front of the drawn mouth; None: nothing

    @property
    def uv(self) -> NDArray[np.float32] | None:
        """(256, 256, 2) texture coordinates, -1 off the mesh."""
        return None if self.geometry is None else self.geometry.uv

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


# ---- the renderer ------------------------------------------------------------------------------------------


class ShotRenderer:
    """Draws a shot with its actor performing: any range of its frames, on demand.

    The bits of a frame depend on what `key` holds alone: not on the range, the order of requests or the
    machine's cores. track and performance cover exactly the shot's frames.
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
        self.shot, self.actor, self.track, self.performance = shot, actor, track, performance
        self.options, self.clock = options or RenderOptions(), clock or StageClock()
        self.holdouts = holdouts or Holdouts()
        self.crop: Crop = stable_crop(track)
        self._network = actor.renderer

    @cached_property
    def _key(self) -> FrameKey:
        """The key of the shot's first frame."""
        shot = digest(
            self.track.source_hash, str(self.shot.frames), str(self.shot.retime), *_arrays(self.track)
        )
        performance = digest(self.performance.jaw, self.performance.expression, self.performance.draw)
        options = digest(str(VERSION), repr(self.options), *filter(None, [self.holdouts.digest()]))
        return FrameKey(shot, self.actor.renderer_hash, performance, options, self.shot.frames.start)

    def key(self, number: int) -> FrameKey:
        """What the pixels of frame `number` of the clip depend on: equal keys, equal pixels."""
        return self._key.of_frame(number)

    @cached_property
    def watermark(self) -> Watermark | None:
        """The mark that the frames carry: it names the job, `FrameKey.job`. None where it is turned off."""
        return Watermark(payload_bits(self._key.job)) if self.options.watermark else None

    def frames(
        self, frames: FrameRange | None = None, progress: Progress | None = None
    ) -> Iterator[RenderedFrame]:
        """`frames` of the clip, or all of the shot's, in order; each equal bit for bit to the same frame of
        any other range. Decoding and rendering run ahead in threads of their own.

        Raises `BadInput` for frames outside the shot, `MediaError` where a frame cannot be decoded, and
        `Interrupted` once `progress` is cancelled.
        """
        wanted = self.shot.trim(frames).frames if frames else self.shot.frames
        needed = self.source_frames(wanted)
        progress = progress or Progress()
        inputs = prefetch(self._inputs(needed, progress), AHEAD)
        with Segmenter() as segmenter:
            rendered = prefetch(self._rendered(inputs, frames_to_composite(wanted, self.shot.frames)), AHEAD)
            layers = self._layers(rendered, segmenter)
            composited = composite_shot(layers, self.options.grain, self.watermark)
            for layer, done in self.clock.each("composite", composited):
                if done.frame.index in range(wanted.start, wanted.end_exclusive):
                    yield _finished(layer, done)

    def source_frames(self, frames: FrameRange) -> FrameRange:
        """The frames of the clip that must be decoded to render `frames` of it: the compositor's reach around
        them, and the whole windows of the network around that.
        """
        composited = frames_to_composite(frames, self.shot.frames)
        start = self.shot.frames.start
        local = FrameRange(composited.start - start, composited.end_exclusive - start)
        needed = frames_needed(local, len(self.shot.frames), self._network.window)
        return FrameRange(needed.start + start, needed.end_exclusive + start)

    # ---- stages, each in its own thread but the last -------------------------------------------------------

    def _inputs(self, frames: FrameRange, progress: Progress) -> Iterator[FrameInputs]:
        matte = self.holdouts.matte
        mattes = matte.frames(frames) if matte else repeat(None)
        with open_source(self.shot.source) as source:
            for frame in self.clock.each("decode", source.frames(frames)):
                progress.check()
                held = next(mattes)
                with self.clock.stage("prepare"):
                    inputs = self._frame_inputs(frame, frame.index - self.shot.frames.start, held)
                yield inputs

    def _frame_inputs(self, frame: Frame, i: int, held: NDArray[np.uint8] | None = None) -> FrameInputs:
        """Crop and geometry of frame `i` of the shot, also where a neighbour in its window only looks at it.

        held: the artist's matte of the frame.
        """
        if not self.track.usable[i] or not self._in_drawn_window(i):
            return FrameInputs(i, frame, None, None, None, 0.0)
        crop = crop_of(frame, self.crop.affine[i])
        geometry = frame_geometry(self.track, self.crop, self.performance, i)
        draw = float(self.performance.draw[i])
        if draw <= 0:
            return FrameInputs(i, frame, crop, geometry, geometry.silhouette, draw)
        filmed = filmed_mesh(self.track, self.crop, i)
        silhouette = rasterise(filmed, self.track.model.triangles, self.crop.size, self.crop.size).hit
        return FrameInputs(i, frame, crop, geometry, silhouette, draw, self._holdout(i, crop, filmed, held))

    def _holdout(
        self,
        i: int,
        crop: NDArray[np.uint8],
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
            if covered is not None:
                mattes.append(object_matte(crop, filmed, self.track.model.face_triangles, covered))
        if held is not None and not held.any():
            held = None
        if not mattes and held is None:
            return None
        return Holdout(np.maximum.reduce(mattes) if mattes else None, held)

    def _in_drawn_window(self, i: int) -> bool:
        """Whether frame `i` may share a window with a drawn one."""
        reach = self._network.window - 1
        return bool((self.performance.draw[max(0, i - reach) : i + reach + 1] > 0).any())

    def _rendered(self, inputs: Iterable[FrameInputs], frames: FrameRange) -> Iterator[Rendered[FrameInputs]]:
        start = self.shot.frames.start
        chunk = FrameRange(frames.start - start, frames.end_exclusive - start)
        waited = self.clock.each(WAIT, inputs)
        return render_shot(self._timed_render, self._network.window, waited, len(self.shot.frames), chunk)

    def _timed_render(
        self, frames: NDArray[np.uint8], uv: NDArray[np.float32], mask: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        # a window finishes all its frames but the border that it shares with the next
        with self.clock.stage("render", self._network.window - 1):
            return self._network.render(frames, uv, mask)

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
            affine = self.crop.affine[inputs.index]
            yield FrameLayer(inputs.frame, rgb, alpha, affine, inputs, holdout=inputs.holdout)


def blend_weight(
    inputs: FrameInputs, rgb: NDArray[np.float32], segmenter: Segmenter | None
) -> NDArray[np.float32]:
    """(256, 256) 0..1: feathered inside the mask, 0 where picture and plate both show background, times
    `draw`.
    """
    if inputs.crop is None or inputs.geometry is None or inputs.source_silhouette is None:
        raise InternalError(f"frame {inputs.frame.index} was drawn without its crop and geometry")
    mask, silhouette = inputs.geometry.mask, inputs.geometry.silhouette
    alpha = feather(mask)
    if segmenter is not None:
        alpha = alpha * background_weight(
            segmenter, inputs.crop, rgb, mask, inputs.source_silhouette, silhouette
        )
    return alpha * np.float32(inputs.draw)


def _finished(layer: FrameLayer, done: Composited) -> RenderedFrame:
    return RenderedFrame(done.frame, done.matte, layer.patch, layer.inputs)


def _arrays(track: Track) -> tuple[NDArray[np.generic], ...]:
    """The numbers of a track that decide pixels."""
    pose = (track.scale, track.rotation, track.translation)
    return (*pose, track.identity, track.jaw, track.expression, track.confidence)


# ---- crop --------------------------------------------------------------------------------------------------


def crop_of(frame: Frame, affine: NDArray[np.float64], fast: bool = False) -> NDArray[np.uint8]:
    """The crop (256, 256, 3) of a frame, as `warp_crop` of the whole picture: only the part around the face
    is converted. fast: as in `frame_rgb`.
    """
    part, left, top = _around(frame, affine)
    moved = affine.copy()
    moved[:, 2] += affine[:, :2] @ (left, top)
    return warp_crop(frame_rgb(part, fast), moved)


def _around(frame: Frame, affine: NDArray[np.float64]) -> tuple[Frame, int, int]:
    """The rectangle of `frame` that `warp_crop` reads, with a margin for its filters and for chroma, and its
    left top corner.
    """
    image = frame.image
    scale = float(affine[0, 0])
    low, high = -affine[:, 2] / scale, (SIZE - affine[:, 2]) / scale
    margin = 6 / scale + 12
    left, top = (max(0, int(v - margin) // ALIGN * ALIGN) for v in low)
    right, bottom = (
        min(n, -(-int(v + margin) // ALIGN) * ALIGN)
        for v, n in zip(high, (image.width, image.height), strict=True)
    )
    if right - left < ALIGN or bottom - top < ALIGN:
        return frame, 0, 0
    across, down = chroma_factors(image)
    steps = [(1, 1) if i in (0, 3) else (across, down) for i in range(len(frame.planes))]
    cuts = [(slice(top // y, -(-bottom // y)), slice(left // x, -(-right // x))) for x, y in steps]
    return (
        Frame(frame.index, tuple(p[cut] for p, cut in zip(frame.planes, cuts, strict=True)), image),
        left,
        top,
    )
