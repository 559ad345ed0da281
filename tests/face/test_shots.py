"""Cuts in a stream of pictures, judged one picture behind it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.shots import difference, small_picture, with_changes

Rgb = NDArray[np.uint8]


def scene(seed: int, frames: int, motion: float = 0.5) -> list[Rgb]:
    """Smooth noise that drifts by `motion` pixels a frame, (96, 128, 3)."""
    noise = np.random.default_rng(seed).normal(size=(24, 40)).astype(np.float32)
    large = np.asarray(cv2.resize(noise, (400, 240), interpolation=cv2.INTER_CUBIC))
    out = []
    for i in range(frames):
        shift = np.array([[1, 0, -motion * i - 20], [0, 1, -30]], np.float32)
        grey = cv2.warpAffine(large, shift, (128, 96), borderMode=cv2.BORDER_REFLECT)
        out.append(np.repeat((120 + 40 * grey).clip(0, 255).astype(np.uint8)[..., None], 3, 2))
    return out


def cuts(pictures: list[Rgb]) -> list[int]:
    found = list(with_changes(pictures))
    assert [rgb is given for (rgb, _), given in zip(found, pictures, strict=True)] == [True] * len(pictures)
    return [i for i, (_, change) in enumerate(found) if change.cut]


def test_a_cut_is_the_first_frame_of_the_new_shot() -> None:
    assert cuts(scene(1, 12) + scene(2, 9) + scene(3, 1) + scene(4, 10)) == [12, 21, 22]


def test_motion_is_no_cut() -> None:
    assert cuts(scene(1, 30, motion=6)) == []


def test_a_punch_in_is_a_cut() -> None:
    pictures = scene(1, 20)
    nearer = [np.asarray(cv2.resize(p[8:-8, 11:-11], (128, 96)), np.uint8) for p in pictures[10:]]
    assert cuts(pictures[:10] + nearer) == [10]


def test_light_that_changes_is_no_cut() -> None:
    pictures = scene(1, 20)
    dark = [(p * 0.4).astype(np.uint8) for p in pictures[10:]]
    assert cuts(pictures[:10] + dark) == []


def test_a_flash_is_no_cut() -> None:
    pictures = scene(1, 20)
    pictures[10] = (np.minimum(pictures[10].astype(int) * 2, 255)).astype(np.uint8)
    assert cuts(pictures) == []
    pictures[10] = scene(5, 1)[0]  # a frame of something else is none either
    assert cuts(pictures) == []


def test_black_frames_are_all_alike_and_a_fade_is_no_cut() -> None:
    picture = scene(1, 1)[0]
    black = [np.random.default_rng(i).integers(0, 3, picture.shape, dtype=np.uint8) for i in range(6)]
    assert cuts(black) == []
    fade = [(picture * max(0.0, 1 - i / 12)).astype(np.uint8) for i in range(15)]
    assert cuts(fade) == []


def test_where_all_moves_a_large_change_is_left_open() -> None:
    moving = scene(1, 30, motion=6)
    changes = [change for _, change in with_changes(moving)][1:]
    assert not any(change.cut for change in changes)
    assert [c.unsure for c in changes] == [c.difference > 0.25 for c in changes]
    assert any(change.unsure for change in changes)
    assert cuts(moving[:15] + scene(2, 10, motion=6)) == [15]


def test_difference_by_hand() -> None:
    a = np.zeros((64, 64), np.float32)
    a[:, :32] = 200
    assert difference(a, a) == 0
    assert difference(a, 0.5 * a + 10) < 0.01  # gain and offset do not count
    assert difference(a, 200 - a) > 1.9
    assert small_picture(np.full((1080, 1920, 3), 7, np.uint8)).tolist() == [[7.0] * 64] * 64


def test_no_pictures_have_no_changes() -> None:
    assert list(with_changes([])) == []
