"""One actor drawn into plates on which the face has several sizes: likeness, sharpness and flicker on the
plate of each.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visualdub.actor.package import Actor, load_actor
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.face.landmarks import face_width
from visualdub.measure.evaluate import evaluated_frames
from visualdub.measure.plate import PlateMeasures
from visualdub.measure.reenact import segment_performance
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.movie_writer import Codec, MovieWriter, picture_info, rgb_frame
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.stages import StageClock
from visualdub.timing import FrameRange

WIDTHS = 150, 250, 400, 600  # pixels from ear to ear
MEASURES = ("scale", "psnr_mask", "sharpness_fine", "sharpness_middle", "sharpness_coarse", "flicker")
LARGEST = 1.05  # times the size that was filmed: larger plates would show nothing more
GOAL = 0.8, 1.1  # of the plate's sharpness, in every band


@dataclass(frozen=True)
class Sized:
    """One clip with a face of one width."""

    clip: str
    width: int
    values: dict[str, Any]


def face_pixels(tracked: TrackedShot) -> float:
    """The median width of the face in the clip's pixels."""
    track = tracked.track
    usable = np.flatnonzero(track.usable)
    return float(np.median([face_width(track.landmarks[i].astype(np.float64)) for i in usable]))


def resized(clip: Path, output: Path, frames: FrameRange, scale: float) -> Path:
    """Write `frames` of `clip` at `scale`, without loss."""
    with open_source(clip) as source:
        image, rate = source.info.image, source.info.rate
        width, height = (round(n * scale / 2) * 2 for n in (image.width, image.height))
        info = picture_info(output, width, height, Fraction(rate), len(frames))
        with MovieWriter(output, info, Codec("ffv1"), None) as writer:
            for k, frame in enumerate(source.frames(frames)):
                rgb = cv2.resize(frame_rgb(frame), (width, height), interpolation=cv2.INTER_AREA)
                writer.write(rgb_frame(np.asarray(rgb, np.uint8), info.image, k))
    return output


def measured(clip: Path, actor: Actor) -> dict[str, Any]:
    """The clip's own performance, drawn again and measured on the plate."""
    tracked = track_shot(plan_shot(clip))
    _, performance = segment_performance(tracked.track, tracked.shot.frames, None)
    measures = PlateMeasures()
    for frame in evaluated_frames(tracked, performance, actor, StageClock()):
        if frame.plate is not None:
            measures.add(frame.plate)
    return measures.table()


def main() -> None:
    """`python -m benchmarks.face_size CLIP... --actors DIR`: print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--actors", type=Path, required=True, help="folder of CLIP's name .actor packages")
    parser.add_argument("--frames", type=FrameRange.parse, default=FrameRange(120, 136), metavar="A:B")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in args.clips:
            filmed = face_pixels(track_shot(plan_shot(clip)))
            actor = load_actor(args.actors / f"{clip.stem}.actor")
            for width in (w for w in WIDTHS if w <= LARGEST * filmed):
                scaled = resized(clip, Path(folder) / f"{clip.stem}-{width}.mkv", args.frames, width / filmed)
                found.append(Sized(clip.stem, width, measured(scaled, actor)))
                print(clip.stem, width, {k: round(found[-1].values[k], 2) for k in MEASURES}, flush=True)
    columns = ["clip", "face, pixels", "plate pixels per crop pixel", "PSNR in the mask, dB", *MEASURES[2:]]
    rows = [[s.clip, s.width, *(f"{s.values[k]:.2f}" for k in MEASURES)] for s in found]
    bands = [s.values[k] for s in found for k in MEASURES[2:5]]
    spread = f"{min(bands):.2f} to {max(bands):.2f}"
    text = [
        f"Frames {args.frames} of each clip at several sizes, drawn again by one actor.",
        table(columns, rows),
    ]
    print("\n".join(text))
    if args.json:
        figures = {f"{s.clip}, {s.width} pixels, {k}": s.values[k] for s in found for k in MEASURES}
        goal = Finding("sharpness in every band, all sizes", f"{GOAL[0]} to {GOAL[1]}", spread)
        write_result(args.json, "Sizes of faces", text, [goal], figures)


if __name__ == "__main__":
    main()
