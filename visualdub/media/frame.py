"""What the media room hands out: a clip's facts and one decoded frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.timing import FrameRange, shift_timecode


@dataclass(frozen=True)
class ColourTags:
    """FFmpeg's integer colour tags as the stream carries them (2 or 0 = unspecified)."""

    range: int  # AVColorRange: 1 limited, 2 full
    matrix: int  # AVColorSpace: 1 BT.709, 5/6 BT.601, 9 BT.2020
    primaries: int
    transfer: int


@dataclass(frozen=True)
class MediaInfo:
    """Facts of one clip. Sizes are in display orientation (after `rotation`)."""

    path: Path
    width: int  # pixels, as displayed
    height: int  # pixels, as displayed
    rate: Fraction  # frames per second, exact
    frame_count: int  # frames a viewer sees, edit lists applied
    pix_fmt: str  # FFmpeg's name, e.g. yuv420p, yuv422p10le
    colour: ColourTags
    rotation: int  # degrees clockwise from coded to displayed: 0, 90, 180, 270
    timecode: str | None  # HH:MM:SS:FF (or ;FF) of the first frame
    codec: str
    has_audio: bool
    sample_aspect: Fraction  # width / height of a displayed pixel, 1 when square
    field_order: int = 0  # AVFieldOrder: 0 unknown, 1 progressive, 2 .. 5 interlaced
    held: tuple[
        tuple[int, int], ...
    ] = ()  # (frame, n): this frame stays on screen n frame periods longer than the others

    def frame_times(self) -> NDArray[np.float64]:
        """Presentation time of every frame in seconds after the first, (frame_count,): `i / rate`, later
        after held frames.
        """
        steps = np.ones(self.frame_count)
        for frame, extra in self.held:
            if frame < self.frame_count:
                steps[frame] += extra
        return np.concatenate([[0.0], np.cumsum(steps)[:-1]]) / float(self.rate)

    def part(self, frames: FrameRange) -> MediaInfo:
        """Facts of a movie of `frames` alone: its length, the timecode of its first frame, its held
        frames.
        """
        held = tuple((f - frames.start, n) for f, n in self.held if frames.start <= f < frames.end_exclusive)
        periods = frames.start + sum(n for f, n in self.held if f < frames.start)
        timecode = shift_timecode(self.timecode, periods, self.rate) if self.timecode else None
        return replace(self, frame_count=len(frames), timecode=timecode, held=held)


@dataclass(frozen=True)
class Frame:
    """One decoded picture.

    `planes`: native samples in display orientation, uint8 or uint16, Y (H, W) then Cb, Cr at the chroma size
    (then alpha where the format has it), or R, G, B for RGB formats. Rotated clips hand out rotated views, so
    chroma subsampling is read from the shapes, never assumed.
    """

    index: int  # frame number in the clip, from 0
    planes: tuple[NDArray[np.generic], ...]
    info: MediaInfo
