"""Where the frames of a movie are: one pass over the packets of its video stream, on a clock that runs on."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import av
import av.container
import av.video.stream
import numpy as np
from numpy.typing import NDArray

PACKETS_PER_REPORT = 250
PACKETS_SEARCHED = 500  # for captions; they come with every frame or not at all
_CAPTION_MARK = b"GA94"  # ATSC A/53's identifier of user data, in MPEG-2, H.264 and HEVC alike
_CAPTION_CODECS = ("h264", "hevc", "mpeg2video")
_BROADCAST = ("mpegts", "mpeg")  # containers whose clock may jump anywhere (FFmpeg's AVFMT_TS_DISCONT)
_REORDERED = 20  # frames on either side of a jump that may change places, at most
_LONGEST_GAP = 10  # seconds; a broadcast clock that goes on later than this was set anew


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A frame that a decoder can start at. Stamps are on the clock that runs on."""

    pts: int  # presentation stamp
    dts: int  # decoding stamp, as the container has it
    packet: int  # its number among the packets of its stream that hold data


@dataclass(frozen=True)
class ClipIndex:
    """Where the frames of a clip are. n frames."""

    stamps: (
        NDArray[np.int64] | None
    )  # (n,) presentation stamps in order, unique; None where the container has none
    keys: tuple[KeyFrame, ...]  # in order; none where a decoder has to start at the beginning
    jumps: tuple[
        tuple[int, int], ...
    ] = ()  # (packet, ticks): from this packet on so many are added to stamps

    def shift_at(self, packet: int) -> int:
        """Ticks that are added to the stamps of packet number `packet`."""
        return next((ticks for first, ticks in reversed(self.jumps) if packet >= first), 0)


@dataclass(frozen=True, slots=True)
class PacketStamps:
    """Stamps of one packet with data, as the container has them."""

    pts: int | None
    dts: int | None
    is_key: bool
    visible: bool  # whether it becomes a frame that a viewer sees, as far as its packet tells


@dataclass(frozen=True)
class Packets:
    """The pass over a video stream."""

    stamps: tuple[PacketStamps, ...]
    captions: bool  # whether CEA-608 or CEA-708 captions lie in the stream


def read_packets(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    report: Callable[[int | None], None],
) -> Packets:
    """Stamps of every packet of the stream that holds data. report: gets the position in the file, now and
    then.
    """
    stamps: list[PacketStamps] = []
    codec = stream.codec_context.codec.canonical_name
    captions = False
    for number, packet in enumerate(data_packets(container, stream)):
        if number % PACKETS_PER_REPORT == 0:
            report(packet.pos)
        if codec in _CAPTION_CODECS and number < PACKETS_SEARCHED and not captions:
            captions = _CAPTION_MARK in bytes(packet)
        hidden = codec == "vp8" and not bytes(packet)[0] & 0x10  # VP8's show_frame bit
        stamps.append(
            PacketStamps(packet.pts, packet.dts, packet.is_keyframe, not (packet.is_discard or hidden))
        )
    return Packets(tuple(stamps), captions)


