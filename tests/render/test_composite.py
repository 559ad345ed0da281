"""Compositing: bit-exact outside the matte, the right pixel inside it, in every pixel format and
orientation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from render_scene import SIZE, affine, ellipse, frame, image_of, picture

from visualdub.errors import InternalError
from visualdub.media.frame import Frame, ImageSpec, SampleEncoding
from visualdub.media.yuv import planes_to_rgb, rgb_to_planes
from visualdub.render.composite import (
    REACH,
    Layer,
    Match,
    composite,
    composite_shot,
    feather,
    frames_to_composite,
)
from visualdub.render.match import noise_level
from visualdub.render.watermark import Watermark, payload_bits
from visualdub.timing import FrameRange

FORMATS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p12le",
    "gbrp",
    "gbrp10le",
    "gray",
]
PATCH = np.full((SIZE, SIZE, 3), (0.8, 0.3, 0.2), np.float32)
MARK = Watermark(payload_bits("a job"))


def no_match(planes: int) -> Match:
    return Match(np.zeros((32, 32, 3), np.float32), np.zeros((planes, 2), np.float32))


def changed_pixels(before: Frame, after: Frame) -> np.ndarray:
    """(H, W) pixels any of whose samples differ."""
    height, width = before.planes[0].shape
    out = np.zeros((height, width), bool)
    for a, b in zip(before.planes, after.planes, strict=True):
        y, x = -(-height // a.shape[0]), -(-width // a.shape[1])
        out |= (a != b).repeat(y, 0).repeat(x, 1)[:height, :width]
    return out


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("size", [(360, 300), (361, 299)])
def test_outside_the_matte_every_sample_is_the_sources_own(pix_fmt: str, size: tuple[int, int]) -> None:
    """Colour, grain and mark all on; odd sizes put a chroma sample half outside the frame."""
    plate = frame(picture(*size, noise=0.02), image_of(*size, pix_fmt))
    done = composite(plate, PATCH, feather(ellipse()), affine(0.9, 200.3, 150.7), mark=MARK)
    changed = changed_pixels(plate, done.frame)
    assert changed.mean() > 0.05
    assert not (changed & (done.matte == 0)).any()
    assert [p.dtype for p in done.frame.planes] == [p.dtype for p in plate.planes]
    assert [p.shape for p in done.frame.planes] == [p.shape for p in plate.planes]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gbrp"])
@pytest.mark.parametrize("full", [False, True])
def test_the_middle_of_the_mask_holds_the_patch(pix_fmt: str, full: bool) -> None:
    plate = frame(picture(360, 300), image_of(360, 300, pix_fmt, full=full))
    done = composite(plate, PATCH, feather(ellipse()), affine(1.0, 180, 150), no_match(3), with_grain=False)
    y, x = 150 + 37, 180  # crop (128, 165), the ellipse's middle
    got = planes_to_rgb(tuple(p for p in done.frame.planes), plate.image)[y, x]
    assert got == pytest.approx((0.8, 0.3, 0.2), abs=0.006)
    assert done.matte[y, x] == 255 and done.matte[0, 0] == 0


def test_the_source_mouth_leaves_no_trace_in_the_middle_of_the_mask() -> None:
    """Two plates that differ only where alpha is 1 give the same samples wherever both are redrawn whole."""
    info = image_of(360, 300)
    shut = picture(360, 300)
    wide = shut.copy()
    wide[175:195, 160:200] = (0.1, 0.02, 0.02)
    alpha, at = feather(ellipse()), affine(1.0, 180, 150)
    a, b = (composite(frame(p, info), PATCH, alpha, at).frame for p in (shut, wide))
    assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


def test_blend_is_in_linear_light() -> None:
    """Half of white over half of black: BT.1886 puts it at 0.5 ** (1 / 2.4) = 0.749, a blend of codes at
    0.5.
    """
    plate = frame(np.zeros((300, 360, 3), np.float32), image_of(360, 300, "yuv444p10le"))
    alpha = np.zeros((SIZE, SIZE), np.float32)
    alpha[80:180, 80:180] = 0.5
    done = composite(
        plate,
        np.ones((SIZE, SIZE, 3), np.float32),
        alpha,
        affine(1.0, 180, 150),
        no_match(3),
        with_grain=False,
    )
    got = planes_to_rgb(done.frame.planes, plate.image)[150, 180]
    assert got == pytest.approx([0.5 ** (1 / 2.4)] * 3, abs=0.002)
    assert done.matte[150, 180] == 128


@pytest.mark.parametrize("scale", [0.5, 0.97, 1.0, 1.6])
def test_patch_lands_where_its_crop_was_cut(scale: float) -> None:
    """A bright dot at crop (140.5, 150.5) must have its centre of mass at the clip pixel the affine says, to
    0.05 pixel.
    """
    plate = frame(np.full((400, 500, 3), 128 / 255, np.float32), image_of(500, 400, "gray", full=True))
    at = affine(scale, 251.3, 202.9)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    dot = 128 / 255 + 0.4 * np.exp(-((x - 140.5) ** 2 + (y - 150.5) ** 2) / (2 * 6.0**2))
    patch = np.repeat(dot[..., None], 3, -1).astype(np.float32)
    done = composite(plate, patch, feather(ellipse()), at, no_match(1), with_grain=False)
    light = done.frame.planes[0].astype(np.float64) - plate.planes[0]
    rows, cols = np.mgrid[:400, :500] + 0.5
    found = np.array([(light * cols).sum(), (light * rows).sum()]) / light.sum()
    wanted = (np.array([140.5, 150.5]) - at[:, 2]) / scale
    assert found == pytest.approx(wanted, abs=0.05)
    assert done.scale == pytest.approx(1 / scale)


def test_resampling_does_not_soften() -> None:
    """A stripe pattern of 5 crop pixels' period keeps its contrast at a half-pixel shift; bilinear would lose
    a fifth of it.
    """
    plate = frame(np.full((300, 360, 3), 0.5, np.float32), image_of(360, 300, "gray", full=True))
    x = np.arange(SIZE) + 0.5
    stripes = 0.5 + 0.3 * np.sin(2 * np.pi * x / 5)
    patch = np.broadcast_to(stripes[None, :, None], (SIZE, SIZE, 3)).astype(np.float32)
    done = composite(plate, patch, feather(ellipse()), affine(1.0, 180.5, 150), no_match(1), with_grain=False)
    inside = done.frame.planes[0][170:200, 160:200].astype(np.float64)
    original = 255 * patch[100:130, 100:140, 0]
    assert inside.std() / original.std() > 0.98


def test_rotated_views_are_composited_like_upright_ones() -> None:
    """4:2:2 turned by 90 degrees has its chroma halved down, not across."""
    upright = frame(picture(300, 360), image_of(300, 360, "yuv422p"))
    turned = Frame(
        0, tuple(np.rot90(p, -1) for p in upright.planes), replace(image_of(360, 300, "yuv422p"), rotation=90)
    )
    assert turned.planes[1].shape == (150, 360)
    done = composite(turned, PATCH, feather(ellipse()), affine(0.9, 180, 150), mark=MARK)
    changed = changed_pixels(turned, done.frame)
    assert changed.mean() > 0.05 and not (changed & (done.matte == 0)).any()
    got = planes_to_rgb(done.frame.planes, turned.image)[150 + 41, 180]
    # the colour match pulls the flat patch to the plate, at most by its limit
    assert np.abs(got - (0.8, 0.3, 0.2)).max() < 0.3


def test_a_face_cut_by_the_frames_edge_and_one_outside_it() -> None:
    plate = frame(picture(360, 300), image_of(360, 300))
    cut = composite(plate, PATCH, feather(ellipse()), affine(1.0, 20, 290))
    assert (cut.matte > 0).any() and not (changed_pixels(plate, cut.frame) & (cut.matte == 0)).any()
    gone = composite(plate, PATCH, feather(ellipse()), affine(1.0, -400, 150))
    assert not gone.matte.any() and all(
        np.array_equal(a, b) for a, b in zip(gone.frame.planes, plate.planes, strict=True)
    )


def test_alpha_of_zero_changes_nothing_and_alpha_planes_are_left_alone() -> None:
    plate = frame(picture(360, 300), image_of(360, 300))
    still = composite(plate, PATCH, np.zeros((SIZE, SIZE), np.float32), affine(1.0, 180, 150))
    assert not still.matte.any() and still.frame is plate
    see_through = np.full((300, 360), 77, np.uint8)
    keyed = Frame(0, (*plate.planes, see_through), image_of(360, 300, "yuva420p"))
    done = composite(keyed, PATCH, feather(ellipse()), affine(1.0, 180, 150))
    assert done.frame.planes[3] is see_through and (done.matte > 0).any()


def test_the_source_frame_is_not_written_to() -> None:
    plate = frame(picture(360, 300), image_of(360, 300))
    before = [p.copy() for p in plate.planes]
    composite(plate, PATCH, feather(ellipse()), affine(1.0, 180, 150), mark=MARK)
    assert all(np.array_equal(a, b) for a, b in zip(before, plate.planes, strict=True))


def test_wrong_shapes_are_refused() -> None:
    plate = frame(picture(360, 300), image_of(360, 300))
    with pytest.raises(InternalError, match="expected"):
        composite(plate, PATCH[:100], feather(ellipse()), affine(1.0, 180, 150))
    turned = np.array([[0.9, 0.1, 0], [-0.1, 0.9, 0]])
    with pytest.raises(InternalError, match="turns or mirrors"):
        composite(plate, PATCH, feather(ellipse()), turned)


# ---- frames of floats --------------------------------------------------------------------------------------


def float_image(encoding: SampleEncoding, width: int = 360, height: int = 300) -> ImageSpec:
    return image_of(width, height, "gbrpf32le", transfer=1, full=True, encoding=encoding)


@pytest.mark.parametrize("encoding", [SampleEncoding.ENCODED, SampleEncoding.LINEAR])
def test_floats_beyond_white_stay_outside_the_matte_and_are_not_rounded_inside(
    encoding: SampleEncoding,
) -> None:
    """Colour, grain and mark all on; the plate goes from -0.1 to 6."""
    y, x = np.mgrid[:300, :360].astype(np.float32)
    bright = np.stack([(x + y) / 110 - 0.1, x / 60, y / 50], -1)
    noise = np.random.default_rng(1).normal(0, 0.02, bright.shape).astype(np.float32)
    plate = Frame(3, tuple(np.moveaxis(bright + noise, -1, 0)), float_image(encoding))
    patch = picture(SIZE, SIZE, noise=0.001, seed=2)
    done = composite(plate, patch, feather(ellipse()), affine(0.9, 200.3, 150.7), mark=MARK)
    assert max(float(p[done.matte == 0].max()) for p in plate.planes) > 5
    for before, after in zip(plate.planes, done.frame.planes, strict=True):
        assert after.dtype == np.float32
        assert np.array_equal(before[done.matte == 0], after[done.matte == 0])
        inside = after[done.matte == 255]
        assert np.isfinite(inside).all() and len(inside) > 5000
        assert len(np.unique(inside)) > 0.95 * len(inside)  # 256 or fewer where they are codes of 8 bits


@pytest.mark.parametrize(
    ("encoding", "over", "drawn"),
    [
        (SampleEncoding.ENCODED, 1.3, 1.15),  # 0.9 and the most that the colour match may add, 0.25
        (SampleEncoding.LINEAR, 1.3**2.4, 1.15**2.4),
    ],
)
def test_a_patch_that_meets_a_plate_above_white(encoding: SampleEncoding, over: float, drawn: float) -> None:
    plate = Frame(0, tuple(np.full((300, 360), over, np.float32) for _ in range(3)), float_image(encoding))
    patch = np.full((SIZE, SIZE, 3), 0.9, np.float32)
    done = composite(plate, patch, feather(ellipse()), affine(1.0, 180, 150))
    for plane in done.frame.planes:
        assert plane[done.matte == 255] == pytest.approx(drawn, abs=1e-5)
        edge = plane[(done.matte > 0) & (done.matte < 255)]
        assert drawn - 1e-5 <= edge.min() and edge.max() <= over + 1e-5
        assert np.ptp(edge) > 0.8 * (over - drawn)


@pytest.mark.parametrize("encoding", [SampleEncoding.ENCODED, SampleEncoding.LINEAR])
@pytest.mark.parametrize("sigma", [0.0, 0.01])
def test_a_float_plate_gives_its_grain_as_codes_do(encoding: SampleEncoding, sigma: float) -> None:
    """Noise of R'G'B' measured inside the mask, against the plate's own."""
    clean, image = picture(480, 400), float_image(encoding, 480, 400)
    rgb = clean + np.random.default_rng(0).normal(0, sigma, clean.shape).astype(np.float32)
    plate = Frame(0, rgb_to_planes(rgb, image), image)
    at = affine(1.0, 240, 200)
    crop = clean[200 - 128 : 200 + 128, 240 - 128 : 240 + 128]
    done = composite(plate, crop, feather(ellipse()), at)
    inside = done.matte == 255
    got, own = (noise_level(planes_to_rgb(f.planes, image)[..., 1], inside) for f in (done.frame, plate))
    assert own[0] == pytest.approx(sigma, abs=0.001)
    assert got == pytest.approx(own, rel=0.12, abs=4e-4)


# ------------------------------------------------------------------------------------------------------------


def layers(count: int, drawn: range) -> list[Layer]:
    info, alpha = image_of(360, 300), feather(ellipse())
    out = []
    for i in range(count):
        plate = frame(picture(360, 300, noise=0.02, seed=i), info, i)
        on = i in drawn
        patch = np.clip(picture(SIZE, SIZE, seed=9) + 0.01 * i, 0, 1)
        out.append(
            Layer(
                plate, patch if on else None, alpha if on else None, affine(1.0, 180 + i, 150) if on else None
            )
        )
    return out


def test_a_shot_is_the_same_in_chunks_that_bring_their_neighbours() -> None:
    shot = layers(9, range(2, 8))
    whole = [done for _, done in composite_shot(shot, mark=MARK)]
    assert [d.frame.index for d in whole] == list(range(9))
    assert [bool(d.matte.any()) for d in whole] == [2 <= i < 8 for i in range(9)]
    assert all(whole[i].frame is shot[i].frame for i in (0, 1, 8))
    for a, b in ((0, 3), (3, 5), (5, 9)):
        needed = frames_to_composite(FrameRange(a, b), FrameRange(0, 9))
        start, end = needed.start, needed.end_exclusive
        assert (start, end) == (max(0, a - REACH), min(9, b + REACH))
        part = [done for _, done in composite_shot(shot[start:end], mark=MARK, wanted=FrameRange(a, b))]
        assert [d.frame.index for d in part] == list(range(a, b))
        for mine, theirs in zip(part, whole[a:b], strict=True):
            assert all(
                np.array_equal(x, y) for x, y in zip(mine.frame.planes, theirs.frame.planes, strict=True)
            )


@pytest.mark.parametrize(("standing", "least", "most"), [(True, 0.0, 0.2), (False, 0.85, 1.1)])
def test_grain_flickers_no_more_than_the_plates(standing: bool, least: float, most: float) -> None:
    """The plates' noise is the same in all frames, or another in each; the patches have none."""
    info, alpha, at = image_of(360, 300), feather(ellipse()), affine(1.0, 180, 150)
    plates = [frame(picture(360, 300, 0.02, 0 if standing else i), info, i) for i in range(5)]
    patch = picture(SIZE, SIZE, seed=9)
    shot = list(composite_shot([Layer(p, patch, alpha, at) for p in plates]))
    first, second = (shot[i][1].frame.planes[0].astype(np.float32) for i in (2, 3))
    noise = noise_level(second - first, shot[3][1].matte == 255)[0] / np.sqrt(2)
    own = noise_level(plates[3].planes[0].astype(np.float32), np.ones((300, 360), np.bool_))[0]
    assert least <= noise / own <= most


