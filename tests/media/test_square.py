"""The shape of pixels: what it is taken for, and pictures with square ones."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from visualdub.media.frame import ColourTags, Frame, ImageSpec
from visualdub.media.movie_writer import MovieWriter, picture_info, rgb_frame
from visualdub.media.source import probe
from visualdub.media.square import shown_rgb, square_pixels, square_scale, square_size
from visualdub.media.yuv import frame_rgb

WIDE, HIGH = Fraction(4, 3), Fraction(410, 853)


def image_with(aspect: Fraction, width: int = 64, height: int = 48) -> ImageSpec:
    return ImageSpec(width, height, "gray", ColourTags(2, 2, 2, 2), sample_aspect=aspect)


@pytest.mark.parametrize(
    ("stated", "taken_for"),
    [
        (Fraction(1280, 1281), Fraction(1)),  # what scaling to whole pixels leaves
        (Fraction(16, 15), Fraction(16, 15)),  # PAL
        (Fraction(10, 11), Fraction(10, 11)),  # NTSC
        (Fraction(2), Fraction(2)),  # an anamorphic lens
        (Fraction(1, 4), Fraction(1, 4)),
        (Fraction(1, 5), Fraction(1)),
        (Fraction(1000), Fraction(1)),
    ],
)
def test_the_aspect_that_is_looked_at(stated: Fraction, taken_for: Fraction) -> None:
    assert image_with(stated).pixel_aspect == taken_for


def test_the_shorter_side_of_a_pixel_keeps_its_size() -> None:
    assert square_scale(WIDE) == (4 / 3, 1.0) and square_scale(Fraction(1, 2)) == (1.0, 2.0)
    assert square_size(1440, 1080, WIDE) == (1920, 1080) and square_size(720, 480, HIGH) == (720, 999)


@pytest.mark.parametrize("aspect", [WIDE, HIGH])
def test_square_pixels_lie_where_the_scale_says(aspect: Fraction) -> None:
    """A ramp along either axis; 1441 columns or 901 rows do not become a whole number of square ones."""
    across, down = square_scale(aspect)
    x, y = np.meshgrid(np.arange(1441) + 0.5, np.arange(901) + 0.5)
    ramps = np.stack([x / 8, y / 8, x * 0], -1)
    made = square_pixels(np.rint(ramps).astype(np.uint8), aspect)
    assert made.shape == (*square_size(1441, 901, aspect)[::-1], 3)
    xs, ys = np.arange(made.shape[1]) + 0.5, np.arange(made.shape[0]) + 0.5
    last = slice(-804, -4)
    off_x, off_y = (made[500, :, 0] - xs / across / 8)[last], (made[:, 500, 1] - ys / down / 8)[last]
    assert abs(off_x).max() < 0.6 and abs(off_x.mean()) < 0.006  # 0.05 pixels; 0.02 by `cv2.resize`
    assert abs(off_y).max() < 0.6 and abs(off_y.mean()) < 0.006


def test_a_picture_with_square_pixels_is_itself() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    assert square_pixels(picture, Fraction(1)) is picture


def test_a_frame_is_shown_with_square_pixels() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (48, 64)).astype(np.uint8)
    frame = Frame(0, (plane,), image_with(WIDE))
    assert np.array_equal(shown_rgb(frame), square_pixels(frame_rgb(frame), WIDE))
    assert shown_rgb(frame).shape == (48, 85, 3)
    as_stored = replace(frame, image=image_with(Fraction(9)))  # a mistake
    assert np.array_equal(shown_rgb(as_stored), frame_rgb(frame))


@pytest.mark.parametrize(("aspect", "noted"), [(Fraction(20), True), (Fraction(2), False)])
def test_a_mistaken_aspect_is_told(aspect: Fraction, noted: bool, tmp_path: Path) -> None:
    picture = np.full((48, 64, 3), 90, np.uint8)
    info = picture_info(tmp_path / "tall.mkv", 64, 48, Fraction(25), 1)
    image = replace(info.image, sample_aspect=aspect)
    with MovieWriter(info.path, replace(info, image=image)) as writer:
        writer.write(rgb_frame(picture, image, 0))
    notes = [n for n in probe(info.path).notes if "pixels" in n]
    told = "tall.mkv says that its pixels are 20:1; faces are looked for as if they were square"
    assert notes == ([told] if noted else [])
