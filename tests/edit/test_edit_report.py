"""One report of a whole edit: a page, a picture of every shot, and a contact sheet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie
from otio_text import clip, media, timeline, track, warp, write
from PIL import Image

from visualdub.edit.cast import Cast
from visualdub.edit.media import MediaFinder
from visualdub.edit.plan import BAKE, DUB, KEEP, EditPlan, PlannedShot, PlanOptions, plan_edit
from visualdub.edit.reading import read_edit
from visualdub.edit.report import PICTURES, ShotMade, source_numbers, write_edit_report
from visualdub.edit.sheet import HEIGHT, TEXT, Box, box_of, changes, dubbed_picture, fitted

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

RATE = 25.0


def planned(talking: Path, folder: Path) -> EditPlan:
    """An edit of a plain clip, a reversed one and one without media, planned as if somebody spoke."""
    reference = media(str(talking), 0, 40, RATE)
    shots = [
        clip("<plain>", 5, 8, RATE, reference=reference),
        clip("back", 20, 6, RATE, reference=reference, effects=[warp(-1)]),
        clip("lost", 0, 5, RATE, reference=media(str(folder / "no.mov"), 0, 40, RATE)),
    ]
    edit = read_edit(write(folder / "cut.otio", timeline(track(*shots))))
    plan = plan_edit(edit, MediaFinder(edit.path), [], PlanOptions(Cast(actor="a")))
    actions = (DUB, BAKE, KEEP)
    return replace(plan, shots=tuple(replace(s, action=a) for s, a in zip(plan.shots, actions, strict=True)))


def with_white_mouth(folder: Path, shot: PlannedShot) -> Path:
    """A movie of the source frames of a shot, with a white rectangle where its mouth is."""
    pictures = portrait_pictures(40)
    chosen = [pictures[n].copy() for n in source_numbers(shot)]
    for picture in chosen:
        picture[200:240, 120:180] = 255
    return write_movie(folder / f"{shot.number}.mkv", chosen)


def test_a_report_shows_every_shot(talking: Path, tmp_path: Path) -> None:
    plan = planned(talking, tmp_path)
    (tmp_path / PICTURES).mkdir()
    made = [
        ShotMade(shot, tmp_path / PICTURES / f"{shot.number}.jpg", movie, reason, drawn=8)
        for shot, movie, reason in zip(
            plan.shots,
            (with_white_mouth(tmp_path, plan.shots[0]), with_white_mouth(tmp_path, plan.shots[1]), None),
            ("", "", "its media no.mov are missing"),
            strict=True,
        )
    ]
    edit = tmp_path / "dubbed.otio"
    write_edit_report(plan, made, edit)
    report = json.loads((tmp_path / "dubbed.otio.report.json").read_text())
    assert [s["action"] for s in report["shots"]] == ["dub", "bake", "keep"] and report["output"] == str(edit)
    page = (tmp_path / "dubbed.otio.report.html").read_text()
    assert "V1 &lt;plain&gt;" in page and "<plain>" not in page and "{{" not in page
    assert page.count("<img") == 3 and f'src="{PICTURES}/2.jpg"' in page
    assert "keep: its media no.mov are missing" in page and "3 clips, 2 of them dubbed" in page
    with Image.open(tmp_path / "dubbed.otio.sheet.jpg") as sheet:
        assert sheet.height > 2 * (HEIGHT + TEXT) and sheet.width > 4 * HEIGHT
    first = made[0].picture.stat().st_mtime_ns
    write_edit_report(plan, made, edit)
    assert made[0].picture.stat().st_mtime_ns == first  # it is newer than its movie


def test_a_picture_shows_the_mouth_before_and_after(talking: Path, tmp_path: Path) -> None:
    shot = planned(talking, tmp_path).shots[1]
    movie = with_white_mouth(tmp_path, shot)
    assert source_numbers(shot) == [25, 24, 23, 22, 21, 20]
    picture = dubbed_picture(talking, movie, source_numbers(shot), "2")
    before, after = picture[:HEIGHT, -2 * 288 : -288], picture[:HEIGHT, -288:]
    white = (after > 240).all(2).mean()
    assert white > 0.25 and (before > 240).all(2).mean() < 0.05
    edges = [np.abs(a.astype(int) - b).mean() for a, b in ((before[:20], after[:20]), (before, after))]
    assert edges[0] < 3 < edges[1]  # it is the same frame: around the mouth nothing differs


def test_what_changed_is_found_past_the_noise_of_a_codec() -> None:
    noise = np.random.default_rng(1).integers(-2, 3, (240, 320, 3))
    before = np.full((240, 320, 3), 100, np.uint8)
    after = (before + noise).astype(np.uint8)
    after[100:140, 200:260] += 60
    changed = changes(before, after)
    assert changed[105:135, 205:255].all() and not changed[:90].any() and not changed[:, :190].any()
    box = box_of(changed)
    assert box.left <= 200 and box.right >= 260 and box.bottom - box.top < 80
    assert box_of(np.zeros((90, 120), np.bool_)) == Box(38, 28, 81, 60)
    assert fitted(before, 100, 50).shape == (50, 100, 3)
