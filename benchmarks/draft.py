"""Drafts, out of the clip's own frames with no network, beside what an adapted actor gives: how soon the
first frame is there, how fast the others follow, and both pictures measured on the plate.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.actor.draft import draft_actor
from visualdub.actor.package import Actor, load_actor
from visualdub.actor.record import Consent
from visualdub.dub import Output, TrackedShot, dub_shot, track_shot
from visualdub.edit import plan_shot
from visualdub.measure.evaluate import evaluated_frames
from visualdub.measure.plate import PlateFrame, PlateMeasures
from visualdub.measure.reenact import segment_performance
from visualdub.measure.result import Finding, table, write_result
from visualdub.render.quality import DRAFT, FINAL
from visualdub.render.shot_renderer import ShotRenderer, render_options
from visualdub.stages import StageClock
from visualdub.timing import FrameRange

CONSENT = Consent("who recorded the clip", "as the clips' record says", "measuring")
MEASURES = ("psnr_mask", "sharpness_fine", "sharpness_middle", "sharpness_coarse", "flicker")
MOUTH = 64, 192, 130, 236  # crop pixels: left, right, top, bottom of what a sheet shows
SHOWN = 4  # frames on a sheet


@dataclass
class Drawn:
    """Frames of one clip in one quality."""

    values: dict[str, Any]
    mouths: list[NDArray[np.uint8]]  # of some frames, plate beside picture


def drawn(tracked: TrackedShot, actor: Actor, frames: FrameRange, quality: str) -> Drawn:
    """The clip's own performance in `frames`, drawn again and measured on the plate."""
    _, performance = segment_performance(tracked.track, frames, None)
    options, measures = render_options(quality, watermark=False), PlateMeasures()
    shown = {round(k) for k in np.linspace(1, len(frames) - 1, SHOWN)}
    mouths = []
    for frame in evaluated_frames(tracked.trim(frames), performance, actor, StageClock(), options=options):
        if frame.plate is None:
            continue
        measures.add(frame.plate)
        if frame.plate.number in shown:
            mouths.append(beside(frame.plate))
    return Drawn(measures.table(), mouths)


def beside(frame: PlateFrame) -> NDArray[np.uint8]:
    """The mouth in the plate and in the finished frame, enlarged."""
    (sx, _, tx), (_, sy, ty) = frame.stored_affine
    left, right = (int((x - tx) / sx) for x in MOUTH[:2])
    top, bottom = (int((y - ty) / sy) for y in MOUTH[2:])
    cut = (p[max(0, top) : bottom, max(0, left) : right] for p in (frame.real, frame.finished))
    enlarged = [cv2.resize(p, (384, 318), interpolation=cv2.INTER_CUBIC) for p in cut]
    return np.asarray(np.concatenate(enlarged, 1), np.uint8)


def soon(tracked: TrackedShot, dialogue: Path, folder: Path) -> tuple[float, float]:
    """Seconds from the end of tracking to the first finished frame, and frames/s of the whole draft, written
    as H.264.
    """
    actor = draft_actor(tracked.shot.source, tracked.track, CONSENT)
    report = dub_shot(tracked, dialogue, actor, Output(folder / "draft.mp4", quality=DRAFT))
    begun = time.perf_counter()
    actor = draft_actor(tracked.shot.source, tracked.track, CONSENT)
    _, performance = segment_performance(tracked.track, tracked.shot.frames, None)
    options = render_options(DRAFT)
    renderer = ShotRenderer(
        tracked.shot, actor, track=tracked.track, performance=performance, options=options
    )
    next(iter(renderer.frames()))
    first = time.perf_counter() - begun
    return first, report.frames_per_second


def main() -> None:
    """`python -m benchmarks.draft CLIP... --actors DIR --dialogue WAV`: print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument(
        "--actors", type=Path, required=True, help="folder of packages named as the clips, adapted on FOOTAGE"
    )
    parser.add_argument("--dialogue", type=Path, required=True, help="what the drafts say")
    parser.add_argument("--footage", default="0:100", help="frames that both are drawn out of")
    parser.add_argument("--frames", default="120:140", metavar="A:B", help="later frames, which are measured")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of the mouths")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    footage, frames = FrameRange.parse(args.footage), FrameRange.parse(args.frames)
    speed: list[tuple[str, ...]] = []
    rows: list[tuple[str, ...]] = []
    firsts, rates = [], []
    for clip in args.clips:
        tracked = track_shot(plan_shot(clip))
        shown = FrameRange(frames.start, min(frames.end_exclusive, tracked.track.frames.end_exclusive))
        with tempfile.TemporaryDirectory() as name:
            first, rate = soon(tracked, args.dialogue, Path(name))
        image = tracked.shot.info.image
        speed.append((clip.stem, f"{image.width} x {image.height}", f"{first:.2f}", f"{rate:.1f}"))
        firsts.append(first)
        rates.append(rate)
        draft = drawn(tracked, draft_actor(clip, tracked.track.span(footage), CONSENT), shown, DRAFT)
        final = drawn(tracked, load_actor(args.actors / f"{clip.stem}.actor"), shown, FINAL)
        for what, result in ((DRAFT, draft), (FINAL, final)):
            rows.append((clip.stem, what, *(f"{result.values[k]:.2f}" for k in MEASURES)))
            print("|".join(rows[-1]), flush=True)
        if args.sheets is not None:
            args.sheets.mkdir(parents=True, exist_ok=True)
            pairs = [np.concatenate(both, 1) for both in zip(draft.mouths, final.mouths, strict=False)]
            cv2.imwrite(str(args.sheets / f"{clip.stem}.png"), np.concatenate(pairs)[..., ::-1])
    text = [
        f"Tracks from the cache. Measured on the plate, frames {frames}, drawn out of frames {footage}; the"
        " adapted actors saw the same.",
        table(("clip", "plate", "first frame after tracking, s", "draft written, frames/s"), speed),
        table(("clip", "quality", "PSNR in the mask, dB", *MEASURES[1:]), rows),
    ]
    print("\n\n".join(text))
    if args.json is not None:
        findings = [
            Finding("first frame of a draft after tracking", "<= 3 s", f"{max(firsts):.2f} s at most"),
            Finding("frames/s of a draft", ">= 25 at 1080p", f"{min(rates):.1f} to {max(rates):.1f}"),
        ]
        write_result(args.json, "Drafts", text, findings)


if __name__ == "__main__":
    main()