@pytest.mark.parametrize(("standing", "least", "most"), [(True, 0.0, 0.3), (False, 0.85, 1.1)])
def test_a_frame_drawn_alone_knows_what_noise_changes(standing: bool, least: float, most: float) -> None:
    """Its neighbours pass through; they show as well whether the noise is the same in all frames."""
    info, alpha, at = image_of(360, 300), feather(ellipse()), affine(1.0, 180, 150)
    plates = [frame(picture(360, 300, 0.02, 0 if standing else i), info, i) for i in range(5)]
    patch = picture(SIZE, SIZE, seed=9)
    layers = [
        Layer(p, patch, alpha, at) if i == 2 else Layer(p, None, None, None) for i, p in enumerate(plates)
    ]
    done = list(composite_shot(layers))[2][1]
    drawn = noise_level(done.frame.planes[0].astype(np.float32), done.matte == 255)[0]
    own = noise_level(plates[2].planes[0].astype(np.float32), np.ones((300, 360), np.bool_))[0]
    assert least <= drawn / own <= most


def brightened(shot: list[Layer], columns: slice) -> list[Layer]:
    """The shot with frame 3 brighter by 12 codes in some columns."""
    frame3 = shot[3].frame
    luma = frame3.planes[0].copy()
    luma[:, columns] += 12
    return [*shot[:3], replace(shot[3], frame=replace(frame3, planes=(luma, *frame3.planes[1:]))), *shot[4:]]


