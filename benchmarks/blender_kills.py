"""The service or the bridge ended at random points of a dub in Blender itself: is a timeline left between?"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.kills import kills_parser, report_kills
from benchmarks.nuke_kills import COMMAND

ROOT = Path(__file__).resolve().parents[1]
STEPS = ROOT / "tests" / "hosts" / "blender_kill_steps.py"
TEXT = (
    "The service or the bridge was killed {points} times at a random moment of a dub by the strip's menu in"
    " Blender 5.0.1. *before*: an error was said and every property of every strip is as it was; *after*: the"
    " dub is above its strip and its movie is whole; *it was over*: the dub was faster than the kill."
)


def main() -> None:
    """Measure and write the result."""
    args = kills_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="vd-") as folder:
        counts = measure(args, Path(folder))
    title, text = "Blender: service and bridge killed in the middle", TEXT.format(points=args.points)
    report_kills(counts, ("bridge", "service"), title, text, args.json)


def measure(args: argparse.Namespace, folder: Path) -> Counter[tuple[str, str]]:
    """How often each victim left each outcome."""
    given = {name: getattr(args, name).absolute() for name in ("clip", "dialogue", "actor")}
    roots = [folder, given["clip"].parent, given["dialogue"].parent, given["actor"]]
    asked = {**{name: str(path) for name, path in given.items()}, "folder": str(folder / "dubs")}
    asked |= {"points": args.points, "seed": args.seed}
    values = {**asked, "command": COMMAND, "roots": [str(r) for r in roots]}
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(p for p in sys.path if p)]),
        "VISUALDUB_DAEMON": str(folder / "run"),
        "VISUALDUB_STATE": str(folder / "state"),
        "VISUALDUB_COMMAND": json.dumps(COMMAND),
    }
    counts = Counter[tuple[str, str]]()
    words = [sys.executable, str(STEPS), json.dumps(values)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("SAID "):
                victim, outcome = json.loads(line[len("SAID ") :])
                counts[victim, outcome] += 1
                print(f"{counts.total()} {victim}: {outcome}", flush=True)
    if process.returncode or counts.total() != args.points:
        raise SystemExit("Blender ended early; is bpy installed?")
    return counts


if __name__ == "__main__":
    main()
