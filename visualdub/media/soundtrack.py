"""The sound of a written movie: a clip's own packets copied, or a recording encoded, in step with the
picture.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias, cast

import av
import av.audio.stream
import av.container
import av.error
import av.stream

from visualdub.errors import BadInput
from visualdub.media.open import open_media, reading
from visualdub.media.sound_decoder import (
    CLOCK_TOLERANCE_S,
    LONGEST_GAP_S,
    AudioMissing,
    DecodedSound,
    Samples,
    at_rate,
    decodable_audio,
    has_own_order,
    main_audio,
    packed_frame,
    picture_start,
    silence,
)

AudioPacket: TypeAlias = "av.Packet[av.audio.stream.AudioStream]"
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_COPIED = {  # what players of each container expect to find in it
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {
        "aac",
        "mp3",
        "ac3",
        "eac3",
        "alac",
        "pcm_s16le",
        "pcm_s16be",
        "pcm_s24le",
        "pcm_s24be",
        "pcm_s32le",
        "pcm_f32le",
    },
    "matroska": {
        "aac",
        "mp2",
        "mp3",
        "ac3",
        "eac3",
        "alac",
        "opus",
        "flac",
        "vorbis",
        "dts",
        "truehd",
        "pcm_s16le",
        "pcm_s24le",
        "pcm_s32le",
        "pcm_f32le",
    },
}

# What AAC is told of channels that nobody named, by their number: layouts without a channel for low
# frequencies, which the encoder would cut off above 120 Hz.
_AAC_LAYOUTS = {
    1: "mono",
    2: "stereo",
    3: "3.0",
    4: "4.0",
    5: "5.0",
    6: "hexagonal",
    7: "7.0",
    8: "octagonal",
    16: "hexadecagonal",
}
# Three-letter codes that FFmpeg has another of for QuickTime, which numbers its languages.
_QUICKTIME_LANGUAGES = {
    **{"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi"},
    **{"swe": "sve", "hrv": "hr ", "fas": "per", "sqi": "alb"},
}
_DEFAULT = 1  # AV_DISPOSITION_DEFAULT


@dataclass(frozen=True)
class AudioSource:
    """Where the sound of a written movie comes from.

    A clip's own sound stays in step with its pictures: the packets of all its tracks are copied where the new
    container takes them and the movie starts at the clip's first frame. Of a `recording` the main track is
    decoded and encoded anew, so that every sample is heard where `read_audio` has it; it starts at the
    movie's first frame. Sound past the last frame of the movie is cut and a recording that ends earlier is
    followed by silence.
    """

    path: Path
    start: Fraction = Fraction(0)  # seconds after time 0 of clip or recording, heard at the first frame
    recording: bool = False
    beside: AudioSource | None = None  # a clip: its audio tracks but the main one, which this one replaces


class Soundtrack:
    """Feeds the audio packets of `source` to `output`. `until` is the movie's length in seconds.

    Raises `AudioMissing` where the source has no sound, `MediaError` where it cannot be read, `BadInput`
    where the container cannot hold so many channels.
    """

    def __init__(
        self, source: AudioSource, output: av.container.OutputContainer, until: Fraction, whole_clip: bool
    ) -> None:
        self._open = ExitStack()
        self._streams: list[_Feed] = []
        try:
            tracks = _tracks(source, output.format.name)
            copied: dict[int, av.audio.stream.AudioStream] = {}
            for track in tracks:
                if track.copied:
                    copied[track.number] = self._copied_stream(track, output)
                elif track.replacing or _holds_sound(track):
                    self._encoded_stream(track, output, until)
            if copied:
                clip = next(t.path for t in tracks if t.copied)
                packets = _moved(clip, copied, None if whole_clip else until)
                self._streams.append(self._feed(clip, packets))
        except BaseException:
            self._open.close()
            raise

    def feed(self, time: Fraction | None) -> Iterator[AudioPacket]:
        """The packets that belong before `time` seconds of the movie, all that are left where it is None."""
        while waiting := [s for s in self._streams if s.has_packet_before(time)]:
            yield min(waiting, key=_Feed.time).take()

    def close(self) -> None:
        """Close the source."""
        self._open.close()

    def _copied_stream(
        self, track: _Track, output: av.container.OutputContainer
    ) -> av.audio.stream.AudioStream:
        with open_media(track.path) as container, reading(track.path):
            source = container.streams.audio[track.number]
            target = output.add_stream_from_template(source)
            _describe(target, source, track.default, output.format.name)
        return target

    def _encoded_stream(self, track: _Track, output: av.container.OutputContainer, until: Fraction) -> None:
        sound = self._open.enter_context(DecodedSound(track.path, track.number, track.start))
        encoder = _encoder(sound, track.path, output.format.name)
        target = cast(
            av.audio.stream.AudioStream,
            output.add_stream(encoder.codec, rate=encoder.rate, layout=encoder.layout, format=encoder.format),
        )
        if encoder.codec == "aac":
            target.bit_rate = 128000 * sound.channels
        if track.replacing:
            _describe(target, None, track.default, output.format.name)
        else:
            with open_media(track.path) as container, reading(track.path):
                source = container.streams.audio[track.number]
                _describe(target, source, track.default, output.format.name)
        packets = _encoded(sound, encoder, target, round(until * encoder.rate))
        self._streams.append(self._feed(track.path, packets))

    def _feed(self, path: Path, packets: Generator[AudioPacket, None, None]) -> _Feed:
        self._open.callback(packets.close)
        return _Feed(path, packets)


class _Feed:
    """Packets from one source, of which the next one is known."""

    def __init__(self, path: Path, packets: Iterator[AudioPacket]) -> None:
        self._path, self._packets = path, packets
        with reading(path):
            self._next = next(packets, None)

    def has_packet_before(self, time: Fraction | None) -> bool:
        return self._next is not None and (time is None or self.time() <= time)

    def time(self) -> Fraction:
        """Seconds of the movie at which the next packet is decoded."""
        assert self._next is not None
        stamp = self._next.dts if self._next.dts is not None else self._next.pts or 0
        return stamp * (self._next.time_base or Fraction(1))

    def take(self) -> AudioPacket:
        """The next packet. Raises `MediaError` where the one after it cannot be read."""
        assert self._next is not None
        packet = self._next
        with reading(self._path):
            self._next = next(self._packets, None)
        return packet


def check_soundtrack(source: AudioSource, output: Path) -> None:
    """Whether a movie at `output` can hold the sound of `source`, without reading it to its end.

    Raises what `Soundtrack` does.
    """
    muxer = {".mp4": "mp4", ".mov": "mov"}.get(output.suffix.lower(), "matroska")
    for track in _tracks(source, muxer):
        if not track.copied and (track.replacing or _holds_sound(track)):
            with DecodedSound(track.path, track.number, track.start) as sound:
                _encoder(sound, track.path, muxer)


# ---- which tracks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Track:
    """One audio track of the movie to come."""

    path: Path
    number: int  # among the audio streams of that file
    start: Fraction  # seconds after time 0 of that file
    copied: bool  # packet for packet
    default: bool | None  # whether players choose it; None: as in the file
    replacing: bool  # a recording; False: a track of a clip, with its language and title


def _tracks(source: AudioSource, muxer: str) -> list[_Track]:
    """The tracks of a movie in their order; a recording has the place of the track that it replaces."""
    if source.recording:
        with open_media(source.path) as container, reading(source.path):
            number = _number(container, main_audio(container, source.path))
        replacing = _Track(source.path, number, source.start, copied=False, default=True, replacing=True)
        if source.beside is None:
            return [replacing]
        return _tracks_of_clip(source.beside, muxer, replacing) or [replacing]
    return _tracks_of_clip(source, muxer, None)


def _tracks_of_clip(clip: AudioSource, muxer: str, replacing: _Track | None) -> list[_Track]:
    """All tracks of a clip that can be decoded, the main one replaced where there is a recording."""
    whole = clip.start == 0 and picture_start(clip.path) is not None
    copyable = _COPIED.get(muxer, set()) if whole else set()
    with open_media(clip.path) as container, reading(clip.path):
        if replacing is not None and not decodable_audio(container):
            return []
        main = main_audio(container, clip.path)
        tracks = []
        for stream in decodable_audio(container):
            if stream.index == main.index and replacing is not None:
                tracks.append(replacing)
                continue
            copied = stream.codec_context.codec.canonical_name in copyable
            if muxer != "mov" and has_own_order(stream):  # which no other container can say
                copied = False
            default = None if replacing is None else False
            tracks.append(
                _Track(clip.path, _number(container, stream), clip.start, copied, default, replacing=False)
            )
    return tracks


def _holds_sound(track: _Track) -> bool:
    """Whether a track has samples; a clip's empty one is left out."""
    try:
        with DecodedSound(track.path, track.number):
            return True
    except AudioMissing:
        return False


