"""Clocks that jump, wrap or have gaps: no frame is lost without a word."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media.conftest import make_movie, number_of

from benchmarks.samples.movies import shifted_ts
from visualdub.errors import MediaError
from visualdub.media.clip_index import PacketStamps, clock_shifts
from visualdub.media.source import open_source, probe
from visualdub.timing import FrameRange, VariableRate, find_rate


def packets(*runs: list[tuple[int, int]]) -> tuple[PacketStamps, ...]:
    """(presentation, decoding) stamps; each run starts with a key frame."""
    return tuple(PacketStamps(p, d, i == 0, True) for run in runs for i, (p, d) in enumerate(run))


def numbers(path: Path, frames: FrameRange | None = None) -> list[int]:
    with open_source(path) as source:
        return [number_of(f.planes[0]) for f in source.frames(frames)]


def test_the_frame_after_a_jump_follows_by_one_period() -> None:
    run = [(2, 0), (5, 1), (3, 2), (4, 3)]  # presentation 2 3 4 5, one tick each
    later = [(p + 100, d + 100) for p, d in run]
    assert clock_shifts(packets(run, later), decoding_stamps=True) == [0] * 8  # a gap is no jump back
    assert clock_shifts(packets(later, run)) == [0] * 4 + [104] * 4
    assert clock_shifts(packets(later, run, run)) == [0] * 4 + [104] * 4 + [108] * 4
    assert clock_shifts(packets(run, later), longest_gap=Fraction(50)) == [0] * 4 + [-96] * 4


def test_without_decoding_stamps_a_key_frame_tells() -> None:
    run = [(0, 0), (3, 3), (1, 1), (2, 2)]  # guessed decoding stamps fall back inside of it
    assert clock_shifts(packets(run, [(p + 4, d) for p, d in run]), decoding_stamps=False) == [0] * 8
    assert clock_shifts(packets(run, run), decoding_stamps=False) == [0] * 4 + [4] * 4


@pytest.fixture
def transport(tmp_path: Path) -> bytes:
    """A transport stream of 40 numbered frames with B frames, two groups of pictures."""
    return make_movie(tmp_path / "one.ts", options={"g": "20", "sc_threshold": "0"}).read_bytes()


@pytest.mark.parametrize(("first", "second"), [(50, 10), (3000, 10), (10, 90000), (10, 10)])
def test_every_frame_of_two_joined_streams(first: int, second: int, transport: bytes, tmp_path: Path) -> None:
    path = tmp_path / "two.ts"
    path.write_bytes(shifted_ts(transport, 90000 * first) + shifted_ts(transport, 90000 * second))
    info = probe(path)
    assert (info.frame_count, info.rate) == (80, 25)
    assert "the clock of two.ts jumps once (at frame 40)" in info.notes[0]
    assert numbers(path) == [*range(40), *range(40)]
    assert numbers(path, FrameRange(65, 70)) == [25, 26, 27, 28, 29]


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_a_jump_between_frames_that_change_places(share: float, transport: bytes, tmp_path: Path) -> None:
    path = tmp_path / "inside.ts"
    at = int(share * len(transport)) // 188 * 188
    path.write_bytes(shifted_ts(transport[:at], 90000 * 500) + shifted_ts(transport[at:], 90000 * 10))
    info = probe(path)
    assert (info.frame_count, info.rate) == (40, 25) and "jumps once" in info.notes[0]
    assert numbers(path) == list(range(40))


@pytest.mark.parametrize("seconds_before", [1, 30, 3600])
def test_a_clock_that_wraps(seconds_before: int, transport: bytes, tmp_path: Path) -> None:
    """33 bits of 90 kHz are 26.5 hours. Where the wrap lies more than a minute after the start, the start is
    another stream.
    """
    path = tmp_path / "wraps.ts"
    wrap = 1 << 33
    start = wrap - 126000 - 90000  # FFmpeg starts its streams at 1.4 s: the wrap comes after a second
    early = shifted_ts(transport, start - 90000 * seconds_before) if seconds_before > 1 else b""
    path.write_bytes(early + shifted_ts(transport, start))
    count = 80 if early else 40
    assert numbers(path) == [i % 40 for i in range(count)]
    assert probe(path).rate == 25


def test_lost_frames_are_named() -> None:
    stamps = np.array([0, 1, 2, 4, 5, 6, 7, 8, 12, 13, 14, 15], np.int64)
    with pytest.raises(
        VariableRate, match=r"^4 of 16 frames at 25 frames/s: 1 after frame 2 \(0\.08 s\), 3 after"
    ) as e:
        find_rate(stamps, Fraction(1, 25), (Fraction(25),))
    assert e.value.lost and e.value.rate == 25


def test_a_clip_without_a_rate_is_told_its_own(tmp_path: Path) -> None:
    uneven = np.cumsum([0, 42, 42, 71, 42, 42, 90, 41, 42, 66, 42, 57, 42, 80]).tolist()
    movie = make_movie(tmp_path / "phone.mkv", stamps=uneven, count=14, time_base=Fraction(1, 1000))
    with pytest.raises(MediaError, match=r"-r 24000/1001 OUT|-r 24 OUT"):
        probe(movie)


def test_one_lost_frame_is_a_note(tmp_path: Path) -> None:
    stamps = [i + (i > 20) for i in range(40)]
    info = probe(make_movie(tmp_path / "gap.mp4", stamps=stamps))
    assert info.repeated == ((20, 1),)
    assert info.notes == ("gap.mp4 has lost 1 frame (after frame 20); what comes before it is shown longer",)
