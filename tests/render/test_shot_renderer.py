"""Stages of the redraw that can be checked alone."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from visualdub.errors import BadInput
from visualdub.face.crop import crop_of, warp_crop
from visualdub.face.quality import best_lag, squared_correlation
from visualdub.measure.reenact import ping_pong
from visualdub.media.frame import ColourTags, Frame, ImageSpec
from visualdub.media.yuv import frame_rgb
from visualdub.stages import WAIT, StageClock, prefetch


def noise_frame(pix_fmt: str, matrix: int, rotation: int, width: int = 644, height: int = 362) -> Frame:
    rng = np.random.default_rng(3)
    image = ImageSpec(width, height, pix_fmt, ColourTags(1, matrix, 1, 1), rotation)
    deep = np.uint16 if "10" in pix_fmt else np.uint8
    top = 1024 if "10" in pix_fmt else 256
    across, down = {
        "yuv420p": (2, 2),
        "yuv422p10le": (1, 2) if rotation else (2, 1),
        "yuv444p": (1, 1),
        "gray": (0, 0),
    }[pix_fmt]
    shapes = [(height, width)] + ([(-(-height // down), -(-width // across))] * 2 if across else [])
    return Frame(0, tuple(rng.integers(0, top, s).astype(deep) for s in shapes), image)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "gray"])
@pytest.mark.parametrize("matrix", [1, 6, 2])
@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("affine", [(0.9, -120.3, -40.6), (0.4, -20.0, 10.0), (2.3, -900.1, -410.7)])
def test_a_crop_of_part_of_the_frame_is_the_crop_of_the_whole(
    pix_fmt: str, matrix: int, affine: tuple[float, float, float], rotation: int
) -> None:
    frame = noise_frame(pix_fmt, matrix, rotation)
    scale, x, y = affine
    m = np.array([[scale, 0, x], [0, scale, y]])
    np.testing.assert_array_equal(crop_of(frame, m), warp_crop(frame_rgb(frame), m))


def test_ping_pong_turns_at_both_ends() -> None:
    assert ping_pong(4, 9).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert ping_pong(5, 3).tolist() == [0, 1, 2]
    assert ping_pong(1, 3).tolist() == [0, 0, 0]


def test_a_stage_inside_another_is_not_counted_twice() -> None:
    clock = StageClock()
    with clock.stage("outer"):
        time.sleep(0.02)
        with clock.stage("inner"):
            time.sleep(0.06)
    assert clock.stages["inner"].seconds >= 0.06
    assert 0.02 <= clock.stages["outer"].seconds < 0.06
    assert list(clock.each(WAIT, [1, 2, 3])) == [1, 2, 3]
    assert set(clock.as_dict()) == {"inner", "outer"}  # waiting is no work


def test_prefetch_keeps_order_raises_in_the_reader_and_stops_with_it() -> None:
    assert list(prefetch(range(50), 3)) == list(range(50))

    def broken() -> object:
        yield 1
        raise BadInput("broken off")

    items = prefetch(broken())
    assert next(items) == 1
    with pytest.raises(BadInput, match="broken off"):
        next(items)
    before = threading.active_count()
    endless = prefetch(iter(int, 1), 2)
    next(endless)
    endless.close()
    assert threading.active_count() == before


def test_lag_is_positive_for_a_follower() -> None:
    wave = np.sin(np.arange(100) / 3.0)
    assert best_lag(np.roll(wave, 2)[4:96], wave[4:96]) == 2
    assert best_lag(wave, wave) == 0
    assert squared_correlation(np.arange(5.0), -2 * np.arange(5.0)) == pytest.approx(1.0)
    assert squared_correlation(np.ones(5), np.arange(5.0)) == 0.0
