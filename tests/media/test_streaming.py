"""Memory does not grow with the length of a clip."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import psutil
import pytest
from media.conftest import make_movie

from visualdub.media.frame import Frame
from visualdub.media.movie_writer import MovieWriter
from visualdub.media.source import open_source, probe


@pytest.mark.slow
def test_a_read_frame_is_let_go(tmp_path: Path) -> None:
    movie = make_movie(tmp_path / "a.mp4")
    alive: list[weakref.ref[Frame]] = []
    gc.freeze()  # what other tests have loaded is not looked through for every frame
    try:
        for frame in open_source(movie).frames():
            alive.append(weakref.ref(frame))
            gc.collect()
            assert sum(r() is not None for r in alive) <= 2
    finally:
        gc.unfreeze()


@pytest.mark.slow
def test_memory_stays_flat_from_decode_to_encode(tmp_path: Path) -> None:
    movie = make_movie(
        tmp_path / "a.mp4", count=600, size=(640, 368), options={"preset": "ultrafast"}
    )  # 350 kB a frame
    resident = {}
    with MovieWriter(tmp_path / "b.mp4", probe(movie), "h264") as writer:
        for frame in open_source(movie).frames():
            writer.write(frame)
            if frame.index in (150, 599):
                resident[frame.index] = psutil.Process().memory_info().rss
    assert resident[599] - resident[150] < 30e6  # 150 MB if frames were kept
