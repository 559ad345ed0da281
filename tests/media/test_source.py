"""A movie as a source of frames: any range, in any order, several at a time; and what closing it means."""

from __future__ import annotations

import threading
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from media.conftest import make_movie, number_of
from numpy.typing import NDArray

from visualdub.errors import BadInput, MediaError, VisualDubError
from visualdub.media import movie_reader
from visualdub.media.frame import ImageSpec, SampleEncoding
from visualdub.media.source import FrameSource, open_source
from visualdub.timing import FrameRange


def numbers(source: FrameSource, start: int, end: int) -> list[tuple[int, int]]:
    """(index, the number in the picture) of every frame of a range."""
    return [(f.index, number_of(f.planes[0])) for f in source.frames(FrameRange(start, end))]


def open_handles(path: Path) -> int:
    return sum(f.path == str(path) for f in psutil.Process().open_files())


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    return make_movie(tmp_path / "clip.mp4", count=60, options={"g": "12"})


def test_ranges_with_handles_in_any_order(movie: Path) -> None:
    with open_source(movie) as source:
        for start, end in ((48, 60), (0, 3), (23, 26), (24, 25), (12, 40)):
            assert numbers(source, start, end) == [(i, i) for i in range(start, end)]
        assert len(list(source.frames())) == source.info.frame_count == 60


def test_two_ranges_are_read_at_a_time(movie: Path) -> None:
    with open_source(movie) as source:
        near, far = source.frames(FrameRange(5, 9)), source.frames(FrameRange(40, 44))
        pairs = [(number_of(a.planes[0]), number_of(b.planes[0])) for a, b in zip(near, far, strict=True)]
    assert pairs == [(5 + i, 40 + i) for i in range(4)]


def test_a_range_past_the_end_is_refused_before_a_frame_is_read(movie: Path) -> None:
    with (
        open_source(movie) as source,
        pytest.raises(BadInput, match=r"clip\.mp4 has 60 frames; the range 58:61 runs past its end"),
    ):
        source.frames(FrameRange(58, 61))


def test_facts_of_container_and_pictures(movie: Path) -> None:
    with open_source(movie) as source:
        info, frame = source.info, next(source.frames())
    assert (info.path, info.codec) == (movie, "h264") and "mp4" in info.container.split(",")
    assert frame.image == info.image and info.image.encoding is SampleEncoding.CODES


def test_a_closed_source_gives_no_frames_and_those_given_stay(movie: Path) -> None:
    with open_source(movie) as source:
        frames, last = source.frames(), source.frames(FrameRange(59, 60))
        kept = next(frames)
        assert next(last).index == 59
    with pytest.raises(VisualDubError, match=r"clip\.mp4 was closed with 59 frames .* still to be read"):
        next(frames)
    assert list(last) == []
    with pytest.raises(VisualDubError, match=r"clip\.mp4 is closed"):
        source.frames()
    assert number_of(kept.planes[0]) == 0
    source.close()


def test_closing_lets_go_of_the_file(movie: Path) -> None:
    with open_source(movie) as source:
        frames = source.frames()
        next(frames)
        assert open_handles(movie) == 1
    assert open_handles(movie) == 0


def test_closing_tells_the_thread_that_reads(movie: Path) -> None:
    source = open_source(movie)
    read = threading.Event()
    found: list[object] = []

    def reader() -> None:
        try:
            while True:
                for frame in source.frames():
                    found[:] = [frame.index]
                    read.set()
        except VisualDubError as e:
            found[:] = [str(e)]

    thread = threading.Thread(target=reader)
    thread.start()
    assert read.wait(20)
    source.close()
    thread.join(20)
    assert not thread.is_alive() and "clip.mp4" in str(found[0]) and "closed" in str(found[0])


def test_closing_while_a_frame_is_decoded(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is let go of with the frame that the reader was at, though the range is still there."""
    source, decoded = open_source(movie), movie_reader.planes_of

    def closing(picture: av.VideoFrame, image: ImageSpec) -> tuple[NDArray[np.generic], ...]:
        source.close()
        return decoded(picture, image)

    monkeypatch.setattr(movie_reader, "planes_of", closing)
    frames = source.frames()
    assert next(frames).index == 0
    with pytest.raises(VisualDubError, match="closed with 59 frames"):
        next(frames)
    assert open_handles(movie) == 0


def test_opening_refuses_what_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"no\.mp4: no such file"):
        open_source(tmp_path / "no.mp4")
    text = tmp_path / "words.mp4"
    text.write_text("hello\n" * 100)
    with pytest.raises(MediaError, match=r"words\.mp4 cannot be read as media: it is a text file"):
        open_source(text)


def test_frames_of_two_sources_of_one_file_are_equal(movie: Path) -> None:
    with open_source(movie) as a, open_source(movie) as b:
        for one, other in zip(a.frames(FrameRange(30, 33)), b.frames(FrameRange(30, 33)), strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(one.planes, other.planes, strict=True))
