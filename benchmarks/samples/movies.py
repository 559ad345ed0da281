"""Small movies that each have one thing a clip may have: alpha, fields, chapters, a clock that jumps."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.container
import av.filter
import av.video.stream
import numpy as np
from av.subtitles.stream import SubtitleStream

ONE = 1 << 16  # of a display matrix
MIRRORED = (-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
QUARTER = (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30)  # a quarter turn clockwise
TILTED = (46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)  # an eighth turn
GRADED = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"  # P3 on 0.005 to 1000 cd/m2
FIELDS = {2: "tff", 3: "bff"}  # AVFieldOrder
SRT = "1\n00:00:00,040 --> 00:00:00,200\nOne\n\n2\n00:00:00,240 --> 00:00:00,440\n<i>Two</i>\n\n"
ASS = (
    "[Script Info]\nScriptType: v4.00+\n\n"
    "[V4+ Styles]\nFormat: Name, Fontname, Fontsize\nStyle: Default,Arial,20\n\n"
    "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:00.04,0:00:00.20,Default,,0,0,0,,{\\i1}One\n"
)


@dataclass(frozen=True)
class Sample:
    """One small movie. Pictures are a moving slope of grey with some colour."""

    codec: str = "libx264"  # FFmpeg's encoder
    pix_fmt: str = "yuv420p"
    count: int = 12
    size: tuple[int, int] = (96, 64)
    rate: Fraction = Fraction(25)
    options: dict[str, str] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)  # attributes of the encoder
    matrix: Sequence[int] | None = None  # FFmpeg's display matrix
    metadata: dict[str, str] = field(default_factory=dict)  # of the video stream
    stamps: Sequence[int] | None = None  # presentation stamps in `time_base`; one period each by default
    time_base: Fraction | None = None
    fields: int = 0  # AVFieldOrder that pictures are marked with; 0 none
    audio: str = ""  # FFmpeg's encoder of a tone; none by default
    before: Callable[[av.container.OutputContainer], None] | None = None  # called before anything is added
    streams: Callable[[av.container.OutputContainer], Callable[[], None]] | None = None
    # adds streams after the video; what it returns is called before the last picture is written
    packets: Callable[[bytes], bytes] | None = None  # rewrites every packet of pictures

    def write(self, path: Path) -> Path:
        """Write the movie; its container is told by the suffix."""
        with av.open(str(path), "w") as container:
            if self.before is not None:
                self.before(container)
            stream = self._stream(container)
            sound = container.add_stream(self.audio, rate=48000, layout="mono") if self.audio else None
            finish = self.streams(container) if self.streams is not None else None
            marker = _marker(self) if self.fields else None
            for i in range(self.count):
                picture = self._picture(i)
                if marker is not None:
                    marker.vpush(picture)
                    picture = marker.vpull()
                self._mux(container, stream, stream.encode(picture))
            self._mux(container, stream, stream.encode(None))
            if finish is not None:
                finish()
            if sound is not None:
                container.mux(_tone(sound, self.count / self.rate))
        return path

    def _stream(self, container: av.container.OutputContainer) -> av.video.stream.VideoStream:
        stream = cast(
            av.video.stream.VideoStream,
            container.add_stream(self.codec, rate=self.rate, options=self.options),
        )
        stream.width, stream.height = self.size
        stream.pix_fmt = self.pix_fmt
        stream.codec_context.time_base = self.time_base or 1 / self.rate
        for name, value in self.context.items():
            setattr(stream.codec_context, name, value)
        if self.matrix is not None:
            stream.set_display_matrix(self.matrix)
        stream.metadata.update(self.metadata)
        return stream

    def _picture(self, number: int) -> av.VideoFrame:
        picture = numbered(number, self.size).reformat(format=self.pix_fmt)
        if "yuva" in self.pix_fmt:
            plane = picture.planes[3]
            alpha = np.frombuffer(
                cast(bytes, plane), np.uint8 if plane.line_size < 2 * self.size[0] else "<u2"
            )
            alpha[:] = 77
        picture.pts = self.stamps[number] if self.stamps else number
        picture.time_base = self.time_base or 1 / self.rate
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            if name in self.context:
                setattr(picture, name, self.context[name])
        return picture

    def _mux(
        self,
        container: av.container.OutputContainer,
        stream: av.video.stream.VideoStream,
        packets: list[av.Packet[Any]],
    ) -> None:
        for packet in packets:
            if self.packets is None:
                container.mux(packet)
                continue
            new = av.Packet(self.packets(bytes(packet)))
            new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
            new.is_keyframe, new.stream = packet.is_keyframe, cast(Any, stream)
            container.mux(new)


def numbered(number: int, size: tuple[int, int]) -> av.VideoFrame:
    """Picture `number` in yuv420p: a slope that moves on, so that no two pictures are alike."""
    width, height = size
    picture = av.VideoFrame(width + width % 2, height + height % 2, "yuv420p")
    y, x = np.mgrid[: picture.height, : picture.width]
    chroma = np.mgrid[: picture.height // 2, : picture.width // 2][1] % 96 + 80
    for plane, data in zip(
        picture.planes, (40 + (x + 3 * y + 9 * number) % 160, chroma, 255 - chroma), strict=True
    ):
        rows = np.frombuffer(cast(bytes, plane), np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : plane.width] = data
    return picture.reformat(width, height) if (picture.width, picture.height) != size else picture


def _marker(sample: Sample) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=sample.size[0],
        height=sample.size[1],
        format=av.VideoFormat(sample.pix_fmt),
        time_base=sample.time_base or 1 / sample.rate,
    )
    mark, sink = graph.add("setfield", f"mode={FIELDS[sample.fields]}"), graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    return graph


def _tone(stream: Any, seconds: Fraction) -> list[av.Packet[Any]]:
    t = np.arange(round(48000 * seconds)) / 48000
    block = av.AudioFrame.from_ndarray(
        (0.2 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)[None], format="fltp", layout="mono"
    )
    block.sample_rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
    resampler = av.AudioResampler(stream.format.name, "mono", 48000, frame_size=stream.frame_size or 1024)
    parts = [*resampler.resample(block), *resampler.resample(None)]
    return [p for part in (*parts, None) for p in stream.encode(part)]


# ---- what else a container holds ---------------------------------------------------------------------------


def chapters(container: av.container.OutputContainer) -> None:
    """Two chapters."""
    base = Fraction(1, 1000)
    container.set_chapters(
        [
            {"id": 1, "start": 0, "end": 240, "time_base": base, "metadata": {"title": "one"}},
            {"id": 2, "start": 240, "end": 480, "time_base": base, "metadata": {"title": "two"}},
        ]
    )


def subtitles(text: str, kind: str) -> Callable[[av.container.OutputContainer], Callable[[], None]]:
    """Adds the subtitles of a file of `kind` ("srt", "ass") in French."""

    def added(container: av.container.OutputContainer) -> Callable[[], None]:
        given = av.open(io.BytesIO(text.encode()), "r", format=kind)
        stream = container.add_stream_from_template(given.streams.subtitles[0])
        stream.metadata["language"] = "fre"

        def finish() -> None:
            for packet in given.demux(given.streams.subtitles[0]):
                if packet.size:
                    packet.stream = stream
                    container.mux(packet)
            given.close()

        return finish

    return added


def mov_text(container: av.container.OutputContainer) -> Callable[[], None]:
    """Adds MP4's own kind of subtitles."""
    stream = cast(SubtitleStream, container.add_mux_stream("mov_text"))
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "fre"

    def finish() -> None:
        for start, text in ((40, b"One"), (240, b"Two")):
            packet = av.Packet(len(text).to_bytes(2, "big") + text)
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream = 160, Fraction(1, 1000), cast(Any, stream)
            container.mux(packet)

    return finish


