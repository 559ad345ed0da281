"""Feather, colour match, grain and light curves against hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from render_scene import SIZE, ellipse, picture

from visualdub.media.transfer import HLG, LINEAR, PQ, transfer_function
from visualdub.render.composite import feather
from visualdub.render.match import (
    GRID,
    LIMIT,
    Match,
    changing_noise,
    grain,
    lacking,
    noise_level,
    offset_field,
    seeded,
    spread_field,
)


def test_feather_rises_inside_the_mask_only() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[10:50, 10:50] = 1
    alpha = feather(mask, width=11.0)
    assert not alpha[mask == 0].any()
    assert alpha[30, 10] == 0  # the outermost pixel of the mask keeps the plate
    assert alpha[30, 15] == pytest.approx(0.5, abs=1e-6)  # 6 pixels deep: half way along 1..11
    assert alpha[30, 20] == pytest.approx(1, abs=1e-6) and alpha[30, 30] == 1


def test_feather_counts_the_crops_edge_as_border() -> None:
    alpha = feather(np.ones((64, 64), np.float32))
    assert alpha[0].max() == 0 and alpha[32, 32] == 1


def test_offset_of_a_constant_difference_is_that_difference_everywhere_it_is_used() -> None:
    patch = picture(SIZE, SIZE)
    shift = np.array([0.1, -0.05, 0.02], np.float32)
    field = spread_field(offset_field(patch + shift, patch, feather(ellipse())), SIZE)
    assert np.abs(field - shift)[ellipse() > 0].max() < 1e-4


def test_offset_follows_a_slope_and_ignores_outliers_and_the_middle() -> None:
    patch, alpha = picture(SIZE, SIZE), feather(ellipse())
    slope = ((np.arange(SIZE) - 128) / 128 * 0.1).astype(np.float32)[None, :, None]
    plate = patch + slope
    clean = offset_field(plate, patch, alpha)
    left, right = (spread_field(clean, SIZE)[165, x, 0] for x in (62, 194))
    assert left == pytest.approx(-0.052, abs=0.015) and right == pytest.approx(0.052, abs=0.015)
    dirty = plate.copy()
    dirty[150:180] += 0.6 * (alpha[150:180] >= 1)[..., None]  # an open source mouth
    assert np.array_equal(offset_field(dirty, patch, alpha), clean)
    dirty = plate.copy()
    dirty[230:236, 120:130] = 1.0  # a bright collar in the feather, where the chin was
    assert np.abs(offset_field(dirty, patch, alpha) - clean).max() < 0.02


def test_a_cheek_in_a_light_of_its_own_is_met_where_it_is() -> None:
    """The left border is lighter along 24 of its pixels, as beside the edge of a highlight."""
    patch, alpha = picture(SIZE, SIZE), feather(ellipse())
    plate, lit = patch.copy(), slice(150, 174)
    plate[lit, :90] += 0.05
    field = spread_field(offset_field(plate, patch, alpha), SIZE)[..., 0]
    row = 162
    (left, *_, right) = np.flatnonzero((alpha[row] > 0.02) & (alpha[row] < 0.9))
    assert field[row, left] > 0.04 and abs(field[row, right]) < 0.01
    above = np.flatnonzero((alpha[lit.start - 16] > 0.02) & (alpha[lit.start - 16] < 0.9))[0]
    assert field[lit.start - 16, above] < 0.01  # 16 pixels on, the border has the light of the rest


def test_offset_is_limited_and_empty_without_a_feather() -> None:
    patch = picture(SIZE, SIZE)
    assert np.abs(offset_field(patch + 0.9, patch, feather(ellipse()))).max() == pytest.approx(LIMIT)
    assert not offset_field(patch, patch, np.zeros((SIZE, SIZE), np.float32)).any()


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_white_noise_is_measured(sigma: float) -> None:
    noise = np.random.default_rng(1).normal(0, sigma, (400, 400)).astype(np.float32)
    ramp = np.add.outer(np.arange(400), 2 * np.arange(400)).astype(np.float32)
    fine, coarse = noise_level(noise + ramp, np.ones((400, 400), bool))
    assert fine == pytest.approx(sigma, rel=0.05) and coarse == pytest.approx(sigma / 2, rel=0.05)


def test_noise_is_only_looked_for_where_asked_and_not_at_all_in_too_little() -> None:
    plane = np.zeros((300, 300), np.float32)
    plane[:, 150:] = np.random.default_rng(0).normal(0, 4, (300, 150))
    left = np.zeros((300, 300), bool)
    left[:, :150] = True
    assert noise_level(plane, left)[0] < 0.01
    assert noise_level(plane, ~left)[0] > 3.5
    few = np.zeros((300, 300), bool)
    few[200:212, 200:212] = True
    assert not noise_level(plane, few).any()


@pytest.mark.parametrize(("fine", "coarse"), [(2.0, 0.0), (0.0, 4.0), (1.5, 3.0)])
def test_added_grain_measures_like_the_plate(fine: float, coarse: float) -> None:
    plate = noise_level(grain((600, 600), fine, coarse, seeded(1, 1)), np.ones((600, 600), bool))
    wanted = lacking(plate, np.zeros(2, np.float32))
    assert np.hypot(*wanted) == pytest.approx(np.hypot(fine, coarse), rel=0.1)
    again = noise_level(grain((600, 600), *wanted, seeded(1, 2)), np.ones((600, 600), bool))
    assert again == pytest.approx(plate, rel=0.05)


def test_a_patch_as_noisy_as_the_plate_gets_none() -> None:
    level = np.array([1.2, 0.8], np.float32)
    assert lacking(level, level) == (0.0, 0.0)
    assert lacking(level, 2 * level) == (0.0, 0.0)


def test_grain_depends_on_seed_and_frame_number_alone() -> None:
    a, b, c = (grain((90, 70), 2.0, 1.0, seeded(468, i)) for i in (7, 7, 8))
    assert np.array_equal(a, b)
    assert abs(np.corrcoef(a.ravel(), c.ravel())[0, 1]) < 0.05
    assert a.std() == pytest.approx(2.05, rel=0.1)


@pytest.mark.parametrize("transfer", [0, 1, 2, 4, 6, LINEAR, 13, 14, PQ, HLG])
def test_light_curves_go_there_and_back(transfer: int) -> None:
    values = np.linspace(0, 1, 101, dtype=np.float32)
    curve = transfer_function(transfer)
    assert np.abs(curve.from_linear(curve.to_linear(values)) - values).max() < 2e-4
    assert (np.diff(curve.to_linear(values)) >= 0).all()


def test_light_curves_by_hand() -> None:
    half = np.array([0.5], np.float32)
    assert transfer_function(1).to_linear(half)[0] == pytest.approx(0.1894646, abs=1e-6)  # 0.5 ** 2.4
    assert transfer_function(HLG).to_linear(half)[0] == pytest.approx(1 / 12, abs=1e-6)
    assert transfer_function(PQ).to_linear(np.array([0.508], np.float32))[0] == pytest.approx(
        0.01, rel=0.01
    )  # 100 of 10 000 cd/m2


def test_noise_that_stays_from_frame_to_frame_is_not_counted_as_changing() -> None:
    """Standing noise of 3 codes and fresh noise of 1.5, as after a codec that carries blocks on."""
    random = np.random.default_rng(5)
    standing = random.normal(0, 3, (300, 300))
    first, second = ((standing + random.normal(0, 1.5, (300, 300))).astype(np.float32) for _ in range(2))
    everywhere = np.ones((300, 300), np.bool_)
    both = changing_noise([first], [second], [everywhere])
    assert both is not None and both.shape == (1, 2)
    assert both[0] == pytest.approx(noise_level(first, everywhere) * 1.5 / np.hypot(3, 1.5), rel=0.06)
    few = np.zeros((300, 300), np.bool_)
    few[:20, :40] = True
    assert changing_noise([first], [second], [few]) is None


def test_no_more_noise_counts_than_changes() -> None:
    """The offset's pattern and the noise are means over the neighbours, the offset's level is the frame's."""
    ramp = np.linspace(-0.02, 0.02, GRID, dtype=np.float32)[None, :, None] * np.ones((GRID, 1, 3), np.float32)
    own, other = (Match(k * ramp + np.float32(k), np.full((3, 2), k, np.float32)) for k in (1, 3))
    near = [(3.0, own), (1.0, other)]
    free = own.averaged(near, [None, None])
    np.testing.assert_allclose(free.noise, 1.5)
    np.testing.assert_allclose(free.offset, 1.5 * ramp + 1, atol=1e-6)
    limits = [np.array([[0.3, 9.0]] * 3, np.float32), None, np.array([[0.4, 9.0]] * 3, np.float32)]
    limited = own.averaged(near, limits).noise
    np.testing.assert_allclose(limited, [[np.sqrt(0.125), 1.5]] * 3, rtol=1e-5)
