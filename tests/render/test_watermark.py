"""The watermark: unseen, inside the mask only, read back exactly, and the very scheme of the package
blind-watermark.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from blind_watermark.bwm_core import WaterMarkCore
from render_scene import affine, ellipse, frame, image_of, picture

from visualdub.errors import BadInput
from visualdub.render.composite import composite, feather
from visualdub.render.watermark import (
    BITS,
    BLOCK,
    STEP,
    Watermark,
    WatermarkReader,
    payload_bits,
    payload_from_text,
    payload_text,
)

BITS_OF_JOB = payload_bits("source|actor|dialogue")


def luma(noise: float = 2.0, size: tuple[int, int] = (240, 320), seed: int = 3) -> np.ndarray:
    rgb = picture(size[1], size[0])
    return (rgb.mean(-1) * 219 + 16 + np.random.default_rng(seed).normal(0, noise, size)).astype(np.float32)


def test_payload_is_the_head_of_sha_256() -> None:
    assert payload_text(payload_bits("")) == "e3b0c442"  # SHA-256 of nothing begins so
    assert payload_bits("").tolist()[:8] == [1, 1, 1, 0, 0, 0, 1, 1]
    assert np.array_equal(payload_from_text(payload_text(BITS_OF_JOB)), BITS_OF_JOB)
    for bad in ("e3b0", "no hex!!", "e3b0c44200"):
        with pytest.raises(BadInput):
            payload_from_text(bad)


@pytest.mark.parametrize("depth", [8, 10])
def test_bits_read_back_from_rounded_samples(depth: int) -> None:
    plane = luma() * 2 ** (depth - 8)
    everywhere = np.ones(plane.shape, bool)
    marked = np.rint(plane + Watermark(BITS_OF_JOB).delta(plane, 0, 0, everywhere, depth))
    reader = WatermarkReader()
    reader.add(marked.astype(np.uint8 if depth == 8 else np.uint16), depth)
    assert np.array_equal(reader.bits, BITS_OF_JOB)
    assert reader.certainty.min() > 4


def test_the_mark_is_unseen() -> None:
    """PSNR of marked against unmarked luma, unrounded; STEP 20 alone gives 20 log10(255 / (20 / sqrt(12) /
    8)) = 50.9 dB.
    """
    plane = luma()
    delta = Watermark(BITS_OF_JOB).delta(plane, 0, 0, np.ones(plane.shape, bool))
    assert 10 * np.log10(255**2 / np.square(delta).mean()) == pytest.approx(50.9, abs=0.5)
    assert np.abs(delta).max() <= STEP / 2 / 2 + 0.01


def test_only_whole_blocks_inside_are_marked_on_the_frames_own_grid() -> None:
    plane = luma()
    where = np.zeros(plane.shape, bool)
    where[50:120, 61:200] = True
    left, top = 13, 6  # of the rectangle in the frame
    delta = Watermark(BITS_OF_JOB).delta(plane, left, top, where)
    rows, cols = np.flatnonzero(delta.any(1)), np.flatnonzero(delta.any(0))
    assert (rows[0] + top, rows[-1] + 1 + top) == (56, 120)  # the multiples of 8 inside 56..126
    assert (cols[0] + left, cols[-1] + 1 + left) == (80, 208)  # inside 74..213


def test_reading_needs_no_more_than_a_loose_box() -> None:
    plane = luma(size=(480, 640))
    where = np.zeros(plane.shape, bool)
    where[200:320, 300:440] = True
    reader = WatermarkReader()
    for i in range(8):
        drifting = luma(size=(480, 640), seed=i) + i
        marked = np.rint(drifting + Watermark(BITS_OF_JOB).delta(drifting, 0, 0, where))
        reader.add(marked.astype(np.uint8), box=(255, 161, 480, 363))
    assert np.array_equal(reader.bits, BITS_OF_JOB)


def test_an_unmarked_picture_is_not_certain() -> None:
    reader = WatermarkReader()
    for i in range(8):
        reader.add(luma(seed=i).astype(np.uint8))
    assert np.median(reader.certainty) < 3
    assert (reader.bits == BITS_OF_JOB).mean() < 0.9


def test_nothing_to_read_gives_no_certainty() -> None:
    reader = WatermarkReader()
    reader.add(np.zeros((5, 5), np.uint8))
    assert not reader.certainty.any()


# ---------------------------------------------------------------------------------------------------- the pac


def package_core(bits: np.ndarray) -> WaterMarkCore:
    core = WaterMarkCore(mode="common")
    core.fast_mode, core.d1 = True, STEP
    core.read_wm(bits)
    return core


def test_blind_watermark_reads_what_we_write_and_we_read_what_it_writes() -> None:
    """On a grey picture, whose Y it transforms as we do: every block's bit, both ways."""
    plane = luma(size=(120, 160))
    blocks = (120 // BLOCK) * (160 // BLOCK)
    ours = plane + Watermark(BITS_OF_JOB).delta(plane, 0, 0, np.ones(plane.shape, bool))
    core = package_core(BITS_OF_JOB)
    theirs_of_ours = core.extract_raw(np.repeat(ours[..., None], 3, -1))[0]

    from visualdub.render.watermark import _blocks_of, _first_singular, _low_bands, _roles

    index, flip = _roles(*_blocks_of((120, 160), 0, 0)[2:])
    assert np.array_equal(theirs_of_ours, BITS_OF_JOB[index] ^ flip)

    core = package_core(np.arange(blocks - 1) % 2)
    core.read_img_arr(np.repeat(plane[..., None], 3, -1))
    theirs = cv2.cvtColor(core.embed().astype(np.float32), cv2.COLOR_BGR2YUV)[..., 0]
    phase = _first_singular(_low_bands(theirs))[0] % STEP
    assert np.array_equal((phase > STEP / 2).astype(int), np.arange(blocks) % (blocks - 1) % 2)


def test_a_composite_carries_the_mark() -> None:
    info, alpha, at = image_of(480, 360), feather(ellipse()), affine(0.9, 240, 180)
    patch = picture(256, 256, seed=4)
    reader = WatermarkReader()
    for i in range(6):
        done = composite(
            frame(picture(480, 360, 0.01, seed=i), info, i), patch, alpha, at, mark=Watermark(BITS_OF_JOB)
        )
        reader.add(done.frame.planes[0], matte=done.matte)
    assert np.array_equal(reader.bits, BITS_OF_JOB)
    assert BITS == 32
