"""A composited shot through real files: FFV1 keeps every bit, H.264 at usual rates keeps the watermark's."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from render_scene import affine, ellipse, frame, image_of, picture

from visualdub.media.frame import ClipInfo, Frame
from visualdub.media.movie_writer import Codec, MovieWriter
from visualdub.media.source import open_source
from visualdub.render.composite import Composited, Layer, composite_shot, feather
from visualdub.render.watermark import Watermark, WatermarkReader, payload_bits

BITS = payload_bits("a job")
COUNT = 16


def shot(pix_fmt: str) -> tuple[list[Frame], list[Composited]]:
    info = image_of(360, 300, pix_fmt)
    plates = [
        frame(np.roll(picture(360, 300, noise=0.008, seed=i), i, axis=1), info, i) for i in range(COUNT)
    ]
    patch, alpha = picture(256, 256, seed=99), feather(ellipse())
    layers = (Layer(p, patch, alpha, affine(0.9, 180 + i, 150)) for i, p in enumerate(plates))
    return plates, [done for _, done in composite_shot(layers, mark=Watermark(BITS))]


def written(path: Path, done: list[Composited], codec: Codec) -> list[Frame]:
    info = ClipInfo(path, "made", "made", Fraction(25), COUNT, done[0].frame.image)
    with MovieWriter(path, info, codec) as writer:
        for d in done:
            writer.write(d.frame)
    return list(open_source(path).frames())


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_ffv1_shows_the_plate_outside_the_matte_and_the_mark_inside(tmp_path: Path, pix_fmt: str) -> None:
    plates, done = shot(pix_fmt)
    read = written(tmp_path / "out.mkv", done, Codec("ffv1"))
    reader = WatermarkReader()
    assert len(read) == COUNT
    for plate, d, back in zip(plates, done, read, strict=True):
        for a, b in zip(plate.planes, back.planes, strict=True):
            y, x = round(300 / a.shape[0]), round(360 / a.shape[1])
            outside = d.matte[::y, ::x] == 0
            assert np.array_equal(a[outside], b[outside]) and not np.array_equal(a, b)
        reader.add(back.planes[0], 10 if "10" in pix_fmt else 8, matte=d.matte)
    assert np.array_equal(reader.bits, BITS) and reader.certainty.min() > 4


@pytest.mark.parametrize(("crf", "least"), [(18, 32), (23, 30)])
def test_h264_leaves_the_mark_readable(tmp_path: Path, crf: int, least: int) -> None:
    _, done = shot("yuv420p")
    reader = WatermarkReader()
    for d, back in zip(done, written(tmp_path / "out.mp4", done, Codec("h264", crf)), strict=True):
        reader.add(back.planes[0], matte=d.matte)
    assert (reader.bits == BITS).sum() >= least
