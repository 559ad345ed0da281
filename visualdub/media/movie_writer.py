"""Movies written with PyAV (FFV1, ProRes, H.264): the source's rate, timecode, colour, shape and sound, whole
or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import av
import av.container
import av.error
import av.video.stream
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput, InternalError, OutputError, VisualDubError
from visualdub.media.frame import (
    ChromaSiting,
    ClipInfo,
    ColourTags,
    Frame,
    ImageSpec,
    SampleEncoding,
)
from visualdub.media.pixel_format import has_alpha, is_float, picture_of
from visualdub.media.sink import FrameSink
from visualdub.media.soundtrack import AudioSource, Soundtrack
from visualdub.media.source import probe
from visualdub.media.yuv import chroma_factors, convert_planes, delivered_as, rgb_to_planes, to_samples
from visualdub.storage import Together, atomic_path

__all__ = ["CODECS", "AudioSource", "Codec", "MovieWriter", "choose_codec"]

CODECS = {  # name -> suffixes it may be written to
    "ffv1": (".mkv",),
    "prores": (".mov",),
    "prores4444": (".mov",),
    "h264": (".mp4", ".m4v", ".mov", ".mkv"),
}
_BY_SUFFIX = {".mkv": "ffv1", ".mov": "prores", ".mp4": "h264", ".m4v": "h264"}
_MUXERS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".m4v": "mp4"}
# FFmpeg's other ProRes encoder, prores_ks, takes three times as long for a mean error of 0.14 instead of 0.19
# codes of 1023.
_ENCODERS = {"ffv1": "ffv1", "prores": "prores_aw", "prores4444": "prores_aw", "h264": "libx264"}
_FFV1_ONLY_PACKED = {"gbrp": "bgr0", "gbrap": "bgra"}  # FFV1 holds 8 bit RGB in these


@dataclass(frozen=True)
class Codec:
    """How pictures are encoded."""

    name: str  # one of CODECS
    crf: int = 16  # h264 only: quality, 0 lossless .. 51, lower is better
    preset: str = "medium"  # h264 only: x264's speed preset


def choose_codec(path: Path, name: str | None = None, crf: int = 16) -> Codec:
    """The codec for an output: `name`, or the one its suffix stands for. Raises `BadInput` where they do not
    fit together.
    """
    suffix = path.suffix.lower()
    if suffix not in _MUXERS:
        raise BadInput(
            f"{path} ends in {suffix or 'no suffix'!r}; expected .mkv (FFV1), .mov (ProRes) or .mp4 (H.264)"
        )
    name = name or _BY_SUFFIX[suffix]
    if name not in CODECS:
        raise BadInput(f"codec {name!r} is not known; expected one of {', '.join(CODECS)}")
    if suffix not in CODECS[name]:
        raise BadInput(f"{path}: {name} is not written to {suffix}; expected {' or '.join(CODECS[name])}")
    return Codec(name, crf)


class MovieWriter(FrameSink):
    """A movie file: `info.frame_count` frames to `path`, under a temporary name until they are all there;
    `together` renames it with other files.

    info: exact rate, timecode, repeated frames, and the `image` of the frames to come, in display orientation
    as `probe` gives them. Colour tags, rotation and sample aspect are written, and the chroma siting where
    codec or container has a place for it (H.264 in any, Matroska all but the two on the bottom row); ProRes
    has none and means the left, so that chroma sited elsewhere is moved there. "ffv1" keeps every sample in
    the source's own pixel format; "prores" is 422 HQ and "prores4444" 4444 (with alpha where there is some),
    10 bit; "h264" is 8 bit 4:2:0 (4:4:4 for odd sizes). audio: None writes no sound.

    Raises `OutputError` where the file cannot be written (the temporary is removed), `InternalError`
    for frames that do not fit and where fewer or more frames came than promised. Any error in the `with`
    block leaves nothing behind and an earlier file at `path` untouched.
    """

    def __init__(
        self,
        path: Path,
        info: ClipInfo,
        codec: Codec | str | None = None,
        audio: AudioSource | None = None,
        together: Together | None = None,
    ) -> None:
        self.path = Path(path)
        self._info = info
        self._codec = codec if isinstance(codec, Codec) else choose_codec(self.path, codec)
        choose_codec(self.path, self._codec.name)
        self._audio = audio
        self._target = delivered(info.image, self._codec.name, self.path)
        self._together = together
        self._repeated = dict(info.repeated)
        self._written = 0
        self._stamp = 0  # in frame periods
        self._open: ExitStack | None = None

    def __enter__(self) -> Self:
        with ExitStack() as undo, self._writing():
            temporary = undo.enter_context(atomic_path(self.path, self._together))
            self._file: BinaryIO = temporary.open("w+b", buffering=1 << 20)
            undo.callback(_close_quietly, self._file)
            muxer = _MUXERS[self.path.suffix.lower()]
            self._anamorphic = muxer == "matroska" and self._target.sample_aspect != 1
            options = {"write_crc32": "0"} if self._anamorphic else {}
            self._container = av.open(
                self._file, "w", format=muxer, buffer_size=1 << 18, container_options=options
            )
            undo.callback(_close_quietly, self._container)
            self._stream = self._video_stream()
            if self._anamorphic:
                self._stream.metadata["title"] = RESERVED_NAME
            self._sound = self._open_sound()
            if self._sound is not None:
                undo.callback(self._sound.close)
            self._open = undo.pop_all()
        return self

    def write(self, frame: Frame) -> None:
        """Encode one frame; frames come in order. Its planes must fit the `image` of the writer's `info`."""
        if self._open is None:
            raise InternalError(f"{self.path} is not open for writing")
        if self._written >= self._info.frame_count:
            raise InternalError(
                f"{self.path}: more than the {self._info.frame_count} frames promised were written"
            )
        picture = picture_of(convert_planes(frame.planes, self._info.image, self._target), self._target)
        _tag(picture, self._target)
        with self._writing():
            if picture.format.name != self._stream.codec_context.pix_fmt:
                picture = picture.reformat(format=self._stream.codec_context.pix_fmt)
            picture.pts, picture.time_base = self._stamp, 1 / self._info.rate
            self._container.mux(self._stream.encode(picture))
        self._stamp += 1 + self._repeated.get(self._written, 0)
        self._written += 1
        self._feed_sound(self._stamp / self._info.rate)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        if error is not None:
            opened.__exit__(kind, error, trace)
            return
        with opened:  # on any error below: close everything, remove the temporary file
            if self._written != self._info.frame_count:
                raise InternalError(
                    f"{self.path}: {self._written} frames were written, {self._info.frame_count} promised"
                )
            with self._writing():
                self._container.mux(self._stream.encode(None))
            self._feed_sound(None)
            with self._writing():
                self._container.close()
                if self._anamorphic:
                    context = self._stream.codec_context
                    shape = display_size(
                        context.width, context.height, context.sample_aspect_ratio or Fraction(1)
                    )
                    write_display_size(self._file, *shape)
                self._file.close()

    def _video_stream(self) -> av.video.stream.VideoStream:
        info, image, codec = self._info, self._target, self._codec
        stream = cast(
            av.video.stream.VideoStream,
            self._container.add_stream(_ENCODERS[codec.name], rate=info.rate, options=_options(codec, image)),
        )
        turned = image.rotation in (90, 270)
        context = stream.codec_context
        context.width, context.height = (image.height, image.width) if turned else (image.width, image.height)
        context.pix_fmt = (
            _FFV1_ONLY_PACKED.get(image.pix_fmt, image.pix_fmt) if codec.name == "ffv1" else image.pix_fmt
        )
        supported = {f.name for f in context.codec.video_formats or ()}
        if context.pix_fmt not in supported:
            raise BadInput(
                f"{self.path}: {codec.name} cannot hold pixel format {image.pix_fmt}; choose another codec"
            )
        context.time_base = 1 / info.rate
        context.sample_aspect_ratio = 1 / image.sample_aspect if turned else image.sample_aspect
        context.color_range, context.colorspace = image.colour.range, image.colour.matrix
        context.color_primaries, context.color_trc = image.colour.primaries, image.colour.transfer
        context.field_order = info.field_order
        context.thread_type = "AUTO"
        if image.rotation:
            stream.set_display_rotation(-image.rotation)
        if info.timecode:
            drops = round(info.rate) % 30 == 0  # QuickTime refuses a drop-frame timecode at any other rate
            stream.metadata["timecode"] = info.timecode if drops else info.timecode.replace(";", ":")
        return stream

    def _open_sound(self) -> Soundtrack | None:
        if self._audio is None:
            return None
        periods = self._info.frame_count + sum(self._repeated.values())
        clip = self._audio.beside or self._audio
        whole = clip.start == 0 and _frames_of(clip.path) == self._info.frame_count
        return Soundtrack(self._audio, self._container, periods / self._info.rate, whole)

    def _feed_sound(self, time: Fraction | None) -> None:
        if self._sound is None:
            return
        for packet in self._sound.feed(time):
            with self._writing():
                self._container.mux(packet)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what goes wrong while writing into one line."""
        try:
            yield
        except VisualDubError:
            raise
        except (OSError, av.error.FFmpegError) as e:
            raise OutputError(f"{self.path} cannot be written: {e.strerror or e}") from e


# ------------------------------------------------------------------------------------------------------------


def delivered(image: ImageSpec, codec: str, path: Path) -> ImageSpec:
    """What pictures like `image` are in the file `path` of `codec`. Raises `BadInput` where it cannot hold
    them.
    """
    target = delivered_as(image, _delivery_format(image, codec, path))
    return replace(target, siting=ChromaSiting.LEFT) if codec.startswith("prores") else target


def _delivery_format(image: ImageSpec, codec: str, path: Path) -> str:
    if codec == "ffv1":
        if is_float(image.pix_fmt):
            raise BadInput(f"{path}: ffv1 holds no float samples ({image.pix_fmt}); choose another codec")
        return image.pix_fmt
    if codec == "prores":
        return "yuv422p10le"
    if codec == "prores4444":
        return "yuva444p10le" if has_alpha(image.pix_fmt) else "yuv444p10le"
    return "yuv444p" if image.width % 2 or image.height % 2 else "yuv420p"


def _options(codec: Codec, image: ImageSpec) -> dict[str, str]:
    siting = {} if chroma_factors(image) == (1, 1) else {"chroma_sample_location": image.siting.value}
    if codec.name == "ffv1":
        return siting | {"level": "3", "slicecrc": "1", "g": "1"}
    if codec.name == "h264":
        return siting | {"crf": str(codec.crf), "preset": codec.preset}
    return siting | {"profile": "4" if codec.name == "prores4444" else "3", "vendor": "apl0"}


def _tag(picture: av.VideoFrame, image: ImageSpec) -> None:
    picture.color_range, picture.colorspace = image.colour.range, image.colour.matrix
    picture.color_primaries, picture.color_trc = image.colour.primaries, image.colour.transfer


def _frames_of(path: Path) -> int | None:
    """Frames of a clip; None for a sound file."""
    try:
        return probe(path).frame_count
    except VisualDubError:
        return None


def _close_quietly(thing: BinaryIO | av.container.OutputContainer) -> None:
    """Close what is being thrown away anyway; on a full disk closing fails too."""
    with suppress(OSError, av.error.FFmpegError, ValueError):
        thing.close()


# ---- Matroska's display size -------------------------------------------------------------------------------

RESERVED_NAME = "display size to come " + "." * 20  # a track name that leaves its room to the display size
_SEGMENT, _TRACKS, _TRACK, _TYPE, _NAME, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0x536E, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT, _VOID = 0x54B0, 0x54BA, 0x54B2, 0xEC
_HEAD = 1 << 16  # bytes; the track headers lie in front of the pictures


def display_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Display width and height whose ratio to the coded ones is exactly `aspect`, in whole pixels."""
    if width * aspect.numerator % aspect.denominator == 0:
        return width * aspect.numerator // aspect.denominator, height
    if height * aspect.denominator % aspect.numerator == 0:
        return width, height * aspect.denominator // aspect.numerator
    return width * aspect.numerator, height * aspect.denominator


