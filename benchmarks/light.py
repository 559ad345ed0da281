"""How well the drawn mouth keeps to the light of the plate: frames of a clip under a ladder of exposures and
tints, drawn with their own performance, so that the plate shows what should be seen.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.actor import Actor, load_actor
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.face.crop import warp_crop
from visualdub.face.track import Performance
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.movie_writer import MovieWriter, picture_info, rgb_frame
from visualdub.media.source import open_source
from visualdub.media.transfer import transfer_function
from visualdub.media.yuv import frame_rgb
from visualdub.render.shot_renderer import RenderedFrame, RenderOptions, ShotRenderer
from visualdub.timing import FrameRange

EXPOSURES = (0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 4.0)
TINTS = {"red gel": (1.0, 0.3, 0.2), "blue gel": (0.2, 0.35, 1.0), "green gel": (0.3, 1.0, 0.4)}
TINTED_EXPOSURES = (1.0, 0.15)
FADE_TO = 0.02  # the last frame's exposure of a fade that starts at 1
# Crop pixels from the mask's border: the mouth ring inside, past the feather, and the face ring outside it.
MOUTH_RING, FACE_RING = (6, 14), (2, 10)
SECTORS = 8  # parts of the ring, around its middle
CURVE = transfer_function(1)


@dataclass(frozen=True)
class Light:
    """One step of the ladder: factors of linear light."""

    name: str
    gain: NDArray[np.float32]  # (n, 3) of each frame and channel


def ladder(count: int) -> Iterator[Light]:
    """Every light that `count` frames are put under."""
    for exposure in EXPOSURES:
        yield Light(f"exposure {exposure:g}", np.full((count, 3), exposure, np.float32))
    for tint, gain in TINTS.items():
        for exposure in TINTED_EXPOSURES:
            rows = np.tile(np.array(gain, np.float32) * np.float32(exposure), (count, 1))
            yield Light(f"{tint}, exposure {exposure:g}", rows)
    fade = np.geomspace(1, FADE_TO, count).astype(np.float32)
    yield Light(f"fade from 1 to {FADE_TO:g}", np.repeat(fade[:, None], 3, 1))


def lit(picture: NDArray[np.uint8], gain: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with its linear light times `gain` (3,), clipped at white."""
    values = CURVE.from_linear(CURVE.to_linear(picture.astype(np.float32) / 255) * gain)
    return np.asarray(np.rint(values.clip(0, 1) * 255), np.uint8)


# ---- drawing -----------------------------------------------------------------------------------------------


def pictures_of(shot: TrackedShot) -> list[NDArray[np.uint8]]:
    """The shot's pictures (H, W, 3)."""
    with open_source(shot.shot.source) as source:
        return [frame_rgb(f) for f in source.frames(shot.shot.frames)]


def drawn(
    tracked: TrackedShot, pictures: list[NDArray[np.uint8]], actor: Actor, folder: Path
) -> Iterator[tuple[RenderedFrame, NDArray[np.float64]]]:
    """`pictures` as a lossless clip, drawn with the performance of `tracked`, and the affine of each frame's
    crop.

    The track is the one of the clip in its own light.
    """
    clip = folder / "lit.mkv"
    height, width = pictures[0].shape[:2]
    info = picture_info(clip, width, height, tracked.track.rate, len(pictures))
    with MovieWriter(clip, info) as writer:
        for i, picture in enumerate(pictures):
            writer.write(rgb_frame(picture, info.image, i))
    track = replace(tracked.track, start=0)
    renderer = ShotRenderer(
        plan_shot(clip),
        actor,
        track=track,
        performance=Performance.of_track(track),
        options=RenderOptions(watermark=False),
    )
    for i, frame in enumerate(renderer.frames()):
        yield frame, renderer.crop.stored_affine[i]


# ---- measuring ---------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """What is measured of a light, one entry a frame."""

    ratio: list[NDArray[np.float64]]  # (SECTORS, 3) mouth ring / face ring, dub against plate
    error: list[float]  # mean difference of code values inside the mask, share of the face ring's mean


