"""Frames of a clip with the actor's mouth redrawn, one after another: crop, geometry, network, blend,
composite.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.crop import SIZE, Crop, stable_crop, warp_crop
from visualdub.face.geometry import Geometry, frame_geometry, to_crop
from visualdub.face.mediapipe_models import Segmenter
from visualdub.face.models import load_face_model
from visualdub.face.raster import rasterise
from visualdub.face.track import Performance, Track
from visualdub.media.frame import Frame
from visualdub.media.source import open_source
from visualdub.media.yuv import chroma_factors, frame_rgb
from visualdub.render.composite import Layer, composite_shot, feather
from visualdub.render.matting import background_weight
from visualdub.render.runtime import Renderer
from visualdub.render.watermark import Watermark
from visualdub.render.windows import RenderInput, render_shot
from visualdub.stages import WAIT, StageClock, prefetch

ALIGN = 8  # pixels; whole chroma samples of every format
AHEAD = 4  # frames each stage may run in advance of the next; more costs memory and saves no time


@dataclass(frozen=True)
class Prepared:
    """One decoded frame with what the network and the blend need to know of it; crop and geometry None
    without a face.
    """

    index: int  # in the shot, from 0
    frame: Frame
    crop: NDArray[np.uint8] | None  # (256, 256, 3) the real picture, full-range R'G'B'
    geometry: Geometry | None  # of the commanded performance
    own_silhouette: NDArray[np.bool_] | None  # (256, 256) of the actor's own performance
    draw: float  # 0 = passes through


@dataclass(frozen=True)
class Redrawn:
    """One finished frame. Where it passed through, `frame` is the source's own, `matte` zero and `raw`
    None.
    """

    frame: Frame
    matte: NDArray[np.uint8]  # (H, W) 0 where every sample is the source's own
    raw: NDArray[np.float32] | None  # (256, 256, 3) the network's picture, R'G'B' 0..1
    source: Prepared


class Redrawer:
    """The stages that turn a performance into pixels, for one shot: `track` covers exactly the shot.

    Bits of a frame depend on the shot, the actor and the frame's number alone.
    """

    def __init__(
        self,
        clip: Path,
        track: Track,
        performance: Performance,
        renderer: Renderer,
        clock: StageClock,
        mark: Watermark | None = None,
    ) -> None:
        if len(performance) != len(track):
            raise BadInput(
                f"{clip}: the performance has {len(performance)} frames, the track {len(track)}; expected as"
                " many"
            )
        self.clip, self.track, self.performance, self.clock, self.mark = clip, track, performance, clock, mark
        self.renderer = renderer
        self.crop: Crop = stable_crop(track)

    def frames(self) -> Iterator[Redrawn]:
        """Every frame of the shot, in order. Decoding and rendering run ahead in threads of their own."""
        prepared: deque[Prepared] = deque()  # handed to the network, its picture not back yet
        drawn: deque[tuple[NDArray[np.float32] | None, Prepared]] = deque()  # handed to compositing
        pictures = prefetch(self._rendered(prefetch(self._prepared(), AHEAD), prepared), AHEAD)
        with Segmenter() as segmenter:
            layers = self._layers(pictures, drawn, segmenter)
            for done in self.clock.each("composite", composite_shot(layers, mark=self.mark)):
                raw, source = drawn.popleft()
                yield Redrawn(done.frame, done.matte, raw, source)

    # ---- stages, each in its own thread but the last -------------------------------------------------------

    def _prepared(self) -> Iterator[Prepared]:
        count = 0
        with open_source(self.clip) as source:
            for count, frame in enumerate(self.clock.each("decode", source.frames(self.track.frames)), 1):
                with self.clock.stage("prepare"):
                    prepared = self._prepare(frame, count - 1)
                yield prepared
        if count != len(self.track):
            raise BadInput(
                f"{self.clip} ended after {count} of {len(self.track)} frames; expected the frames that were"
                " tracked"
            )

    def _prepare(self, frame: Frame, i: int) -> Prepared:
        """Crop and geometry of frame `i` of the shot, also where a neighbour in its window only looks at
        it.
        """
        if not self.track.usable[i] or not self._seen(i):
            return Prepared(i, frame, None, None, None, 0.0)
        crop = crop_of(frame, self.crop.affine[i])
        geometry = frame_geometry(self.track, self.crop, self.performance, i)
        draw = float(self.performance.draw[i])
        own = self._own_silhouette(i) if draw > 0 else geometry.silhouette
        return Prepared(i, frame, crop, geometry, own, draw)

    def _own_silhouette(self, i: int) -> NDArray[np.bool_]:
        """(256, 256) where the face of frame `i` lies as it was filmed."""
        model = load_face_model()
        mesh = model.vertices(self.track.identity, self.track.jaw[i], self.track.expression[i])
        return rasterise(
            to_crop(mesh, self.track, self.crop, i), model.triangles, self.crop.size, self.crop.size
        ).hit

    def _seen(self, i: int) -> bool:
        """Whether frame `i` may share a window with a drawn one."""
        reach = self.renderer.window - 1
        return bool((self.performance.draw[max(0, i - reach) : i + reach + 1] > 0).any())

    def _rendered(
        self, frames: Iterator[Prepared], held: deque[Prepared]
    ) -> Iterator[tuple[NDArray[np.float32] | None, Prepared]]:
        def inputs() -> Iterator[RenderInput]:
            for p in self.clock.each(WAIT, frames):
                held.append(p)
                uv, mask = (p.geometry.uv, p.geometry.mask) if p.geometry else (None, None)
                yield RenderInput(p.index, p.crop, uv, mask, p.draw > 0)

        for picture in render_shot(self._timed_render, self.renderer.window, inputs(), len(self.track)):
            yield picture.rgb, held.popleft()

    def _timed_render(
        self, frames: NDArray[np.uint8], uv: NDArray[np.float32], mask: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        with self.clock.stage(
            "render", self.renderer.window - 1
        ):  # a window finishes all its frames but the shared border
            return self.renderer.render(frames, uv, mask)

    def _layers(
        self,
        pictures: Iterator[tuple[NDArray[np.float32] | None, Prepared]],
        drawn: deque[tuple[NDArray[np.float32] | None, Prepared]],
        segmenter: Segmenter,
    ) -> Iterator[Layer]:
        for raw, p in self.clock.each(WAIT, pictures):
            drawn.append((raw, p))
            if raw is None or p.crop is None or p.geometry is None or p.own_silhouette is None:
                yield Layer(p.frame, None, None, None)
                continue
            with self.clock.stage("segment"):
                keep = background_weight(
                    segmenter, p.crop, raw, p.geometry.mask, p.own_silhouette, p.geometry.silhouette
                )
                alpha = feather(p.geometry.mask) * keep * np.float32(p.draw)
            yield Layer(p.frame, raw, alpha, self.crop.affine[p.index])


# ---- crop --------------------------------------------------------------------------------------------------


def crop_of(frame: Frame, affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The crop (256, 256, 3) of a frame, as `warp_crop` of the whole picture: only the part around the face
    is converted.
    """
    part, left, top = _around(frame, affine)
    moved = affine.copy()
    moved[:, 2] += affine[:, :2] @ (left, top)
    return warp_crop(frame_rgb(part), moved)


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
