"""Small movies made by FFmpeg itself, each frame carrying its number, to hold reader and writer against."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from visualdub.media.frame import ClipInfo, ColourTags, Frame, ImageSpec
from visualdub.media.pixel_format import bit_depth, has_alpha, sample_type
from visualdub.media.yuv import chroma_factors

WIDTH, HEIGHT, CELL = 192, 96, 16


def numbered_luma(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Luma of frame `number`: its ten low bits as black and white cells in the top two rows, a moving slope
    below.
    """
    y, x = np.mgrid[:height, :width]
    luma = (64 + (x + 3 * y + 5 * number) % 128).astype(np.uint8)
    for bit in range(10):
        luma[: 2 * CELL, bit * CELL : (bit + 1) * CELL] = 235 if number >> bit & 1 else 16
    return luma


def number_of(luma: NDArray[np.generic]) -> int:
    """The number that `numbered_luma` put into a decoded picture of any bit depth."""
    middle = np.asarray(luma, np.float64)[4 : 2 * CELL - 4]
    top = (
        255 if luma.dtype == np.uint8 else 65535 if luma.max() > 4095 else 4095 if luma.max() > 1023 else 1023
    )
    cells = [middle[:, b * CELL + 4 : (b + 1) * CELL - 4].mean() for b in range(10)]
    return sum(1 << b for b, level in enumerate(cells) if level > 0.49 * top)


def numbered_picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> av.VideoFrame:
    """yuv420p picture of `numbered_luma` with slopes of colour."""
    picture = av.VideoFrame(width, height, "yuv420p")
    chroma = np.mgrid[: (height + 1) // 2, : (width + 1) // 2][1] % 96 + 80
    for plane, data in zip(
        picture.planes, (numbered_luma(number, width, height), chroma, 255 - chroma), strict=True
    ):
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width] = data
    return picture


def make_movie(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    count: int = 40,
    rate: Fraction = Fraction(25),
    stamps: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    time_base: Fraction | None = None,
    rotate: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    **context: Any,
) -> Path:
    """A movie of numbered frames by FFmpeg alone, at `stamps` (in `time_base`, 1 / rate by default)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base or 1 / rate
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if rotate:
            stream.set_display_rotation(-rotate)
        for i in range(count):
            picture = numbered_picture(i, *size).reformat(format=pix_fmt)
            picture.pts, picture.time_base = stamps[i] if stamps else i, time_base or 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def image_of(pix_fmt: str, **changes: Any) -> ImageSpec:
    """Small pictures for tests that need no file."""
    facts: dict[str, Any] = {"width": 48, "height": 32, "colour": ColourTags(1, 1, 1, 1)}
    return ImageSpec(pix_fmt=pix_fmt, **{**facts, **changes})


def info_of(image: ImageSpec, **changes: Any) -> ClipInfo:
    """Facts of a small clip of `image` for tests that need no file."""
    facts: dict[str, Any] = {"rate": Fraction(25), "frame_count": 3}
    return ClipInfo(Path("made.mkv"), "matroska", "ffv1", image=image, **{**facts, **changes})


def noise_frames(image: ImageSpec, count: int = 3) -> list[Frame]:
    """Frames of random samples over the whole code range."""
    luma, (across, down) = (image.height, image.width), chroma_factors(image)
    shapes = [luma]
    if not image.pix_fmt.startswith("gray"):
        shapes += [(-(-luma[0] // down), -(-luma[1] // across))] * 2 + [luma] * has_alpha(image.pix_fmt)
    random = np.random.default_rng(7)
    top = 1 << bit_depth(image.pix_fmt)
    dtype = sample_type(image.pix_fmt)
    return [
        Frame(i, tuple(random.integers(0, top, s).astype(dtype) for s in shapes), image) for i in range(count)
    ]


def tone(seconds: float, rate: int = 48000, at: float = 0.0) -> NDArray[np.float32]:
    """A quiet 440 Hz tone with a click of ten samples `at` seconds."""
    t = np.arange(round(seconds * rate)) / rate
    out = (0.05 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    out[round(at * rate) : round(at * rate) + 10] = 0.9
    return out


def write_sound(
    path: Path, samples: NDArray[np.float32], rate: int = 48000, codec: str = "pcm_s16le"
) -> Path:
    """Mono sound file by FFmpeg."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(stream.format.name, "mono", rate, frame_size=1024)
        block = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        block.sample_rate, block.pts = rate, 0
        for part in (*resampler.resample(block), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 200 kB."""
    yield from _mounted(tmp_path / "small", "size=200k")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder nothing can be written to, not by root either."""
    if os.geteuid() != 0:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o555)
        yield folder
        folder.chmod(0o755)
    else:
        yield from _mounted(tmp_path / "closed", "ro")


def _mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
