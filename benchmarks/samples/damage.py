"""Ten small movies of different containers and codecs, and ways to damage them that a seed repeats."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
import av.container
import numpy as np

from benchmarks.samples.movies import shifted_ts

Random = np.random.Generator
TS_PACKET = 188  # bytes


class Base(NamedTuple):
    """One of the ten movies."""

    name: str
    codec: str  # FFmpeg's encoder
    pix_fmt: str
    audio: str  # FFmpeg's encoder
    options: dict[str, str] = {}  # noqa: RUF012


BASES = (
    Base("h264.mp4", "libx264", "yuv420p", "aac"),
    Base("prores.mov", "prores_ks", "yuv422p10le", "pcm_s16le"),
    Base("ffv1.mkv", "ffv1", "yuv420p", "flac"),
    Base("h264.mkv", "libx264", "yuv420p", "aac", {"g": "10"}),
    Base("h264.ts", "libx264", "yuv420p", "aac", {"g": "10"}),
    Base("alpha.webm", "libvpx-vp9", "yuva420p", "libopus", {"cpu-used": "8", "deadline": "realtime"}),
    Base("mpeg4.avi", "mpeg4", "yuv420p", "pcm_s16le"),
    Base("mpeg2.mpg", "mpeg2video", "yuv420p", "mp2"),
    Base(
        "hevc.mp4", "libx265", "yuv420p10le", "aac", {"x265-params": "log-level=none", "preset": "ultrafast"}
    ),
    Base("mjpeg.mov", "mjpeg", "yuvj420p", "pcm_s16le"),
)


def write_bases(clip: Path, folder: Path, count: int = 25, height: int = 240) -> list[Path]:
    """The first `count` frames of `clip` and its sound as the ten movies of BASES, `height` pixels high."""
    pictures = []
    with av.open(str(clip)) as source:
        stream = source.streams.video[0]
        rate = stream.average_rate or Fraction(25)
        width = round(stream.width * height / stream.height / 2) * 2
        for picture in source.decode(stream):
            pictures.append(picture.reformat(width, height))
            if len(pictures) == count:
                break
    return [_base(b, pictures, rate, clip, folder / b.name) for b in BASES]


def _base(base: Base, pictures: list[av.VideoFrame], rate: Fraction, clip: Path, path: Path) -> Path:
    with av.open(str(path), "w") as container:
        video = cast(Any, container.add_stream(base.codec, rate=rate, options=base.options))
        video.width, video.height, video.pix_fmt = pictures[0].width, pictures[0].height, base.pix_fmt
        video.codec_context.color_range = 2 if base.pix_fmt.startswith("yuvj") else 1
        sound = cast(Any, container.add_stream(base.audio, rate=48000, layout="stereo"))
        for i, given in enumerate(pictures):
            picture = given.reformat(format=base.pix_fmt)
            picture.pts, picture.time_base = i, 1 / rate
            picture.pict_type = 0
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        resampler = av.AudioResampler(sound.format.name, "stereo", 48000, frame_size=sound.frame_size or 1024)
        with av.open(str(clip)) as source:
            for block in source.decode(source.streams.audio[0]) if source.streams.audio else ():
                if (block.time or 0) < len(pictures) / rate:
                    for part in resampler.resample(block):
                        container.mux(sound.encode(part))
        container.mux(sound.encode(None))
    return path


# ---- damage ------------------------------------------------------------------------------------------------


def cut(path: Path, random: Random) -> bytes:
    """The file without its end, or without a piece of its middle."""
    data = path.read_bytes()
    a, b = sorted(int(v) for v in random.integers(0, len(data), 2))
    return data[:b] if random.random() < 0.5 else data[:a] + data[b:]


def flip(path: Path, random: Random) -> bytes:
    """The file with up to 64 bytes replaced, all over it or within 2 KiB."""
    data = bytearray(path.read_bytes())
    place = random.choice(["all", "start", "end"])
    low = max(0, len(data) - 2048) if place == "end" else 0
    high = min(2048, len(data)) if place == "start" else len(data)
    for at in random.integers(low, high, int(2 ** random.integers(0, 7))):
        data[int(at)] = int(random.integers(0, 256))
    return bytes(data)


def shuffle(path: Path, random: Random) -> bytes:
    """Some packets change places, some come twice, some are missing. Of a transport stream they are its own
    packets of 188 bytes, of others the contents of the frames' packets.
    """
    if path.suffix == ".ts":
        data = path.read_bytes()
        parts = [data[i : i + TS_PACKET] for i in range(0, len(data), TS_PACKET)]
        return b"".join(_shuffled(parts, random))
    return _remuxed(path, lambda packets: _shuffled(packets, random))


def shift(path: Path, random: Random) -> bytes:
    """The clock is set anew somewhere in the middle."""
    if path.suffix == ".ts":
        data = path.read_bytes()
        at = int(random.integers(1, len(data) // TS_PACKET)) * TS_PACKET
        first = shifted_ts(data[:at], int(random.integers(0, 1 << 33)))
        return first + shifted_ts(data[at:], int(random.integers(0, 1 << 33)))
    ticks = int(10 ** random.uniform(0, 6)) * int(random.choice([-1, 1]))
    start = random.random()
    return _remuxed(path, lambda packets: packets, ticks, start)


def mixed(path: Path, random: Random) -> bytes:
    """Two kinds of damage, one after the other."""
    ways: list[Way] = [cut, flip, shuffle, shift]
    first, second = (ways[int(i)] for i in random.integers(0, len(ways), 2))
    between = path.with_name(f"between-{path.name}")
    try:
        between.write_bytes(first(path, random))
        return second(between, random)
    except (av.FFmpegError, IndexError, ValueError):  # the first way left nothing that FFmpeg remuxes
        return between.read_bytes()
    finally:
        between.unlink(missing_ok=True)


Way = Callable[[Path, Random], bytes]
WAYS: tuple[Way, ...] = (cut, flip, shuffle, shift, mixed)


def damaged(path: Path, way: Way, seed: int) -> bytes:
    """`path` damaged one way; equal seeds give equal bytes."""
    return way(path, np.random.default_rng([seed, WAYS.index(way), *path.name.encode()]))


def _shuffled(parts: list[bytes], random: Random) -> list[bytes]:
    """A list as long as the given one: neighbours swapped, items repeated or taken from elsewhere."""
    out = list(parts)
    for _ in range(int(random.integers(1, 6))):
        a, b = (int(i) for i in random.integers(0, len(out), 2))
        if random.random() < 0.5:
            out[a], out[b] = out[b], out[a]
        else:
            out[a] = out[b]
    return out


def _remuxed(
    path: Path, change: Callable[[list[bytes]], list[bytes]], ticks: int = 0, start: float = 1.0
) -> bytes:
    """The movie with the contents of its packets changed and `ticks` of its time base added to the stamps of
    those after the share `start`; stamps that FFmpeg does not write are left out.
    """
    out = io.BytesIO()
    with av.open(str(path)) as source:
        form = {".mkv": "matroska"}.get(path.suffix, path.suffix[1:])
        form = "mpeg" if form == "mpg" else form
        packets = [p for p in source.demux() if p.size]
        contents = change([bytes(p) for p in packets])
        # a trailer that cannot be written leaves what was written so far
        with suppress(av.FFmpegError, ValueError), av.open(out, "w", format=form) as target:
            streams = {s.index: target.add_stream_from_template(cast(Any, s)) for s in source.streams}
            for number, (packet, content) in enumerate(zip(packets, contents, strict=True)):
                moved = ticks if number >= start * len(packets) else 0
                new = av.Packet(content)
                new.pts = None if packet.pts is None else packet.pts + moved
                new.dts = None if packet.dts is None else packet.dts + moved
                new.duration, new.is_keyframe = packet.duration, packet.is_keyframe
                new.time_base, new.stream = packet.time_base, cast(Any, streams[packet.stream.index])
                for side in packet.iter_sidedata():
                    new.set_sidedata(side)
                try:
                    target.mux(new)
                except (av.FFmpegError, ValueError):
                    continue
    return out.getvalue()
