"""What is written: bit-exact FFV1, ProRes, H.264; rate, tags, rotation, aspect, timecode; whole or not at
all.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media.conftest import image_of, info_of, make_movie, noise_frames, number_of

from visualdub.errors import BadInput, InternalError, OutputError
from visualdub.media.frame import ClipInfo, ColourTags, Frame
from visualdub.media.matroska import display_size
from visualdub.media.movie_writer import Codec, MovieWriter, choose_codec
from visualdub.media.pixel_format import bit_depth
from visualdub.media.source import open_source, probe


def write(path: Path, info: ClipInfo, frames: list[Frame], codec: Codec | str | None = None) -> ClipInfo:
    with MovieWriter(path, info, codec) as writer:
        for frame in frames:
            writer.write(frame)
    return probe(path)


@pytest.mark.parametrize(
    "pix_fmt",
    [
        "yuv420p",
        "yuv422p",
        "yuv444p",
        "yuv411p",
        "yuv440p",
        "yuv420p10le",
        "yuv422p10le",
        "yuv444p12le",
        "yuv420p16le",
        "yuva420p",
        "yuva444p10le",
        "gray",
        "gray10le",
        "gray16le",
        "gbrp",
        "gbrap",
        "gbrp10le",
        "gbrp16le",
        "gbrap12le",
    ],
)
def test_ffv1_keeps_every_sample(pix_fmt: str, tmp_path: Path) -> None:
    rgb = pix_fmt.startswith("gbr")
    image = image_of(pix_fmt, colour=ColourTags(2, 0, 1, 13) if rgb else ColourTags(1, 1, 1, 1))
    frames = noise_frames(image)
    back = write(tmp_path / "out.mkv", info_of(image), frames)
    assert (back.image.pix_fmt, back.frame_count) == (pix_fmt, 3)
    for given, got in zip(frames, open_source(back.path).frames(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(given.planes, got.planes, strict=True))


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("name", ["out.mkv", "out.mov", "out.mp4"])
def test_rotation_is_kept(name: str, rotation: int, tmp_path: Path) -> None:
    width, height = (32, 48) if rotation != 180 else (48, 32)
    image = image_of("yuv422p", rotation=rotation, width=width, height=height)
    frames = noise_frames(image)
    back = write(tmp_path / name, info_of(image), frames).image
    assert (back.rotation, back.width, back.height) == (rotation, width, height)
    if name == "out.mkv":
        got = next(open_source(tmp_path / name).frames())
        assert all(np.array_equal(a, b) for a, b in zip(frames[0].planes, got.planes, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.mkv", "out.mov", "out.mp4"])
@pytest.mark.parametrize("rate", ["1350/61", "24000/1001", "30000/1001", "25", "60000/1001", "12"])
def test_rates_are_exact(name: str, rate: str, tmp_path: Path) -> None:
    movie = make_movie(tmp_path / "in.mp4", rate=Fraction(rate))
    back = write(tmp_path / name, probe(movie), list(open_source(movie).frames()))
    assert (back.rate, back.frame_count, back.repeated) == (Fraction(rate), 40, ())
    assert [number_of(f.planes[0]) for f in open_source(back.path).frames()] == list(range(40))


@pytest.mark.parametrize("name", ["out.mkv", "out.mov", "out.mp4"])
def test_facts_are_kept(name: str, tmp_path: Path) -> None:
    image = image_of("yuv422p10le", colour=ColourTags(1, 9, 9, 16), sample_aspect=Fraction(15, 16))
    back = write(tmp_path / name, info_of(image, timecode="01:02:03:04"), noise_frames(image))
    assert (back.timecode, back.image.colour) == ("01:02:03:04", image.colour)
    assert back.image.sample_aspect == Fraction(15, 16)


def test_a_turned_oblong_pixel_is_kept(tmp_path: Path) -> None:
    image = image_of("yuv420p", sample_aspect=Fraction(9, 8), rotation=90, width=32, height=48)
    for name in ("a.mkv", "a.mov"):
        back = write(tmp_path / name, info_of(image), noise_frames(image))
        assert back.image.sample_aspect == Fraction(9, 8)


def test_drop_frame_timecode_is_kept(tmp_path: Path) -> None:
    info = info_of(image_of("yuv420p"), rate=Fraction(30000, 1001), timecode="00:59:59;28")
    assert (
        write(tmp_path / "a.mov", info, noise_frames(info.image, info.frame_count)).timecode == "00:59:59;28"
    )


def test_full_range_and_repeated_frames_are_kept(tmp_path: Path) -> None:
    info = info_of(image_of("yuv420p", colour=ColourTags(2, 6, 6, 6)), frame_count=12, repeated=((4, 2),))
    for name in ("a.mkv", "a.mov", "a.mp4"):
        back = write(tmp_path / name, info, noise_frames(info.image, info.frame_count))
        assert back.repeated == ((4, 2),)
        assert back.image.colour.range == (2 if name != "a.mov" else back.image.colour.range)


def test_display_sizes_are_exact() -> None:
    assert display_size(720, 576, Fraction(16, 15)) == (768, 576)
    assert display_size(720, 480, Fraction(8, 9)) == (640, 480)
    assert Fraction(*display_size(101, 99, Fraction(7, 5))) == Fraction(101 * 7, 99 * 5)


@pytest.mark.parametrize(
    ("codec", "name", "pix_fmt", "worst"),
    [
        ("prores", "a.mov", "yuv422p10le", 2.0),
        ("prores4444", "a.mov", "yuv444p12le", 2.0),
        ("h264", "a.mp4", "yuv420p", 4.0),
    ],
)
def test_lossy_codecs_stay_near(codec: str, name: str, pix_fmt: str, worst: float, tmp_path: Path) -> None:
    movie = make_movie(tmp_path / "in.mkv", "ffv1", "yuv420p", 10)
    back = write(tmp_path / name, probe(movie), list(open_source(movie).frames()), codec)
    assert back.image.pix_fmt == pix_fmt
    scale = 1 << (bit_depth(pix_fmt) - 8)
    for given, got in zip(open_source(movie).frames(), open_source(back.path).frames(), strict=True):
        assert np.abs(got.planes[0] / scale - given.planes[0]).mean() < worst


def test_alpha_reaches_prores4444(tmp_path: Path) -> None:
    image = image_of("yuva444p10le")
    back = write(tmp_path / "a.mov", info_of(image), noise_frames(image), "prores4444")
    assert back.image.pix_fmt.startswith("yuva444p")


def test_h264_takes_odd_sizes_grey_and_rgb(tmp_path: Path) -> None:
    for pix_fmt, size in (("yuv420p", (47, 31)), ("gray", (48, 32)), ("gbrp", (48, 32))):
        colour = ColourTags(2, 0 if pix_fmt == "gbrp" else 2, 2, 2)
        image = image_of(pix_fmt, width=size[0], height=size[1], colour=colour)
        back = write(tmp_path / "a.mp4", info_of(image), noise_frames(image))
        assert (back.frame_count, back.image.width, back.image.height) == (3, 48, 32)
        assert back.image.pix_fmt == "yuv420p"


def test_the_same_input_gives_the_same_file(tmp_path: Path) -> None:
    info = info_of(image_of("yuv420p"))
    for name in ("a.mkv", "b.mkv"):
        write(tmp_path / name, info, noise_frames(info.image, info.frame_count))
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


# ---- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "message"),
    [
        ("out.xyz", None, r"out\.xyz ends in '\.xyz'; expected \.mkv"),
        ("out", None, "ends in 'no suffix'"),
        ("out.mkv", "vhs", "codec 'vhs' is not known; expected one of ffv1, prores"),
        ("out.mp4", "prores", r"prores is not written to \.mp4; expected \.mov"),
    ],
)
def test_outputs_that_do_not_fit(name: str, codec: str | None, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        choose_codec(Path(name), codec)


@pytest.mark.parametrize("count", [2, 4])
def test_frames_in_are_frames_out(count: int, tmp_path: Path) -> None:
    info = info_of(image_of("yuv420p"))
    frames = (noise_frames(info.image, info.frame_count) * 2)[:count]
    with pytest.raises(InternalError, match=r"3 (frames )?promised"):
        write(tmp_path / "a.mkv", info, frames)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_the_old_file_alone(tmp_path: Path) -> None:
    info = info_of(image_of("yuv420p"))
    (tmp_path / "a.mkv").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), MovieWriter(tmp_path / "a.mkv", info) as writer:
        writer.write(noise_frames(info.image, info.frame_count)[0])
        assert len(list(tmp_path.glob(".a.mkv.*.partial"))) == 1
        raise KeyboardInterrupt
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.mkv": b"before"}


def test_a_frame_of_another_shape_is_refused(tmp_path: Path) -> None:
    info = info_of(image_of("yuv420p"))
    wrong = noise_frames(replace(info.image, width=64))[0]
    with pytest.raises(
        InternalError, match=r"a plane of yuv420p is uint8 \(32, 64\); expected uint8 \(32, 48\)"
    ):
        write(tmp_path / "a.mkv", info, [wrong])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mkv", "a.mov", "a.mp4"])
def test_a_full_disk_leaves_nothing(name: str, small_disk: Path) -> None:
    info = info_of(image_of("yuv444p", width=320, height=240), frame_count=30)
    with pytest.raises(OutputError, match=r"a\.\w+ cannot be written: No space left on device"):
        write(
            small_disk / name,
            info,
            noise_frames(info.image, info.frame_count),
            Codec("h264", crf=0) if name == "a.mp4" else None,
        )
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_at_the_very_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("visualdub.storage.os.fsync", full)
    info = info_of(image_of("yuv420p"))
    with pytest.raises(OutputError, match="No space left on device"):
        write(tmp_path / "a.mkv", info, noise_frames(info.image, info.frame_count))
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder(read_only: Path) -> None:
    with pytest.raises(
        OutputError, match=r"a\.mkv cannot be written: (Read-only file system|Permission denied)"
    ):
        write(read_only / "a.mkv", info_of(image_of("yuv420p")), [])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        write(tmp_path / "nowhere" / "a.mkv", info_of(image_of("yuv420p")), [])


def test_interlaced_movies_say_so(tmp_path: Path) -> None:
    info = info_of(image_of("yuv422p10le"), field_order=2)
    assert [
        write(tmp_path / n, info, noise_frames(info.image, info.frame_count)).field_order
        for n in ("a.mkv", "a.mov")
    ] == [2, 2]


def test_a_drop_frame_mark_at_a_rate_without_one_is_not_lost(tmp_path: Path) -> None:
    info = info_of(image_of("yuv420p"), timecode="01:00:00;10")
    assert (
        write(tmp_path / "a.mov", info, noise_frames(info.image, info.frame_count)).timecode == "01:00:00:10"
    )
