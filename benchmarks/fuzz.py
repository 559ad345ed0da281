"""Damaged movies: each gives a whole result or one line and exit status 2, in bounded time.

Ten small movies are made of a clip and damaged in five ways, each `--seeds` times, the same at every run.
Each damaged file is read and written again in a process of its own; every tenth is dubbed by `vdub dub` too,
where an actor is given.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.samples.damage import BASES, WAYS, damaged, write_bases
from visualdub.errors import VisualDubError
from visualdub.measure.result import Finding, table, write_result

ROOT = Path(__file__).resolve().parents[1]
WHOLE, REFUSED = "whole result", "one line"
WORKER = "--worker"
# Processes that have the project's modules already, where the system can; each runs one file.
PROCESSES: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
PROCESSES.set_forkserver_preload(["visualdub.media.movie_writer", "visualdub.media.audio"])


@dataclass(frozen=True)
class Outcome:
    """What became of one damaged file."""

    file: str
    way: str  # how it was damaged
    seed: int
    command: str  # read or dub
    result: str  # WHOLE, REFUSED, or what went wrong
    line: str  # the line that refused it
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it is one of the two that are allowed."""
        return self.result in (WHOLE, REFUSED)


# ---- in a process of its own -------------------------------------------------------------------------------


def read_and_write(path: Path, out: Path) -> int:
    """Read every frame and all sound of a movie, write both to `out`; the number of frames.

    Raises `VisualDubError` for a file that is not whole.
    """
    from visualdub.media.audio import read_audio
    from visualdub.media.carried import CompanionSource
    from visualdub.media.movie_writer import AudioSource, MovieWriter
    from visualdub.media.source import open_source, probe

    with open_source(path) as source:
        info = source.info
        if info.has_audio:
            read_audio(path)
        sound = AudioSource(path) if info.has_audio else None
        with MovieWriter(out, info, None, sound, carried=CompanionSource(path)) as writer:
            for frame in source.frames():
                writer.write(frame)
    count = probe(out).frame_count
    if count != info.frame_count:
        raise AssertionError(f"{info.frame_count} frames in, {count} out")
    return count


def attempt(path: Path) -> dict[str, object]:
    """What became of one file, for JSON. An error that is not one of the project's ends the process."""
    started = time.monotonic()
    out = path.with_name(f"{path.stem}.out.mkv")
    try:
        frames, line = read_and_write(path, out), ""
    except VisualDubError as e:
        frames, line = 0, str(e)
    finally:
        out.unlink(missing_ok=True)
    seconds = time.monotonic() - started
    return {"file": path.name, "frames": frames, "line": line, "seconds": seconds}


def child(path: Path, answer: Connection) -> None:
    """Send what `attempt` says."""
    answer.send(attempt(path))


def worker(files: Iterable[str]) -> None:
    """Print a JSON line of what became of each file."""
    for name in files:
        print(json.dumps(attempt(Path(name))), flush=True)


# ---- outside -----------------------------------------------------------------------------------------------


def run_read(path: Path, limit_s: float) -> tuple[str, str]:
    """(result, line) of reading and writing a file in a process of its own."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=child, args=(path, sender), daemon=True)
    process.start()
    sender.close()
    process.join(limit_s)
    if process.is_alive():
        process.kill()
        process.join()
        return f"no end after {limit_s:g} s", ""
    if process.exitcode:
        return (f"signal {-process.exitcode}" if process.exitcode < 0 else f"status {process.exitcode}"), ""
    found = receiver.recv()
    return _judged(str(found["line"]), whole=found["frames"] > 0)


def run_dub(path: Path, actor: Path, dialogue: Path, limit_s: float) -> tuple[str, str]:
    """(result, line) of `vdub dub` of a file."""
    out = path.with_name(f"{path.stem}.dub.mkv")
    given = ["dub", path, "--dialogue", dialogue, "--actor", actor, "-o", out]
    command = [sys.executable, "-m", "visualdub.cli", *map(str, given)]
    try:
        done = _run(command, limit_s)
    except subprocess.TimeoutExpired:
        return f"no end after {limit_s:g} s", ""
    if done.returncode not in (0, 2):
        return _fault(done), ""
    if done.returncode == 0:
        from visualdub.media.source import probe

        whole = probe(path).frame_count == probe(out).frame_count
        return _judged("", whole)
    lines = [s for s in done.stderr.splitlines() if s.strip()]
    return _judged(" / ".join(lines), whole=False) if len(lines) == 1 else ("several lines", done.stderr)


def _run(command: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
    )


def _fault(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
    return f"status {done.returncode}: {last}"


def _judged(line: str, whole: bool) -> tuple[str, str]:
    if line:
        return (REFUSED if "\n" not in line else "several lines"), line
    return (WHOLE if whole else "half a result"), line


def damage_all(folder: Path, bases: Sequence[Path], seeds: int) -> list[tuple[Path, str, int]]:
    """Write every damaged file: (path, way, seed)."""
    files = []
    for base in bases:
        for way in WAYS:
            for seed in range(seeds):
                path = folder / f"{base.stem}-{way.__name__}-{seed}{base.suffix}"
                path.write_bytes(damaged(base, way, seed))
                files.append((path, way.__name__, seed))
    return files


def summary(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table: a line for each of the ten movies."""
    rows = []
    for base in BASES:
        of_base = [o for o in outcomes if o.file.startswith(Path(base.name).stem + "-")]
        of_base = [o for o in of_base if Path(o.file).suffix == Path(base.name).suffix]
        kinds = Counter(o.result if o.good else "fault" for o in of_base)
        slowest = max((o.seconds for o in of_base), default=0.0)
        rows.append([base.name, len(of_base), kinds[WHOLE], kinds[REFUSED], kinds["fault"], f"{slowest:.1f}"])
    return table(["movie", "damaged files", WHOLE, REFUSED, "faults", "slowest, s"], rows)


