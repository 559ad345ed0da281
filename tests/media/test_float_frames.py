"""Frames of float samples: nothing is rounded or clipped, linear light is seen through a transfer curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media.conftest import image_of, info_of
from numpy.typing import NDArray

from visualdub.errors import BadInput, VisualDubError
from visualdub.media.frame import ColourTags, Frame, ImageSpec, SampleEncoding
from visualdub.media.movie_writer import MovieWriter
from visualdub.media.source import open_source
from visualdub.media.transfer import LINEAR, PQ, signed, transfer_function
from visualdub.media.yuv import (
    code_range,
    convert_planes,
    delivered_as,
    frame_rgb,
    planes_to_rgb,
    rgb_to_planes,
)

VALUES = np.array([[-0.25, 0.0, 1e-7, 0.18], [0.5, 1.0, 1.0000001, 16.5]], np.float32)


def float_image(encoding: SampleEncoding, transfer: int = 1, alpha: bool = False) -> ImageSpec:
    return image_of(
        "gbrapf32le" if alpha else "gbrpf32le",
        width=4,
        height=2,
        colour=ColourTags(2, 0, 1, transfer),
        encoding=encoding,
    )


def planes(scale: float = 1.0) -> tuple[NDArray[np.float32], ...]:
    return tuple(np.asarray(VALUES * np.float32(scale * k), np.float32) for k in (1, 0.5, 2))


def test_encoded_floats_are_rgb_as_they_are() -> None:
    image = float_image(SampleEncoding.ENCODED)
    rgb = planes_to_rgb(planes(), image)
    assert np.array_equal(rgb, np.stack(planes(), -1))
    assert all(np.array_equal(a, b) for a, b in zip(rgb_to_planes(rgb, image), planes(), strict=True))
    assert code_range(image) == (-np.inf, np.inf)


@pytest.mark.parametrize("transfer", [1, 13, PQ, 18])
def test_linear_light_comes_back(transfer: int) -> None:
    """Worst of 1e-6 relative for powers, 4e-5 for PQ, whose curve is steepest near black."""
    image = float_image(SampleEncoding.LINEAR, transfer)
    given = planes(0.05 if transfer == PQ else 1.0)  # 1.0 is the most that PQ can say
    back = rgb_to_planes(planes_to_rgb(given, image), image)
    for a, b in zip(given, back, strict=True):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-6)


def test_linear_light_by_hand() -> None:
    """BT.1886: 0.5 ** 2.4 = 0.18946 and back; 4 ** (1 / 2.4) = 1.7818; darker than black is the opposite."""
    light = tuple(np.array([[v, 4.0, -0.1894646]], np.float32) for v in (0.1894646, 1.0, 0.0))
    for transfer in (1, 2, LINEAR):
        rgb = planes_to_rgb(light, float_image(SampleEncoding.LINEAR, transfer))
        assert rgb[0, 0] == pytest.approx((0.5, 1.0, 0.0), abs=1e-5)
        assert rgb[0, 1:, 0] == pytest.approx((1.7817974, -0.5), abs=1e-5)


def test_pq_of_too_much_light_stays_a_number() -> None:
    curve = transfer_function(PQ)
    assert np.isfinite(signed(curve.to_linear, np.array([1.5, 2.0, 10.0, -3.0], np.float32))).all()
    assert curve.to_linear(np.ones(1, np.float32))[0] == pytest.approx(1, abs=1e-5)


def test_the_picture_that_faces_are_found_in_is_clipped() -> None:
    encoded = Frame(0, planes(), float_image(SampleEncoding.ENCODED))
    assert frame_rgb(encoded)[..., 0].tolist() == [[0, 0, 0, 46], [128, 255, 255, 255]]
    linear = Frame(0, planes(), float_image(SampleEncoding.LINEAR))
    assert frame_rgb(linear)[..., 0].tolist() == [[0, 0, 0, 125], [191, 255, 255, 255]]


def test_floats_become_codes_and_codes_floats() -> None:
    image = float_image(SampleEncoding.ENCODED, alpha=True)
    given = (*(np.full((2, 4), v, np.float32) for v in (1.0, 1.0, 1.5)), np.full((2, 4), 0.5, np.float32))
    coded = convert_planes(given, image, delivered_as(image, "gbrap10le"))
    assert [int(p[0, 0]) for p in coded] == [1023, 1023, 1023, 512]
    luma, blue, red = convert_planes(given, image, delivered_as(image, "yuv444p"))
    # 16 + 219 * 1.0361; 128 - 224 * 0.0361 / 1.5748
    assert (int(luma[0, 0]), int(red[0, 0])) == (243, 123)
    assert blue.dtype == np.uint8
    back = convert_planes(coded, delivered_as(image, "gbrap10le"), image)
    assert all(p.dtype == np.float32 for p in back)
    assert [float(p[0, 0]) for p in back] == pytest.approx([1, 1, 1, 512 / 1023])


def test_encoded_floats_become_linear_ones() -> None:
    encoded, linear = (float_image(e) for e in (SampleEncoding.ENCODED, SampleEncoding.LINEAR))
    grey = tuple(np.full((2, 4), 0.5, np.float32) for _ in range(3))
    assert all(p == pytest.approx(0.1894646, abs=1e-6) for p in convert_planes(grey, encoded, linear))


def test_a_linear_picture_is_delivered_as_it_looks() -> None:
    image = float_image(SampleEncoding.LINEAR, LINEAR)
    target = delivered_as(image, "gbrp")
    assert (target.encoding, target.colour.transfer) == (SampleEncoding.CODES, 1)
    grey = tuple(np.full((2, 4), 0.1894646, np.float32) for _ in range(3))
    assert all((p == 128).all() for p in convert_planes(grey, image, target))


def test_encodings_that_do_not_go_with_the_format() -> None:
    with pytest.raises(VisualDubError, match="gbrpf32le does not hold samples of 'codes'"):
        image_of("gbrpf32le")
    with pytest.raises(VisualDubError, match="yuv420p does not hold samples of 'linear'"):
        image_of("yuv420p", encoding=SampleEncoding.LINEAR)


def test_movies_of_floats(tmp_path: Path) -> None:
    image = image_of("gbrpf32le", colour=ColourTags(2, 0, 1, 1), encoding=SampleEncoding.ENCODED)
    frame = Frame(0, tuple(np.full((32, 48), v, np.float32) for v in (0.8, 0.3, 0.2)), image)
    info = info_of(image, frame_count=1)
    with pytest.raises(BadInput, match=r"a\.mkv: ffv1 holds no float samples \(gbrpf32le\)"):
        MovieWriter(tmp_path / "a.mkv", info)
    with MovieWriter(tmp_path / "a.mov", info, "prores4444") as writer:
        writer.write(frame)
    (got,) = open_source(tmp_path / "a.mov").frames()
    assert planes_to_rgb(got.planes, got.image)[16, 24] == pytest.approx((0.8, 0.3, 0.2), abs=0.005)
