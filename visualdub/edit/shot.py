"""One shot of a dub, planned from facts alone: which frames of which source, and what is said when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.media.frame import ClipInfo
from visualdub.media.source import probe
from visualdub.stages import Progress
from visualdub.timing import FrameChoice, FrameRange

HANDLE_SECONDS = (
    1  # of frames on either side of a shot that its track is made with, where the source has them
)


@dataclass(frozen=True)
class DialogueCue:
    """A piece of a recording and its place in a shot, exact to the sample: sample k at r Hz is `k / r` s."""

    recording: Path
    in_point_s: Fraction = Fraction(0)  # seconds into the recording that the cue starts at
    place_s: Fraction = Fraction(0)  # seconds after the shot's first frame that the in point is heard at
    duration_s: Fraction | None = None  # None: to the end of the recording
    channels: tuple[int, ...] = ()  # of the recording, from 0, that are heard; empty: those with a voice

    def __post_init__(self) -> None:
        if self.in_point_s < 0 or (self.duration_s is not None and self.duration_s <= 0):
            length = "to its end" if self.duration_s is None else f"for {float(self.duration_s):g} s"
            raise BadInput(
                f"{self.recording} from {float(self.in_point_s):g} s on {length} is no dialogue cue;"
                " expected a start of 0 s or more and a length above 0 s"
            )


@dataclass(frozen=True)
class Shot:
    """Frames of a source that show one stretch of action, and the dialogue that is to be spoken in them."""

    source: Path  # the clip, as `open_source` takes it
    info: ClipInfo  # facts of the whole clip
    frames: FrameRange  # of the clip
    retime: Fraction = Fraction(1)  # source seconds per second of the edit; 1 = as filmed
    cues: tuple[DialogueCue, ...] = ()
    skipped: tuple[FrameRange, ...] = ()  # runs of `frames` that keep the source's pixels, in order

    @property
    def rate(self) -> Fraction:
        """Frames per second, exact."""
        return self.info.rate

    @property
    def part(self) -> ClipInfo:
        """Facts of a movie of the shot alone: its length, timecode and repeated frames."""
        return self.info.part(self.frames)

    @property
    def played(self) -> ClipInfo:
        """`part` at the speed that the edit plays it: the clock that its dialogue is heard by."""
        return self.part if self.retime == 1 else replace(self.part, rate=self.rate * self.retime)

    @property
    def start_s(self) -> Fraction:
        """Seconds into the clip at which the shot's first frame comes on screen."""
        return self.info.start_of(self.frames.start)

    @property
    def tracked(self) -> FrameRange:
        """The frames to track: the shot's and `HANDLE_SECONDS` on either side, where there are any."""
        handle = -(-HANDLE_SECONDS * self.rate // 1)
        start = max(0, self.frames.start - int(handle))
        return FrameRange(start, min(self.info.frame_count, self.frames.end_exclusive + int(handle)))

    def with_cue(self, cue: DialogueCue) -> Shot:
        """The same shot with `cue` as its only dialogue."""
        return replace(self, cues=(cue,))

    def trim(self, frames: FrameRange) -> Shot:
        """`frames` of the clip, all within the shot, as a shot of their own. Raises `BadInput` outside it."""
        if frames.start < self.frames.start or frames.end_exclusive > self.frames.end_exclusive:
            raise BadInput(f"{self.source}: frames {frames} were asked for; the shot is {self.frames}")
        runs = [
            FrameRange(max(r.start, frames.start), min(r.end_exclusive, frames.end_exclusive))
            for r in self.skipped
            if r.meets(frames)
        ]
        return replace(self, frames=frames, skipped=tuple(runs))

    def choose(self, choice: FrameChoice, frames: FrameRange | None = None) -> Shot:
        """The same shot, whose frames are touched as `choice` has it. frames: those that are to be drawn,
        where they are not all. Raises `BadInput` as `FrameChoice.left_out` does.
        """
        wanted = frames.within(self.info.frame_count, str(self.source)) if frames else self.frames
        skipped = choice.left_out(wanted, self.info.frame_count, str(self.source))
        return replace(self, skipped=skipped)

    def skips(self) -> NDArray[np.bool_]:
        """(n,) True for the frames of the shot that keep the source's pixels."""
        skipped = np.zeros(len(self.frames), np.bool_)
        for run in self.skipped:
            skipped[run.start - self.frames.start : run.end_exclusive - self.frames.start] = True
        return skipped


def plan_shot(
    source: Path,
    frames: FrameRange | None = None,
    *,
    cues: tuple[DialogueCue, ...] = (),
    progress: Progress | None = None,
) -> Shot:
    """Plan a shot of the clip `source`, `frames` of it or all; no frame but the first is decoded.

    progress: is told how far the pass over the clip's packets is. Raises `MediaError` where the clip cannot
    be read and `BadInput` for a range past its end.
    """
    info = probe(source, progress)
    wanted = frames.within(info.frame_count, str(source)) if frames else FrameRange(0, info.frame_count)
    return Shot(source, info, wanted, cues=cues)