def attachment(container: av.container.OutputContainer) -> Callable[[], None]:
    """Adds a font."""
    container.add_attachment("font.ttf", "font/ttf", b"no font")
    return lambda: None


def second_video(size: tuple[int, int]) -> Callable[[av.container.OutputContainer], Callable[[], None]]:
    """Adds another video stream of 12 pictures."""

    def added(container: av.container.OutputContainer) -> Callable[[], None]:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"

        def finish() -> None:
            for i in range(12):
                picture = numbered(100 + i, size)
                picture.pts, picture.time_base = i, Fraction(1, 25)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))

        return finish

    return added


def with_captions(packet: bytes) -> bytes:
    """An H.264 packet of the byte stream with CEA-608 captions before its first slice."""
    user = b"\xb5\x00\x31GA94\x03" + bytes([0x40 | 1]) + b"\xff" + b"\xfc\x94\x2c" + b"\xff"
    sei = b"\0\0\1\x06\x04" + bytes([len(user)]) + user + b"\x80"
    at = 0
    while (at := packet.find(b"\0\0\1", at)) >= 0:
        if packet[at + 3] & 31 in (1, 5):
            return packet[:at] + sei + packet[at:]
        at += 3
    return packet


# ---- transport streams -------------------------------------------------------------------------------------


def shifted_ts(data: bytes, ticks: int) -> bytes:
    """A transport stream with every clock in it (PCR, PTS, DTS) moved by `ticks` of 90 kHz, modulo 2^33."""
    out = bytearray(data)
    for at in range(0, len(out) - 187, 188):
        start, control = out[at + 1] & 0x40, out[at + 3] >> 4 & 3
        payload = at + 4
        if control & 2:
            length = out[at + 4]
            if length >= 7 and out[at + 5] & 0x10:
                base = int.from_bytes(out[at + 6 : at + 11], "big") >> 7
                low = int.from_bytes(out[at + 10 : at + 12], "big") & 0x7FFF
                moved = (base + ticks) % (1 << 33)
                out[at + 6 : at + 12] = (moved << 15 | low).to_bytes(6, "big")
            payload += 1 + length
        if start and control & 1 and bytes(out[payload : payload + 3]) == b"\0\0\1":
            _shift_pes(out, payload, ticks)
    return bytes(out)


def _shift_pes(out: bytearray, at: int, ticks: int) -> None:
    if out[at + 3] not in (0xBD, *range(0xC0, 0xF0)):
        return
    flags = out[at + 7] >> 6
    for place in ([at + 9] if flags & 2 else []) + ([at + 14] if flags == 3 else []):
        b = out[place : place + 5]
        stamp = (b[0] >> 1 & 7) << 30 | b[1] << 22 | b[2] >> 1 << 15 | b[3] << 7 | b[4] >> 1
        moved = (stamp + ticks) % (1 << 33)
        out[place] = b[0] & 0xF1 | moved >> 30 << 1
        out[place + 1] = moved >> 22 & 255
        out[place + 2] = (moved >> 15 & 127) << 1 | 1
        out[place + 3] = moved >> 7 & 255
        out[place + 4] = (moved & 127) << 1 | 1
