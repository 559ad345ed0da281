"""Commands that are stopped at random moments, by Ctrl-C and SIGTERM, once or twice in a row: what they end
with, and what they leave behind.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from visualdub.actor.package import load_actor
from visualdub.demo.run import make_source
from visualdub.face.track import Track
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.source import probe
from visualdub.records import SIDECARS

FRAMES = 75  # of the clip
EARLIEST_S = 0.1  # after the start of the process; before, Python itself is loaded
LIMIT_S = 120.0  # after which a command counts as hanging
SIGNALS: tuple[tuple[signal.Signals, ...], ...] = (
    (signal.SIGINT,),
    (signal.SIGTERM,),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM, signal.SIGTERM),
)
VDUB = (sys.executable, "-m", "visualdub.cli")


@dataclass(frozen=True)
class Command:
    """One command that is stopped, and what it writes: files or folders in `folder`, which hold an earlier
    result.
    """

    name: str
    args: tuple[str, ...]
    folder: Path
    runs: tuple[str, ...] = ()  # folders that a stopped run keeps, to be resumed from


@dataclass
class Outcome:
    """What became of the runs of one command that were stopped in one way."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0  # neither finished nor of the status that the first signal asks for
    python: int = 0  # Python itself was not loaded yet: no line of ours had run
    left_over: Counter[str] = field(default_factory=Counter)
    damaged: int = 0  # earlier results that are neither whole nor replaced as a whole
    tracebacks: int = 0


def contents(folder: Path) -> dict[str, bytes]:
    """All files below `folder`."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def environment(folder: Path) -> dict[str, str]:
    """Cache and temporary files of the stopped runs lie in `folder`."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "VISUALDUB_CACHE": str(folder / "cache"), "TMPDIR": str(temporary)}


def restore(numbers: Sequence[int]) -> None:
    """In the child: a signal that this process ignores, as in the background of a shell, is heard again."""
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


