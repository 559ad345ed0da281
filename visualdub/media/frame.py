"""What a source of frames hands out: the facts of a clip, the facts of its pictures, one decoded frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import VisualDubError
from visualdub.timing import FrameRange, shift_timecode

# ---- facts of a picture ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ColourTags:
    """FFmpeg's integer colour tags as the stream carries them (2 or 0 = unspecified)."""

    range: int  # AVColorRange: 1 limited, 2 full
    matrix: int  # AVColorSpace: 1 BT.709, 5/6 BT.601, 9 BT.2020
    primaries: int
    transfer: int  # AVColorTransferCharacteristic: the curve between R'G'B' and linear light


class SampleEncoding(StrEnum):
    """What the numbers in a frame's planes mean."""

    CODES = "codes"  # integer code values, R'G'B' or Y'CbCr by the colour tags
    ENCODED = "encoded"  # float R'G'B' through the transfer curve of the colour tags, 1.0 = white
    LINEAR = "linear"  # float linear light, 1.0 = white; the transfer curve of the tags gives its R'G'B'


class ChromaSiting(StrEnum):
    """Where the first chroma sample lies among its luma samples, by FFmpeg's names."""

    LEFT = "left"  # on the left column, between the rows: MPEG-2, H.264, HEVC
    CENTRE = "center"  # in the middle: JPEG, MPEG-1
    TOP_LEFT = "topleft"  # on the first luma sample: BT.2020
    TOP = "top"
    BOTTOM_LEFT = "bottomleft"
    BOTTOM = "bottom"


SQUARE = Fraction(1)  # width over height of a pixel
NEARLY_SQUARE = Fraction(1, 100)  # off by less is what scaling to whole pixels leaves, such as 1280:1281
MOST_OBLONG = 4  # lenses and formats reach 2

FLOAT_FORMATS = ("gbrpf32le", "gbrapf32le")


@dataclass(frozen=True)
class ImageSpec:
    """How the pictures of a clip are stored and what their samples mean. Sizes are in display orientation.

    Raises `VisualDubError` where `encoding` does not go with the pixel format: a format of integers holds
    codes, one of floats does not.
    """

    width: int  # pixels, as displayed
    height: int  # pixels, as displayed
    pix_fmt: str  # FFmpeg's name of a planar format, e.g. yuv420p, yuv422p10le, gbrpf32le
    colour: ColourTags
    rotation: int = 0  # degrees clockwise from coded to displayed: 0, 90, 180, 270
    sample_aspect: Fraction = Fraction(1)  # width / height of a displayed pixel, 1 when square
    siting: ChromaSiting = ChromaSiting.LEFT  # in coded orientation; says nothing where chroma is full size
    encoding: SampleEncoding = SampleEncoding.CODES
    mirrored: bool = False  # whether the picture, once turned, is shown left for right

    def __post_init__(self) -> None:
        if (self.pix_fmt in FLOAT_FORMATS) == (self.encoding is SampleEncoding.CODES):
            raise VisualDubError(
                f"pixel format {self.pix_fmt} does not hold samples of {self.encoding.value!r}"
            )

    @property
    def pixel_aspect(self) -> Fraction:
        """`sample_aspect` for all who look at the picture: 1 where nobody sees a difference, and where it is
        mistaken.
        """
        nearly = abs(self.sample_aspect - SQUARE) < NEARLY_SQUARE
        return SQUARE if nearly or self.aspect_is_mistaken else self.sample_aspect

    @property
    def aspect_is_mistaken(self) -> bool:
        """Whether `sample_aspect` is one that no camera has and no format."""
        return not Fraction(1, MOST_OBLONG) <= self.sample_aspect <= MOST_OBLONG


# ---- facts of a clip ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HdrMetadata:
    """What a clip declares of the display it was graded on and of its brightest light (SMPTE ST 2086, CTA
    861.3).
    """

    primaries: tuple[tuple[Fraction, Fraction], ...] = ()  # CIE x, y of red, green, blue, white; () unknown
    luminance: tuple[Fraction, Fraction] | None = None  # of the display's black and white, in cd/m2
    max_content: int = 0  # MaxCLL, the brightest pixel of the clip in cd/m2; 0 unknown
    max_frame_average: int = 0  # MaxFALL, the brightest frame's mean in cd/m2; 0 unknown


@dataclass(frozen=True)
class Companions:
    """What a clip holds beside its pictures and its sound."""

    subtitles: tuple[str, ...] = ()  # FFmpeg's names of the codecs of its subtitle streams, in their order
    chapters: int = 0
    captions: bool = False  # CEA-608 or CEA-708 captions inside the pictures' own stream
    data: tuple[str, ...] = ()  # FFmpeg's names of its data streams; a timecode is none
    attachments: tuple[str, ...] = ()  # names of attached files


@dataclass(frozen=True)
class ClipInfo:
    """Facts of one clip: its container and timing, and what its pictures are like."""

    path: Path  # the file, or a name for clips that are not one file; for messages and sidecars
    container: str  # FFmpeg's name of the container, e.g. "matroska,webm"
    codec: str  # FFmpeg's name of the codec, e.g. "h264"
    rate: Fraction  # frames per second, exact
    frame_count: int  # frames a viewer sees, edit lists applied
    image: ImageSpec
    timecode: str | None = None  # HH:MM:SS:FF (or ;FF) of the first frame
    has_audio: bool = False
    field_order: int = 0  # AVFieldOrder: 0 unknown, 1 progressive, 2 .. 5 interlaced
    repeated: tuple[tuple[int, int], ...] = ()  # (frame, n): it is shown n frame periods longer
    hdr: HdrMetadata | None = None
    companions: Companions = Companions()
    notes: tuple[str, ...] = ()  # what the user should know of how the clip is read, a sentence each

    def frame_times(self) -> NDArray[np.float64]:
        """Presentation time of every frame in seconds after the first, (frame_count,): `i / rate`, later
        after repeated frames.
        """
        steps = np.ones(self.frame_count)
        for frame, extra in self.repeated:
            if frame < self.frame_count:
                steps[frame] += extra
        return np.concatenate([[0.0], np.cumsum(steps)[:-1]]) / float(self.rate)

    def start_of(self, frame: int) -> Fraction:
        """Presentation time of `frame` in seconds after the first frame, exact."""
        return (frame + sum(n for f, n in self.repeated if f < frame)) / self.rate

    def part(self, frames: FrameRange) -> ClipInfo:
        """Facts of a movie of `frames` alone: its length, the timecode of its first frame, its repeated
        frames.
        """
        repeated = tuple(
            (f - frames.start, n) for f, n in self.repeated if frames.start <= f < frames.end_exclusive
        )
        periods = int(self.start_of(frames.start) * self.rate)
        timecode = shift_timecode(self.timecode, periods, self.rate) if self.timecode else None
        return replace(self, frame_count=len(frames), timecode=timecode, repeated=repeated)


# ---- one frame ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """One decoded picture.

    `planes`: native samples in display orientation, uint8 or uint16 codes or float32, Y (H, W) then Cb, Cr at
    the chroma size (then alpha where the format has it), or R, G, B for RGB formats. Rotated clips hand out
    rotated views, so chroma subsampling is read from the shapes, never assumed. `image` describes the whole
    picture, also where the planes are a rectangle of it.
    """

    index: int  # frame number in the clip, from 0
    planes: tuple[NDArray[np.generic], ...]
    image: ImageSpec