def _number(container: av.container.InputContainer, stream: av.audio.stream.AudioStream) -> int:
    return [s.index for s in container.streams.audio].index(stream.index)


def _describe(
    target: av.audio.stream.AudioStream,
    source: av.audio.stream.AudioStream | None,
    default: bool | None,
    muxer: str,
) -> None:
    """Language, title and disposition of the track that is written."""
    kind = 0
    if source is not None:
        target.metadata.update({k: v for k, v in source.metadata.items() if k in ("language", "title")})
        language = target.metadata.get("language", "")
        if muxer == "mov" and language in _QUICKTIME_LANGUAGES:
            target.metadata["language"] = _QUICKTIME_LANGUAGES[language]
        kind = int(source.disposition)
    if default is not None:
        kind = kind | _DEFAULT if default else kind & ~_DEFAULT
    target.disposition = av.stream.Disposition(kind)


# ---- copied ------------------------------------------------------------------------------------------------


def _moved(
    clip: Path, targets: dict[int, av.audio.stream.AudioStream], until: Fraction | None
) -> Generator[AudioPacket, None, None]:
    """The packets of the audio streams whose numbers are the keys of `targets`, time 0 at the first frame.

    Where the clock of a stream jumps, its packets follow each other without a gap.
    """
    origin = picture_start(clip) or Fraction(0)
    with open_media(clip) as container:
        streams = {container.streams.audio[n].index: t for n, t in targets.items()}
        following: dict[int, int] = {}  # stamp expected of the next packet, by stream
        jumped = dict.fromkeys(streams, 0)
        for packet in container.demux(*(container.streams.audio[n] for n in targets)):
            base = packet.time_base
            if not packet.size or base is None or packet.pts is None:
                continue
            number = packet.stream.index
            shift = round(origin / base) - jumped[number]
            stamp = (packet.pts if packet.dts is None else packet.dts) - shift
            late = stamp - following.get(number, stamp)
            if late * base < -CLOCK_TOLERANCE_S or late * base > LONGEST_GAP_S:
                jumped[number] -= late
                shift += late
                stamp -= late
            following[number] = stamp + (packet.duration or 0)
            packet.pts, packet.dts = packet.pts - shift, stamp
            if until is not None and packet.pts * base >= until:
                continue
            packet.stream = streams[number]
            yield cast(AudioPacket, packet)