def run_whole(command: Command, folder: Path) -> float:
    """Seconds that the command takes when nobody stops it."""
    begun = time.monotonic()
    done = subprocess.run([*VDUB, *command.args], env=environment(folder), capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{command.name} fails by itself: {done.stderr.decode(errors='replace')}")
    return time.monotonic() - begun


def stop_once(
    command: Command, signals: Sequence[signal.Signals], delay_s: float, pause_s: float, folder: Path
) -> tuple[int, str]:
    """The status of a run that gets `signals`, the first after `delay_s`, and what it wrote to stderr. -9: it
    hung.
    """
    process = subprocess.Popen(
        [*VDUB, *command.args],
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=partial(restore, SIGNALS[0] + SIGNALS[1]),
    )
    try:
        time.sleep(delay_s)
        for number in signals:
            process.send_signal(number)
            time.sleep(pause_s)
        _, said = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
    return process.returncode, said.decode(errors="replace")


def left_over(command: Command, folder: Path) -> list[str]:
    """Files that no run should leave: temporary ones, locks, logs."""
    places = [command.folder, folder / "cache", folder / "tmp"]
    found = [p for place in places for p in place.rglob("*") if p.is_file() or p.name.startswith(".")]
    hidden = {p for p in found if p.name.startswith(".") or p.suffix in (".partial", ".lock", ".log")}
    return sorted(p.name for p in hidden)


def whole(command: Command, before: dict[str, bytes]) -> bool:
    """Whether the earlier result is untouched, or replaced by another that is whole."""
    now = {k: v for k, v in contents(command.folder).items() if not k.startswith(command.runs or "\0")}
    if now == before:
        return True
    if set(now) != set(before):
        return False
    for name in now:
        if name.endswith(".npz") and "/" not in name:
            Track.load(command.folder / name)
        elif name.endswith("actor.json"):
            load_actor((command.folder / name).parent)
    movies = [command.folder / name for name in now if name.endswith(".mkv")]
    return all(
        probe(movie).frame_count == FRAMES
        and all(now[f"{movie.name}{s}"] != before[f"{movie.name}{s}"] for s in SIDECARS)
        for movie in movies
    )


def stop_many(
    command: Command, count: int, chance: random.Random, folder: Path
) -> dict[tuple[int, ...], Outcome]:
    """`count` runs of a command, stopped at moments spread evenly over its length."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    seconds = run_whole(command, folder)
    before, outcomes = contents(command.folder), {s: Outcome() for s in SIGNALS}
    for i, signals in zip(range(count), itertools.cycle(SIGNALS), strict=False):
        if chance.random() < 0.5:
            shutil.rmtree(folder / "cache", ignore_errors=True)
        delay_s = EARLIEST_S + (i + chance.random()) / count * (seconds - EARLIEST_S)
        print(f"{command.name} {i}: {len(signals)} x {signals[0].name} after {delay_s:.1f} s", flush=True)
        status, said = stop_once(command, signals, delay_s, chance.choice((0.001, 0.05, 0.4)), folder)
        outcome = outcomes[signals]
        outcome.statuses[status] += 1
        expected = status in (0, 128 + signals[0])
        early = not expected and (status == -signals[0] or "Fatal Python error: init_" in said)
        outcome.python += early
        outcome.wrong += not (expected or early)
        outcome.tracebacks += "Traceback" in said and not early
        outcome.left_over.update(left_over(command, folder))
        outcome.damaged += not whole(command, before)
        if not expected or "Traceback" in said:
            print(f"{command.name}, {signals}, after {delay_s:.2f} s: {status}: {said[-600:]}", flush=True)
        for run in command.runs:
            shutil.rmtree(command.folder / run, ignore_errors=True)
    return {tuple(map(int, k)): v for k, v in outcomes.items()}


def commands(clip: Path, actor: Path, folder: Path) -> list[Command]:
    """The commands that are stopped, each with a folder of its own."""
    made = []
    for name, args, runs in (
        ("track", ("track", str(clip), "-o", "{out}/track.npz"), ()),
        (
            "dub",
            ("dub", str(clip), "--dialogue", str(clip), "--actor", str(actor), "-o", "{out}/out.mkv"),
            (),
        ),
        (
            "adapt",
            (
                "adapt",
                str(clip),
                "--actor",
                "ada",
                "--steps",
                "3",
                "--consent",
                "a,b,c",
                "-o",
                "{out}/ada.actor",
            ),
            ("ada.run",),
        ),
    ):
        out = folder / name
        out.mkdir()
        made.append(Command(name, tuple(a.format(out=out) for a in args), out, runs))
    return made


def rows_of(name: str, outcomes: dict[tuple[int, ...], Outcome]) -> list[tuple[object, ...]]:
    """One row for each way to stop a command."""
    rows: list[tuple[object, ...]] = []
    for signals, o in outcomes.items():
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(o.statuses.items()))
        sent = " ".join(signal.Signals(s).name for s in signals)
        rows.append((name, sent, statuses, o.python, o.wrong, o.left_over.total(), o.damaged, o.tracebacks))
    return rows


def main() -> None:
    """Print what the stopped runs ended with and left; exit 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="stopped runs of each command")
    parser.add_argument("--actor", type=Path, required=True, help="actor package to dub with")
    parser.add_argument("--commands", nargs="+", default=["track", "dub", "adapt"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        make_source(clip, frame_count=FRAMES)
        for command in commands(clip, args.actor.resolve(), folder):
            if command.name in args.commands:
                outcomes = stop_many(command, args.count, random.Random(args.seed), folder)
                rows += rows_of(command.name, outcomes)
                print(f"{command.name}: {args.count} runs stopped", flush=True)
    columns = (
        "command",
        "signals",
        "statuses",
        "in Python",
        "wrong",
        "files left over",
        "damaged",
        "tracebacks",
    )
    text = table(columns, rows)
    print(text)
    faults = sum(sum(int(str(x)) for x in row[4:]) for row in rows)
    if args.json:
        measured = f"{faults} faults in {args.count * len(args.commands)} stopped runs"
        summary = Finding("runs that are stopped at any moment", "130 or 143, nothing left over", measured)
        intro = "Commands that get SIGINT or SIGTERM, once or twice, at moments spread over their length."
        write_result(args.json, "Stopped runs", [intro, text], [summary], {"faults": faults})
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
