"""The host, the bridge or the service ended at random points of a dub in Nuke: is anything left half done?

The host is the double of Nuke with the plug-in in it, in a process of its own. After every kill the cache
and the saved script are looked at, what was killed is started again, and the same dub is asked for once more.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.kills import kills_parser, report_kills

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "hosts")]
COMMAND = [sys.executable, "-m", "visualdub.cli"]
START_S = 300.0  # on a machine that is busy


def start_service(folder: Path, roots: list[Path]) -> subprocess.Popen[bytes]:
    """`vdub serve` with its files in `folder`, once it answers."""
    from visualdub.wire import Unreachable
    from visualdub.wire.client import Client

    words = [w for root in roots for w in ("--root", str(root))]
    process = subprocess.Popen([*COMMAND, "serve", *words], stderr=subprocess.DEVNULL)
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with Client(timeout_s=1.0) as client:
                if client.status()["pid"] == process.pid:
                    return process
        except (OSError, Unreachable):
            time.sleep(0.1)
    raise SystemExit("the service does not start")


def one(asked: dict[str, Any], victim: str, after_s: float, service: int) -> Any:
    """A dub into an empty cache that is cut off."""
    from nuke_kills import dub_once

    shutil.rmtree(asked["cache"], ignore_errors=True)
    return dub_once(asked, COMMAND, victim, after_s, service)


def main() -> None:
    """Measure and write the result."""
    parser = kills_parser(__doc__)
    parser.add_argument("--range", default="1-8")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vd-") as folder:
        counts = measure(args, Path(folder))
    report(args, counts)


def measure(args: argparse.Namespace, folder: Path) -> Counter[tuple[str, str]]:
    """How often each victim left each outcome."""
    from nuke_kills import VICTIMS

    os.environ.update(VISUALDUB_DAEMON=str(folder / "run"), VISUALDUB_STATE=str(folder / "state"))
    chance, counts = random.Random(args.seed), Counter[tuple[str, str]]()
    asked = {
        "clip": str(args.clip.absolute()),
        "length": 100_000,
        "dialogue": str(args.dialogue.absolute()),
        "actor": str(args.actor.absolute()),
        "range": args.range,
        "cache": str(folder / "cache"),
        "script": str(folder / "a.nk"),
        "service": "",
    }
    roots = [folder, *(p.absolute().parent for p in (args.clip, args.dialogue, args.actor))]
    service = start_service(folder, roots)
    try:
        one(asked, "", 0.0, 0)  # tracked
        whole = one(asked, "", 0.0, 0)
        print(f"a whole dub: {whole.outcome}, {whole.seconds:.1f} s", flush=True)
        for number in range(args.points):
            victim = VICTIMS[number % len(VICTIMS)]
            left = one(asked, victim, chance.uniform(0.0, whole.seconds * 1.1), service.pid)
            outcome = left.outcome
            if victim == "service":
                service.wait()
                service = start_service(folder, roots)
            if number % 5 == 0:
                again = one(asked, "", 0.0, 0)
                outcome = outcome if again.keys == whole.keys else "other frames afterwards"
            counts[victim, outcome] += 1
            print(f"{number + 1} {victim}: {outcome} {left.said}", flush=True)
    finally:
        service.kill()
        service.wait()
    return counts


def report(args: argparse.Namespace, counts: Counter[tuple[str, str]]) -> None:
    """Print, and write a page's section where a file is named."""
    text = (
        f"{args.points} times a process was killed at a random moment of a dub in the double of Nuke: the"
        " host, the bridge or the service. *before*: script and cache are as they were; *after*: the version"
        " is whole, and the script, where the host lived, shows it. The same dub asked for again gave the"
        " same frames."
    )
    report_kills(
        counts, sorted({victim for victim, _ in counts}), "Nuke: killed in the middle", text, args.json
    )


if __name__ == "__main__":
    main()
