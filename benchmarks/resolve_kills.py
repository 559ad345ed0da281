"""The plug-in of Resolve ended at random points: whether a timeline is ever left between two states.

The host is a double with Live Save: every change is on disk at once. The process that the plug-in runs in is
killed by SIGKILL after a random time in one of four steps, and started again as an artist would.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "hosts")]

from resolve_kill_steps import STATE, loaded, make, run  # noqa: E402
from resolve_plain import without_uids  # noqa: E402

from benchmarks.kills import report_kills  # noqa: E402
from plugin_resolve.host import ResolveHost  # noqa: E402

STEPS = ("dub", "dub again", "export", "restore")


def step(folder: Path, name: str, kill_after_s: float | None = None) -> float | None:
    """Run one step in a process of its own; the seconds that it took, None where it was killed."""
    started = time.monotonic()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            run(ResolveHost(loaded(folder).scripting()), folder, name)
            status = 0
        finally:
            os._exit(status)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return None
    if status != 0:
        raise SystemExit(f"{name} ended with status {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - started


def one(folder: Path, name: str, chance: random.Random) -> str:
    """End one step at a random point; "before", "after" or "between"."""
    if name != "dub":
        step(folder, "dub")
    state = folder / STATE
    kept = state.read_bytes()
    before = without_uids(kept)
    seconds = step(folder, name)
    assert seconds is not None
    after = without_uids(state.read_bytes())
    state.write_bytes(kept)
    killed = step(folder, name, chance.uniform(0.0, seconds)) is None
    step(folder, "recover")
    found = without_uids(state.read_bytes())
    if list((folder / "journals").glob("*.json")):
        return "between (a journal is left)"
    outcome = "before" if found == before else "after" if found == after else "between"
    return outcome if killed else f"{outcome} (it was over)"


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    chance, counts = random.Random(args.seed), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder)
        fresh = (folder / STATE).read_bytes()
        for number in range(args.points):
            name = STEPS[number % len(STEPS)]
            shutil.rmtree(folder / "journals", ignore_errors=True)
            (folder / STATE).write_bytes(fresh)
            outcome = one(folder, name, chance)
            counts[name, outcome] += 1
            print(f"{number + 1} {name}: {outcome}", flush=True)
    report(args, counts)


def report(args: argparse.Namespace, counts: Counter[tuple[str, str]]) -> None:
    """Print, and write a page's section where a file is named."""
    text = (
        f"The process of a host with Live Save, in which the plug-in runs, was killed {args.points} times at"
        " a random moment of a step and started again. *before*: the timeline is as it was; *after*: it is as"
        " the whole step leaves it; *it was over*: the step was faster than the kill."
    )
    report_kills(counts, STEPS, "Resolve: killed in the middle", text, args.json)


if __name__ == "__main__":
    main()
