"""The speaking portrait: still where it should be still, open where it is told to open."""

from __future__ import annotations

import hashlib
import json
import wave

import numpy as np
import pytest
from helpers import portrait_pictures

from visualdub.demo.portrait import ENAMEL, GUM, Motion, Portrait, paint, tooth_colour
from visualdub.demo.run import DATA, ENGLISH, FRENCH, PORTRAIT, label, portrait_picture
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait(portrait_picture(), "portrait")


def motion(jaw: float, shift: tuple[float, float] = (0.0, 0.0), turn: float = 0.0) -> Motion:
    k = face_model(DEFAULT_FACE_MODEL).n_expression
    return Motion(np.array([jaw]), np.zeros((1, k)), np.array([[0.0, turn, 0.0]]), np.array([shift]))


def test_no_motion_gives_the_picture_back(portrait: Portrait) -> None:
    (frame,) = portrait.frames(motion(0.0))
    np.testing.assert_allclose(frame.astype(int), portrait.rgb.astype(int), atol=1)


def test_a_shift_moves_the_face_by_that_much_and_not_the_edge(portrait: Portrait) -> None:
    (frame,) = portrait.frames(motion(0.0, shift=(3.0, 0.0)))
    nose = portrait.still[1, :2].round().astype(int)
    around_nose = frame[nose[1] - 8 : nose[1] + 8, nose[0] - 5 : nose[0] + 11].astype(int)
    there = portrait.rgb[nose[1] - 8 : nose[1] + 8, nose[0] - 8 : nose[0] + 8].astype(int)
    assert np.abs(around_nose - there).mean() < 1.5
    edge = np.abs(frame[:2].astype(int) - portrait.rgb[:2]).mean()
    assert (
        edge < 0.3 * np.abs(np.roll(portrait.rgb, 3, 1)[:2].astype(int) - portrait.rgb[:2]).mean()
    )  # shifted whole, it would differ so


def test_an_open_jaw_shows_a_dark_mouth_and_leaves_the_eyes(portrait: Portrait) -> None:
    closed, half, wide = (next(portrait.frames(motion(j))).astype(int) for j in (0.0, 0.06, 0.15))
    x, y = portrait.still[13, :2].round().astype(int)  # middle of the upper lip's inner edge
    below = (slice(y, y + 20), slice(x - 10, x + 10))
    dark = [int((f[below].max(-1) < 70).sum()) for f in (closed, half, wide)]
    assert dark[0] == 0 and dark[2] > dark[1] + 30
    eyes = portrait.still[[33, 263], 1].max().round().astype(int)
    np.testing.assert_allclose(wide[: eyes - 20], closed[: eyes - 20], atol=12)


def test_tooth_colour_goes_from_gum_to_enamel_and_darkens_between_teeth() -> None:
    middle, between = (
        np.float32(0.55),
        np.float32(0.5),
    )  # of ten teeth: the middle of the sixth, the gap before it
    gum, enamel, gap = (
        tooth_colour(np.array([a], np.float32), np.array([d], np.float32))[0]
        for a, d in ((middle, 0.0), (middle, 1.0), (between, 1.0))
    )
    assert np.abs(gum / gum.sum() - GUM / GUM.sum()).max() < 0.02
    assert np.abs(enamel / enamel.sum() - ENAMEL / ENAMEL.sum()).max() < 0.02
    assert gap.sum() < 0.6 * enamel.sum()


def test_paint_changes_nothing_outside_the_lips() -> None:
    picture = np.full((60, 80, 3), 200, np.uint8)
    ring = np.array([[25.0, 30], [40, 24], [55, 30], [40, 38]])
    arc = np.concatenate(
        [np.stack([np.linspace(20, 60, 11), np.full(11, y), np.zeros(11)], 1) for y in (22, 28)]
    )
    out = paint(picture, ring, arc, arc + np.array([0.0, 10, 0]), np.array([40.0, 36, 0]), (10.0, 4.0))
    assert (out[31, 36:44] != 200).all()
    outside = np.ones((60, 80), bool)
    outside[20:42, 22:59] = False
    assert (out[outside] == 200).all() and (picture == 200).all()


def test_portraits_for_tests_are_even_and_move() -> None:
    a, b = portrait_pictures(8)[0], portrait_pictures(8)[6]
    assert a.shape[0] % 2 == 0 and a.shape[1] % 2 == 0 and np.abs(a.astype(int) - b).mean() > 0.5


def test_the_portrait_is_the_file_that_its_licence_note_is_about() -> None:
    note = json.loads(PORTRAIT.with_suffix(".json").read_text())
    assert note["file"] == PORTRAIT.name and "public domain" in note["licence"]
    assert note["sha256"] == hashlib.sha256(PORTRAIT.read_bytes()).hexdigest()
    assert portrait_picture().shape == (600, 512, 3)


def test_recordings_are_five_seconds_of_16_khz_and_say_how_they_were_made() -> None:
    record = json.loads((DATA / "recordings.json").read_text())
    assert record["synthetic"] is True
    for path in (ENGLISH, FRENCH):
        with wave.open(str(path)) as f:
            assert (f.getnchannels(), f.getsampwidth(), f.getframerate(), f.getnframes()) == (
                1,
                2,
                16000,
                80000,
            )
        assert any("espeak-ng" in line for line in record[path.name])


def test_label_is_in_the_lower_left_corner_only() -> None:
    picture = np.full((200, 300, 3), 128, np.uint8)
    out = label(picture)
    assert (out[:170] == picture[:170]).all() and (out[170:, :240] != 128).any() and (picture == 128).all()
