"""Any range of a shot by `ShotRenderer.frames` against the same frames of the whole run, bit by bit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from visualdub.actor import load_actor
from visualdub.dub import dialogue_performance, shot_audio, track_shot
from visualdub.edit import DialogueCue, plan_shot
from visualdub.measure.result import Finding, table, write_result
from visualdub.records import digest
from visualdub.render.shot_renderer import RenderedFrame, ShotRenderer
from visualdub.speech.performance import AS_PREDICTED
from visualdub.timing import FrameRange


def fingerprint(frame: RenderedFrame) -> str:
    """One hash of a frame's samples and matte."""
    return digest(*frame.frame.planes, frame.matte)


def compare(clip: Path, actor: Path, dialogue: Path, count: int, length: int, seed: int) -> dict[str, Any]:
    """How many of `count` random ranges of `length` frames differ from the whole run, and where."""
    tracked = track_shot(plan_shot(clip, cues=(DialogueCue(dialogue),)))
    person = load_actor(actor)
    performance, _ = dialogue_performance(tracked, shot_audio(tracked.shot), person, AS_PREDICTED)
    renderer = ShotRenderer(tracked.shot, person, track=tracked.track, performance=performance)
    whole = {f.frame.index: fingerprint(f) for f in renderer.frames()}
    starts = np.random.default_rng(seed).integers(0, len(whole) - length + 1, count)
    differing = []
    for start in starts:
        wanted = FrameRange(int(start), int(start) + length)
        part = {f.frame.index: fingerprint(f) for f in renderer.frames(wanted)}
        if part != {i: whole[i] for i in wanted}:
            differing.append(str(wanted))
    drawn = int((performance.draw > 0).sum())
    return {"clip": clip.name, "frames": len(whole), "drawn": drawn, "ranges": count, "differing": differing}


def main() -> None:
    """Print one line a clip; exit 1 where any range differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+", help="each with its actor beside --actors: STEM.actor")
    parser.add_argument("--actors", type=Path, required=True, help="folder of the actor packages")
    parser.add_argument("--dialogue", type=Path, required=True)
    parser.add_argument("--ranges", type=int, default=40, help="random ranges of each clip")
    parser.add_argument("--length", type=int, default=12, help="frames of a range")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    results: list[dict[str, Any]] = []
    for clip in args.clips:
        actor = args.actors / f"{clip.stem}.actor"
        found = compare(clip, actor, args.dialogue, args.ranges, args.length, args.seed)
        print(
            f"{found['clip']}: {found['ranges']} ranges of {args.length} frames out of {found['frames']},"
            f" {len(found['differing'])} differ {found['differing'] or ''}",
            flush=True,
        )
        results.append(found)
    if args.json:
        rows = [(r["clip"], r["frames"], r["drawn"], r["ranges"], len(r["differing"])) for r in results]
        text = [
            f"Random ranges of {args.length} frames by `ShotRenderer.frames`, seed {args.seed}. Their samples"
            " and their matte are compared with those of the whole run, bit by bit.",
            table(("clip", "frames", "drawn", "ranges", "ranges that differ"), rows),
        ]
        differing, count = sum(row[4] for row in rows), args.ranges * len(rows)
        finding = Finding(
            "ranges of a shot that differ from the whole run", "none", f"{differing} of {count}"
        )
        figures = {"ranges": count, "ranges_that_differ": differing}
        write_result(args.json, "Ranges of a shot", text, [finding], figures)
    raise SystemExit(1 if any(r["differing"] for r in results) else 0)


if __name__ == "__main__":
    main()
