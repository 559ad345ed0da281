"""The frames of a prepared shot: rendered once, kept by what their pixels depend on, and shown to clients.

What is kept of a frame is what differs from the source: the samples inside the bounds of its matte. The rest
is decoded again, which is quick, and takes no room.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.frame_cache import Entry, FrameCache
from visualdub.errors import BadInput
from visualdub.media.frame import Frame
from visualdub.media.kept_frames import KeptFrames
from visualdub.media.pixel_format import bit_depth
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb, planes_to_rgb
from visualdub.records import digest
from visualdub.render.changed_samples import Box, Planes, bounds, cut, pasted, within
from visualdub.render.recent import Recent
from visualdub.render.shot_renderer import FrameInputs, RenderedFrame, ShotRenderer
from visualdub.stages import Progress, StageClock
from visualdub.timing import FrameRange

CHUNK = 24  # frames; whoever renders looks after so many whether somebody else has the next ones
MOST_KEPT = 400 << 20  # bytes of a shot's own frames, for who asks for single ones
DECODED, PREPARED = 12, 3  # frames at a time while nothing else is to be done; a request waits for them
BEFORE = 0.25  # the share of them that lies before the frame that was asked for last
SKIPPED = 3  # frames that somebody who plays a shot may leave out
NEVER = -2 - SKIPPED  # in place of the last frame's number, where none was asked for
CHROMA_MARGIN = 16  # pixels
log = logging.getLogger(__name__)


class ShotFrames:
    """The frames of `renderer`'s shot, through `cache`. plates: the shot's own frames, which renderers of
    other performances may share.
    """

    def __init__(self, renderer: ShotRenderer, cache: FrameCache, plates: KeptFrames | None = None) -> None:
        self.renderer, self.cache = renderer, cache
        self.rendered = 0  # frames that were not in the cache
        self._keys: dict[int, str] = {}
        self._asked = copy.copy(renderer)  # for frames that clients ask for, which no report counts
        self._asked.clock = StageClock()
        self.plates = self._asked.plates = plates or kept_frames(renderer.shot.source)
        self._recent = self._asked.recent = Recent[FrameInputs]()
        self._ahead: Generator[RenderedFrame] | None = None  # a run that goes on
        self._last = NEVER  # the frame that was asked for last
        self._filling: Iterator[object] | None = None
        self._at_a_time = DECODED

    # ---- what a frame depends on ---------------------------------------------------------------------------

    def key(self, number: int) -> str:
        """Hexadecimal: what the pixels of frame `number` of the clip depend on.

        `FrameKey` holds the whole shot's performance. Here only that of the frames counts which the renderer
        looks at for this one, and the watermark: an edit of a few frames leaves the keys of the others.
        """
        if number not in self._keys:
            self._keys[number] = self._key(number)
        return self._keys[number]

    def _key(self, number: int) -> str:
        renderer = self.renderer
        whole, performance = renderer.key(number), renderer.performance
        looked_at = renderer.source_frames(FrameRange(number, number + 1))
        first, reach = renderer.shot.frames.start, renderer.window - 1
        near = slice(looked_at.start - first, looked_at.end_exclusive - first)
        wide = slice(max(0, near.start - reach), near.stop + reach)  # whether a window is run at all
        mark = "" if renderer.watermark is None else "".join(str(int(b)) for b in renderer.watermark.bits)
        mouth = (performance.jaw[near], performance.expression[near], performance.draw[wide])
        return digest(whole.shot, whole.actor, whole.options, mark, str(number), str(wide.start), *mouth)

    def fill(self) -> bool:
        """Decode some more of the shot's frames around the last that was asked for, into memory; then work
        out what the network needs to know of the nearest. Whoever asks for one will ask for others, and would
        wait longest for the way from the key frame. Whether there is more to do.
        """
        if self._last < 0:
            return False
        if self._filling is None:
            room = self.plates.room()
            decode, prepare = self._around(room), self._around(min(room, self._recent.inputs.most))
            if gap := _first_to_last(n for n in decode if not self.plates.holds(n)):
                self._filling, self._at_a_time = self.plates.frames(gap), DECODED
            elif gap := _first_to_last(n for n in prepare if not self._recent.inputs.holds(n)):
                self._filling, self._at_a_time = self._asked.inputs(gap), PREPARED
            else:
                return False
        if sum(1 for _ in itertools.islice(self._filling, self._at_a_time)) < self._at_a_time:
            self._filling = None
        return True

    def _around(self, room: int) -> FrameRange:
        """The `room` frames of the shot around the last that was asked for, most of them after it."""
        shot = self.renderer.shot.frames
        start = max(shot.start, min(self._last - round(BEFORE * room), shot.end_exclusive - room))
        return FrameRange(start, min(shot.end_exclusive, start + room))

    def forget_plates(self) -> None:
        """Let go of the frames in memory: another shot is looked at."""
        self._filling, self._last = None, NEVER
        self.plates.forget()
        self._recent.clear()

    # ---- every frame of a range ----------------------------------------------------------------------------

    def frames(self, wanted: FrameRange, progress: Progress) -> Iterator[RenderedFrame]:
        """`wanted` in order, from the cache where they are there, else rendered and stored.

        Raises as `ShotRenderer.frames` does.
        """
        number, end = wanted.start, wanted.end_exclusive
        while number < end:
            stop = number
            while stop < end and self.cache.has(self.key(stop)) == self.cache.has(self.key(number)):
                stop += 1
            stop = max(stop, number + 1)
            run = FrameRange(number, stop)
            known = self.cache.has(self.key(number))
            made = self._stored(run, progress) if known else self._fresh(run, progress, self.renderer)
            for finished in made:
                yield finished
                number += 1

    def _stored(self, run: FrameRange, progress: Progress) -> Iterator[RenderedFrame]:
        """Frames of `run` from the cache; ends early at one that is gone or damaged, which is removed."""
        with open_source(self.renderer.shot.source) as source:
            for frame in source.frames(run):
                progress.check()
                entry = self.cache.get(self.key(frame.index))
                if entry is None:
                    return
                yield _restored(entry, frame, self.renderer.shot.frames.start)

    def _fresh(self, run: FrameRange, progress: Progress, renderer: ShotRenderer) -> Generator[RenderedFrame]:
        """Frames of `run` rendered and stored; ends early where somebody else has stored the next ones."""
        with contextlib.closing(renderer.frames(run, progress)) as frames:
            for finished in frames:
                number = finished.frame.index
                self._store(number, finished)
                yield finished
                ahead = number + 1
                at_border = (ahead - self.renderer.shot.frames.start) % CHUNK == 0
                if at_border and ahead < run.end_exclusive and self.cache.has(self.key(ahead)):
                    return

    def _store(self, number: int, finished: RenderedFrame) -> None:
        self.rendered += 1
        inputs, box = finished.inputs, bounds(finished.matte)
        head = {
            "draw": inputs.draw,
            "light": None if inputs.light is None else [float(v) for v in inputs.light],
            "box": list(box),
        }
        arrays = (
            finished.matte[within(box, finished.matte, finished.matte)],
            *cut(finished.frame.planes, box),
        )
        try:
            self.cache.put(self.key(number), head, arrays)
        except OSError as e:  # the dub goes on; only a later run has less to start from
            log.warning("frame %d is not kept: %s", number, e)

    # ---- one frame for a client ----------------------------------------------------------------------------

    def picture(self, number: int, kind: str, pixels: str, boxed: bool) -> tuple[dict[str, Any], Entry]:
        """What frame `number` of the clip shows: the fields of `schema.Picture` that describe it, and the
        entry that holds its planes.

        Raises `BadInput` for a frame outside the shot and for one without what is asked for.
        """
        shot = self.renderer.shot
        if number not in range(shot.frames.start, shot.frames.end_exclusive):
            raise BadInput(f"frame {number} is outside the shot; expected one of {shot.frames}")
        key = digest(self.key(number), kind, pixels if kind in ("dub", "plate") else "", str(boxed))
        entry = self.cache.get(key)
        if entry is None:
            head, planes = self._view(self._finished(number, kind), kind, pixels, boxed)
            entry = self.cache.put(key, head, planes)
        shapes = [{"shape": list(a.shape), "dtype": a.dtype.name} for a in entry.arrays]
        return {**entry.head, "number": number, "kind": kind, "key": key, "planes": shapes}, entry

    def _finished(self, number: int, kind: str) -> RenderedFrame:
        one = FrameRange(number, number + 1)
        if kind in ("raw", "uv"):  # what the cache does not keep
            with contextlib.closing(self._asked.frames(one)) as frames:
                return next(frames)
        entry = self.cache.get(self.key(number))
        if entry is not None:
            self._last = number
            return _restored(entry, next(self.plates.frames(one)), self.renderer.shot.frames.start)
        return self._rendered(number)

    def _rendered(self, number: int) -> RenderedFrame:
        """One frame, rendered now. Whoever asks for two in a row gets the next ones from a run that goes on:
        a frame by itself costs as much as a window and the compositor's reach around it.
        """
        in_a_row, self._last = self._last < number <= self._last + SKIPPED + 1, number
        for finished in self._ahead if in_a_row and self._ahead is not None else ():
            if finished.frame.index >= number:
                break
        else:
            finished = None
        if finished is None or finished.frame.index != number:
            self.rest()
            end = self.renderer.shot.frames.end_exclusive if in_a_row else number + 1
            self._ahead = self._fresh(FrameRange(number, end), Progress(), self._asked)
            finished = next(self._ahead)
        if not in_a_row:
            self.rest()
        return finished

    def rest(self) -> None:
        """End the run that goes on: its threads hold a few frames."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _view(
        self, finished: RenderedFrame, kind: str, pixels: str, boxed: bool
    ) -> tuple[dict[str, Any], Planes]:
        image, box = finished.frame.image, bounds(finished.matte)
        whole = (0, 0, image.width, image.height)
        head: dict[str, Any] = {
            "width": image.width,
            "height": image.height,
            "drawn": finished.inputs.drawn,
            "box": list(box if boxed else whole),
            "pixels": "float",
        }
        if kind in ("raw", "uv"):
            array = finished.raw if kind == "raw" else finished.inputs.uv
            if array is None:
                raise BadInput(f"frame {finished.frame.index} passes through; there is no {kind} of it")
            return head, (array,)
        if kind == "matte":
            return {**head, "pixels": "gray"}, (
                finished.matte[within(tuple(head["box"]), finished.matte, finished.matte)],
            )
        frame = finished.frame
        if kind == "plate":
            frame = next(self.plates.frames(FrameRange(frame.index, frame.index + 1)))
        if pixels == "native":
            planes = cut(frame.planes, box) if boxed else frame.planes
            return {**head, "pixels": image.pix_fmt}, planes
        deep = pixels == "rgb" and bit_depth(image.pix_fmt) > 8
        rgb = _rgb(frame, box if boxed else whole, deep)
        return {**head, "pixels": "rgb16" if deep else "rgb8"}, (rgb,)


