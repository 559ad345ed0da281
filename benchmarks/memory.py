"""Peak memory of a whole dub of 10 s and of 60 s of 1080p, each in a process of its own: it must not grow
with length.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub import log
from visualdub.demo.portrait import Portrait
from visualdub.demo.run import ENGLISH, counting_motion, portrait_picture
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.movie_writer import AudioSource, Codec, MovieWriter, picture_info, rgb_frame

RATE, LOOP = Fraction(25), 125  # frames of the portrait, played forward and backward in turns
WIDTH, HEIGHT = 1920, 1080


def loop_pictures() -> list[NDArray[np.uint8]]:
    """The counting portrait, 1080 lines high."""
    rgb = portrait_picture()
    big = cv2.resize(
        rgb, (round(rgb.shape[1] * HEIGHT / rgb.shape[0]), HEIGHT), interpolation=cv2.INTER_CUBIC
    )
    return list(Portrait(np.asarray(big, np.uint8), "portrait").frames(counting_motion(ENGLISH, RATE, LOOP)))


def ping_pong(pictures: list[NDArray[np.uint8]], count: int) -> Iterator[NDArray[np.uint8]]:
    """`count` pictures, the list played forward and backward in turns."""
    for i in range(count):
        turn, place = divmod(i, len(pictures))
        yield pictures[place if turn % 2 == 0 else len(pictures) - 1 - place]


def make_clip(path: Path, seconds: int, pictures: list[NDArray[np.uint8]]) -> None:
    """A 1920 x 1080 movie of so many seconds."""
    info = picture_info(path, WIDTH, HEIGHT, RATE, seconds * int(RATE))
    left = (WIDTH - pictures[0].shape[1]) // 2
    with MovieWriter(path, info, Codec("h264", crf=20, preset="ultrafast"), AudioSource(ENGLISH)) as writer:
        for i, picture in enumerate(ping_pong(pictures, info.frame_count)):
            wide = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
            wide[:, left : left + picture.shape[1]] = picture
            writer.write(rgb_frame(wide, info.image, i))


def peak_of_dub(clip: Path, actor: Path, dialogue: Path, output: Path) -> tuple[float, float]:
    """MiB of resident memory and finished frames/s of `vdub dub` in a process of its own, tracking included
    in the memory.
    """
    code = (
        "import json, sys; from visualdub.cli import run; status = run(sys.argv[1:]); from visualdub.stages"
        " import peak_memory_mib; print(json.dumps({'status': status, 'peak': peak_memory_mib()}))"
    )
    args = ["dub", str(clip), "--dialogue", str(dialogue), "--actor", str(actor), "-o", str(output)]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    if result["status"] != 0:
        raise SystemExit(done.stderr)
    report = json.loads(output.with_name(output.name + ".report.json").read_text())
    return float(result["peak"]), float(report["frames_per_second"])


def main() -> None:
    """Print both peaks and their ratio; exit 1 where the longer clip needs over 10 % more or 3 GB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--actor", type=Path, required=True, help="any actor package, such as demo/portrait.actor"
    )
    parser.add_argument("--dialogue", type=Path, default=ENGLISH)
    parser.add_argument("--seconds", type=int, nargs=2, default=(10, 60), help="lengths of the two clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    log.setup(native=True)
    pictures = loop_pictures()
    peaks, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in args.seconds:
            clip = Path(folder) / f"clip_{seconds}.mp4"
            make_clip(clip, seconds, pictures)
            peak, fps = peak_of_dub(clip, args.actor, args.dialogue, Path(folder) / f"dub_{seconds}.mp4")
            print(f"{seconds} s of 1080p: peak {peak:.0f} MiB, {fps:.1f} frames/s", flush=True)
            peaks.append(peak)
            rows.append((f"{seconds} s", f"{peak:.0f}", f"{fps:.1f}"))
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f}")
    if args.json:
        short, long = args.seconds
        text = [
            "Most resident memory of `vdub dub`, tracking included, of a 1080p clip; a process for each"
            f" length. Ratio {ratio:.3f}; it must be 1.1 or less, and neither may reach 3000 MiB.",
            table(("clip", "peak, MiB", "frames/s, tracking apart"), rows),
        ]
        found = f"{peaks[0]:.0f} and {peaks[1]:.0f} MiB, ratio {ratio:.2f}"
        finding = Finding(
            f"peak memory of a 1080p dub of {short} s and of {long} s", "ratio <= 1.1, < 3 GB", found
        )
        figures = {f"peak_{short}s_mib": peaks[0], f"peak_{long}s_mib": peaks[1], "ratio": ratio}
        write_result(args.json, "Memory", text, [finding], figures)
    raise SystemExit(0 if ratio <= 1.1 and max(peaks) < 3000 else 1)


if __name__ == "__main__":
    main()
