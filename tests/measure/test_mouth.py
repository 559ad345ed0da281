"""Measures on the mouth, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from visualdub.face.landmarks import FACE_LEFT, FACE_RIGHT, LIPS
from visualdub.measure.mouth import by_yaw, control, leak, lip_distances, open_share, yaw_degrees


def faces(n: int) -> np.ndarray:
    """Landmarks whose face is 200 pixels wide."""
    marks = np.zeros((n, 478, 3), np.float32)
    marks[:, FACE_LEFT, 0], marks[:, FACE_RIGHT, 0] = 100, 300
    return marks


def test_lip_distances_by_hand() -> None:
    real, output = faces(3), faces(3)
    output[1][list(LIPS)] += (3, 4, 50)  # 5 pixels in the picture; depth does not count
    output[2] = np.nan
    distances = lip_distances(real, output)
    assert distances[:2] == pytest.approx([0, 2.5]) and np.isnan(distances[2])


def test_control() -> None:
    commanded = np.array([0.0, 1, 2, 3])
    assert control(commanded, 5 + 2 * commanded) == pytest.approx(1)
    assert control(commanded, -commanded) == pytest.approx(-1)
    # -1 / sqrt(5 * 1)
    assert control(commanded, np.array([1.0, 0, 1, 0])) == pytest.approx(-1 / np.sqrt(5))
    assert control(np.array([0, 1, 2, np.nan]), np.array([0.0, 1, 2, 9])) == pytest.approx(1)
    assert np.isnan(control(commanded, np.ones(4)))
    assert np.isnan(control(commanded[:2], commanded[:2]))


def test_leak_is_the_textbook_partial_correlation() -> None:
    rng = np.random.default_rng(0)
    c, s = rng.normal(size=(2, 400))
    s += 0.5 * c
    m = c + 0.4 * s + 0.3 * rng.normal(size=400)
    r = np.corrcoef([m, s, c])
    textbook = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert leak(c, m, s) == pytest.approx(textbook, abs=1e-9)
    assert textbook > 0.5


def test_an_obedient_mouth_does_not_leak_even_where_the_source_resembles_the_command() -> None:
    rng = np.random.default_rng(1)
    c = rng.normal(size=2000)
    s = 0.8 * c + 0.6 * rng.normal(size=2000)
    m = 2 * c + 0.1 * rng.normal(size=2000)
    assert np.corrcoef(m, s)[0, 1] > 0.7 and abs(leak(c, m, s)) < 0.06
    assert np.isnan(leak(c, 2 * c, s))  # nothing is left that the command does not explain


def test_open_share() -> None:
    assert open_share(np.array([0.0, 0.02, 0.2, np.nan, 0.06])) == 0.5
    assert open_share(np.array([0.0, 0.02, 0.2]), threshold=0.01) == pytest.approx(2 / 3)
    assert np.isnan(open_share(np.array([np.nan])))


def test_yaw_of_a_head_turned_to_picture_right_is_positive() -> None:
    angle = np.radians(25)
    turned = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    assert (turned @ (0, 0, -1))[0] > 0  # the nose, which points to the camera (-z) at rest, now points right
    assert yaw_degrees(np.stack([np.eye(3), turned])) == pytest.approx([0, 25])


def test_table_by_yaw() -> None:
    table = by_yaw(np.array([30.0, 28.0, 20.0, np.nan]), np.array([-5.0, 9.9, 25.0, 15.0]))
    assert table == {"0-10": {"mean": 29.0, "frames": 2}, "20-30": {"mean": 20.0, "frames": 1}}
