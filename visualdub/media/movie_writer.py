"""Movies written with PyAV (FFV1, ProRes, H.264, HEVC): the source's rate, timecode, colour, shape and sound,
whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import av
import av.container
import av.error
import av.filter
import av.video.stream
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput, InternalError, MediaError, OutputError, VisualDubError
from visualdub.media.carried import CarriedStreams, CompanionSource
from visualdub.media.clip_facts import display_matrix
from visualdub.media.delivery import (
    CODECS,
    MUXERS,
    Codec,
    carried_hdr,
    choose_codec,
    delivered,
    even_size,
)
from visualdub.media.frame import (
    ClipInfo,
    ColourTags,
    Companions,
    Frame,
    HdrMetadata,
    ImageSpec,
    SampleEncoding,
)
from visualdub.media.matroska import RESERVED_NAME, display_size, write_picture_facts
from visualdub.media.pixel_format import coded_size, picture_of
from visualdub.media.quicktime import write_hdr_boxes
from visualdub.media.sink import FrameSink
from visualdub.media.soundtrack import AudioSource, Soundtrack
from visualdub.media.source import probe
from visualdub.media.yuv import chroma_factors, convert_planes, rgb_to_planes, to_samples
from visualdub.storage import Together, atomic_path

__all__ = ["CODECS", "AudioSource", "Codec", "CompanionSource", "MovieWriter", "choose_codec"]

# FFmpeg's other ProRes encoder, prores_ks, takes three times as long for a mean error of 0.14 instead of 0.19
# codes of 1023.
_ENCODERS = {
    "ffv1": "ffv1",
    "prores": "prores_aw",
    "prores4444": "prores_aw",
    "h264": "libx264",
    "hevc": "libx265",
}
_FFV1_ONLY_PACKED = {"gbrp": "bgr0", "gbrap": "bgra"}  # FFV1 holds 8 bit RGB in these
_TOP_FIRST, _BOTTOM_FIRST = (2, 5), (3, 4)  # AVFieldOrder by which field is shown first


class MovieWriter(FrameSink):
    """A movie file: `info.frame_count` frames to `path`, under a temporary name until they are all there;
    `together` renames it with other files.

    info: exact rate, timecode, repeated frames, field order, HDR metadata, and the `image` of the frames to
    come, in display orientation as `probe` gives them. Colour tags, rotation, mirror and sample aspect are
    written, and the chroma siting where codec or container has a place for it (H.264 and HEVC in any,
    Matroska all but the two on the bottom row); ProRes has none and means the left, so that chroma sited
    elsewhere is moved there. "ffv1" keeps every sample in the source's own pixel format; "prores" is 422 HQ
    and "prores4444" 4444 (with alpha where there is some), 10 bit; "h264" is 4:2:0 in 8 bit, in 10 bit where
    the source is PQ or HLG; "hevc" is 4:2:0 in 10 bit; odd sizes are padded in these two. codec: None is
    `choose_codec`'s. audio: None writes no sound. carried: None writes no subtitles and no chapters.

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
        carried: CompanionSource | None = None,
    ) -> None:
        self.path = Path(path)
        self._info = info
        image = info.image
        self._codec = codec if isinstance(codec, Codec) else choose_codec(self.path, codec, image=image)
        choose_codec(self.path, self._codec.name)
        self._audio, self._carried = audio, carried
        self._target = delivered(image, self._codec.name, self.path)
        self._coded = even_size(self._target, self._codec.name)
        self._hdr = carried_hdr(info, self._target)
        self._fields = _field_marker(info, self._coded)
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
            muxer = MUXERS[self.path.suffix.lower()]
            anamorphic = self._target.sample_aspect != 1
            self._rewritten = muxer == "matroska" and (anamorphic or self._hdr is not None)
            options = {"write_crc32": "0"} if self._rewritten else {}
            if muxer == "matroska":  # equal frames, equal bytes: no random identifiers, no date
                options["fflags"] = "+bitexact"
            self._container = av.open(
                self._file, "w", format=muxer, buffer_size=1 << 18, container_options=options
            )
            undo.callback(_close_quietly, self._container)
            self._stream = self._video_stream()
            if self._rewritten:
                self._stream.metadata["title"] = RESERVED_NAME
            self._sound = self._open_sound()
            if self._sound is not None:
                undo.callback(self._sound.close)
            self._companions: CarriedStreams | None = None
            if self._carried is not None:
                self._companions = CarriedStreams(self._carried, self._container, self._length)
                undo.callback(self._companions.close)
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
        planes = convert_planes(frame.planes, self._info.image, self._target)
        picture = picture_of(planes, self._target, self._coded)
        _tag(picture, self._target)
        with self._writing():
            picture.pts, picture.time_base = self._stamp, 1 / self._info.rate
            if self._fields is not None:
                self._fields.vpush(picture)
                picture = self._fields.vpull()
            if picture.format.name != self._stream.codec_context.pix_fmt:
                picture = picture.reformat(format=self._stream.codec_context.pix_fmt)
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
                self._write_facts()
                self._file.close()

    def _video_stream(self) -> av.video.stream.VideoStream:
        info, image, codec = self._info, self._coded, self._codec
        stream = cast(
            av.video.stream.VideoStream,
            self._container.add_stream(
                _ENCODERS[codec.name], rate=info.rate, options=_options(codec, image, info, self._hdr)
            ),
        )
        turned = image.rotation in (90, 270)
        context = stream.codec_context
        if codec.name == "hevc" and self._container.format.name != "matroska":
            context.codec_tag = "hvc1"  # what QuickTime looks for
        context.width, context.height = coded_size(image)
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
        if image.rotation or image.mirrored:
            stream.set_display_matrix(display_matrix(image))
        if info.timecode:
            drops = round(info.rate) % 30 == 0  # QuickTime refuses a drop-frame timecode at any other rate
            stream.metadata["timecode"] = info.timecode if drops else info.timecode.replace(";", ":")
        return stream

    @property
    def _length(self) -> Fraction:
        """Of the movie, in seconds."""
        return (self._info.frame_count + sum(self._repeated.values())) / self._info.rate

    def _open_sound(self) -> Soundtrack | None:
        if self._audio is None:
            return None
        clip = self._audio.beside or self._audio
        whole = clip.start == 0 and _frames_of(clip.path) == self._info.frame_count
        return Soundtrack(self._audio, self._container, self._length, whole)

    def _feed_sound(self, time: Fraction | None) -> None:
        """Mux sound and subtitles up to `time` seconds, all that is left where it is None."""
        if self._sound is not None and self._audio is not None:
            self._mux_copied(self._sound.feed(time), self._audio.path, "sound")
        if self._companions is not None and self._carried is not None:
            self._mux_copied(self._companions.feed(time), self._carried.path, "subtitles")

    def _mux_copied(self, packets: Iterator[av.Packet[Any]], source: Path, what: str) -> None:
        for packet in packets:
            with self._writing():
                try:
                    self._container.mux(packet)
                except av.error.ArgumentError as e:  # stamps that go back
                    raise MediaError(
                        f"{source}: the clock of its {what} jumps, or it is damaged; expected {what} that can"
                        f" be copied to {self.path.name}"
                    ) from e

    def _write_facts(self) -> None:
        """Put what FFmpeg leaves out into the finished file."""
        if self._rewritten:
            context, shape = self._stream.codec_context, None
            if self._target.sample_aspect != 1:
                aspect = context.sample_aspect_ratio or Fraction(1)
                shape = display_size(context.width, context.height, aspect)
            write_picture_facts(self._file, shape, self._hdr)
        elif self._hdr is not None and self._container.format.name != "matroska":
            write_hdr_boxes(self._file, self._hdr)

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


