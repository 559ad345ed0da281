"""An actor is adapted to what an edit shows of them: takes and handles, and the frames that differ most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie
from otio_text import clip, gap, media, timeline, track, write
from PIL import Image

from visualdub.actor.record import load_record
from visualdub.cli import run
from visualdub.edit.cast import Cast, Rule
from visualdub.edit.footage import PIECE, Footage, choose, find_footage
from visualdub.edit.media import MediaFinder
from visualdub.edit.reading import read_edit
from visualdub.errors import BadInput
from visualdub.timing import FrameRange

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

RATE, COUNT = 25.0, 60


@pytest.fixture(scope="module")
def rushes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `anna.mkv`, and `ben.mkv`, which is shorter and whose colours are other."""
    folder = tmp_path_factory.mktemp("rushes")
    anna = portrait_pictures(COUNT, 240)
    write_movie(folder / "anna.mkv", anna)
    write_movie(folder / "ben.mkv", [np.ascontiguousarray(p[..., ::-1]) for p in anna[:40]])
    Image.fromarray(np.ascontiguousarray(anna[0][..., ::-1])).save(folder / "ben.png")
    return folder


@pytest.fixture(autouse=True)
def tracks_cache(rushes: Path, own_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rushes are tracked once."""
    monkeypatch.setenv("VISUALDUB_CACHE", str(rushes / "cache"))


def shot(rushes: Path, name: str, start: float, length: float, **more: Any) -> dict[str, Any]:
    count = COUNT if name == "anna" else 40
    return clip(
        name, start, length, RATE, reference=media(str(rushes / f"{name}.mkv"), 0, count, RATE), **more
    )


def edit_file(rushes: Path, folder: Path, **more: Any) -> Path:
    """Anna, Ben, and a take of Anna that is switched off."""
    shots = (
        shot(rushes, "anna", 50, 5),
        gap(2, RATE),
        shot(rushes, "ben", 10, 5, **more),
        shot(rushes, "anna", 0, 5, enabled=False),
    )
    return write(folder / "cut.otio", timeline(track(*shots)))


def found(path: Path, actor: str, cast: Cast, most: int = 750) -> Footage:
    return find_footage(read_edit(path), MediaFinder(path), actor, cast, most=most)


def test_takes_and_handles_are_footage_and_other_people_are_not(rushes: Path, tmp_path: Path) -> None:
    path = edit_file(rushes, tmp_path)
    footage = found(path, "anna", Cast())
    assert {(c.path.name, str(c.within)) for c in footage.clips} == {("anna.mkv", "0:60")}
    assert footage.frame_count == COUNT == footage.looked_at
    first, other, take = footage.shots
    assert (first.frames, take.frames) == (FrameRange(0, 60), FrameRange(0, 55)) and not first.reason
    assert other.reason.startswith("nobody in it is like anna (the most alike by ")
    assert footage.taken(first) == 60 and footage.taken(other) == 0


def test_the_cast_says_whose_the_shots_are_and_how_they_look(rushes: Path, tmp_path: Path) -> None:
    path = edit_file(rushes, tmp_path)
    ben = found(path, "ben", Cast((Rule(actor="ben", looks=rushes / "ben.png"),)))
    assert [c.path.name for c in ben.clips] == ["ben.mkv"] and ben.frame_count == 40
    mine = found(path, "Ben", Cast((Rule(clip="ben*", actor="x/ben.actor"), Rule(actor="anna", clip="anna"))))
    assert [c.path.name for c in mine.clips] == ["ben.mkv"]
    assert [s.reason for s in mine.shots] == ["it is somebody else's", "", "it is somebody else's"]
    named = edit_file(rushes, tmp_path, metadata={"visualdub": {"actor": "ben.actor", "person": 0}})
    assert [(c.path.name, c.face) for c in found(named, "ben", Cast()).clips] == [("ben.mkv", "0")]
    with pytest.raises(BadInput, match=r"shows nothing to adapt carl to: it is somebody else's"):
        found(path, "carl", Cast((Rule(actor="anna"),)))
    with pytest.raises(BadInput, match="7 frames are too few to adapt to; expected 20 or more"):
        found(path, "anna", Cast(), most=7)


def test_few_frames_are_those_that_differ_most(rushes: Path, tmp_path: Path) -> None:
    footage = found(edit_file(rushes, tmp_path), "anna", Cast(), most=2 * PIECE)
    assert footage.frame_count == 2 * PIECE and footage.looked_at == COUNT
    usual = np.zeros((20, 3)) + np.random.default_rng(1).normal(0, 0.01, (20, 3))
    usual[5], usual[11], usual[12] = (3, 0, 0), (0, -4, 0), (0, -4.1, 0)
    chosen = choose(usual, 3)
    assert len(chosen) == 3 and 5 in chosen and len({11, 12} & set(chosen)) == 1
    assert choose(usual, 20) == list(range(20)) and choose(usual, 1)[0] not in (5, 11, 12)


def test_the_command_prints_what_it_would_use(
    rushes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edit_file(rushes, tmp_path)
    assert run(["adapt", str(path), "--actor", "anna", "--plan", "--json", "--most", "40"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["frames"], said["looked_at"], [s["taken"] > 0 for s in said["shots"]]) == (
        40,
        60,
        [True, False, True],
    )
    assert run(["adapt", str(path), "--actor", "anna", "--plan", "--frames", "0:9"]) == 2
    assert "is an edit, which --frames is not for" in capsys.readouterr().err
    assert run(["adapt", str(rushes / "anna.mkv"), "--actor", "anna", "--plan"]) == 2
    assert "is no edit, which --plan is for" in capsys.readouterr().err


@pytest.mark.slow
def test_an_actor_is_adapted_to_an_edit(rushes: Path, tmp_path: Path) -> None:
    path = edit_file(rushes, tmp_path)
    out = tmp_path / "anna.actor"
    words = ["adapt", str(path), "--actor", "anna", "--most", "40", "--steps", "2", "--consent", "a, b, c"]
    assert run([*words, "-o", str(out)]) == 0
    frames = load_record(out).frames
    assert sum(f.frame_count for f in frames) == 40 and {f.source for f in frames} == {"anna.mkv"}
