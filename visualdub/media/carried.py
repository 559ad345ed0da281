"""What a written movie takes over from its clip beside pictures and sound: subtitles, chapters, fonts."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import av
import av.container
from av.subtitles.stream import SubtitleStream

from visualdub.media.clip_facts import subtitle_codec
from visualdub.media.open import open_media, reading
from visualdub.media.sound_decoder import picture_start

if TYPE_CHECKING:
    from av.container.core import Chapter  # a name of PyAV's type stubs alone

SubtitlePacket: TypeAlias = "av.Packet[SubtitleStream]"

_COPIED = {  # muxer -> FFmpeg's names of the subtitles that are copied into it
    "matroska": {"subrip", "ass", "webvtt", "dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle"},
    "mov": {"mov_text"},
    "mp4": {"mov_text"},
}
ATTACHING = ("matroska",)  # muxers that take attached files
_TEXT = {"subrip", "webvtt", "ass", "mov_text"}  # what is rewritten as the muxer's own text
_OWN_TEXT = {"matroska": "subrip", "mov": "mov_text", "mp4": "mov_text"}
_TAG = re.compile(r"<[^>]*>|\{[^}]*\}")
_TICK = Fraction(1, 1000)
_QUICKTIME_NAMES = {  # of the two names that a language has, the one that FFmpeg writes to QuickTime
    "fre": "fra",
    "deu": "ger",
    "nld": "dut",
    "swe": "sve",
    "ell": "gre",
    "isl": "ice",
    "zho": "chi",
}


def subtitles_kept(codec: str, muxer: str) -> str:
    """What becomes of subtitles of `codec` (FFmpeg's name) in a file of `muxer`: "kept", "converted" to its
    own kind of text, or "left out".
    """
    if codec in _COPIED[muxer]:
        return "kept"
    return "converted" if codec in _TEXT else "left out"


@dataclass(frozen=True)
class CompanionSource:
    """The clip that a written movie's subtitles and chapters come from."""

    path: Path
    start: Fraction = Fraction(0)  # seconds after the clip's first frame that the movie begins


class CarriedStreams:
    """Adds the subtitle streams, the chapters and (to Matroska) the attached files of `source` to `output`,
    which is `until` seconds long, and feeds the subtitles' packets.

    Text is rewritten as the container's own kind of text, its styles left out; what the container has no
    place for is left out (see `subtitles_kept`). Raises `MediaError` where the clip cannot be read.
    """

    def __init__(
        self, source: CompanionSource, output: av.container.OutputContainer, until: Fraction
    ) -> None:
        self._path, self._until = source.path, until
        self._open = ExitStack()
        try:
            container = self._open.enter_context(open_media(source.path))
            origin = (picture_start(source.path) or Fraction(0)) + source.start
            chapters = _chapters(container, origin, until)
            if chapters:
                output.set_chapters(chapters)
            targets = {
                s.index: _added(s, output)
                for s in container.streams.subtitles
                if subtitles_kept(subtitle_codec(s), output.format.name) != "left out"
            }
            if output.format.name in ATTACHING:
                for file in container.streams.attachments:
                    mime = file.mimetype or "application/octet-stream"
                    output.add_attachment(file.name or "attachment", mime, file.data)
            self._packets = self._moved(container, targets, origin)
            with reading(self._path):
                self._next = next(self._packets, None)
        except BaseException:
            self._open.close()
            raise

    def feed(self, time: Fraction | None) -> Iterator[SubtitlePacket]:
        """The packets that belong before `time` seconds of the movie, all that are left where it is None."""
        while self._next is not None and (time is None or (self._next.pts or 0) * _TICK <= time):
            yield self._next
            with reading(self._path):
                self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the clip."""
        self._packets.close()
        self._open.close()

    def _moved(
        self,
        container: av.container.InputContainer,
        targets: dict[int, tuple[SubtitleStream, Callable[[bytes], bytes] | None]],
        origin: Fraction,
    ) -> Generator[SubtitlePacket, None, None]:
        """Packets on the movie's clock, in milliseconds, each stream's in order of time."""
        streams = [s for s in container.streams.subtitles if s.index in targets]
        last = dict.fromkeys(targets, -1)
        for packet in container.demux(*streams) if streams else ():
            moved = _on_clock(cast(SubtitlePacket, packet), origin, self._until)
            target, rewrite = targets[packet.stream.index]
            data = bytes(packet) if rewrite is None else rewrite(bytes(packet))
            if moved is None or not data:
                continue
            start = max(moved[0], last[packet.stream.index] + 1)  # QuickTime takes no two at one time
            last[packet.stream.index] = start
            new = av.Packet(data)
            new.pts = new.dts = start
            new.duration, new.time_base, new.stream = moved[1], _TICK, target
            new.is_keyframe = True
            yield cast(SubtitlePacket, new)


def _on_clock(packet: SubtitlePacket, origin: Fraction, until: Fraction) -> tuple[int, int] | None:
    """(start, duration) of a packet in milliseconds of the movie; None where it is not shown in it."""
    base = packet.time_base
    if not packet.size or packet.pts is None or base is None:
        return None
    start = packet.pts * base - origin
    end = start + (packet.duration or 0) * base
    if start >= until or (start < 0 and end <= 0):
        return None
    start, end = max(start, Fraction(0)), min(end, until)
    return round(start / _TICK), max(0, round((end - start) / _TICK))


# ---- subtitles ---------------------------------------------------------------------------------------------


def _added(
    stream: SubtitleStream, output: av.container.OutputContainer
) -> tuple[SubtitleStream, Callable[[bytes], bytes] | None]:
    """The output's stream for a clip's, and how its packets are rewritten (None: not at all)."""
    codec, muxer = subtitle_codec(stream), output.format.name
    rewrite = None
    if codec in _COPIED[muxer]:
        target = output.add_stream_from_template(stream)
        if codec == "mov_text":
            rewrite = _shown_text
    else:
        target = cast(SubtitleStream, output.add_mux_stream(_OWN_TEXT[muxer]))
        read, write = _READ[codec], _mov_text if _OWN_TEXT[muxer] == "mov_text" else str.encode

        def rewrite(data: bytes) -> bytes:
            text = read(data).strip()
            return write(text) if text else b""

    target.time_base = _TICK
    target.metadata.update({k: v for k, v in stream.metadata.items() if k.lower() == "title"})
    language = stream.language
    if language is not None:
        target.metadata["language"] = _QUICKTIME_NAMES.get(language, language) if muxer == "mov" else language
    return target, rewrite


def _shown_text(data: bytes) -> bytes:
    """MP4's text sample; nothing for one that clears the screen, which the muxer makes for itself."""
    return data if data[:2] != b"\0\0" else b""


def _plain(data: bytes) -> str:
    return _TAG.sub("", data.decode("utf-8", "replace"))


def _of_mov_text(data: bytes) -> str:
    return data[2 : 2 + int.from_bytes(data[:2], "big")].decode("utf-8", "replace")


def _of_ass(data: bytes) -> str:
    text = data.decode("utf-8", "replace").split(",", 8)[-1]
    return _TAG.sub("", text).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")


def _mov_text(text: str) -> bytes:
    data = text.encode()[:65535]
    return len(data).to_bytes(2, "big") + data


_READ = {"subrip": _plain, "webvtt": _plain, "ass": _of_ass, "mov_text": _of_mov_text}


# ---- chapters ----------------------------------------------------------------------------------------------


def _chapters(container: av.container.InputContainer, origin: Fraction, until: Fraction) -> list[Chapter]:
    """The clip's chapters on the movie's clock, cut to its length."""
    found: list[Chapter] = []
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1)
        start = max(Fraction(0), chapter["start"] * base - origin)
        end = min(until, chapter["end"] * base - origin)
        if start < end:
            found.append(
                {
                    "id": len(found) + 1,
                    "start": round(start / _TICK),
                    "end": round(end / _TICK),
                    "time_base": _TICK,
                    "metadata": dict(chapter["metadata"]),
                }
            )
    return found
