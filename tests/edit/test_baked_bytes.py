"""The movie of a retimed clip has the same bytes each time: the watermark names a dub by them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import write_movie, write_wav
from otio_text import clip, media, timeline, track, warp, write

from visualdub.edit.cast import Cast
from visualdub.edit.dialogue import track_lines
from visualdub.edit.dubbing import bake
from visualdub.edit.media import MediaFinder
from visualdub.edit.plan import BAKE, PlanOptions, plan_edit
from visualdub.edit.reading import read_edit
from visualdub.media.movie_writer import MovieWriter, picture_info, rgb_frame
from visualdub.media.source import open_source

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
PICTURES = [np.full((32, 48, 3), 20 * i, np.uint8) for i in range(8)]


def test_a_matroska_file_of_the_same_frames_has_the_same_bytes(tmp_path: Path) -> None:
    def written(name: str) -> bytes:
        path = tmp_path / name
        info = picture_info(path, 48, 32, Fraction(25), len(PICTURES))
        with MovieWriter(path, info, "ffv1") as writer:
            for i, picture in enumerate(PICTURES):
                writer.write(rgb_frame(picture, info.image, i))
        return path.read_bytes()

    assert written("a.mkv") == written("b.mkv")


def test_a_baked_clip_has_the_same_bytes_and_shows_what_the_edit_shows(tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "source.mkv", PICTURES)
    voice = write_wav(tmp_path / "fr.wav", 1.0)
    shown = clip("a", 1, 4, 25.0, reference=media(str(movie), 0, 8, 25.0), effects=[warp(-1)])
    words = clip("fr", 0, 4, 25.0, reference=media(str(voice), 0, 25, 25.0))
    edit = read_edit(
        write(tmp_path / "a.otio", timeline(track(shown), track(words, kind="Audio", name="new")))
    )
    lines, _ = track_lines(edit, "new")
    plan = plan_edit(edit, MediaFinder(edit.path), lines, PlanOptions(Cast(actor="anna.actor")))
    (planned,) = plan.shots
    assert planned.action == BAKE
    first, second = (bake(plan, planned, tmp_path / f"{n}.mkv") for n in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    with open_source(first) as source:
        levels = [int(frame.planes[0].mean()) for frame in source.frames()]
    assert len(levels) == 4 and levels == sorted(levels, reverse=True)
