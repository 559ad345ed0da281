"""Workers and the service killed and frozen at random over mixed jobs: what is lost, and what differs."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from visualdub.measure.result import Finding, table, write_result
from visualdub.media.source import open_source
from visualdub.wire import Unreachable
from visualdub.wire.client import Client

RUN = """
import json, sys
from pathlib import Path
from daemon.config import Config
from daemon.service import Service
values = json.loads(sys.argv[1])
roots = tuple(map(Path, values["roots"]))
Service(Config(roots, Path(values["run"]), Path(values["state"]), stall_s=4.0, crashes=10_000)).run()
"""
ENDED = ("done", "failed", "cancelled")
START_S = 60.0


@dataclass
class Chaos:
    """A service that is killed, and what was found."""

    args: argparse.Namespace
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    done: dict[str, int] = field(default_factory=lambda: {"worker": 0, "service": 0, "freeze": 0})
    jobs: int = 0
    attempts: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """Of the service, however often it is started."""
        return f"ipc://{self.folder}/run/service.sock"

    def start(self) -> None:
        """Start the service and wait until it answers."""
        args = self.args
        roots = [self.folder, *(p.absolute().parent for p in (args.clip, args.actor, args.dialogue))]
        places = {name: str(self.folder / name) for name in ("run", "state")}
        values = json.dumps({"roots": list(map(str, roots)), **places})
        self.process = subprocess.Popen([sys.executable, "-c", RUN, values], stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with contextlib.suppress(Unreachable), Client(self.endpoint, timeout_s=0.5) as client:
                if client.status()["pid"] == self.process.pid:
                    return
        raise RuntimeError("the service does not answer")

    def kill_service(self) -> None:
        """As `kill -9` does, and start it again."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.start()

    def submit(self, client: Client, folder: Path) -> list[int]:
        """Mixed jobs: dubs in several ways, a track, a performance, an edit."""
        args = self.args
        files = {"clip": args.clip, "actor": args.actor, "dialogue": args.dialogue}
        dub: dict[str, Any] = {k: str(v.absolute()) for k, v in files.items()} | {"frames": args.frames}
        folder.mkdir()
        jobs = [
            client.submit(**dub, output=str(folder / f"dub-{n}.mkv"), mouth_gain=1 + n / 10)
            for n in range(args.dubs)
        ]
        jobs.append(client.track(dub["clip"], str(folder / "track.npz"), frames=args.frames))
        curves = str(folder / "mouth.json")
        jobs.append(client.speech(**dub, output=str(folder / "none.mkv"), performance=curves))
        edit = write_edit(self.folder / "cut.otio", args)
        cast = {"actor": dub["actor"], "dialogue_track": "new"}
        jobs.append(client.submit_edit(edit=str(edit), output=str(folder / "edit"), **cast))
        return jobs

    def forget_frames(self) -> None:
        """Everything is to be rendered again."""
        for entry in (self.folder / "state" / "frames").rglob("*.frame"):
            entry.unlink(missing_ok=True)

    # ---- killing -------------------------------------------------------------------------------------------

    def plan(self) -> list[str]:
        """What is done, in an order by chance."""
        args = self.args
        steps = ["worker"] * args.kills + ["service"] * args.service_kills + ["freeze"] * args.freezes
        random.Random(14).shuffle(steps)
        return steps

    def do(self, step: str, jobs: list[int]) -> bool:
        """One step, on a worker that has a job; False where all jobs have ended before."""
        while True:
            with Client(self.endpoint, timeout_s=20) as client:
                if all(client.job(j)["state"] in ENDED for j in jobs):
                    return False
                workers = [w for w in client.status()["workers"] if w["job"] and not w["dying"]]
            if workers:
                break
            time.sleep(0.05)
        if step == "service":
            self.kill_service()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(workers[0]["pid"], signal.SIGKILL if step == "worker" else signal.SIGSTOP)
        self.done[step] += 1
        return True

    def check(self, jobs: list[int], folder: Path, expected: dict[str, str]) -> None:
        """Wait for a round's jobs and compare what they made with the undisturbed run."""
        with Client(self.endpoint, timeout_s=20) as client:
            rows = [client.wait(job) for job in jobs]
        self.jobs += len(rows)
        self.attempts += sum(row["attempts"] for row in rows)
        self.faults += [f"job {r['job']} {r['state']}: {r['reason']}" for r in rows if r["state"] != "done"]
        found = hashes(folder)
        self.faults += [f"{n} differs" for n in expected if found.get(n) != expected[n]]
        self.faults += [f"{n} is left" for n in found if n not in expected]