def middle_of(shot: list[Layer]) -> tuple[float, float]:
    """Mean luma of frame 3, left and right of the mouth, far from the mask's edge."""
    luma = list(composite_shot(shot, with_grain=False))[3][1].frame.planes[0]
    return float(luma[170:200, 143:148].mean()), float(luma[170:200, 218:223].mean())


def test_a_flash_is_followed_and_a_passing_shadow_is_steadied() -> None:
    """The level of the match is each frame's own; its pattern has weights 1 2 3 2 1 over five frames."""
    steady, flash, shadow = (
        middle_of(s)
        for s in (
            layers(7, range(7)),
            brightened(layers(7, range(7)), slice(None)),
            brightened(layers(7, range(7)), slice(0, 183)),
        )
    )
    assert np.subtract(flash, steady) == pytest.approx([12, 12], abs=1.5)
    left, right = np.subtract(shadow, steady)
    assert left + right == pytest.approx(12, abs=3)
    assert 0.15 < (left - right) / 12 < 0.5  # 1 where it followed the frame alone


@pytest.mark.parametrize("sigma", [0.0, 2.0, 4.0])
def test_a_clean_patch_gets_the_plates_grain_and_no_more(sigma: float) -> None:
    """Noise measured inside the mask after compositing a noiseless patch, against the plate's own."""
    info = image_of(480, 400, "yuv444p")
    clean = picture(480, 400)
    luma = frame(clean, info).planes[0].astype(np.float32) + np.random.default_rng(0).normal(
        0, sigma, (400, 480)
    )
    plate = frame(clean, info)
    plate = replace(plate, planes=(np.rint(luma).astype(np.uint8), *plate.planes[1:]))
    at = affine(1.0, 240, 200)
    crop = clean[200 - 128 : 200 + 128, 240 - 128 : 240 + 128]
    done = composite(plate, crop, feather(ellipse()), at)
    inside = done.matte == 255
    got, own = (noise_level(p.astype(np.float32), inside) for p in (done.frame.planes[0], plate.planes[0]))
    assert own[0] == pytest.approx(sigma, abs=0.3)
    assert got == pytest.approx(own, rel=0.12, abs=0.1)


def test_grain_is_another_in_every_frame_and_the_same_in_the_same_frame() -> None:
    """Grain that stands still would look like dirt on the lens."""
    rgb, alpha, at = picture(360, 300, noise=0.02), feather(ellipse()), affine(0.9, 200, 150)
    first, second, again = (
        composite(frame(rgb, image_of(360, 300), i), PATCH, alpha, at).frame.planes[0].astype(int)
        for i in (7, 8, 7)
    )
    assert np.array_equal(first, again)
    inside = composite(frame(rgb, image_of(360, 300), 7), PATCH, alpha, at).matte == 255
    assert (first - second)[inside].std() > 2  # codes; the plate's noise alone has 4.4


def test_the_mark_lies_where_the_mask_is_whole() -> None:
    """In the feather it would be a half mark, which reads as noise."""
    plate, alpha, at = frame(picture(360, 300), image_of(360, 300)), feather(ellipse()), affine(0.9, 200, 150)
    plain, marked = (composite(plate, PATCH, alpha, at, mark=m) for m in (None, MARK))
    changed = plain.frame.planes[0] != marked.frame.planes[0]
    assert changed.sum() > 1000 and (marked.matte[changed] == 255).all()
