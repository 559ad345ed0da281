"""Where frames come from: one protocol for every kind of clip, and the function that opens one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from visualdub.media.frame import ClipInfo, Frame
from visualdub.media.movie_reader import MovieReader
from visualdub.stages import Progress
from visualdub.timing import FrameRange


class FrameSource(Protocol):
    """A clip whose frames are read by number. A context manager; closing it twice does no harm."""

    @property
    def info(self) -> ClipInfo:
        """Facts of the clip."""

    def frames(self, frames: FrameRange | None = None) -> Iterator[Frame]:
        """Exactly the frames of a range, all by default, in order, one at a time; each `Frame.index` is its
        number in the clip.

        Any range inside the clip may be asked for, in any order, also while others are read. Raises at once
        `BadInput` for a range past the end and `VisualDubError` for a closed source; while reading,
        `MediaError` where a frame cannot be decoded.
        """

    def close(self) -> None:
        """Let go of files; frames that were handed out stay valid."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_source(path: Path, progress: Progress | None = None) -> FrameSource:
    """Open a clip for reading; `progress` is told how far the pass over its packets is.

    Raises `MediaError` for a missing, unreadable or truncated file, one without video, and one of a variable
    frame rate.
    """
    return MovieReader(path, progress)


def probe(path: Path, progress: Progress | None = None) -> ClipInfo:
    """Facts of a clip. Takes and raises as `open_source`."""
    with open_source(path, progress) as source:
        return source.info
