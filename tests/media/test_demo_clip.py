"""The demo's clip as a camera's would come: H.264 with frames out of order, AAC; every frame in and out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from visualdub.media.audio import read_audio
from visualdub.media.movie_reader import probe, read_frames
from visualdub.media.movie_writer import AudioSource, VideoWriter


def test_every_frame_is_read(demo_clip: Path) -> None:
    info = probe(demo_clip)
    assert (info.frame_count, info.rate, info.width, info.height) == (125, Fraction(25), 512, 600)
    assert [f.index for f in read_frames(demo_clip)] == list(range(125))


def test_frames_and_sound_out_are_frames_and_sound_in(demo_clip: Path, tmp_path: Path) -> None:
    info = probe(demo_clip)
    with VideoWriter(tmp_path / "out.mkv", info, "ffv1", AudioSource(demo_clip)) as writer:
        for frame in read_frames(demo_clip):
            writer.write(frame)
    back = probe(tmp_path / "out.mkv")
    assert (back.frame_count, back.rate, back.pix_fmt, back.has_audio) == (125, info.rate, info.pix_fmt, True)
    assert back.colour == info.colour
    given_sound, got_sound = read_audio(demo_clip), read_audio(back.path)
    assert given_sound.std() > 0.01
    np.testing.assert_allclose(got_sound[:72000], given_sound[:72000], atol=1e-4)
    for given, got in zip(read_frames(demo_clip), read_frames(back.path), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(given.planes, got.planes, strict=True))
