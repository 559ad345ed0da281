"""Real pixels stay where both pictures show background."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from render_scene import SIZE, ellipse, picture

from visualdub.face.mediapipe_models import Segmenter
from visualdub.render.matting import background_weight, keep_weight


def halves() -> tuple[np.ndarray, np.ndarray]:
    left = np.zeros((64, 64), np.float32)
    left[:, :32] = 1
    return left, 1 - left


def test_only_what_both_call_background_is_given_back() -> None:
    left, right = halves()
    everywhere, nowhere = np.ones((64, 64), bool), np.zeros((64, 64), bool)
    both = keep_weight(left, left, everywhere, everywhere)
    assert both[32, 5] == 1 and both[32, 60] == 0
    assert (
        keep_weight(left, right, everywhere, everywhere) == 1
    ).all()  # each calls the other's half background
    assert (keep_weight(left, left, nowhere, nowhere) == 0).all()  # clothes: a person, but off the mesh
    assert keep_weight(left, right, everywhere, nowhere)[32, 60] == 0


def test_the_soft_edge_lies_on_the_faces_side() -> None:
    left, _ = halves()
    everywhere = np.ones((64, 64), bool)
    weight = keep_weight(left, left, everywhere, everywhere)[32]
    assert (weight[32:] == 0).all()
    assert 0 < weight[31] < 1 and weight[24] == 1


def test_a_hole_in_the_face_is_no_background() -> None:
    left, _ = halves()
    everywhere = np.ones((64, 64), bool)
    pierced = left.copy()
    pierced[20:24, 10:14] = 0
    assert np.array_equal(
        keep_weight(pierced, pierced, everywhere, everywhere), keep_weight(left, left, everywhere, everywhere)
    )


class Fixed:
    """Gives the pictures it was told, and counts."""

    def __init__(self, *answers: np.ndarray) -> None:
        self.answers, self.asked = list(answers), 0

    def person(self, crop: np.ndarray) -> np.ndarray:
        self.asked += 1
        return self.answers[self.asked - 1]


def test_the_generated_picture_is_looked_at_only_where_it_can_matter() -> None:
    everything = np.ones((SIZE, SIZE), np.float32)
    silhouette = np.ones((SIZE, SIZE), bool)
    real, generated = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE, 3), np.float32)
    sure = Fixed(everything)
    assert (background_weight(sure, real, generated, ellipse(), silhouette, silhouette) == 1).all()
    assert sure.asked == 1
    bare = np.zeros((SIZE, SIZE), np.float32)
    unsure = Fixed(bare, everything)
    assert (background_weight(unsure, real, generated, ellipse(), silhouette, silhouette) == 1).all()
    assert unsure.asked == 2


def test_a_hole_that_is_closed_anyway_is_not_looked_at() -> None:
    silhouette = np.ones((SIZE, SIZE), bool)
    real, generated = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE, 3), np.float32)
    pierced = np.ones((SIZE, SIZE), np.float32)
    pierced[180:184, 126:130] = 0
    assert ellipse()[182, 128] == 1
    once = Fixed(pierced)
    assert (background_weight(once, real, generated, ellipse(), silhouette, silhouette) == 1).all()
    assert once.asked == 1


def test_mediapipe_finds_the_person_of_a_made_up_portrait_and_keeps_no_state() -> None:
    """A flat wall is background; what it says of a picture does not depend on the one before."""
    wall = np.full((SIZE, SIZE, 3), (90, 120, 150), np.uint8)
    other = (picture(SIZE, SIZE, noise=0.2) * 255).astype(np.uint8)
    with closing(Segmenter()) as one:
        first = one.person(wall)
        one.person(other)
        assert np.array_equal(one.person(wall), first)
    assert first.shape == (SIZE, SIZE) and first.min() >= 0 and first.max() <= 1
    assert first.mean() == pytest.approx(0, abs=0.3)
