"""Planes to R'G'B' and back: values worked out by hand, siting, inverses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media.conftest import image_of, make_movie
from numpy.typing import NDArray

from visualdub.errors import MediaError
from visualdub.media.chroma import enlarge, reduce
from visualdub.media.frame import ChromaSiting, ColourTags, Frame
from visualdub.media.source import open_source
from visualdub.media.yuv import (
    chroma_factors,
    chroma_siting,
    convert_planes,
    frame_rgb,
    planes_to_rgb,
    rgb_to_planes,
)

BT709, BT601, BT2020 = 1, 6, 9


def flat(*codes: int, dtype: type = np.uint8) -> tuple[NDArray[np.generic], ...]:
    return tuple(np.full((4, 4), c, dtype) for c in codes)


@pytest.mark.parametrize(
    ("pix_fmt", "tags", "codes", "rgb", "tolerance"),
    [
        ("yuv444p", (1, BT709), (235, 128, 128), (1, 1, 1), 1e-6),
        ("yuv444p", (1, BT709), (16, 128, 128), (0, 0, 0), 1e-6),
        (
            "yuv444p",
            (1, BT709),
            (63, 102, 240),
            (1, 0, 0),
            0.005,
        ),  # 16 + 219 * 0.2126; 128 - 224 * 0.2126 / 1.8556; 240
        ("yuv444p", (1, BT601), (81, 90, 240), (1, 0, 0), 0.005),  # 16 + 219 * 0.299
        ("yuv444p", (2, BT601), (76, 85, 255), (1, 0, 0), 0.01),  # JPEG's red
        ("yuv444p10le", (1, BT709), (940, 512, 512), (1, 1, 1), 1e-6),
        (
            "yuv444p10le",
            (1, BT2020),
            (294, 387, 960),
            (1, 0, 0),
            0.002,
        ),  # 64 + 876 * 0.2627; 512 - 896 * 0.2627 / 1.8814
        ("yuv444p16le", (2, BT709), (65535, 32768, 32768), (1, 1, 1), 1e-6),
        ("gbrp", (2, 0), (255, 51, 0), (1, 0.2, 0), 1e-6),
        ("gray", (2, 2), (51,), (0.2, 0.2, 0.2), 1e-6),
        ("gray10le", (1, 2), (502,), (0.5, 0.5, 0.5), 1e-6),
    ],
)
def test_hand_worked_colours(
    pix_fmt: str, tags: tuple[int, int], codes: tuple[int, ...], rgb: tuple[float, ...], tolerance: float
) -> None:
    image = image_of(pix_fmt, colour=ColourTags(tags[0], tags[1], 2, 2))
    planes = flat(*codes, dtype=np.uint8 if pix_fmt in ("yuv444p", "gbrp", "gray") else np.uint16)
    out = planes_to_rgb(planes, image)
    assert (out.shape, out.dtype) == ((4, 4, 3), np.float32)
    assert np.abs(out - np.array(rgb)).max() <= tolerance
    back = rgb_to_planes(out, image)
    assert all(np.abs(b - p).max() < 1e-2 for b, p in zip(back, planes, strict=True))


def test_untagged_clips_count_as_players_count_them() -> None:
    red709, red601 = flat(63, 102, 240), flat(81, 90, 240)
    for planes, width, height in (
        (red709, 1920, 1080),
        (red709, 720, 1280),
        (red601, 512, 512),
        (red601, 720, 576),
    ):
        image = image_of("yuv444p", colour=ColourTags(0, 2, 2, 2), width=width, height=height)
        assert planes_to_rgb(planes, image)[0, 0] == pytest.approx((1, 0, 0), abs=0.01)


def test_a_matrix_we_do_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="colour matrix 8"):
        planes_to_rgb(flat(1, 2, 3), image_of("yuv444p", colour=ColourTags(1, 8, 2, 2)))
    movie = make_movie(tmp_path / "a.mp4", count=2, colorspace=8)
    with pytest.raises(MediaError, match=r"a\.mp4: colour matrix 8 .* found; expected BT\.601, BT\.709"):
        open_source(movie)


def test_enlarge_follows_the_siting() -> None:
    row = np.array([[0, 4]], np.float32)
    assert enlarge(row, (1, 4), (0, 0.5)).tolist() == [[0, 2, 4, 4]]
    assert enlarge(row, (1, 4), (0.5, 0.5)).tolist() == [[0, 1, 3, 4]]
    assert enlarge(row, (1, 4), (1, 0.5)).tolist() == [[0, 0, 2, 4]]
    assert enlarge(row.T, (4, 1), (0, 0.5)).ravel().tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("siting", [(0.0, 0.5), (0.5, 0.5), (0.5, 0.0), (1.0, 0.5)])
@pytest.mark.parametrize(
    ("luma", "chroma"),
    [((64, 48), (32, 24)), ((63, 47), (32, 24)), ((64, 48), (64, 24)), ((32, 64), (32, 16))],
)
def test_reduce_undoes_enlarge(
    luma: tuple[int, int], chroma: tuple[int, int], siting: tuple[float, float]
) -> None:
    samples = np.random.default_rng(1).uniform(0, 255, chroma).astype(np.float32)
    assert np.abs(reduce(enlarge(samples, luma, siting), chroma, siting) - samples).max() < 1e-3


def test_reduce_forgets_far_changes() -> None:
    full = np.zeros((32, 64), np.float32)
    full[:, 32] = 100
    out = np.abs(reduce(full, (16, 32), (0, 0.5)))[0]
    assert out[16] > 50
    assert out[23:].max() < 0.05


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p10le", "yuv411p", "yuv440p", "yuva420p", "gbrp12le", "gray16le"]
)
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_planes_come_back(pix_fmt: str, rotation: int) -> None:
    image = image_of(pix_fmt, rotation=rotation)
    across, down = chroma_factors(image)
    bits = 8 if pix_fmt.endswith("p") else int(pix_fmt.rstrip("le").rsplit("p")[-1].removeprefix("gray") or 8)
    count = 1 if pix_fmt.startswith("gray") else 3
    shapes = [(32, 48), (32 // down, 48 // across), (32 // down, 48 // across)][:count]
    random = np.random.default_rng(3)
    planes = tuple(
        random.integers(0, 1 << bits, s).astype(np.uint8 if bits == 8 else np.uint16) for s in shapes
    )
    back = rgb_to_planes(planes_to_rgb(planes, image), image)
    assert len(back) == count
    assert [b.shape for b in back] == shapes
    assert max(float(np.abs(b - p).max()) for b, p in zip(back, planes, strict=True)) < 0.1


@pytest.mark.parametrize(
    ("siting", "places"),
    [
        (ChromaSiting.LEFT, [(0, 0.5), (0.5, 0), (1, 0.5), (0.5, 1)]),
        (ChromaSiting.CENTRE, [(0.5, 0.5)] * 4),
        (ChromaSiting.TOP_LEFT, [(0, 0), (1, 0), (1, 1), (0, 1)]),
        (ChromaSiting.BOTTOM, [(0.5, 1), (0, 0.5), (0.5, 0), (1, 0.5)]),
    ],
)
def test_siting_turns_with_the_picture(siting: ChromaSiting, places: list[tuple[float, float]]) -> None:
    turned = [image_of("yuv420p", siting=siting, rotation=r) for r in (0, 90, 180, 270)]
    assert [chroma_siting(image) for image in turned] == places


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_shows_the_picture_upright(rotation: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    movie = make_movie(
        tmp_path_factory.mktemp("turned") / "m.mov", "prores_ks", "yuv422p10le", 2, rotate=rotation
    )
    upright = make_movie(tmp_path_factory.mktemp("upright") / "m.mov", "prores_ks", "yuv422p10le", 2)
    turned, plain = (next(open_source(m).frames()) for m in (movie, upright))
    quarter = rotation // 90
    assert turned.image.rotation == rotation
    assert (turned.image.width, turned.image.height) == ((96, 192) if quarter % 2 else (192, 96))
    assert np.array_equal(turned.planes[0], np.rot90(plain.planes[0], -quarter))  # clockwise
    assert np.array_equal(frame_rgb(turned), np.rot90(frame_rgb(plain), -quarter))
    exact = (
        planes_to_rgb(turned.planes, turned.image),
        np.rot90(planes_to_rgb(plain.planes, plain.image), -quarter),
    )
    assert np.abs(exact[0] - exact[1]).max() < 1e-5


@pytest.mark.parametrize("tags", [(1, BT709), (2, BT601), (1, BT2020)])
def test_the_quick_picture_is_the_exact_one_rounded(tags: tuple[int, int]) -> None:
    image = image_of("yuv420p", width=64, height=64, colour=ColourTags(tags[0], tags[1], 2, 2))
    y, x = np.mgrid[:64, :64]
    planes = (
        (60 + 2 * y).astype(np.uint8),
        (100 + x[:32, :32]).astype(np.uint8),
        (150 - y[:32, :32]).astype(np.uint8),
    )
    quick = frame_rgb(Frame(0, planes, image))
    exact = planes_to_rgb(planes, image).clip(0, 1) * 255
    assert (
        np.abs(quick - exact)[2:-2, 2:-2].max() <= 2
    )  # measured 1.3: swscale puts chroma half a luma sample to the right
    assert abs(float((quick - exact).mean())) < 0.3


def test_eight_bits_become_ten_exactly() -> None:
    image = image_of("yuv420p")
    planes = (
        np.arange(256, dtype=np.uint8).reshape(16, 16),
        *(np.full((8, 8), c, np.uint8) for c in (128, 90)),
    )
    luma, blue, red = convert_planes(planes, image, image_of("yuv422p10le"))
    assert np.array_equal(luma, planes[0].astype(np.uint16) * 4)
    assert (blue.shape, int(blue.min()), int(blue.max()), int(red.min()), int(red.max())) == (
        (16, 8),
        512,
        512,
        360,
        360,
    )


def test_full_range_becomes_limited() -> None:
    full = image_of("yuv444p", colour=ColourTags(2, BT709, 1, 1))
    luma, blue, red = convert_planes(flat(255, 128, 128), full, image_of("yuv444p10le"))
    assert (int(luma[0, 0]), int(blue[0, 0]), int(red[0, 0])) == (940, 512, 512)


@pytest.mark.parametrize("rotation", [0, 90])
def test_a_part_of_a_frame_looks_as_in_the_whole(rotation: int) -> None:
    image = image_of("yuv420p", width=64, height=64, rotation=rotation)
    y, x = np.mgrid[:64, :64]
    planes = (
        (60 + 2 * y).astype(np.uint8),
        (100 + x[:32, :32]).astype(np.uint8),
        (150 - y[:32, :32]).astype(np.uint8),
    )
    part = (planes[0][16:48, 8:56], planes[1][8:24, 4:28], planes[2][8:24, 4:28])
    whole, cut = (frame_rgb(Frame(0, p, image)).astype(int) for p in (planes, part))
    assert np.abs(whole[16:48, 8:56] - cut)[2:-2, 2:-2].max() <= 1
