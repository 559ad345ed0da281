"""Keeping faces apart and choosing one."""

import numpy as np
import pytest

from visualdub.errors import BadInput
from visualdub.face.detect import FaceTrack, choose_face, find_faces, iou


def face(x: float, side: float, frames: range) -> FaceTrack:
    points = np.zeros((478, 3), np.float32)
    points[0], points[1] = (x, 10, 0), (x + side, 10 + side, 0)
    return FaceTrack({i: points for i in frames})


def test_iou_by_hand() -> None:
    a, b = np.array([0.0, 0, 2, 2]), np.array([1.0, 0, 3, 2])
    assert iou(a, b) == pytest.approx(2 / 6) and iou(a, a) == pytest.approx(1) and iou(a, a + 5) == 0


def test_most_present_face_is_the_default_and_index_zero() -> None:
    small, big = face(0, 10, range(20)), face(50, 40, range(10))
    assert choose_face([small, big], None, "c") is big
    assert choose_face([small, big], "0", "c") is big and choose_face([small, big], "1", "c") is small


def test_a_point_chooses_the_face_around_it() -> None:
    a, b = face(0, 40, range(5)), face(100, 40, range(5))
    assert choose_face([a, b], "120,30", "c") is b


@pytest.mark.parametrize("wanted", ["2", "400,400", "left", "1,2,3"])
def test_a_face_that_is_not_there_is_refused_in_one_line(wanted: str) -> None:
    with pytest.raises(BadInput, match="--face") as e:
        choose_face([face(0, 40, range(5)), face(100, 40, range(5))], wanted, "clip.mp4")
    assert "\n" not in str(e.value)


def test_pictures_without_a_face_give_none() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in range(3)]
    faces, count = find_faces([*noise, np.zeros((240, 320, 3), np.uint8)])
    assert faces == [] and count == 4