def write_edit(path: Path, args: argparse.Namespace) -> Path:
    """An edit of two shots of the clip, with the dialogue on a track of its own."""
    with open_source(args.clip) as source:
        rate, count = float(source.info.rate), source.info.frame_count

    def span(start: int, length: int) -> dict[str, Any]:
        times = ({"OTIO_SCHEMA": "RationalTime.1", "value": v, "rate": rate} for v in (start, length))
        return dict(zip(("OTIO_SCHEMA", "start_time", "duration"), ("TimeRange.1", *times), strict=True))

    def clip(name: str, media: Path, start: int, length: int) -> dict[str, Any]:
        lies = {"target_url": str(media.absolute()), "available_range": span(0, count)}
        reference = {"OTIO_SCHEMA": "ExternalReference.1", **lies}
        shown = {"source_range": span(start, length), "media_reference": reference}
        return {"OTIO_SCHEMA": "Clip.1", "name": name, **shown}

    shots = [clip("a", args.clip, 0, 15), clip("b", args.clip, 20, 15)]
    words = [clip("new", args.dialogue, 0, 30)]
    tracks = [
        {"OTIO_SCHEMA": "Track.1", "name": name, "kind": kind, "children": children}
        for name, kind, children in (("V1", "Video", shots), ("new", "Audio", words))
    ]
    stack = {"OTIO_SCHEMA": "Stack.1", "name": "tracks", "children": tracks}
    path.write_text(json.dumps({"OTIO_SCHEMA": "Timeline.1", "name": "cut", "tracks": stack}))
    return path


def hashes(folder: Path) -> dict[str, str]:
    """What every file shows: of movies the samples, of others the bytes; of records and edits, which hold
    times and paths, that they are whole.
    """
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total = hashlib.sha256()
        if path.suffix == ".mkv":
            with open_source(path) as source:
                for frame in source.frames():
                    for plane in frame.planes:
                        total.update(plane.tobytes())
        elif path.name.endswith((".report.json", ".provenance.json", ".otio", ".visualdub.json")):
            json.loads(path.read_text())
        else:
            total.update(path.read_bytes())
        found[str(path.relative_to(folder))] = total.hexdigest()
    return found


def rounds(chaos: Chaos, expected: dict[str, str], seconds: float) -> Iterator[int]:
    """Carry out the plan, for `seconds` at most: round after round of the same jobs. Gives what is done."""
    steps, chance, end = chaos.plan(), random.Random(7), time.monotonic() + seconds
    number = 0
    while steps and time.monotonic() < end:
        number += 1
        folder = chaos.folder / f"round-{number}"
        chaos.forget_frames()
        with Client(chaos.endpoint, timeout_s=20) as client:
            jobs = chaos.submit(client, folder)
        while steps and time.monotonic() < end:
            time.sleep(chance.uniform(0.0, chaos.args.pause))
            if not chaos.do(steps[-1], jobs):
                break
            steps.pop()
            yield sum(chaos.done.values())
        chaos.check(jobs, folder, expected)


def main() -> None:
    """`python -m benchmarks.service_chaos CLIP --actor DIR --dialogue WAV`: print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--actor", type=Path, required=True)
    parser.add_argument("--dialogue", type=Path, required=True)
    parser.add_argument("--frames", default="0:60", metavar="A:B")
    parser.add_argument("--dubs", type=int, default=3, help="dubs in a round")
    parser.add_argument("--kills", type=int, default=500, help="kill -9 of a worker")
    parser.add_argument("--service-kills", type=int, default=20, help="kill -9 of the service")
    parser.add_argument("--freezes", type=int, default=20, help="SIGSTOP of a worker")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two of these, at most")
    parser.add_argument(
        "--seconds", type=float, default=3600.0, help="that it may take, the last round apart"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vd-") as name:
        chaos = Chaos(args, Path(name))
        chaos.start()
        try:
            with Client(chaos.endpoint, timeout_s=20) as client:
                for job in chaos.submit(client, chaos.folder / "calm"):
                    if client.wait(job)["state"] != "done":
                        raise RuntimeError(f"the undisturbed job {job} failed")
            expected = hashes(chaos.folder / "calm")
            for count in rounds(chaos, expected, args.seconds):
                print(f"\r{count} {chaos.done}", end="", file=sys.stderr, flush=True)
        finally:
            if chaos.process is not None:
                chaos.process.terminate()
                chaos.process.wait(60)
    report(chaos, args.json)


def report(chaos: Chaos, path: Path | None) -> None:
    """Print what was found, and write it."""
    rows = [
        ("kill -9 of a worker", chaos.done["worker"]),
        ("kill -9 of the service", chaos.done["service"]),
        ("SIGSTOP of a worker", chaos.done["freeze"]),
        ("jobs", chaos.jobs),
        ("times that they were begun", chaos.attempts),
        ("jobs lost, files that differ or are half written", len(chaos.faults)),
    ]
    text = [
        "Mixed jobs (dubs, tracks, performances, an edit) while processes are killed and frozen by chance;"
        " what they make is compared with an undisturbed run, sample by sample.",
        table(("what", "how often"), rows),
        *chaos.faults[:20],
    ]
    print("\n\n".join(text))
    done = chaos.done
    finding = Finding(
        "jobs lost or different while processes are killed",
        "0",
        f"{len(chaos.faults)} of {chaos.jobs} jobs; {done['worker']} workers and {done['service']} services"
        f" killed, {done['freeze']} frozen",
    )
    figures = {"faults": len(chaos.faults), "kills": done["worker"], "jobs": chaos.jobs}
    if path is not None:
        write_result(path, "The service under kill -9", text, [finding], figures)


if __name__ == "__main__":
    main()
