"""The pipeline of one clip by its commands: how fast it is tracked and dubbed, and how well it is drawn."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from visualdub.measure.result import Finding, table, write_result

TRACKED = {  # key of `vdub track --json`: what it is, what was asked for
    "frames_per_second": ("tracking, without start-up", "60 frames/s"),
    "reprojection_percent": ("fitted mesh against landmarks, % of face width", "< 1.5"),
    "forehead_jitter": ("second difference of the forehead, fit / landmarks", "<= 0.5"),
    "lip_lag_frames": ("lip opening of the fit: lag, frames", "0"),
    "lip_amplitude": ("lip opening of the fit: amplitude", ">= 0.95"),
    "crop_size_opening_r2": ("crop size predicts mouth opening, R²", "< 0.05"),
}
MEASURED = {  # place in `vdub evaluate --json`: what it is, what was asked for
    "reenactment.raw.psnr_crop": ("PSNR of the crop, raw network, dB", "30"),
    "reenactment.composite.psnr_crop": ("PSNR of the crop, composite, dB", ""),
    "reenactment.composite.psnr_mask": ("PSNR inside the mask, composite, dB", ""),
    "reenactment.raw.sharpness": ("sharpness, raw network", ">= 0.7"),
    "reenactment.composite.sharpness": ("sharpness, composite", ">= 0.7"),
    "reenactment.raw.flicker": ("flicker, raw network", "<= 1.2"),
    "reenactment.composite.flicker": ("flicker, composite", "<= 1.2"),
    "reenactment.mouth.lmd": ("lip landmarks, mean distance, % of face width", ""),
    "driven.mouth.control": ("control: correlation of commanded and measured opening", ">= 0.85"),
    "driven.mouth.leak": ("leak of the source's mouth", "<= 0.15"),
    "silence.mouth.open_share": ("silence: share of frames with an open mouth", ""),
}


def vdub(cache: Path, *args: str | Path) -> str:
    """The standard output of a command in a process of its own. Raises `SystemExit` where it fails."""
    command = [sys.executable, "-m", "visualdub.cli", *map(str, args)]
    environment = {**os.environ, "VISUALDUB_CACHE": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command[2:])}\n{done.stderr}")
    return done.stdout


def lookup(values: dict[str, Any], place: str) -> float | None:
    """The number at `a.b.c`; None where there is none."""
    found: Any = values
    for name in place.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int | float) else None


def rows_of(values: dict[str, Any], wanted: dict[str, tuple[str, str]]) -> list[tuple[str, str, str]]:
    """What it is, what was asked for and what was measured; without what `values` do not hold."""
    found = [(what, asked, lookup(values, place)) for place, (what, asked) in wanted.items()]
    return [(what, asked, f"{value:.4g}") for what, asked, value in found if value is not None]


def main() -> None:
    """`python -m benchmarks.pipeline CLIP --actor ACTOR --dialogue WAV --frames A:B`: print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--actor", type=Path, required=True, help="of the clip, adapted on other frames")
    parser.add_argument("--dialogue", type=Path, required=True, help="what the dub says")
    parser.add_argument(
        "--frames", required=True, metavar="A:B", help="of the clip, to evaluate the actor on"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache, actor = folder / "cache", ("--actor", args.actor)
        tracked = json.loads(vdub(cache, "track", args.clip, "-o", folder / "track.npz", "--json"))
        dub = ("dub", args.clip, "--dialogue", args.dialogue, *actor, "-o", folder / "dub.mkv", "--json")
        (report,) = json.loads(vdub(cache, *dub))["outputs"]
        written = ("--json", folder / "measures.json")
        vdub(cache, "evaluate", args.clip, *actor, "--frames", args.frames, *written)
        measures = json.loads((folder / "measures.json").read_text())
    speed = ("whole dub, without start-up and tracking", "15 frames/s", f"{report['frames_per_second']:.1f}")
    rows = [*rows_of(tracked, TRACKED), speed, *rows_of(measures, MEASURED)]
    adapted = f"frames {', '.join(measures['adapted_on'])}" if measures["adapted_on"] else "another clip"
    text = [
        f"{args.clip.name}, {report['frames']} frames. The actor was adapted in {measures['steps']} steps on"
        f" {adapted} and is measured on frames {args.frames}.",
        table(("measure", "asked", "measured"), rows),
    ]
    print("\n\n".join(text))
    if args.json:
        findings = [Finding(f"{args.clip.stem}: {what}", asked, value) for what, asked, value in rows]
        figures = {what: float(value) for what, _, value in rows}
        write_result(args.json, f"The pipeline on {args.clip.stem}", text, findings, figures)


if __name__ == "__main__":
    main()
