"""Containers that lost frames, alpha or a size without a word: clocks that jump, lost packets, odd sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from visualdub.cli import run
from visualdub.media.delivery import choose_codec, viewer_notes
from visualdub.media.movie_writer import MovieWriter
from visualdub.media.source import open_source, probe
from visualdub.timing import FrameRange

Case = Callable[[str], Path]


def dub(clip: Path, actor: Path, out: Path) -> tuple[int, list[str]]:
    """Exit status and notes of `vdub dub` with the dialogue beside the clip."""
    status = run(
        [
            "dub",
            str(clip),
            "--dialogue",
            str(clip.with_name("fr2.wav")),
            "--actor",
            str(actor),
            "-o",
            str(out),
        ]
    )
    report = out.with_name(out.name + ".report.json")
    return status, json.loads(report.read_text())["notes"] if report.is_file() else []


def luma(path: Path, frames: FrameRange | None = None) -> list[np.ndarray]:
    with open_source(path) as source:
        return [np.asarray(f.planes[0]) for f in source.frames(frames)]


@pytest.mark.parametrize("name", ["v_back.ts", "v_back3.ts"])
def test_a_clock_that_jumps_back_loses_no_frame(name: str, case: Case) -> None:
    clip = case("ts_clock_jumps_back") / name
    info, pictures = probe(clip), luma(clip)
    assert (info.frame_count, len(pictures), info.rate) == (50, 50, 25)
    assert f"the clock of {name} jumps once (at frame 25)" in info.notes[0]
    assert all(
        np.array_equal(a, b) for a, b in zip(luma(clip, FrameRange(30, 33)), pictures[30:33], strict=True)
    )


@pytest.mark.slow
def test_a_clip_whose_clock_jumps_back_is_dubbed_in_order(case: Case, demo_actor: Path) -> None:
    clip = case("ts_clock_jumps_back") / "v_back.ts"
    out = clip.with_name("out.mkv")
    status, notes = dub(clip, demo_actor, out)
    assert (status, probe(out).frame_count) == (0, 50)
    assert "the clock of v_back.ts jumps once (at frame 25)" in " ".join(notes)
    # above the mouth every frame is the clip's own, more than any other
    before = luma(clip)
    nearest = [min(range(50), key=lambda j: int((before[j][:200] != a[:200]).sum())) for a in luma(out)]
    assert nearest == list(range(50))


@pytest.mark.slow
def test_lost_packets_are_named_with_the_clips_own_rate(
    case: Case, demo_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = case("lost_packets_message") / "v_lost.mkv"
    assert dub(clip, demo_actor, clip.with_name("out.mkv"))[0] == 2
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert (
        "has lost 2 of 50 frames at 25 frames/s: 1 after frame 8 (0.32 s), 1 after frame 9 (0.40 s)" in said
    )
    assert "-r 25 " in said


@pytest.mark.slow
def test_the_alpha_of_vp9_is_kept(case: Case, demo_actor: Path) -> None:
    clip = case("alpha_lost") / "v_alpha.webm"
    status, notes = dub(clip, demo_actor, clip.with_name("out.mkv"))
    out = probe(clip.with_name("out.mkv"))
    assert (status, out.frame_count, out.image.pix_fmt) == (0, 25, "yuva420p")
    assert not any("alpha" in n for n in notes)
    with open_source(clip) as before, open_source(out.path) as after:
        pairs = list(zip(before.frames(), after.frames(), strict=True))
    assert all(np.array_equal(a.planes[3], b.planes[3]) for a, b in pairs)
    assert min(int(np.asarray(a.planes[3]).min()) for a, _ in pairs) < 255  # there is something to keep


@pytest.mark.slow
def test_alpha_reaches_prores_and_is_named_where_it_is_lost(case: Case, demo_actor: Path) -> None:
    clip = case("alpha_lost") / "v_alpha.webm"
    graded = clip.with_name("v_alpha.mov")
    with open_source(clip) as source, MovieWriter(graded, source.info) as writer:
        for frame in source.frames():
            writer.write(frame)
    assert dub(graded, demo_actor, clip.with_name("out.mov"))[0] == 0
    assert probe(clip.with_name("out.mov")).image.pix_fmt.startswith("yuva444p")
    out = clip.with_name("out.mp4")
    assert "out.mp4 has no alpha" in viewer_notes(probe(graded), out, choose_codec(out))[0]


@pytest.mark.slow
def test_an_odd_size_becomes_a_movie_that_players_show(case: Case, demo_actor: Path) -> None:
    clip = case("odd_size_to_mp4") / "v_odd.webm"
    out = clip.with_name("out.mp4")
    status, notes = dub(clip, demo_actor, out)
    image = probe(out).image
    assert (status, image.pix_fmt, image.width, image.height) == (0, "yuv420p", 854, 482)
    assert any("out.mp4 is 854 x 482, the clip 853 x 481" in n for n in notes)
    given, got = luma(clip)[0], luma(out)[0]
    assert np.abs(got[:100, :853].astype(int) - given[:100]).mean() < 2
