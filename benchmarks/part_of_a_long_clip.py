"""What `vdub dub --frames A:B` of a ten-minute clip costs against a clip that is as long as A:B."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from visualdub.measure.result import Finding, table, write_result
from visualdub.media.movie_writer import AudioSource, Codec, MovieWriter
from visualdub.media.source import open_source, probe
from visualdub.timing import FrameRange


def repeat(clip: Path, output: Path, start: int, count: int) -> None:
    """Write `count` frames of `clip` from `start` on, from its beginning again where it ends, as H.264."""
    with open_source(clip) as source:
        info = source.info
        target = replace(info, path=output, frame_count=count, repeated=(), timecode=None)
        codec = Codec("h264", crf=16, preset="ultrafast")
        with MovieWriter(output, target, codec, AudioSource(clip)) as writer:
            written, first = 0, start % info.frame_count
            while written < count:
                end = min(info.frame_count, first + count - written)
                for frame in source.frames(FrameRange(first, end)):
                    writer.write(frame)
                    written += 1
                first = 0


def seconds_of_dub(clip: Path, actor: Path, dialogue: Path, folder: Path, frames: str | None) -> float:
    """Wall seconds of the command in a process of its own, with an empty cache."""
    args = [
        "dub",
        str(clip),
        "--dialogue",
        str(dialogue),
        "--actor",
        str(actor),
        "-o",
        str(folder / "out.mkv"),
    ]
    environment = {**os.environ, "VISUALDUB_CACHE": str(folder / "cache")}
    began = time.perf_counter()
    command = [sys.executable, "-m", "visualdub.cli", *args, *(["--frames", frames] if frames else [])]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - began


def main() -> None:
    """Print both times and their ratio; exit 1 where it is 3 or more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path, help="a clip of the actor, repeated for ten minutes")
    parser.add_argument("--actor", type=Path, required=True)
    parser.add_argument("--dialogue", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--frames", default="1000:1075")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    wanted, info = FrameRange.parse(args.frames), probe(args.clip)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long, short = folder / "long.mp4", folder / "short.mp4"
        repeat(args.clip, long, 0, round(args.minutes * 60 * info.rate))
        repeat(args.clip, short, wanted.start, len(wanted))
        times = []
        for i, (clip, frames) in enumerate(((short, None), (long, args.frames))):
            own = folder / str(i)
            own.mkdir()
            times.append(seconds_of_dub(clip, args.actor, args.dialogue, own, frames))
    ratio = times[1] / times[0]
    print(f"clip of {len(wanted)} frames: {times[0]:.1f} s")
    print(f"frames {args.frames} of {args.minutes:g} minutes: {times[1]:.1f} s")
    print(f"ratio {ratio:.2f}")
    if args.json:
        part = f"frames {args.frames} of {args.minutes:g} minutes"
        text = [
            "Wall time of `vdub dub` in a process of its own with an empty cache.",
            table(
                ("clip", "seconds"), ((f"{len(wanted)} frames", f"{times[0]:.1f}"), (part, f"{times[1]:.1f}"))
            ),
            f"Ratio {ratio:.2f}; it must be under 3.",
        ]
        finding = Finding(f"time of {part} against a clip as long as they", "< 3", f"{ratio:.2f}")
        figures = {"short_s": times[0], "part_s": times[1], "ratio": ratio}
        write_result(args.json, "A part of a long clip", text, [finding], figures)
    raise SystemExit(0 if ratio < 3 else 1)


if __name__ == "__main__":
    main()
