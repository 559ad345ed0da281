"""The facts of a movie's pictures and of what lies beside them, out of its headers and its first picture."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.container
import av.video.codeccontext
import av.video.stream
from av.sidedata.sidedata import SideData, Type
from av.subtitles.stream import SubtitleStream

from visualdub.errors import MediaError
from visualdub.media.frame import ColourTags, Companions, HdrMetadata, ImageSpec
from visualdub.media.pixel_format import is_rgb, planar_format
from visualdub.media.siting import picture_siting
from visualdub.media.yuv import colour_matrix

_DEFAULT = 0x1  # AV_DISPOSITION_DEFAULT
_NO_CLIP = 0x400 | 0x800 | 0x100000  # AV_DISPOSITION_ATTACHED_PIC, _TIMED_THUMBNAILS, _STILL_IMAGE: cover art
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders leave alpha out
_ONE = 1 << 16  # of a display matrix
_NAMED = {  # what FFmpeg may attach to a picture and the written movie leaves out
    Type.DYNAMIC_HDR_PLUS: "HDR10+",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid",
    Type.DOVI_METADATA: "Dolby Vision",
    Type.DOVI_RPU_BUFFER: "Dolby Vision",
    Type.STEREO3D: "a stereo 3D layout",
    Type.SPHERICAL: "a spherical projection",
    Type.ICC_PROFILE: "an ICC profile",
}

# ---- streams -----------------------------------------------------------------------------------------------


def video_stream(container: av.container.InputContainer, path: Path) -> av.video.stream.VideoStream:
    """The video stream that a player shows: of those that are not cover art the one marked as the default,
    the largest of several, the first of several as large. Raises `MediaError` where there is none.
    """
    clips = _video_streams(container)
    if not clips and container.streams.video:
        raise MediaError(
            f"{path} has no video stream that can be decoded: its codec is not known or it is cover art;"
            " expected a clip with pictures"
        )
    if not clips:
        found = ", ".join(sorted({s.type for s in container.streams})) or "no"
        raise MediaError(
            f"{path} has no video stream (found: {found} streams); expected a clip with pictures"
        )
    return max(clips, key=lambda s: (int(s.disposition) & _DEFAULT, s.width * s.height, -s.index))


def stream_notes(container: av.container.InputContainer, path: Path) -> list[str]:
    """What the user should know of the video streams that are not read, and of alpha that is not."""
    clips = _video_streams(container)
    chosen = video_stream(container, path)
    if decoder_of(chosen) is chosen.codec_context and _tag(chosen.metadata, "alpha_mode") == "1":
        return [f"{path.name} has alpha, which is left out: the PyAV that is installed has no decoder for it"]
    if len(clips) < 2:
        return []
    why = "marked as the default" if int(chosen.disposition) & _DEFAULT else "the largest"
    if len({(int(s.disposition) & _DEFAULT, s.width * s.height) for s in clips}) == 1:
        why = "the first"
    elif len({int(s.disposition) & _DEFAULT for s in clips}) == 1:
        why = "the largest"
    return [
        f"{path.name} has {len(clips)} video streams; stream {chosen.index} ({chosen.width} x"
        f" {chosen.height}, {why}) is read and the others are left out"
    ]


def _video_streams(container: av.container.InputContainer) -> list[av.video.stream.VideoStream]:
    """Those that are clips, in a codec that FFmpeg knows."""
    known = [s for s in container.streams.video if s.codec_context is not None]
    return [s for s in known if not int(s.disposition) & _NO_CLIP]


def decoder_of(stream: av.video.stream.VideoStream) -> av.video.codeccontext.VideoCodecContext:
    """The decoder of a stream: its own, or the one that gives the alpha of VP8 and VP9 too."""
    name = _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name, "")
    if name not in av.codecs_available or _tag(stream.metadata, "alpha_mode") != "1":
        return stream.codec_context
    return cast(av.video.codeccontext.VideoCodecContext, av.CodecContext.create(name, "r"))


def companions(container: av.container.InputContainer, captions: bool) -> Companions:
    """What lies beside pictures and sound. captions: whether the pictures' stream holds some."""
    chapters = container.chapters()
    titles = ("bin_data", None) if chapters else ()  # QuickTime keeps the names of chapters in such a stream
    data = [s for s in container.streams.data if _tag(s.metadata, "timecode") is None]
    return Companions(
        subtitles=tuple(subtitle_codec(s) for s in container.streams.subtitles),
        chapters=len(chapters),
        captions=captions,
        data=tuple(s.name or "data" for s in data if s.name not in titles),
        attachments=tuple(s.name or "attachment" for s in container.streams.attachments),
    )


def subtitle_codec(stream: SubtitleStream) -> str:
    """FFmpeg's name of a subtitle stream's codec."""
    context = stream.codec_context
    return context.codec.canonical_name if context is not None else stream.name or "unknown"