def data_packets(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Iterator[av.Packet[av.video.stream.VideoStream]]:
    """The packets of the stream that hold data, in order: what their numbers count."""
    return (packet for packet in container.demux(stream) if packet.size)


def index_packets(
    packets: tuple[PacketStamps, ...],
    container: str,
    time_base: Fraction,
    first: int | None,
) -> tuple[ClipIndex, NDArray[np.int64] | None, int]:
    """The index, the stamps that tell the rate (sorted; None where there are none) and the number of frames.

    container: FFmpeg's name. first: presentation stamp of the first picture that can be decoded; None where
    it has none.
    """
    ordered = container != "avi"  # AVI has decoding stamps only; FFmpeg's guesses at the others are wrong
    seeks = container != "mpeg"  # a program stream gives wrong stamps to the first packets after a seek
    gap = _LONGEST_GAP / time_base if container in _BROADCAST else None
    shifts = clock_shifts(packets, gap, decoding_stamps=not container.startswith("matroska"))
    pts: list[int | None] = []
    dts: list[int | None] = []
    keys = []
    for number, (packet, shift) in enumerate(zip(packets, shifts, strict=True)):
        stamp = None if packet.pts is None else packet.pts + shift
        if packet.is_key and stamp is not None and packet.dts is not None:
            keys.append(KeyFrame(stamp, packet.dts, number))
        undecodable = ordered and first is not None and stamp is not None and stamp < first
        if packet.visible and not undecodable:
            pts.append(stamp)
            dts.append(None if packet.dts is None else packet.dts + shift)
    stamps = _unique(pts) if ordered else None
    timing = stamps if stamps is not None else _unique(dts)
    changes = [i for i in range(1, len(shifts)) if shifts[i] != shifts[i - 1]]
    jumps = tuple((i, shifts[i]) for i in changes)
    keys.sort(key=lambda k: k.pts)
    return ClipIndex(stamps, tuple(keys) if seeks else (), jumps), timing, len(pts)


def clock_shifts(
    packets: tuple[PacketStamps, ...], longest_gap: Fraction | None = None, decoding_stamps: bool = True
) -> list[int]:
    """Ticks to add to each packet's stamps so that the clock runs on where it jumped back or wrapped.

    The clock jumped where a decoding stamp falls behind the one before and, with `longest_gap` (ticks), where
    it is further ahead than that. Without `decoding_stamps` (FFmpeg guesses them where a container has none)
    it jumped where a key frame is not presented after everything before it. After a jump decoding goes on by
    the usual period, so that frames may still change places across it; where that leaves a gap or two frames
    at one time, the first frame follows the last one before the jump.
    """
    starts = _decoding_jumps(packets, longest_gap) if decoding_stamps else _presentation_jumps(packets)
    bounds = [0, *starts, len(packets)]
    runs = [packets[a:b] for a, b in pairwise(bounds)]
    period = _usual_period(runs) if starts else 1
    shifts: list[int] = []
    shift = 0
    before: tuple[PacketStamps, ...] = ()
    for run in runs:
        if before:
            shift = _shift(before, shift, run, period, decoding_stamps)
        before = run
        shifts += [shift] * len(run)
    return shifts


def _shift(
    before: tuple[PacketStamps, ...],
    shift: int,
    run: tuple[PacketStamps, ...],
    period: int,
    decoding_stamps: bool,
) -> int:
    """Ticks to add to the stamps of `run`, which follows the run `before`, to which `shift` was added."""
    shown = [p.pts + shift for p in before if p.pts is not None]
    new = [p.pts for p in run if p.pts is not None]
    if not shown or not new:
        return shift
    decoded, next_decoded = before[-1].dts, run[0].dts
    if decoding_stamps and decoded is not None and next_decoded is not None:
        by_decoding = decoded + shift + period - next_decoded
        joined = sorted(
            [*heapq.nlargest(_REORDERED, shown), *(n + by_decoding for n in heapq.nsmallest(_REORDERED, new))]
        )
        if all(0.5 * period < later - earlier < 1.5 * period for earlier, later in pairwise(joined)):
            return by_decoding
    return max(shown) + period - min(new)


def _decoding_jumps(packets: tuple[PacketStamps, ...], longest_gap: Fraction | None) -> list[int]:
    """Numbers of the packets at which the clock was set anew, by their decoding stamps."""
    found = []
    last: int | None = None
    for number, packet in enumerate(packets):
        if packet.dts is None:
            continue
        if last is not None and not 0 <= packet.dts - last <= (longest_gap or np.inf):
            found.append(number)
        last = packet.dts
    return found


def _presentation_jumps(packets: tuple[PacketStamps, ...]) -> list[int]:
    """Numbers of the key frames at which the clock was set anew, by their presentation stamps."""
    found = []
    latest: int | None = None
    for number, packet in enumerate(packets):
        if packet.pts is None:
            continue
        if packet.is_key and latest is not None and packet.pts < latest:
            found.append(number)
            latest = None
        latest = packet.pts if latest is None else max(latest, packet.pts)
    return found


def _usual_period(runs: list[tuple[PacketStamps, ...]]) -> int:
    """Ticks from one frame to the next, the median over all runs; 1 where no run has two frames."""
    gaps = [np.diff(np.unique([p.pts for p in run if p.pts is not None])) for run in runs]
    every = np.concatenate([g for g in gaps if len(g)] or [np.ones(1)])
    return max(1, round(float(np.median(every))))


def _unique(stamps: list[int | None]) -> NDArray[np.int64] | None:
    """The stamps in order; None where one is missing or comes twice."""
    if any(s is None for s in stamps):
        return None
    ordered = np.unique(np.array(stamps, np.int64))
    return ordered if len(ordered) == len(stamps) else None
