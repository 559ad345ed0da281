"""How much of a pout and of a wide or open mouth the tracked mesh follows, and how much of it an actor draws.

Both are read from the picture: the face landmarks of the source, and of the finished frame of the actor's own
performance. A share of 1 is the whole way from the person's usual mouth to the extreme one.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.package import load_actor
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.face.crop import stable_crop
from visualdub.face.detect import find_faces
from visualdub.face.geometry import filmed_mesh
from visualdub.face.landmarks import LIPS_OUTER, face_width, landmarks_to_crop
from visualdub.face.track import Performance
from visualdub.measure.evaluate import evaluated_frames
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.square import square_pixels
from visualdub.stages import StageClock
from visualdub.timing import FrameRange

CORNERS = 61, 291  # landmarks of the mouth
MIDDLE = 13, 14  # of the upper and the lower lip, on the inside
SHARE = 0.1  # of the frames are taken for extreme
FEWEST_OPEN = 0.04  # face widths between the lips of a mouth that counts as open


@dataclass(frozen=True)
class Shapes:
    """The mouth in n frames, in widths of the face; NaN where no face was found."""

    width: NDArray[np.float64]  # (n,) from corner to corner
    opening: NDArray[np.float64]  # (n,) between the lips


def shapes(points: NDArray[np.float64], face: NDArray[np.float64]) -> Shapes:
    """Of landmarks (n, 468 or more, 2 or 3) in the picture; face: (n,) widths of the face, same pixels."""

    def apart(a: int, b: int) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(points[:, a, :2] - points[:, b, :2], axis=-1) / face)

    return Shapes(apart(*CORNERS), apart(*MIDDLE))


def tracked_shapes(tracked: TrackedShot) -> tuple[Shapes, Shapes, float]:
    """Those of the picture and of the mesh in all usable frames, and how far the outer lips of both are
    apart, root mean square, in hundredths of the face's width.
    """
    track, crop = tracked.track, stable_crop(tracked.track)
    usable = np.flatnonzero(track.usable)
    seen = landmarks_to_crop(track.landmarks[usable].astype(np.float64), crop.affine[usable])
    mesh = np.stack([track.model.landmarks(filmed_mesh(track, crop, i)) for i in usable])
    face = face_width(track.landmarks[usable].astype(np.float64)) * crop.affine[usable, 0, 0]
    outer = list(LIPS_OUTER)
    apart = np.square(seen[:, outer, :2] - mesh[:, outer, :2]).sum(-1).mean(-1)
    return shapes(seen, face), shapes(mesh, face), float(np.median(100 * np.sqrt(apart) / face))


def drawn_shapes(tracked: TrackedShot, actor: Path, frames: FrameRange) -> tuple[Shapes, Shapes]:
    """Those of the source's picture and of the finished frames, driven by their own performance."""
    part = tracked.trim(frames)
    performance = Performance.of_track(part.track)
    finished = evaluated_frames(part, performance, load_actor(actor), StageClock())
    (face, *_), count = find_faces((square_pixels(f.rgb, part.track.pixel_aspect) for f in finished), None)
    found = face.dense(count)
    source = part.track.landmarks.astype(np.float64)
    width = face_width(source)
    return shapes(source, width), shapes(np.asarray(found, np.float64), width)


def followed(of: NDArray[np.float64], by: NDArray[np.float64], least: bool) -> float:
    """How much of the way from the usual to the extreme values of `of` (n,) `by` (n,) goes: of the least or
    of the greatest. NaN where there is nothing to follow.
    """
    good = np.isfinite(of) & np.isfinite(by)
    a, b = of[good], by[good]
    if not len(a):
        return float("nan")
    order = np.argsort(a if least else -a, kind="stable")[: max(3, round(SHARE * len(a)))]
    way = float(a[order].mean() - np.median(a))
    return float((b[order].mean() - np.median(b)) / way) if abs(way) > 1e-3 else float("nan")


def row(name: str, of: Shapes, by: Shapes) -> list[str]:
    """The shares of one clip."""
    narrow, wide = followed(of.width, by.width, True), followed(of.width, by.width, False)
    opened = np.nanquantile(of.opening, 1 - SHARE / 2) >= FEWEST_OPEN
    opening = followed(of.opening, by.opening, False) if opened else float("nan")
    least, most = np.nanmin(of.width) / np.nanmedian(of.width), np.nanmax(of.opening)
    return [name, f"{least:.2f}", f"{most:.3f}", *(f"{v:.2f}" for v in (narrow, wide, opening))]


def main() -> None:
    """`python -m benchmarks.mouth_shapes CLIP... [--actors DIR]`: print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument(
        "--actors", type=Path, help="folder of CLIP's name .actor packages; without: the mesh alone"
    )
    parser.add_argument("--frames", type=FrameRange.parse, default=FrameRange(120, 200), metavar="A:B")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    columns = ["clip", "narrowest mouth, of the usual", "widest opening, of the face's width"]
    columns += ["narrow", "wide", "open"]
    by_mesh, by_actor, errors = [], [], []
    for clip in args.clips:
        tracked = track_shot(plan_shot(clip))
        seen, mesh, error = tracked_shapes(tracked)
        errors.append(error)
        by_mesh.append(row(clip.stem, seen, mesh))
        print(by_mesh[-1], f"{error:.2f}", flush=True)
        actor = args.actors and args.actors / f"{clip.stem}.actor"
        if actor and actor.is_dir():
            frames = FrameRange(args.frames.start, min(args.frames.end_exclusive, len(tracked.track)))
            by_actor.append(row(clip.stem, *drawn_shapes(tracked, actor, frames)))
            print(by_actor[-1], flush=True)
    text = [
        "How much of the way to the extreme tenth of the picture's mouths the mesh goes.",
        table(columns, by_mesh),
    ]
    if by_actor:
        text += [f"The same of what an actor draws, frames {args.frames}.", table(columns, by_actor)]
    print("\n".join(text))
    if args.json:
        spread = f"{min(errors):.2f} to {max(errors):.2f} % of the face's width"
        write_result(
            args.json, "Shapes of mouths", text, [Finding("lips of the mesh, off the picture", "", spread)]
        )


if __name__ == "__main__":
    main()
