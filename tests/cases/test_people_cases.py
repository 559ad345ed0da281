"""Cuts, other people and turned faces, through `vdub dub`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visualdub.cli import run
from visualdub.face.tracker import cached_track
from visualdub.media.source import open_source

Case = Callable[[str], Path]
CUT = 25  # all three clips are cut before this frame
JAW = (172, 397)


def dubbed(folder: Path, clip: str, actor: Path, *more: str) -> tuple[dict[str, object], NDArray[np.int64]]:
    """The report of a dub, and how much of every frame its matte covers, (n,) in pixels."""
    out, matte = folder / "out.mkv", folder / "matte.mkv"
    args = [
        "dub",
        folder / clip,
        "--dialogue",
        folder / "fr2.wav",
        "--actor",
        actor,
        "-o",
        out,
        "--matte",
        matte,
    ]
    assert run([*map(str, args), *more]) == 0
    with open_source(matte) as source:
        covered = np.array([(np.asarray(f.planes[0]) > 0).sum() for f in source.frames()])
    return json.loads(out.with_name("out.mkv.report.json").read_text()), covered


@pytest.mark.slow
def test_another_person_keeps_their_pixels(case: Case, demo_actor: Path) -> None:
    report, covered = dubbed(case("cut_to_another_person"), "p_cut2.mp4", demo_actor)
    assert report["passed"] == [{"frames": "25:50", "reason": "another person"}]
    assert (covered[:CUT] > 0).all() and not covered[CUT:].any()


@pytest.mark.slow
def test_whoever_is_named_the_actor_is_drawn_on_nobody_else(case: Case, demo_actor: Path) -> None:
    report, covered = dubbed(case("cut_to_another_person"), "p_cut2.mp4", demo_actor, "--face", "1")
    assert report["drawn"] == 0 and not covered.any()


@pytest.mark.slow
def test_the_same_actor_elsewhere_is_drawn(case: Case, demo_actor: Path) -> None:
    report, covered = dubbed(case("same_actor_cut_elsewhere"), "p_move.mp4", demo_actor)
    assert (report["drawn"], report["passed"]) == (50, []) and (covered > 0).all()


@pytest.mark.slow
def test_no_jaw_swells_beside_a_punch_in(case: Case, demo_actor: Path) -> None:
    folder = case("jump_cut_punch_in")
    report, covered = dubbed(folder, "p_punch.mp4", demo_actor)
    assert report["drawn"] == 50
    assert covered[CUT : CUT + 5].mean() / covered[CUT - 5 : CUT].mean() == pytest.approx(1.35**2, rel=0.05)
    assert (
        np.ptp(covered[CUT - 5 : CUT]) < 0.02 * covered[0]
        and np.ptp(covered[CUT : CUT + 5]) < 0.02 * covered[CUT]
    )
    track = cached_track(folder / "p_punch.mp4")[0]
    assert track.cuts == (CUT,)
    mesh = track.model.vertices(track.identity, track.jaw, track.expression) @ track.rotation.transpose(
        0, 2, 1
    )
    fitted, plate = (
        np.linalg.norm(p[:, JAW[0], :2] - p[:, JAW[1], :2], axis=1) for p in (mesh, track.landmarks)
    )
    wrong = track.scale * fitted / plate - 1
    assert np.abs(wrong[CUT - 3 : CUT + 3]).max() < 0.02  # 0.3 without the cut


@pytest.mark.slow
def test_a_face_upside_down_passes_through(case: Case, demo_actor: Path) -> None:
    report, covered = dubbed(case("face_upside_down"), "p_180.mp4", demo_actor)
    assert report["passed"] == [{"frames": "0:25", "reason": "the face is upside down or lies"}]
    assert not covered.any()


@pytest.mark.slow
def test_people_are_listed_with_a_picture_of_each(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    folder = case("cut_to_another_person")
    clip, target = folder / "p_cut2.mp4", folder / "cut.track.npz"
    capsys.readouterr()
    assert run(["track", str(clip), "--people", "--json", "-o", str(target)]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["people"] == [
        {"person": 0, "frames": 25, "share": 0.5, "ranges": ["0:25"]},
        {"person": 1, "frames": 25, "share": 0.5, "ranges": ["25:50"]},
    ]
    assert values["cuts"] == [CUT] and values["people_sheet"] == str(folder / "cut.people.png")
    with Image.open(folder / "cut.people.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    width = pixels.shape[1] // 2
    faces = [pixels[60:150, left + 60 : left + 150] for left in (0, width)]
    assert all(face.std() > 20 for face in faces) and np.abs(faces[0] - faces[1]).mean() > 20


def test_the_pictures_are_not_written_over_the_clip(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    folder = case("cut_to_another_person")
    clip = folder / "p_cut2.mp4"
    before = clip.read_bytes()
    args = ["track", str(clip), "-o", str(folder / "t.npz"), "--people-sheet", str(clip)]
    assert run(args) == 2 and "p_cut2.mp4" in capsys.readouterr().err
    assert clip.read_bytes() == before