def main() -> None:
    """Print a table and every fault; exit 1 where there is one."""
    if sys.argv[1:2] == [WORKER]:
        worker(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path, help="what the ten movies are made of: someone who speaks")
    parser.add_argument("--seeds", type=int, default=4, help="damaged files of each movie and way")
    parser.add_argument("--actor", type=Path, help="actor package for vdub dub of every tenth file")
    parser.add_argument("--dialogue", type=Path, help="recording for it")
    parser.add_argument("--limit", type=float, default=60, help="seconds that a file may take")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write a JSON line for each run")
    parser.add_argument("--keep", type=Path, help="folder for the files of faults")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    outcomes = _try_all(args)
    print(summary(outcomes))
    faults = [o for o in outcomes if not o.good]
    for o in faults:
        print(json.dumps(asdict(o)))
    if args.log:
        args.log.write_text("".join(json.dumps(asdict(o)) + "\n" for o in outcomes), encoding="utf-8")
    if args.json:
        _write(args.json, outcomes)
    sys.exit(1 if faults else 0)


def _try_all(args: argparse.Namespace) -> list[Outcome]:
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = damage_all(folder, write_bases(args.clip, folder), args.seeds)
        for number, (path, way, seed) in enumerate(files):
            commands = ["read", "dub"] if args.actor and args.dialogue and number % 10 == 0 else ["read"]
            for command in commands:
                started = time.monotonic()
                if command == "read":
                    result, line = run_read(path, args.limit)
                else:
                    result, line = run_dub(path, args.actor, args.dialogue, args.limit)
                seconds = time.monotonic() - started
                outcomes.append(Outcome(path.name, way, seed, command, result, line, round(seconds, 2)))
            if args.keep and not all(o.good for o in outcomes[-len(commands) :]):
                args.keep.mkdir(exist_ok=True)
                (args.keep / path.name).write_bytes(path.read_bytes())
            path.unlink()
    return outcomes


def _write(path: Path, outcomes: Sequence[Outcome]) -> None:
    faults = [o for o in outcomes if not o.good]
    slowest = max(o.seconds for o in outcomes)
    dubbed = sum(o.command == "dub" for o in outcomes)
    text = [
        "Ten small movies were made of a clip and damaged by cuts, replaced bytes, packets that change places"
        " or come twice and clocks set anew, with fixed seeds. Each damaged file was read to its end and"
        f" written again in a process of its own; {dubbed} were dubbed by `vdub dub` too.",
        summary(outcomes),
        *(f"Fault: {o.file}, {o.command}: {o.result}" for o in faults),
    ]
    findings = [
        Finding(
            f"{len(outcomes) - dubbed} damaged movies: a whole result or one line",
            "all",
            f"{sum(o.good for o in outcomes)} of {len(outcomes)} runs, the slowest {slowest:.1f} s",
        )
    ]
    figures = {"runs": len(outcomes), "faults": len(faults), "slowest_s": slowest}
    write_result(path, "Damaged movies", text, findings, figures)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
