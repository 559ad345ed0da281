"""Where frames go: one protocol for every kind of output."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from visualdub.media.frame import Frame


class FrameSink(Protocol):
    """An output that takes a promised number of frames in order, and is there whole or not at all.

    A context manager: it is finished where the `with` block ends well. Any error in the block leaves nothing
    behind and an earlier file of the same name untouched.
    """

    def write(self, frame: Frame) -> None:
        """Take the next frame. Raises `OutputError` where it cannot be written, `BadInput` where it does not
        fit and `VisualDubError` where it is one more than promised.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
