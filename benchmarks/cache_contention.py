"""Two commands on one clip at once, many times: with an empty cache, with a filled one and without any."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path

from visualdub import log
from visualdub.demo.run import make_source
from visualdub.face.track import Track
from visualdub.measure.result import Finding, table, write_result
from visualdub.storage import cache_entries, read_entry

FRAMES = 50  # of the clip: two seconds, of which more than one is spoken
LOADED = ("mediapipe", "visualdub.dub", "visualdub.face.mediapipe_models", "visualdub.speech.sync")
LIMIT = 300.0  # seconds after which a command counts as hanging


@dataclass
class Outcome:
    """What went wrong in the starts of one kind."""

    starts: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # what a command said
    damaged: int = 0  # entries that cannot be read afterwards
    left_over: Counter[str] = field(default_factory=Counter)  # temporaries and locks that nobody removed
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Nothing went wrong."""
        return not self.failures and not self.damaged and not self.left_over


def make_clip(path: Path) -> int:
    """Write the clip; 0."""
    make_source(path, frame_count=FRAMES)
    return 0


def start(work: Callable[[], int], said: Path) -> int:
    """Do `work` in a fork of this process, whose modules are loaded already; the process number."""
    child = os.fork()
    if child:
        return child
    status = 1
    with said.open("w") as f, contextlib.redirect_stdout(f), contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            status = work()
        except BaseException as e:  # a traceback is what is looked for
            err.write(f"{type(e).__name__}: {e}")
        if status:
            f.write(f"status {status}: {err.getvalue().strip().splitlines()[-1:]}")
    os._exit(status)


def both(commands: Sequence[Sequence[str]], folder: Path) -> list[str]:
    """What each of the commands printed, started at the same time."""
    said = [folder / f"said_{i}" for i in range(len(commands))]
    run = import_module("visualdub.cli").run  # what `vdub` runs, in this process
    children = [start(partial(run, list(c)), path) for c, path in zip(commands, said, strict=True)]
    return [wait(child, path) for child, path in zip(children, said, strict=True)]


def wait(child: int, said: Path) -> str:
    """What a child printed, or how it died."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        done, code = os.waitpid(child, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(code)
            return said.read_text() if status >= 0 else f"killed by signal {-status}"
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "it hangs"


def examine(outcome: Outcome, cache: Path) -> None:
    """Count what is damaged or left over in the cache."""
    entries = cache_entries()
    own = {entry.path for entry in entries}
    outcome.left_over.update(p.name for p in cache.rglob("*") if p.is_file() and p not in own)
    for entry in entries:
        load = Track.read if entry.kind == "tracks" else (lambda f: f.read())
        outcome.damaged += read_entry(entry.path, load) is None


def contend(kind: str, count: int, commands: Sequence[Sequence[str]], folder: Path) -> Outcome:
    """`count` starts of all commands at once with an "empty" or "filled" cache, or "without" any."""
    cache, outcome, begun = folder / "cache", Outcome(), time.monotonic()
    os.environ["VISUALDUB_CACHE"] = str(folder / "file" / "cache" if kind == "without" else cache)
    (folder / "file").write_text("a file, so that no folder can be made in it")
    shutil.rmtree(cache, ignore_errors=True)
    expected = both(commands, folder)
    for _ in range(count):
        if kind == "empty":
            shutil.rmtree(cache, ignore_errors=True)
        outcome.starts += 1
        for said, right in zip(both(commands, folder), expected, strict=True):
            if said != right or not said or said.startswith(("status", "killed", "it hangs")):
                outcome.failures[said[-200:] or "nothing said"] += 1
        if kind != "without":
            examine(outcome, cache)
    outcome.seconds = time.monotonic() - begun
    return outcome


def write_outcomes(path: Path, outcomes: dict[str, Outcome]) -> None:
    """The result of all kinds of cache, as JSON for docs/results."""
    columns = ("cache", "starts", "failures", "damaged entries", "files left over")
    rows = [(k, f.starts, f.failures.total(), f.damaged, f.left_over.total()) for k, f in outcomes.items()]
    text = ["Two commands that start at once on one clip, in processes of their own.", table(columns, rows)]
    starts = sum(o.starts for o in outcomes.values())
    failed, damaged = sum(r[2] for r in rows), sum(r[3] for r in rows)
    measured = f"{failed} failures, {damaged} damaged entries in {starts} starts"
    summary = Finding("two commands on one clip at once", "no failure, no damaged entry", measured)
    figures = {"starts": starts, "failures": failed, "damaged_entries": damaged}
    write_result(path, "The cache under contention", text, [summary], figures)


def main() -> None:
    """Print what went wrong for each kind of cache; exit 1 where anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="starts for each kind of cache")
    parser.add_argument("--kinds", nargs="+", default=["empty", "filled", "without"])
    parser.add_argument("--actor", type=Path, help="also dub with this actor, as the second command")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    log.setup(native=True)
    for module in LOADED:
        import_module(module)
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        made = start(partial(make_clip, clip), folder / "said")
        if wait(made, folder / "said"):  # in a fork too: ONNX Runtime's threads do not outlive one
            sys.exit((folder / "said").read_text())
        commands = [["sync", str(clip)], ["sync", str(clip), "--json", "-"]]
        if args.actor:
            dub = ["dub", str(clip), "--dialogue", str(clip), "--actor", str(args.actor)]
            commands[1] = [*dub, "-o", str(folder / "dub.mkv")]
        os.utime(clip, (time.time() - 60,) * 2)  # the hash of a file that was just written is not kept
        for kind in args.kinds:
            outcome = outcomes[kind] = contend(kind, args.count, commands, folder)
            print(
                f"{kind} cache: {outcome.starts} starts of {len(commands)} commands in"
                f" {outcome.seconds:.0f} s, {outcome.failures.total()} failures,"
                f" {outcome.damaged} damaged entries,"
                f" {outcome.left_over.total()} files left over",
                flush=True,
            )
            for said, times in (outcome.failures + outcome.left_over).most_common(5):
                print(f"  {times} times: {said}")
    if args.json:
        write_outcomes(args.json, outcomes)
    sys.exit(0 if all(f.whole for f in outcomes.values()) else 1)


if __name__ == "__main__":
    main()
