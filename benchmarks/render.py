"""What compositing costs, step by step, on made-up frames: `python -m benchmarks.render [--model
renderer.onnx]`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.mediapipe_models import Segmenter
from visualdub.media.frame import ColourTags, Frame, ImageSpec
from visualdub.media.yuv import rgb_to_planes, to_samples
from visualdub.render.composite import composite, feather, finish, prepare
from visualdub.render.runtime import Renderer
from visualdub.render.watermark import Watermark, payload_bits

FRAME_MS = 40.0  # one frame of a 25 frames/s clip
CASES = (
    ("512 x 512, face 360 wide", 512, 512, "yuv420p", 1.4),
    ("1080p, face 360 wide", 1920, 1080, "yuv420p", 1.4),
    ("1080p 10 bit 4:2:2, face 360 wide", 1920, 1080, "yuv422p10le", 1.4),
    ("1080p, face 180 wide", 1920, 1080, "yuv420p", 0.7),
    ("2160p, face 770 wide", 3840, 2160, "yuv420p", 3.0),
)


def made_frame(width: int, height: int, pix_fmt: str) -> Frame:
    """Smooth colours with noise."""
    image = ImageSpec(width, height, pix_fmt, ColourTags(1, 1, 1, 1))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rgb = np.stack(
        [0.5 + 0.2 * np.sin(x / 40), 0.4 + 0.1 * np.cos(y / 50), 0.35 + 0.1 * np.sin((x + y) / 60)], -1
    )
    rgb += np.random.default_rng(0).normal(0, 0.01, rgb.shape).astype(np.float32)
    return Frame(0, tuple(to_samples(p, image) for p in rgb_to_planes(rgb, image)), image)


def cost(step: Callable[[], object], repeats: int) -> float:
    """Processor time of one call, milliseconds, the median of `repeats` after one to warm up."""
    step()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        step()
        times.append(1e3 * (time.process_time() - start))
    return float(np.median(times))


def finished_rate(renderer: Renderer, repeats: int) -> float:
    """Finished frames/s of the network at its own number of threads, by the median time of a window of which
    t - 1 are new.
    """
    t, s = renderer.window, renderer.size
    y, x = np.mgrid[:s, :s].astype(np.float32) / s
    frames = np.random.default_rng(0).integers(0, 255, (t, s, s, 3)).astype(np.uint8)
    uv, mask = np.tile(np.stack([x, y], -1), (t, 1, 1, 1)), np.tile((y > 0.5).astype(np.float32), (t, 1, 1))
    renderer.render(frames, uv, mask)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        renderer.render(frames, uv, mask)
        times.append(time.perf_counter() - start)
    return (t - 1) / float(np.median(times))


def line(name: str, ms: float) -> None:
    """One row: milliseconds of one core, and the share of a 25 frames/s frame."""
    print(f"  {name:<44}{ms:8.1f} ms {ms / FRAME_MS:7.2f} of a frame at 25 frames/s")


def compositing(alpha: NDArray[np.float32], repeats: int) -> None:
    """Cost of `composite` with its parts switched on one after another."""
    patch = np.full((256, 256, 3), 0.5, np.float32)
    mark = Watermark(payload_bits("benchmark"))
    for name, width, height, pix_fmt, enlarged in CASES:
        frame = made_frame(width, height, pix_fmt)
        scale = 1 / enlarged
        affine = np.array([[scale, 0, 128 - scale * width / 2], [0, scale, 128 - scale * height / 2]])
        pending = prepare(frame, patch, alpha, affine)
        print(name)
        line(
            "look at the plate, measure colour and noise",
            cost(partial(prepare, frame, patch, alpha, affine), repeats),
        )
        line("+ blend in linear light, own planes", cost(partial(finish, pending, with_grain=False), repeats))
        line("+ the same with grain", cost(partial(finish, pending), repeats))
        line("+ the same with grain and watermark", cost(partial(finish, pending, mark=mark), repeats))
        line("whole", cost(partial(composite, frame, patch, alpha, affine, mark=mark), repeats))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="an actor's renderer.onnx, to time its windows too")
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    y, x = np.mgrid[:256, :256]
    mask = ((((x - 128) / 75.0) ** 2 + ((y - 180) / 55.0) ** 2) < 1).astype(np.float32)
    print(f"processor time of one core; mask {mask.mean():.0%} of the crop; {os.cpu_count()} cores here")
    compositing(feather(mask), given.repeats)
    print("per frame, any size")
    line("feather", cost(lambda: feather(mask), given.repeats))
    crop = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype(np.uint8)
    with Segmenter() as segmenter:
        line(
            "segmentation, one picture (1 or 2 a frame)", cost(lambda: segmenter.person(crop), given.repeats)
        )
    if given.model:
        renderer = Renderer(given.model, threads=1)
        t, s = renderer.window, renderer.size
        inputs = (
            np.zeros((t, s, s, 3), np.uint8),
            np.zeros((t, s, s, 2), np.float32),
            np.ones((t, s, s), np.float32),
        )
        line("network, per finished frame", cost(lambda: renderer.render(*inputs), given.repeats) / (t - 1))
        print(
            f"network on all cores: {finished_rate(Renderer(given.model), given.repeats):.1f} finished"
            " frames/s"
        )


if __name__ == "__main__":
    main()
