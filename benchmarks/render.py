"""What compositing costs, step by step, on synthetic frames, and what an actor's network costs."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.mediapipe_models import Segmenter
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.frame import ColourTags, Frame, ImageSpec
from visualdub.media.transfer import transfer_function
from visualdub.media.yuv import rgb_to_planes, to_samples
from visualdub.render.composite import composite, feather, finish, prepare
from visualdub.render.light import ActorLight, relit
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


def row(name: str, ms: float) -> tuple[str, str, str]:
    """One row of the table: milliseconds of one core, and the share of a frame at 25 frames/s."""
    return name, f"{ms:.1f}", f"{ms / FRAME_MS:.2f}"


def compositing(alpha: NDArray[np.float32], repeats: int) -> Iterator[tuple[str, str, str]]:
    """Rows of the cost of `composite`, its parts switched on one after another."""
    patch = np.full((256, 256, 3), (0.5, 0.4, 0.35), np.float32)  # the light of `made_frame`
    mark = Watermark(payload_bits("benchmark"))
    for name, width, height, pix_fmt, enlarged in CASES:
        frame = made_frame(width, height, pix_fmt)
        scale = 1 / enlarged
        affine = np.array([[scale, 0, 128 - scale * width / 2], [0, scale, 128 - scale * height / 2]])
        pending = prepare(frame, patch, alpha, affine)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("measure the plate's colour and noise", partial(prepare, frame, patch, alpha, affine)),
            ("blend in linear light, in the plate's planes", partial(finish, pending, with_grain=False)),
            ("blend, with grain", partial(finish, pending)),
            ("blend, with grain and watermark", partial(finish, pending, mark=mark)),
            ("all of it", partial(composite, frame, patch, alpha, affine, mark=mark)),
        ]
        yield f"**{name}**", "", ""
        for step, work in steps:
            yield row(step, cost(work, repeats))


def per_frame(mask: NDArray[np.float32], repeats: int) -> Iterator[tuple[str, str, str]]:
    """Rows of what a frame of any size costs."""
    crop = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype(np.uint8)
    yield "**a frame of any size**", "", ""
    yield row("feather of the mask", cost(lambda: feather(mask), repeats))
    y, x = np.mgrid[:256, :256].astype(np.float32) / 256
    curve, uv, stops = transfer_function(1), np.stack([x, y], -1), np.array([-2, -3, -1], np.float32)
    light, drawn = ActorLight(np.full((256, 256, 3), 0.5, np.float32), curve), crop.astype(np.float32) / 255
    yield row("measure the light on the face", cost(lambda: light.measure(crop, uv, mask), repeats))
    other = partial(light.normalised, crop, stops)
    yield row("in another light: take it out for the network", cost(other, repeats))
    yield row("in another light: put it back", cost(lambda: relit(drawn, stops, curve), repeats))
    with closing(Segmenter()) as segmenter:
        yield row("segmentation of one crop (1 or 2 a frame)", cost(lambda: segmenter.person(crop), repeats))


def network(model: Path, repeats: int) -> tuple[float, float]:
    """Processor time of the network for one finished frame, milliseconds; and its finished frames/s on all
    cores.
    """
    renderer = Renderer(model, threads=1)
    t, s = renderer.window, renderer.size
    frames, uv = np.zeros((t, s, s, 3), np.uint8), np.zeros((t, s, s, 2), np.float32)
    mask = np.ones((t, s, s), np.float32)
    ms = cost(lambda: renderer.render(frames, uv, mask), repeats) / (t - 1)
    return ms, finished_rate(Renderer(model), repeats)


def modes(actor: Path, repeats: int, threads: list[int], json: Path | None) -> None:
    """Print what an actor's network does in every mode of the runtime, and write it where `json` says."""
    from benchmarks.render_modes import modes_report

    text, findings, figures = modes_report(actor, repeats, threads)
    print("\n\n".join(text))
    if json:
        write_result(json, "Modes of the renderer", text, findings, figures)


def main() -> None:
    """`python -m benchmarks.render [--model ACTOR/renderer.onnx | --actor ACTOR]`: print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="the network of an actor, to time its windows too")
    parser.add_argument(
        "--actor",
        type=Path,
        help="an actor package: only its network, in PyTorch and every mode of the runtime",
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of --actor, one table each")
    parser.add_argument(
        "--repeats", type=int, default=20, help="calls of each step, of which the median counts"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.actor:
        modes(args.actor, args.repeats, args.threads, args.json)
        return
    y, x = np.mgrid[:256, :256]
    mask = ((((x - 128) / 75.0) ** 2 + ((y - 180) / 55.0) ** 2) < 1).astype(np.float32)
    rows = [*compositing(feather(mask), args.repeats), *per_frame(mask, args.repeats)]
    text = [
        f"Processor time of one core, median of {args.repeats}; the mask is {mask.mean():.0%} of the crop."
    ]
    findings, figures = [], {"composite_1080p_ms": float(rows[11][1])}
    if args.model:
        ms, rate = network(args.model, args.repeats)
        rows.append(row("network, per finished frame", ms))
        text.append(f"The network alone, on all cores: {rate:.1f} finished frames/s.")
        findings.append(Finding("the network alone", "60 frames/s", f"{rate:.0f} frames/s"))
        figures |= {"network_ms": ms, "network_fps": rate}
    text.insert(1, table(("step", "ms of one core", "of a frame at 25 frames/s"), rows))
    print("\n\n".join(text))
    if args.json:
        write_result(args.json, "Compositing and the network", text, findings, figures)


if __name__ == "__main__":
    main()