# ---- encoded -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Encoder:
    """How samples are encoded."""

    codec: str
    format: str  # FFmpeg's name of the samples' format that the encoder takes
    given: str  # and of the packed one that is handed to it
    rate: int  # samples per second
    layout: str


def _encoder(sound: DecodedSound, path: Path, muxer: str) -> _Encoder:
    """AAC for MP4, PCM for the others. Raises `BadInput` for channels that AAC has no layout for."""
    if muxer != "mp4":
        codec, kind = ("pcm_s24le", "s32") if sound.deep else ("pcm_s16le", "s16")
        layout = {1: "mono", 2: "stereo"}.get(sound.channels, sound.layout)
        return _Encoder(codec, kind, kind, sound.rate, layout)
    rate = sound.rate if sound.rate in _AAC_RATES else 48000
    for name in (sound.layout, _AAC_LAYOUTS.get(sound.channels)):
        if name is not None and _aac_takes(name, rate):
            return _Encoder("aac", "fltp", "flt", rate, name)
    raise BadInput(
        f"{path} has {sound.channels} channels of sound; expected at most 8, or 16, for AAC in an .mp4; write"
        " an .mkv or .mov, or give a recording of fewer channels"
    )


def _aac_takes(layout: str, rate: int) -> bool:
    context = av.CodecContext.create("aac", "w")
    context.rate, context.layout, context.format = rate, layout, "fltp"
    try:
        context.open()
    except av.error.FFmpegError:
        return False
    return True


def _encoded(
    sound: DecodedSound, encoder: _Encoder, target: av.audio.stream.AudioStream, count: int
) -> Generator[AudioPacket, None, None]:
    """Packets of exactly `count` samples, silence after an early end."""
    written = 0
    blocks = at_rate(sound.blocks(), encoder.layout, sound.rate, encoder.rate)
    for samples in _exactly(blocks, sound.channels, count):
        block = packed_frame(samples, encoder.given, encoder.layout, encoder.rate)
        block.pts, block.time_base = written, Fraction(1, encoder.rate)
        written += len(samples)
        yield from target.encode(block)
    yield from target.encode(None)


def _exactly(blocks: Iterator[Samples], channels: int, count: int) -> Iterator[Samples]:
    """The first `count` samples, followed by silence where there are fewer."""
    for samples in blocks:
        if count <= 0:
            return
        yield samples[:count]
        count -= len(samples)
    yield from silence(count, channels)
