"""The real clips beside the checkout: as many frames as their list says, in and out."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from visualdub.media.movie_writer import AudioSource, MovieWriter
from visualdub.media.source import open_source, probe
from visualdub.timing import FrameRange


@pytest.mark.slow
def test_every_clip_has_the_listed_frames_and_rate(clips: Path) -> None:
    listed = json.loads((clips / "clips.json").read_text())
    assert len(listed) >= 58
    for clip in listed:
        info = probe(clips / clip["file"])
        assert (info.frame_count, info.rate) == (clip["frames"], Fraction(clip["fps"])), clip["file"]
        assert (info.image.width, info.image.height) == (clip["width"], clip["height"]), clip["file"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("studio_a.mp4", 135),
        ("grid_lbbc2a.mpg", 75),
        ("hd1080_podium.mp4", 252),
        ("expr_d9.mp4", 587),
        ("hdtf_hill.mp4", 200),
    ],
)
def test_every_frame_is_read(clips: Path, name: str, count: int) -> None:
    assert [f.index for f in open_source(clips / name).frames()] == list(range(count))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["studio_a.mp4", "grid_lbbc2a.mpg"])
def test_frames_and_sound_out_are_frames_and_sound_in(clips: Path, name: str, tmp_path: Path) -> None:
    info = probe(clips / name)
    with MovieWriter(tmp_path / "out.mkv", info, "ffv1", AudioSource(clips / name)) as writer:
        for frame in open_source(clips / name).frames():
            writer.write(frame)
    back = probe(tmp_path / "out.mkv")
    assert (back.frame_count, back.rate, back.image) == (info.frame_count, info.rate, info.image)
    assert back.has_audio
    for given, got in zip(open_source(clips / name).frames(), open_source(back.path).frames(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(given.planes, got.planes, strict=True))


@pytest.mark.slow
def test_the_podiums_last_frame_is_held_back(clips: Path, tmp_path: Path) -> None:
    info = probe(clips / "hd1080_podium.mp4")
    assert info.repeated == ((250, 3),)
    part = FrameRange(248, 252)
    with MovieWriter(tmp_path / "out.mp4", info.part(part), "h264") as writer:
        for frame in open_source(info.path).frames(part):
            writer.write(frame)
    assert probe(tmp_path / "out.mp4").repeated == ((2, 3),)