def measure(
    before: NDArray[np.uint8], after: NDArray[np.uint8], mask: NDArray[np.float32], measured: Measured
) -> None:
    """Add one frame. before, after: crops (S, S, 3) of plate and dub. mask: (S, S) 0 or 1."""
    inside, outside = (
        cv2.distanceTransform(np.asarray(part, np.uint8), cv2.DIST_L2, 5) for part in (mask > 0, mask == 0)
    )
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    middle = np.argwhere(mask > 0).mean(0)
    sector = ((np.arctan2(y - middle[0], x - middle[1]) / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    mouth = (inside >= MOUTH_RING[0]) & (inside < MOUTH_RING[1])
    face = (outside >= FACE_RING[0]) & (outside < FACE_RING[1]) & (y < middle[0])  # no collar, no background
    linear = [CURVE.to_linear(p.astype(np.float32) / 255) for p in (before, after)]
    ratios = []
    for picture in linear:
        rings = np.stack([picture[mouth & (sector == k)].mean(0) for k in range(SECTORS)])
        ratios.append(rings / np.maximum(picture[face].mean(0), 1e-6))
    measured.ratio.append(ratios[1] / np.maximum(ratios[0], 1e-6))
    difference = np.abs(after.astype(np.float64) - before)[inside >= MOUTH_RING[0]].mean()
    measured.error.append(float(difference / max(before[face].mean(), 1.0)))


def row(name: str, measured: Measured) -> tuple[str, str, str, str, str, str]:
    """One row of the table."""
    ratio = np.array(measured.ratio)
    channels = [f"{v:.2f}" for v in ratio.mean((0, 1))]
    return name, *channels, f"{ratio.std():.2f}", f"{np.mean(measured.error):.1%}"  # type: ignore[return-value]


def sheet(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], path: Path) -> None:
    """A picture of all lights: plate above, dub below, each crop of the lower face."""
    tiles = [np.concatenate([p[96:], d[96:]]) for p, d in pairs]
    rows = [np.concatenate(tiles[i : i + 5], 1) for i in range(0, len(tiles) - len(tiles) % 5, 5)]
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


def main() -> None:
    """`python -m benchmarks.light CLIP --actor DIR --frames A:B`: print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--actor", type=Path, required=True)
    parser.add_argument("--frames", type=FrameRange.parse, required=True, help="half open, A:B")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write a picture of plate and dub")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    tracked, actor = track_shot(plan_shot(args.clip, args.frames)), load_actor(args.actor)
    pictures = pictures_of(tracked)
    rows, figures, pairs = [], dict[str, float](), []
    with tempfile.TemporaryDirectory() as folder:
        for light in ladder(len(pictures)):
            measured, under = Measured([], []), [lit(p, g) for p, g in zip(pictures, light.gain, strict=True)]
            for plate, (frame, affine) in zip(under, drawn(tracked, under, actor, Path(folder)), strict=True):
                if frame.inputs.mask is not None and frame.raw is not None:
                    before, after = (warp_crop(p, affine) for p in (plate, frame_rgb(frame.frame)))
                    measure(before, after, frame.inputs.mask, measured)
            pairs.append((before, after))
            rows.append(row(light.name, measured))
            print(*rows[-1], sep="  ", flush=True)
            key = light.name.replace(",", "").replace(" ", "_")
            ratio = np.array(measured.ratio)
            figures[f"{key}_ratio"] = round(float(ratio.mean()), 4)
            figures[f"{key}_spread"] = round(float(ratio.std()), 4)
            figures[f"{key}_error"] = round(float(np.mean(measured.error)), 4)
    text = [
        f"{len(pictures)} frames of {args.clip.name} under each light, drawn with their own performance by"
        f" {actor.record.name}. Ratio: light of the ring inside the mask over that of the face above it, dub"
        " against plate, in linear light; 1 is as the plate. Spread: its standard deviation over frames,"
        f" channels and {SECTORS} parts of the ring. Error: mean difference of codes inside the mask, as"
        " a share of the face's.",
        table(("light", "ratio, red", "green", "blue", "spread", "error"), rows),
    ]
    worst = max(rows, key=lambda r: max(abs(float(v) - 1) for v in r[1:4]))
    finding = Finding("light of the mouth against the face, worst", "1.00", f"{worst[0]}: {worst[1:4]}")
    if args.sheet:
        sheet(pairs, args.sheet)
    if args.json:
        write_result(args.json, "Light", text, [finding], figures)


if __name__ == "__main__":
    main()
