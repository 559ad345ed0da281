"""Rates, start times, edit lists, repeated frames and variable rates."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media.conftest import image_of, info_of, make_movie, number_of

from visualdub.errors import MediaError
from visualdub.media.source import open_source, probe
from visualdub.timing import FrameRange, VariableRate, find_rate, shift_timecode

NTSC = Fraction(30000, 1001)


def stamps(times: object) -> np.ndarray:
    return np.array(times, np.int64)


def test_millisecond_stamps_are_a_constant_rate() -> None:
    ms = stamps([round(1000 * i / NTSC) for i in range(300)])
    assert find_rate(ms, Fraction(1, 1000), (None, Fraction(2997, 100))) == (NTSC, ()) or find_rate(
        ms, Fraction(1, 1000), (NTSC,)
    ) == (NTSC, ())


def test_an_unnamed_rate_is_found_among_the_standard_ones() -> None:
    assert find_rate(stamps([0, 42, 83, 125, 167, 208, 250]), Fraction(1, 1000), (None,)) == (
        Fraction(24000, 1001),
        (),
    )


def test_a_recorders_jitter_is_a_constant_rate() -> None:
    jittered = [3000 * i + (i * 7919) % 600 - 300 for i in range(200)]  # up to 3.3 ms off at 30 frames/s
    assert find_rate(stamps(jittered), Fraction(1, 90000), (Fraction(30),)) == (Fraction(30), ())


def test_stamps_on_a_coarser_clock_keep_the_declared_average() -> None:
    coarse = [
        512 * round(i * 61 / 45) for i in range(135)
    ]  # 1350/61 frames/s stamped on a clock of 30 per second
    assert find_rate(stamps(coarse), Fraction(1, 15360), (Fraction(30), Fraction(1350, 61))) == (
        Fraction(1350, 61),
        (),
    )


def test_a_frame_on_screen_longer_is_held() -> None:
    assert find_rate(stamps([0, 1, 2, 6, 7]), Fraction(1, 25), (Fraction(25),)) == (Fraction(25), ((2, 3),))


def test_uneven_frames_have_no_rate() -> None:
    with pytest.raises(VariableRate, match=r"from 40\.0 to 160\.0 ms"):
        find_rate(stamps([0, 1, 2, 6, 7, 11, 12, 14, 18]), Fraction(1, 25), (Fraction(25),))


def test_variable_rate_is_refused_with_its_reason(tmp_path: Path) -> None:
    uneven = np.cumsum([0] + [40, 40, 120, 40, 80, 200, 40, 40, 40, 160] * 4).tolist()
    movie = make_movie(tmp_path / "phone.mkv", stamps=uneven, time_base=Fraction(1, 1000))
    with pytest.raises(
        MediaError, match=r"phone\.mkv has a variable frame rate \(frames last from 40\.0 to 200\.0 ms\)"
    ) as e:
        probe(movie)
    assert "\n" not in str(e.value)


def test_repeated_frames_are_kept(tmp_path: Path) -> None:
    stamps = [i + (3 if i > 20 else 0) for i in range(40)]
    info = probe(make_movie(tmp_path / "repeats.mp4", stamps=stamps))
    assert (info.rate, info.frame_count, info.repeated) == (25, 40, ((20, 3),))
    assert info.frame_times()[[0, 20, 21, 39]].tolist() == pytest.approx([0, 0.8, 0.96, 1.68])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_late_start_changes_nothing(suffix: str, tmp_path: Path) -> None:
    codec = "libvpx" if suffix == ".webm" else "libx264"
    movie = make_movie(tmp_path / f"late{suffix}", codec, stamps=[i + 37 for i in range(40)])
    info = probe(movie)
    assert (info.frame_count, info.rate, info.repeated) == (40, 25, ())
    assert [number_of(f.planes[0]) for f in open_source(movie).frames(FrameRange(30, 33))] == [30, 31, 32]


@pytest.mark.parametrize(
    "options", [{"g": "1", "bf": "0"}, {"g": "15", "bf": "2"}], ids=["intra", "b_frames"]
)
def test_an_edit_list_hides_the_first_frames(options: dict[str, str], tmp_path: Path) -> None:
    movie = make_movie(tmp_path / "edited.mov", stamps=[i - 10 for i in range(40)], options=options)
    info = probe(movie)
    shown = [number_of(f.planes[0]) for f in open_source(movie).frames()]
    assert shown == list(range(10, 40))
    assert info.frame_count == 30
    assert [number_of(f.planes[0]) for f in open_source(movie).frames(FrameRange(5, 7))] == [15, 16]


def test_a_range_past_the_end_names_the_clip(tmp_path: Path) -> None:
    movie = make_movie(tmp_path / "short.mp4", count=5)
    with pytest.raises(ValueError, match=r"short\.mp4 has 5 frames; the range 3:6 runs past its end"):
        next(open_source(movie).frames(FrameRange(3, 6)))


@pytest.mark.parametrize(
    ("timecode", "frames", "rate", "later"),
    [
        ("00:00:00:00", 50, Fraction(25), "00:00:02:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("01:00:00:23", 1, Fraction(24000, 1001), "01:00:01:00"),
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),  # numbers 00 and 01 are dropped each minute
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),  # but not each tenth
        ("00:00:00;00", 17982, NTSC, "00:10:00;00"),  # ten minutes of drop-frame
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
    ],
)
def test_timecode_counts_frames(timecode: str, frames: int, rate: Fraction, later: str) -> None:
    assert shift_timecode(timecode, frames, rate) == later


def test_facts_of_a_part() -> None:
    info = info_of(image_of("yuv420p"), frame_count=100, timecode="10:00:00:00", repeated=((20, 2), (60, 1)))
    part = info.part(FrameRange(50, 75))
    assert (part.frame_count, part.timecode, part.repeated) == (25, "10:00:02:02", ((10, 1),))


def test_a_frame_starts_after_the_repeats_before_it() -> None:
    info = info_of(image_of("yuv420p"), frame_count=100, repeated=((20, 2), (60, 1)))
    starts = [info.start_of(frame) for frame in (0, 20, 21, 60, 61)]
    assert starts == [Fraction(n, 25) for n in (0, 20, 23, 62, 64)]
    assert [float(s) for s in starts] == pytest.approx(info.frame_times()[[0, 20, 21, 60, 61]])
