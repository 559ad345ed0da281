"""A clip whose last frames stay in memory: for whoever asks for one here, one there, and its neighbours."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from visualdub.errors import VisualDubError
from visualdub.media.frame import ClipInfo, Frame
from visualdub.media.source import open_source
from visualdub.timing import FrameRange


class KeptFrames:
    """A `FrameSource` of the clip `path` that keeps up to `most_bytes` of the frames it decoded last."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._source = open_source(path)
        self._most, self._bytes = most_bytes, 0
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def info(self) -> ClipInfo:
        """Facts of the clip."""
        return self._source.info

    def frames(self, frames: FrameRange | None = None) -> Iterator[Frame]:
        """Frames of the clip as `FrameSource.frames` has it; what is not in memory is decoded in one go."""
        wanted = frames or FrameRange(0, self.info.frame_count)
        if self._closed:
            raise VisualDubError(f"{self.info.path} is closed")
        with self._lock:
            here = {n: self._kept[n] for n in wanted if n in self._kept}
            for number in here:
                self._kept.move_to_end(number)
        missing = [n for n in wanted if n not in here]
        if not missing:
            return iter([here[n] for n in wanted])
        gap = FrameRange(missing[0], missing[-1] + 1)
        return self._joined(wanted, here, gap, self._source.frames(gap))

    def _joined(
        self, wanted: FrameRange, here: dict[int, Frame], gap: FrameRange, decoded: Iterator[Frame]
    ) -> Iterator[Frame]:
        for number in wanted:
            if gap.start <= number < gap.end_exclusive:
                frame = next(decoded)
                self._keep(frame)
                yield frame
            else:
                yield here[number]

    def _keep(self, frame: Frame) -> None:
        with self._lock:
            if frame.index not in self._kept:
                self._kept[frame.index] = frame
                self._bytes += _size(frame)
            while self._bytes > self._most and self._kept:
                self._bytes -= _size(self._kept.popitem(last=False)[1])

    def holds(self, number: int) -> bool:
        """Whether frame `number` is in memory."""
        with self._lock:
            return number in self._kept

    def room(self) -> int:
        """How many frames may be kept, as far as one is known; 1 before."""
        with self._lock:
            return max(1, self._most * len(self._kept) // max(1, self._bytes))

    def forget(self) -> None:
        """Let go of what is kept."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def close(self) -> None:
        """Let go of the file and of what is kept."""
        self._closed = True
        self._source.close()
        self.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _size(frame: Frame) -> int:
    return sum(plane.nbytes for plane in frame.planes)
