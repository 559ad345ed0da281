"""Frame ranges: half open, in frames of the clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from visualdub.errors import BadInput


@dataclass(frozen=True)
class FrameRange:
    """Frames `start` .. `end_exclusive - 1` of a clip, counted from 0 in order of presentation."""

    start: int
    end_exclusive: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.end_exclusive <= self.start:
            raise BadInput(f"frames {self.start}:{self.end_exclusive} is empty or negative; expected A:B with 0 <= A < B")

    @classmethod
    def parse(cls, text: str) -> FrameRange:
        """Read `A:B` (half open). Raises `BadInput` for anything else."""
        head, colon, tail = text.partition(":")
        if not colon or not head.strip().isdigit() or not tail.strip().isdigit():
            raise BadInput(f"frames {text!r} is not a range; expected A:B, two whole numbers, B not included")
        return cls(int(head), int(tail))

    def __len__(self) -> int:
        return self.end_exclusive - self.start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.end_exclusive))

    def __str__(self) -> str:
        return f"{self.start}:{self.end_exclusive}"

    def within(self, frame_count: int, name: str) -> FrameRange:
        """Return self; raise `BadInput` naming `name` where the range runs past the clip's `frame_count` frames."""
        if self.end_exclusive > frame_count:
            raise BadInput(f"{name} has {frame_count} frames; the range {self} runs past its end")
        return self