def _options(codec: Codec, image: ImageSpec, info: ClipInfo, hdr: HdrMetadata | None) -> dict[str, str]:
    """The encoder's options."""
    siting = {} if chroma_factors(image) == (1, 1) else {"chroma_sample_location": image.siting.value}
    interlaced = info.field_order in (*_TOP_FIRST, *_BOTTOM_FIRST)
    if codec.name == "ffv1":
        return siting | {"level": "3", "slicecrc": "1", "g": "1"}
    if codec.name == "h264":
        # without CABAC a frame takes a quarter less time to encode, less to decode, and 7 % more bytes
        params = ["cabac=0", *_hdr_params(hdr, "mastering-display", "cll")]
        fields = {"flags": "+ildct+ilme"} if interlaced else {}
        if interlaced:
            params.append("bff=1" if info.field_order in _BOTTOM_FIRST else "tff=1")
        more = {"x264-params": ":".join(params)}
        return siting | {"crf": str(codec.crf), "preset": codec.preset} | fields | more
    if codec.name == "hevc":
        params = ["log-level=none", *_hdr_params(hdr, "master-display", "max-cll")]
        more = {"x265-params": ":".join(params)}
        return siting | {"crf": str(codec.crf), "preset": codec.preset} | more
    fields = {"flags": "+ildct"} if interlaced else {}
    return siting | {"profile": "4" if codec.name == "prores4444" else "3", "vendor": "apl0"} | fields


def _hdr_params(hdr: HdrMetadata | None, display: str, light: str) -> list[str]:
    """HDR metadata in the words of x264 and x265, whose names for its two halves differ."""
    params = []
    if hdr is not None and hdr.primaries and hdr.luminance is not None:
        red, green, blue, white = ([round(v * 50000) for v in pair] for pair in hdr.primaries)
        places = zip(["G", "B", "R", "WP"], (green, blue, red, white), strict=True)
        least, most = (round(v * 10000) for v in hdr.luminance)
        params.append(f"{display}={''.join(f'{n}({x},{y})' for n, (x, y) in places)}L({most},{least})")
    if hdr is not None and (hdr.max_content or hdr.max_frame_average):
        params.append(f"{light}={hdr.max_content},{hdr.max_frame_average}")
    return params


def _field_marker(info: ClipInfo, image: ImageSpec) -> av.filter.Graph | None:
    """A filter that marks pictures like the coded ones of `image` as interlaced, as encoders ask for; None
    where they are not.
    """
    if info.field_order not in (*_TOP_FIRST, *_BOTTOM_FIRST):
        return None
    width, height = coded_size(image)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat(image.pix_fmt), time_base=1 / info.rate
    )
    mark = graph.add("setfield", f"mode={'bff' if info.field_order in _BOTTOM_FIRST else 'tff'}")
    sink = graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    return graph


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
    """Facts of the matte beside a movie: full-range 8 bit grey at the same size, rate and timecode; it is no
    light, so it has no transfer curve.
    """
    colour = replace(info.image.colour, range=2, matrix=2, transfer=2)
    image = replace(info.image, pix_fmt="gray", colour=colour, encoding=SampleEncoding.CODES)
    return replace(info, image=image, has_audio=False, hdr=None, companions=Companions(), notes=())


def gray_frame(picture: NDArray[np.uint8], image: ImageSpec, index: int) -> Frame:
    """A grey picture (H, W) uint8 as a frame of `gray_info`'s image."""
    return Frame(index, (picture,), image)
