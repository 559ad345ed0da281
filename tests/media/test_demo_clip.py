"""The demo's clip as a camera's would come: H.264 with frames out of order, AAC; every frame in and out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from visualdub.media.audio import read_audio
from visualdub.media.movie_writer import AudioSource, MovieWriter
from visualdub.media.source import open_source


def test_every_frame_is_read(demo_clip: Path) -> None:
    with open_source(demo_clip) as source:
        info = source.info
        assert (info.frame_count, info.rate, info.image.width, info.image.height) == (
            125,
            Fraction(25),
            512,
            600,
        )
        assert [f.index for f in source.frames()] == list(range(125))


@pytest.mark.slow
def test_frames_and_sound_out_are_frames_and_sound_in(demo_clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out.mkv"
    with (
        open_source(demo_clip) as source,
        MovieWriter(copy, source.info, "ffv1", AudioSource(demo_clip)) as w,
    ):
        for frame in source.frames():
            w.write(frame)
    with open_source(demo_clip) as source, open_source(copy) as back:
        assert (back.info.frame_count, back.info.rate, back.info.has_audio) == (125, source.info.rate, True)
        assert back.info.image.colour == source.info.image.colour
        assert back.info.image.pix_fmt == source.info.image.pix_fmt
        for given, got in zip(source.frames(), back.frames(), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(given.planes, got.planes, strict=True))
    given_sound, got_sound = read_audio(demo_clip), read_audio(copy)
    assert given_sound.std() > 0.01
    np.testing.assert_allclose(got_sound[:72000], given_sound[:72000], atol=1e-4)