def timecode(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> str | None:
    """The timecode of the first frame: the stream's, else the container's, else another stream's."""
    for metadata in (stream.metadata, container.metadata, *(s.metadata for s in container.streams)):
        found = _tag(metadata, "timecode")
        if found is not None:
            return found
    return None


def _tag(metadata: dict[str, str], name: str) -> str | None:
    return next((value for key, value in metadata.items() if key.lower() == name), None)


# ---- the pictures ------------------------------------------------------------------------------------------


def image_of(path: Path, stream: av.video.stream.VideoStream, first: av.VideoFrame) -> ImageSpec:
    """How the pictures are stored, by the first one. Raises `MediaError` for a format, a colour matrix or a
    display matrix that is not read.
    """
    pix_fmt = planar_format(first.format.name)
    if pix_fmt is None:
        raise MediaError(
            f"{path} has pixel format {first.format.name}; expected 8 to 16 bit Y'CbCr, grey or RGB"
        )
    rotation, mirrored = _orientation(path, first)
    width, height = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    image = ImageSpec(
        width,
        height,
        pix_fmt,
        _colour(first, pix_fmt),
        rotation,
        1 / aspect if rotation in (90, 270) else aspect,
        picture_siting(first, stream.codec_context.codec.canonical_name),
        mirrored=mirrored,
    )
    if pix_fmt.startswith("yuv"):
        try:
            colour_matrix(image)
        except MediaError as e:
            raise MediaError(f"{path}: {e}") from e
    return image


def aspect_notes(image: ImageSpec, path: Path) -> list[str]:
    """What the user should know of how the shape of the pixels is read, a sentence each."""
    if not image.aspect_is_mistaken:
        return []
    aspect = image.sample_aspect
    return [
        f"{path.name} says that its pixels are {aspect.numerator}:{aspect.denominator}; faces are looked for"
        " as if they were square"
    ]


def _orientation(path: Path, first: av.VideoFrame) -> tuple[int, bool]:
    """(degrees clockwise, whether the turned picture is then mirrored left to right)."""
    data = _side_data(first, Type.DISPLAYMATRIX)
    if data is None:
        return 0, False
    a, b, _, c, d = struct.unpack("=5i", data[:20])  # x' = ax + cy, y' = bx + dy
    mirrored = a * d - b * c < 0
    right = (-a if mirrored else a, b)  # where a step to the right leads before the mirror
    quarter = {(_ONE, 0): 0, (0, _ONE): 90, (-_ONE, 0): 180, (0, -_ONE): 270}.get(right)
    if quarter is None or (abs(c), abs(d)) != (abs(b), abs(a)) or a * c + b * d:
        degrees = -first.rotation % 360
        how = f"turned by {degrees} degrees" if degrees % 90 else f"through the matrix {a, b, c, d}"
        raise MediaError(f"{path} is displayed {how}; expected a multiple of 90 degrees, mirrored or not")
    return quarter, mirrored


def display_matrix(image: ImageSpec) -> list[int]:
    """FFmpeg's display matrix (9 integers) of the rotation and the mirror of `image`."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[image.rotation]
    across = -1 if image.mirrored else 1
    return [across * cos * _ONE, sin * _ONE, 0, -across * sin * _ONE, cos * _ONE, 0, 0, 0, 1 << 30]


def _colour(first: av.VideoFrame, pix_fmt: str) -> ColourTags:
    full = first.format.name.startswith("yuvj") or is_rgb(pix_fmt)
    matrix = 0 if is_rgb(pix_fmt) else int(first.colorspace)
    return ColourTags(
        int(first.color_range) or (2 if full else 0), matrix, int(first.color_primaries), int(first.color_trc)
    )


def hdr_metadata(first: av.VideoFrame) -> HdrMetadata | None:
    """The mastering display and the light level that a decoded picture carries; None where it has neither."""
    display = _side_data(first, Type.MASTERING_DISPLAY_METADATA)
    light = _side_data(first, Type.CONTENT_LIGHT_LEVEL)
    if display is None and light is None:
        return None
    primaries: tuple[tuple[Fraction, Fraction], ...] = ()
    luminance = None
    if (
        display is not None
    ):  # AVMasteringDisplayMetadata: ten fractions, whether the first eight, the last two
        numbers = struct.unpack("=22i", display[:88])
        pairs = zip(numbers[0:20:2], numbers[1:20:2], strict=True)
        values = [Fraction(n, d) if d else Fraction(0) for n, d in pairs]
        if numbers[20]:
            primaries = tuple((values[i], values[i + 1]) for i in range(0, 8, 2))
        if numbers[21]:
            luminance = (values[8], values[9])
    most, average = (0, 0) if light is None else struct.unpack("=2I", light[:8])
    return HdrMetadata(primaries, luminance, most, average)


def picture_notes(path: Path, first: av.VideoFrame) -> list[str]:
    """What the user should know of what a decoded picture carries beside its samples."""
    found = dict.fromkeys(name for kind, name in _NAMED.items() if _side_data(first, kind) is not None)
    return [f"{path.name} has {', '.join(found)}, which is left out of what is written"] if found else []


def _side_data(picture: av.VideoFrame, kind: Type) -> bytes | None:
    """What FFmpeg attached to a picture, as its C structure's bytes."""
    try:
        found = cast(Mapping[Type, SideData], picture.side_data)
        return bytes(found[kind])
    except (KeyError, ValueError):  # ValueError: a kind that PyAV has no name for hides all the others
        return None
