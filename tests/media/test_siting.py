"""Chroma siting: read from the movie where it says it, kept where it is written, moved where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av.logging
import numpy as np
import pytest
from media.conftest import image_of, info_of, make_movie, noise_frames

from visualdub.media.frame import ChromaSiting, Frame
from visualdub.media.movie_writer import MovieWriter
from visualdub.media.siting import default_siting
from visualdub.media.source import open_source, probe
from visualdub.media.yuv import convert_planes, planes_to_rgb

MATROSKA = (ChromaSiting.LEFT, ChromaSiting.CENTRE, ChromaSiting.TOP_LEFT, ChromaSiting.TOP)


def sited(path: Path, codec: str, siting: ChromaSiting) -> Path:
    return make_movie(path, codec, count=2, options={"chroma_sample_location": siting.value})


@pytest.mark.parametrize("siting", ChromaSiting)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_h264_says_where_its_chroma_lies(siting: ChromaSiting, name: str, tmp_path: Path) -> None:
    assert probe(sited(tmp_path / name, "libx264", siting)).image.siting is siting


@pytest.mark.parametrize("siting", MATROSKA)
def test_matroska_says_where_the_chroma_of_any_codec_lies(siting: ChromaSiting, tmp_path: Path) -> None:
    assert probe(sited(tmp_path / "a.mkv", "ffv1", siting)).image.siting is siting


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "siting"),
    [
        ("a.mp4", "libx264", "yuv420p", ChromaSiting.LEFT),
        ("a.mkv", "mpeg2video", "yuv420p", ChromaSiting.LEFT),
        ("a.mkv", "ffv1", "yuv420p", ChromaSiting.LEFT),
        ("a.mpg", "mpeg1video", "yuv420p", ChromaSiting.CENTRE),
        ("a.mov", "mjpeg", "yuvj420p", ChromaSiting.CENTRE),
    ],
)
def test_movies_that_say_nothing(
    name: str, codec: str, pix_fmt: str, siting: ChromaSiting, tmp_path: Path
) -> None:
    assert probe(make_movie(tmp_path / name, codec, pix_fmt, 2)).image.siting is siting


def test_defaults_of_the_standards() -> None:
    sitings = [default_siting(codec) for codec in ("mjpeg", "mpeg1video", "mpeg2video", "h264", "prores")]
    assert sitings == [ChromaSiting.CENTRE] * 2 + [ChromaSiting.LEFT] * 3


@pytest.fixture
def quiet() -> Iterator[None]:
    before = av.logging.get_level()
    av.logging.set_level(None)
    yield
    av.logging.set_level(before)


def test_movies_are_opened_by_several_threads_at_once(tmp_path: Path, quiet: None) -> None:
    wanted = [siting for siting in ChromaSiting for _ in range(4)]
    movies = [
        sited(tmp_path / f"{i}.mp4", "libx264", siting) for i, siting in enumerate(wanted)
    ]  # each its own file: facts of a file are remembered
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda movie: probe(movie).image.siting, movies))
    assert found == wanted
    assert av.logging.get_level() is None


# ---- written -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("siting", ChromaSiting)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_h264_keeps_the_siting(siting: ChromaSiting, name: str, tmp_path: Path) -> None:
    image = image_of("yuv420p", siting=siting)
    with MovieWriter(tmp_path / name, info_of(image), "h264") as writer:
        for frame in noise_frames(image):
            writer.write(frame)
    assert probe(tmp_path / name).image == image


@pytest.mark.parametrize("siting", ChromaSiting)
def test_ffv1_keeps_the_samples_and_the_siting_that_matroska_can_name(
    siting: ChromaSiting, tmp_path: Path
) -> None:
    image = image_of("yuv420p", siting=siting)
    frames = noise_frames(image)
    with MovieWriter(tmp_path / "a.mkv", info_of(image), "ffv1") as writer:
        for frame in frames:
            writer.write(frame)
    assert probe(tmp_path / "a.mkv").image.siting is (siting if siting in MATROSKA else ChromaSiting.LEFT)
    for given, got in zip(frames, open_source(tmp_path / "a.mkv").frames(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(given.planes, got.planes, strict=True))


def test_chroma_moves_to_another_siting() -> None:
    """A slope of 8 codes a chroma sample, 4 a pixel; half a pixel to the left it is 2 codes lower."""
    slope = np.tile((40 + 8 * np.arange(24)).astype(np.uint8), (32, 1))
    planes = (np.full((32, 48), 128, np.uint8), slope, slope[:, ::-1])
    centre, left = (image_of("yuv422p", siting=s) for s in (ChromaSiting.CENTRE, ChromaSiting.LEFT))
    luma, blue, red = convert_planes(planes, centre, left)
    assert np.array_equal(luma, planes[0])
    assert (blue[:, 4:-4].astype(int) - planes[1][:, 4:-4] == -2).all()
    assert (red[:, 4:-4].astype(int) - planes[2][:, 4:-4] == 2).all()


def test_a_siting_along_full_size_chroma_moves_nothing() -> None:
    frame = noise_frames(image_of("yuv422p"), 1)[0]
    for siting in (ChromaSiting.TOP_LEFT, ChromaSiting.BOTTOM_LEFT):
        moved = convert_planes(frame.planes, frame.image, image_of("yuv422p", siting=siting))
        assert all(a is b for a, b in zip(moved, frame.planes, strict=True))


def test_prores_which_names_no_siting_gets_chroma_on_the_left(tmp_path: Path) -> None:
    image = image_of("yuv422p10le", width=192, height=96, siting=ChromaSiting.CENTRE)
    x = np.arange(96)
    slope = np.tile((300 + 4 * x).astype(np.uint16), (96, 1))
    given = Frame(0, (np.full((96, 192), 500, np.uint16), slope, slope[:, ::-1].copy()), image)
    with MovieWriter(tmp_path / "a.mov", info_of(image, frame_count=1), "prores") as writer:
        writer.write(given)
    (got,) = open_source(tmp_path / "a.mov").frames()
    assert got.image.siting is ChromaSiting.LEFT
    apart = planes_to_rgb(got.planes, got.image) - planes_to_rgb(given.planes, image)
    assert np.abs(apart[:, 16:-16]).max() < 1e-3, "half a pixel of this slope is 2e-3"