def kept_frames(clip: Path) -> KeptFrames:
    """A clip's own frames for who asks for single ones, up to MOST_KEPT bytes of them in memory."""
    return KeptFrames(clip, MOST_KEPT)


def _first_to_last(numbers: Iterable[int]) -> FrameRange | None:
    """All frames from the first to the last of `numbers`; None where there are none."""
    found = list(numbers)
    return FrameRange(found[0], found[-1] + 1) if found else None


# ---- frames of the cache -----------------------------------------------------------------------------------


def _rgb(frame: Frame, box: Box, deep: bool) -> NDArray[np.generic]:
    """R'G'B' (h, w, 3) of a box of a frame, the same as in the whole picture; 8 bit, or 16 where `deep`."""
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return np.zeros((0, 0, 3), np.uint16 if deep else np.uint8)
    image = frame.image
    # chroma is interpolated across the edge of the box
    x, y = max(left - CHROMA_MARGIN, 0), max(top - CHROMA_MARGIN, 0)
    around = x, y, min(right + CHROMA_MARGIN, image.width), min(bottom + CHROMA_MARGIN, image.height)
    part = replace(frame, planes=cut(frame.planes, around))
    rgb: NDArray[np.generic]
    if deep:
        rgb = np.asarray(np.rint(planes_to_rgb(part.planes, image).clip(0, 1) * 65535), np.uint16)
    else:
        rgb = frame_rgb(part)
    return rgb[top - y : bottom - y, left - x : right - x]


def _restored(entry: Entry, frame: Frame, first: int) -> RenderedFrame:
    """The finished frame that `entry` keeps, over the source's own `frame`."""
    box: Box = tuple(entry.head["box"])
    matte = np.zeros(frame.planes[0].shape, np.uint8)
    inside, *parts = entry.arrays
    planes = frame.planes
    if inside.size:
        matte[within(box, matte, matte)] = inside
        planes = pasted(planes, tuple(parts), box)
    light = entry.head["light"]
    known = None if light is None else np.array(light, np.float32)
    inputs = FrameInputs(frame.index - first, frame, None, None, None, entry.head["draw"], known)
    return RenderedFrame(replace(frame, planes=planes), matte, None, inputs)
