"""Frames that are not to be touched: which they are, and what becomes of their neighbours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import write_wav

from visualdub import cli
from visualdub.actor.package import load_actor
from visualdub.dub import track_shot
from visualdub.edit import plan_shot
from visualdub.errors import BadInput
from visualdub.face.track import Performance
from visualdub.media.source import open_source
from visualdub.records import read_provenance
from visualdub.render.shot_renderer import ShotRenderer
from visualdub.speech.performance import pass_through
from visualdub.timing import FrameChoice, FrameRange

FADE, EASE = 3, 5  # frames at 25 frames/s


def left_out(skip: list[str], only: list[str], frames: tuple[int, int] = (0, 40)) -> list[str]:
    return [str(r) for r in FrameChoice.parse(skip, only).left_out(FrameRange(*frames), 40, "a.mkv")]


def test_the_runs_that_are_left_out() -> None:
    assert left_out([], []) == []
    assert left_out(["3:5", "5:8", "20:40"], []) == ["3:8", "20:40"]
    assert left_out([], ["10:20", "15:30"]) == ["0:10", "30:40"]
    assert left_out(["12:14"], ["10:20"]) == ["0:10", "12:14", "20:40"]
    assert left_out(["0:12", "18:40"], [], (10, 20)) == ["10:12", "18:20"]


@pytest.mark.parametrize(
    ("skip", "only", "said"),
    [
        (["7"], [], "--skip: frames '7' is not a range"),
        ([], ["9:9"], "--only: frames 9:9 is empty"),
        (["30:41"], [], "--skip: a.mkv has 40 frames; the range 30:41 runs past its end"),
        ([], ["30:35"], "--only 30:35 holds none of the frames 10:20 of a.mkv"),
        (["10:15", "15:20"], [], "--skip and --only leave none of the frames 10:20 of a.mkv"),
        (["8:15"], ["12:14"], "leave none of the frames"),
    ],
)
def test_impossible_ranges_are_refused(skip: list[str], only: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        left_out(skip, only, (10, 20))


def test_a_part_of_a_shot_skips_what_lies_in_it(talking: Path) -> None:
    shot = plan_shot(talking).choose(FrameChoice.parse(["5:10", "20:30"], None))
    assert shot.trim(FrameRange(8, 24)).skipped == (FrameRange(8, 10), FrameRange(20, 24))
    assert np.flatnonzero(shot.trim(FrameRange(8, 24)).skips()).tolist() == [0, 1, 12, 13, 14, 15]


def test_the_mouth_eases_to_the_filmed_one_and_then_the_pixels_fade(talking: Path) -> None:
    track = track_shot(plan_shot(talking)).track
    new = Performance(track.jaw + 0.1, track.expression + 1, np.ones(len(track)))
    skipped = np.zeros(len(track), np.bool_)
    skipped[20:24] = True
    eased = pass_through(track, new, skipped)
    change = eased.jaw - track.jaw
    assert (change[20 - FADE : 24 + FADE] == 0).all()
    assert (eased.draw[20:24] == 0).all()
    assert np.allclose(eased.draw[24 : 24 + FADE], np.arange(1, FADE + 1) / (FADE + 1))
    far = np.r_[0 : 20 - FADE - EASE - 1, 24 + FADE + EASE + 1 : len(track)]
    assert np.array_equal(eased.jaw[far], new.jaw[far]) and (eased.draw[far] == 1).all()
    assert np.array_equal(eased.expression[far], new.expression[far])
    assert (np.diff(change[24:36]) > -1e-9).all() and np.diff(change[24:36]).max() < 0.03
    assert pass_through(track, new, np.zeros(len(track), np.bool_)) is new


def test_skipped_frames_are_part_of_the_key(talking: Path, flat_actor: Path) -> None:
    tracked, actor = track_shot(plan_shot(talking)), load_actor(flat_actor)
    performance = Performance.of_track(tracked.track)

    def key(skip: list[str]) -> str:
        shot = tracked.shot.choose(FrameChoice.parse(skip, None))
        return ShotRenderer(shot, actor, track=tracked.track, performance=performance).key(0).job

    assert len({key([]), key(["5:10"]), key(["5:11"])}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("command", ["dub", "reenact"])
def test_skipped_frames_are_the_sources_own(
    command: str, talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, wav = tmp_path / "out.mkv", write_wav(tmp_path / "a.wav", 1.6)
    args = [command, str(talking), "--actor", str(flat_actor), "-o", str(out), "--frames", "2:40"]
    args += ["--dialogue", str(wav)] if command == "dub" else []
    assert cli.run([*args, "--skip", "10:14", "--only", "0:30", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    report = printed["outputs"][0] if command == "dub" else printed
    passed = [{"frames": f, "reason": "skipped"} for f in ("10:14", "30:40")]
    assert report["passed"] == passed and report["drawn"] == 24
    assert [(p.frames, p.reason) for p in read_provenance(out).passed] == [
        ("10:14", "skipped"),
        ("30:40", "skipped"),
    ]
    source = open_source(talking).frames(FrameRange(2, 40))
    changed = [
        any(not np.array_equal(a, b) for a, b in zip(old.planes, new.planes, strict=True))
        for old, new in zip(source, open_source(out).frames(), strict=True)
    ]
    assert [i + 2 for i, c in enumerate(changed) if not c] == [*range(10, 14), *range(30, 40)]
    assert cli.run([*args, "--skip", "0:2"]) == 2
    assert "--skip 0:2 holds none of the frames 2:40" in capsys.readouterr().err