def write_display_size(file: BinaryIO, width: int, height: int) -> None:
    """Put the display size into the video track of `file`, made with `RESERVED_NAME` and without checksums,
    in place.
    """
    file.seek(0)
    data = file.read(_HEAD)
    for start, end in _tracks(data):
        parts = [(ident, data[a:c]) for ident, a, _, c in _elements(data, start, end)]
        kinds = dict(parts)
        if _NAME in kinds and _VIDEO in kinds and kinds.get(_TYPE, b"\0")[-1] == 1:
            file.seek(start)
            file.write(_resized(parts, end - start, width, height))
            return
    raise VisualDubError("the Matroska header has no room for a display size")


def _tracks(data: bytes) -> Iterator[tuple[int, int]]:
    """Content of every track entry: (start, end) in `data`."""
    for ident, _, start, end in _elements(data, 0, len(data)):
        if ident != _SEGMENT:
            continue
        for inner, _, inner_start, inner_end in _elements(data, start, min(end, len(data))):
            if inner == _TRACKS:
                yield from (
                    (a, b) for kind, _, a, b in _elements(data, inner_start, inner_end) if kind == _TRACK
                )
                return


def _resized(parts: list[tuple[int, bytes]], size: int, width: int, height: int) -> bytes:
    """The track entry's elements with the display size in place of the reserved name, exactly `size`
    bytes.
    """
    out = b""
    for ident, raw in parts:
        if ident == _VIDEO:
            ((_, _, start, end),) = _elements(raw, 0, len(raw))
            kept = [
                raw[a:c]
                for inner, a, _, c in _elements(raw, start, end)
                if inner not in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
            ]
            shape = [
                _element(_DISPLAY_WIDTH, width.to_bytes(4, "big")),
                _element(_DISPLAY_HEIGHT, height.to_bytes(4, "big")),
            ]
            out += _element(_VIDEO, b"".join(kept + shape))
        elif ident != _NAME:
            out += raw
    room = size - len(out)
    if room < 9:
        raise VisualDubError("the Matroska header has no room for a display size")
    return out + _element(_VOID, bytes(room - 9))


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(identity, start, start of content, end) of the elements in data[start:end]; one of unknown length runs
    to the end.
    """
    at = start
    while at < end:
        n = 9 - data[at].bit_length()
        ident = int.from_bytes(data[at : at + n], "big")
        m = 9 - data[at + n].bit_length()
        length = int.from_bytes(data[at + n : at + n + m], "big") & ((1 << 7 * m) - 1)
        content = at + n + m
        stop = end if length == (1 << 7 * m) - 1 else content + length
        yield ident, at, content, stop
        at = stop


def _element(ident: int, content: bytes) -> bytes:
    """One element, its length written in eight bytes."""
    name = ident.to_bytes((ident.bit_length() + 7) // 8, "big")
    return name + ((1 << 56) | len(content)).to_bytes(8, "big") + content


# ---- generated pictures ------------------------------------------------------------------------------------

BT709_LIMITED = ColourTags(range=1, matrix=1, primaries=1, transfer=1)


def picture_info(path: Path, width: int, height: int, rate: Fraction, frame_count: int) -> ClipInfo:
    """Facts of a movie made of our own pictures: 8 bit 4:2:0 BT.709, square pixels. Width and height in
    pixels, made even.
    """
    image = ImageSpec(width + width % 2, height + height % 2, "yuv420p", BT709_LIMITED)
    return ClipInfo(path, "mp4", "h264", rate, frame_count, image)


def rgb_frame(rgb: NDArray[np.uint8], image: ImageSpec, index: int) -> Frame:
    """An R'G'B' picture (H, W, 3) uint8 in the planes of `image`, an odd edge repeated."""
    h, w = rgb.shape[:2]
    if (h, w) != (image.height, image.width):
        rgb = np.pad(rgb, ((0, image.height - h), (0, image.width - w), (0, 0)), mode="edge")
    planes = rgb_to_planes(rgb.astype(np.float32) / np.float32(255), image)
    return Frame(index, tuple(to_samples(p, image) for p in planes), image)


def gray_info(info: ClipInfo) -> ClipInfo:
    """Facts of the matte beside a movie: full-range 8 bit grey at the same size, rate and timecode."""
    colour = replace(info.image.colour, range=2, matrix=2)
    image = replace(info.image, pix_fmt="gray", colour=colour, encoding=SampleEncoding.CODES)
    return replace(info, image=image, has_audio=False)


def gray_frame(picture: NDArray[np.uint8], image: ImageSpec, index: int) -> Frame:
    """A grey picture (H, W) uint8 as a frame of `gray_info`'s image."""
    return Frame(index, (picture,), image)
