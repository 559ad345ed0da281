"""An edit dubbed by OpenJD's own program, task by task: the frames of a local dub under any chunk length, and
after tasks were killed.

    python -m benchmarks.farm_runs EDIT OUT --cast cast.toml --dialogue-track dub --chunks 6 13 150 --kills 10
    python -m benchmarks.farm_runs CLIP OUT --actor ada.actor --dialogue new.wav

EDIT is dubbed by `vdub dub` first. For each chunk length a bundle is made, checked by `openjd check` and run
by `openjd run`. With --kills, the last one is run step by step as a scheduler does, each step by `openjd run
--step` and again where it failed, while the process of a running task is killed (SIGKILL) at random moments.
Of a CLIP, an edit of two of its parts is made. Frames and sound of every movie are compared by hash.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.edit_shots import clip, item, track
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.audio import read_audio
from visualdub.media.source import open_source, probe

ROOT = Path(__file__).resolve().parents[1]
OPENJD = [sys.executable, "-c", "import sys; from openjd.cli import main; sys.exit(main())"]
VDUB = [sys.executable, "-m", "visualdub.cli"]
WAV_RATE = 48000  # Hz, at which the sound of two movies is compared
TRIES = 10  # of one step, beyond those that were killed
PARTS = ((0, 30), (40, 80))  # frames of a clip that make an edit of two shots


@dataclass(frozen=True)
class Outcome:
    """What became of one bundle. differing: movies whose frames or sound are not those of the local dub."""

    what: str
    chunk: int  # frames
    tasks: int
    seconds: float
    differing: tuple[str, ...]
    kills: Counter[str] = field(default_factory=Counter)  # by the kind of the task
    rendered: int = 0  # frames, those that a killed task drew apart
    skipped: int = 0  # frames that a task found there already


# ---- comparing ---------------------------------------------------------------------------------------------


def shown(movie: Path) -> tuple[list[str], str]:
    """A hash of each frame's samples, and one of the sound; empty without sound."""
    with open_source(movie) as source:
        frames = [
            hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in frame.planes)).hexdigest()
            for frame in source.frames()
        ]
    sound = read_audio(movie, WAV_RATE) if probe(movie).has_audio else None
    return frames, "" if sound is None else hashlib.sha256(sound.tobytes()).hexdigest()


def movies_of(folder: Path) -> dict[str, tuple[list[str], str]]:
    """What every dubbed movie of an edit shows, by file name."""
    paths = sorted(p for p in (folder / "shots").iterdir() if p.suffix in (".mkv", ".mov", ".mp4"))
    return {p.name: shown(p) for p in paths}


def differing(output: Path, local: dict[str, tuple[list[str], str]]) -> tuple[str, ...]:
    """The movies that are not those of the local dub, or are missing on one side."""
    found = movies_of(output)
    return tuple(n for n in sorted({*found, *local}) if found.get(n) != local.get(n))


# ---- running -----------------------------------------------------------------------------------------------


class Job:
    """One bundle and the program that its tasks run."""

    def __init__(self, args: argparse.Namespace, folder: Path, chunk: int) -> None:
        self.args, self.folder, self.chunk = args, folder, chunk
        made = ["farm", "openjd", str(args.edit), *asked(args), "--chunk", str(chunk), "-o", str(folder)]
        subprocess.run([*VDUB, *made], check=True)
        subprocess.run([*OPENJD, "check", str(self.template)], check=True)

    @property
    def template(self) -> Path:
        """What a scheduler reads."""
        return self.folder / "template.json"

    @property
    def steps(self) -> list[str]:
        """The names of the steps, each after those that it waits for."""
        return [step["name"] for step in json.loads(self.template.read_text())["steps"]]

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """`openjd run` of the bundle, its output in `log`."""
        command = [*OPENJD, "run", str(self.template), "-p", f"Program={self.args.program}", *words]
        with self.log.open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    @property
    def log(self) -> Path:
        """The output of the last run."""
        return self.folder / "openjd.log"

    def run(self, *words: str) -> str:
        """The output of `openjd run`. Raises `SystemExit` where it fails."""
        status = self.start(*words).wait()
        text = self.log.read_text(encoding="utf-8", errors="replace")
        if status != 0:
            raise SystemExit(f"{self.folder}: openjd run ended with status {status}\n{text}")
        return text


