"""Frames that stay in memory are those of the clip, in any order of asking, and no more than allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from visualdub.errors import MediaError, VisualDubError
from visualdub.media.kept_frames import KeptFrames
from visualdub.media.source import open_source
from visualdub.timing import FrameRange


def test_frames_are_those_of_the_clip(talking: Path) -> None:
    with open_source(talking) as source:
        direct = [[p.copy() for p in f.planes] for f in source.frames()]
    with KeptFrames(talking, 1 << 30) as kept:
        for wanted in (FrameRange(20, 25), FrameRange(18, 30), FrameRange(22, 24), FrameRange(0, 40)):
            frames = list(kept.frames(wanted))
            assert [f.index for f in frames] == list(wanted)
            for frame in frames:
                for plane, expected in zip(frame.planes, direct[frame.index], strict=True):
                    assert np.array_equal(plane, expected)
    with pytest.raises(VisualDubError, match="closed"):
        kept.frames(FrameRange(0, 1))


def test_what_is_kept_is_not_decoded_again_and_is_bounded(talking: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    shutil.copyfile(talking, clip)
    with open_source(clip) as source:
        size = sum(p.nbytes for p in next(iter(source.frames(FrameRange(0, 1)))).planes)
    with KeptFrames(clip, 6 * size) as kept:
        list(kept.frames(FrameRange(10, 18)))
        list(kept.frames(FrameRange(13, 14)))  # used again: 12 goes before it
        clip.unlink()
        assert [f.index for f in kept.frames(FrameRange(12, 18))] == list(range(12, 18))
        with pytest.raises(MediaError):
            list(kept.frames(FrameRange(11, 13)))