def asked(args: argparse.Namespace) -> list[str]:
    """The options that `vdub dub` and `vdub farm openjd` share."""
    options = {"--actor": args.actor, "--cast": args.cast, "--dialogue-track": args.dialogue_track}
    return [word for name, value in options.items() if value is not None for word in (name, str(value))]


def done_of(text: str) -> tuple[int, int, int]:
    """How many tasks a run ended, and how many frames they rendered and found there already."""
    lines = [line.partition("openjd_status: ")[2] for line in text.splitlines()]
    ended = [x for x in lines if x.startswith(("shot ", "/")) or (": " in x and x.endswith("shots"))]
    chunks = [x.rpartition(": ")[2].split() for x in lines if " rendered, " in x]
    return len(ended), sum(int(c[0]) for c in chunks), sum(int(c[2]) for c in chunks)


def task_processes(root: int) -> Iterator[psutil.Process]:
    """The processes below `root` that are a task's own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(root).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                words = process.cmdline()
                if "visualdub.cli" in words and words[words.index("visualdub.cli") + 1 :][:2] == [
                    "farm",
                    "task",
                ]:
                    yield process


class Killer:
    """Kills tasks at random moments of the time in which one runs: a gap of `mean_s` seconds in the mean, and
    `most` tasks of one step, so that all kinds of task are hit.
    """

    def __init__(self, count: int, most: int, mean_s: float, seed: int) -> None:
        self.left, self.most, self.mean_s, self.chance = count, most, mean_s, random.Random(seed)
        self.in_step = 0
        self.kills: Counter[str] = Counter()
        self.due = self._gap()

    def _gap(self) -> float:
        return self.chance.uniform(0.0, 2 * self.mean_s)

    def watch(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for a run's end, killing its tasks when their time has come; its status."""
        last = time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            now = time.monotonic()
            due = self.left and self.in_step < self.most
            victim = next(task_processes(process.pid), None) if due else None
            if victim is not None:
                self.due -= now - last
                if self.due <= 0:
                    self._kill(victim)
            last = now
        return process.returncode

    def _kill(self, victim: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            words = victim.cmdline()
            ran_s = time.time() - victim.create_time()
            victim.kill()
            kind = words[words.index("task") + 1]
            self.kills[kind] += 1
            self.left, self.in_step = self.left - 1, self.in_step + 1
            self.due = self._gap()
            print(f"killed {' '.join(words[words.index('task') + 1 :][:5])} after {ran_s:.1f} s", flush=True)


def killed_run(job: Job, local: dict[str, tuple[list[str], str]], mean_s: float) -> Outcome:
    """Run a bundle's steps as a scheduler does, while tasks are killed. Raises `SystemExit` where a step
    fails without having been killed, or the job ends before all kills were made.
    """
    args, start = job.args, time.monotonic()
    most = -(-2 * args.kills // len(job.steps))
    killer, tasks, rendered, skipped = Killer(args.kills, most, mean_s, args.seed), 0, 0, 0
    for step in job.steps:
        killer.in_step = 0
        for _ in range(args.kills + TRIES):
            before = killer.kills.total()
            status = killer.watch(job.start("--step", step))
            text = job.log.read_text(encoding="utf-8", errors="replace")
            more = done_of(text)
            tasks, rendered, skipped = tasks + more[0], rendered + more[1], skipped + more[2]
            if status == 0:
                break
            if killer.kills.total() == before:
                raise SystemExit(f"{job.folder}: {step} failed by itself\n{text}")
        else:
            raise SystemExit(f"{job.folder}: {step} does not end")
    if killer.left:
        raise SystemExit(f"the job ended after {killer.kills.total()} of {args.kills} kills; another --seed?")
    differ = differing(job.folder / "output", local)
    seconds = time.monotonic() - start
    return Outcome("killed", job.chunk, tasks, seconds, differ, killer.kills, rendered, skipped)


# ---- what is run -------------------------------------------------------------------------------------------


def two_shots(args: argparse.Namespace, out: Path) -> Path:
    """An edit of two parts of a clip, with the dialogue on a track of its own."""
    info = probe(args.source)
    rate, more = float(info.rate), {"rate": float(info.rate), "count": info.frame_count}
    shots = [clip(n, args.source.absolute(), a, b - a, **more) for n, (a, b) in zip("ab", PARTS, strict=True)]
    count = sum(b - a for a, b in PARTS)
    words = clip("new", args.dialogue.absolute(), 0, count, rate=rate, count=count)
    stack = item(
        "Stack.1", "tracks", children=[track("Video", "picture", shots), track("Audio", "new", [words])]
    )
    path = out / "two.otio"
    timeline = {"OTIO_SCHEMA": "Timeline.1", "metadata": {}, "name": "two", "tracks": stack}
    path.write_text(json.dumps({**timeline, "global_start_time": None}), encoding="utf-8")
    return path


def program(out: Path) -> Path:
    """The program that tasks run: this checkout's vdub."""
    path = out / "vdub"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m visualdub.cli "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def measure(args: argparse.Namespace) -> list[Outcome]:
    """Dub the edit here and by every bundle."""
    out: Path = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    args.edit, args.program = args.source.absolute(), program(out)
    if args.dialogue is not None:
        args.edit, args.dialogue_track = two_shots(args, out), "new"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    subprocess.run([*VDUB, "dub", str(args.edit), *asked(args), "-o", str(out / "local")], check=True)
    local = movies_of(out / "local")
    outcomes: list[Outcome] = []
    for number, chunk in enumerate(args.chunks, 1):
        if args.kills and number == len(args.chunks):
            mean_s = 0.5 * (outcomes[0].seconds if outcomes else 60.0) / args.kills
            outcomes.append(killed_run(Job(args, out / f"killed-{chunk}", chunk), local, mean_s))
            print(outcomes[-1], flush=True)
            break
        job, start = Job(args, out / f"chunks-{chunk}", chunk), time.monotonic()
        tasks, rendered, skipped = done_of(job.run())
        seconds = time.monotonic() - start
        differ = differing(job.folder / "output", local)
        outcomes.append(Outcome("run", chunk, tasks, seconds, differ, rendered=rendered, skipped=skipped))
        print(outcomes[-1], flush=True)
    return outcomes


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="EDIT|CLIP", type=Path, help="an edit, or a clip with --dialogue")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to work in; a local dub in it is kept")
    parser.add_argument("--actor", type=Path, help="as of vdub dub")
    parser.add_argument("--cast", type=Path, help="as of vdub dub")
    parser.add_argument("--dialogue-track", help="as of vdub dub")
    parser.add_argument("--dialogue", type=Path, metavar="WAV", help="what is said in two shots of a clip")
    parser.add_argument("--chunks", type=int, nargs="+", default=[6, 13, 150], help="frames; one job each")
    parser.add_argument("--kills", type=int, default=10, help="of task processes in the last job")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    outcomes = measure(args)
    if args.json is not None:
        report(args, outcomes)
    if any(o.differing for o in outcomes):
        raise SystemExit(f"not the frames of a local dub: {[o.differing for o in outcomes]}")


def report(args: argparse.Namespace, outcomes: list[Outcome]) -> None:
    """Write the result."""
    movies = movies_of(args.out / "local")
    frames = sum(len(hashes) for hashes, _ in movies.values())
    rows = [
        (
            f"{o.what}, chunks of {o.chunk}",
            o.tasks,
            ", ".join(f"{count} {kind}" for kind, count in sorted(o.kills.items())) or "none",
            o.rendered,
            o.skipped,
            f"{o.seconds:.0f}",
            ", ".join(o.differing) or "none",
        )
        for o in outcomes
    ]
    columns = (
        "job",
        "tasks ended",
        "tasks killed",
        "frames rendered",
        "found there",
        "s",
        "movies that differ",
    )
    kills = sum(o.kills.total() for o in outcomes)
    text = (
        f"{args.edit.name}, {len(movies)} dubbed shots of {frames} frames, by `openjd check` and `openjd"
        " run`, compared with `vdub dub` of it by a hash of every frame's samples and of the sound. In the"
        f" last job {kills} processes of tasks were killed (SIGKILL) at random moments and their steps run"
        " again; frames rendered are those of tasks that ended."
    )
    wrong = sum(len(o.differing) for o in outcomes)
    lengths = len({o.chunk for o in outcomes})
    what = f"a farm's frames equal a local dub's, {len(movies)} shots, {lengths} chunk lengths, {kills} kills"
    finding = Finding(
        what, "0 movies that differ", f"{wrong} of {len(movies) * len(outcomes)}, {frames} frames each time"
    )
    figures = {"movies": len(movies), "frames": frames, "kills": kills, "differing": wrong}
    title = f"The farm: {len(movies)} shots by OpenJD, with tasks killed"
    write_result(args.json, title, [text, table(columns, rows)], [finding], figures)


if __name__ == "__main__":
    main()
