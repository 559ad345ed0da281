"""The service against the same work in process: the first frame, a steady dub, and many clients at once."""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgpack
import numpy as np
import psutil
import zmq

from daemon.config import Config
from daemon.service import Service
from visualdub.actor.package import load_actor
from visualdub.dub import Output, TrackedShot, dub_shot, track_shot
from visualdub.edit.shot import plan_shot
from visualdub.measure.result import Finding, table, write_result
from visualdub.memory import reuse_memory
from visualdub.timing import FrameRange
from visualdub.wire import BadRequest
from visualdub.wire.client import Client

BUSY_S = 5.0  # that a dub takes at least, of those that run while clients ask
IDLE_S = 2.0  # in which a worker decodes frames that may be asked for
THINK_S = 0.02  # between a reply and the next request of a client
FIRST_MS, SHARE, CONTROL_MS = 400, 0.9, 100  # what is asked for


@contextmanager
def service_for(roots: tuple[Path, ...], folder: Path) -> Iterator[Service]:
    """A service that runs in a thread."""
    service = Service(Config(roots, folder / "run", folder / "state"))
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.stop()
        thread.join(60)


class Case:
    """A clip, its actor and a recording, dubbed through a service and in process."""

    def __init__(self, args: argparse.Namespace, service: Service, client: Client, folder: Path) -> None:
        self.service, self.client, self.folder = service, client, folder
        self.clip, self.actor, self.dialogue = args.clip, args.actor, args.dialogue
        self.part = args.part
        span = FrameRange.parse(args.part) if args.part else None
        self.tracked: TrackedShot = track_shot(plan_shot(self.clip, span))
        self.person = load_actor(self.actor)

    def forget_frames(self) -> None:
        """Empty the service's cache of frames."""
        for entry in self.service.config.cache.rglob("*.frame"):
            entry.unlink(missing_ok=True)

    def submit(self, name: str, **more: Any) -> int:
        """Give the dub to the service."""
        files = {"clip": self.clip, "actor": self.actor, "dialogue": self.dialogue}
        asked: dict[str, Any] = {k: str(v.absolute()) for k, v in files.items()}
        asked["frames"] = self.part
        return self.client.submit(**asked, output=str(self.folder / name), **more)

    def through_service(self, name: str) -> tuple[float, float]:
        """Frames/s after start-up, and seconds in all, of a dub through the service."""
        self.forget_frames()
        begun = time.perf_counter()
        row = self.client.wait(self.submit(name))
        if row["state"] != "done" or row["result"]["rendered"] != row["result"]["frames"]:
            raise RuntimeError(f"the job is {row['state']} {row['reason']}, or came from the cache")
        return row["result"]["frames_per_second"], time.perf_counter() - begun

    def in_process(self, name: str) -> tuple[float, float]:
        """The same of a dub in this process."""
        begun = time.perf_counter()
        report = dub_shot(self.tracked, self.dialogue, self.person, Output(self.folder / name))
        return report.frames_per_second, time.perf_counter() - begun

    def far_frame(self, job: int, **options: Any) -> float:
        """Milliseconds to the last frame of the shot."""
        self.forget_frames()
        begun = time.perf_counter()
        self.client.frame(job, self.tracked.shot.frames.end_exclusive - 1, **options)
        return 1e3 * (time.perf_counter() - begun)

    def first_frames(self, job: int, count: int, **options: Any) -> list[float]:
        """Milliseconds from a request for a frame that nobody has rendered to its picture, of `count` frames
        anywhere in the shot; at first of one by which the shot comes to be looked at.
        """
        chance, taken = random.Random(len(options)), [self.far_frame(job, **options)]
        time.sleep(IDLE_S)
        for _ in range(count):
            self.forget_frames()
            number = chance.choice(list(self.tracked.shot.frames))
            begun = time.perf_counter()
            self.client.frame(job, number, **options)
            taken.append(1e3 * (time.perf_counter() - begun))
        return taken


def in_a_row(case: Case, job: int) -> list[float]:
    """Milliseconds to each frame of the shot's first half, asked for one after another."""
    case.forget_frames()
    taken, shot = [], case.tracked.shot.frames
    for number in range(shot.start, shot.start + len(shot) // 2):
        begun = time.perf_counter()
        case.client.frame(job, number)
        taken.append(1e3 * (time.perf_counter() - begun))
    return taken


def many_clients(endpoint: str, clients: int, seconds: float) -> tuple[list[float], int]:
    """Milliseconds from request to reply of `clients` connections that ask for `status` and `jobs`, and how
    many replies were errors.
    """
    context = zmq.Context()
    context.max_sockets = clients + 10
    poller, sent, due = zmq.Poller(), {}, []
    for _ in range(clients):
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
        due.append((time.perf_counter(), socket))
    heads = [msgpack.packb({"v": 1, "id": 1, "op": op}) for op in ("status", "jobs")]
    taken: list[float] = []
    errors, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        now = time.perf_counter()
        for _, socket in [d for d in due if d[0] <= now]:
            socket.send(heads[len(taken) % 2])
            sent[socket] = time.perf_counter()
        due = [d for d in due if d[0] > now]
        for socket, _ in poller.poll(5):
            reply = socket.recv_multipart()
            now = time.perf_counter()
            taken.append(1e3 * (now - sent.pop(socket)))
            errors += b"error" in reply[0][:64]
            due.append((now + THINK_S, socket))
    context.destroy(0)
    return taken, errors


def percentiles(values: list[float]) -> tuple[str, str, str]:
    """Median, 99th percentile and largest of milliseconds."""
    return tuple(f"{v:.0f}" for v in (np.median(values), np.percentile(values, 99), max(values)))  # type: ignore[return-value]


def main() -> None:
    """`python -m benchmarks.service CLIP --actor DIR --dialogue WAV`: print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--actor", type=Path, required=True)
    parser.add_argument("--dialogue", type=Path, required=True)
    parser.add_argument("--part", metavar="A:B", help="frames of the clip; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="dubs each way, one after another")
    parser.add_argument("--frames", type=int, default=20, help="frames that are asked for")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="that the clients ask for")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    reuse_memory()  # as `vdub` does
    with tempfile.TemporaryDirectory(prefix="vd-") as name:
        folder = Path(name)
        roots = (folder, *(p.absolute().parent for p in (args.clip, args.actor, args.dialogue)))
        with service_for(roots, folder) as service, Client(service.front.endpoints[0]) as client:
            text, findings, figures = measure(Case(args, service, client, folder), args)
    print("\n\n".join(text))
    if args.json:
        write_result(args.json, "The service", text, findings, figures)


def measure(case: Case, args: argparse.Namespace) -> tuple[list[str], list[Finding], dict[str, float]]:
    """All of it: paragraphs, findings, figures."""
    case.in_process("warm.mkv")  # compiles kernels, fills the cache of tracks
    case.through_service("warm-service.mkv")
    pairs = [(case.in_process(f"a{n}.mkv"), case.through_service(f"b{n}.mkv")) for n in range(args.rounds)]
    direct, served = (float(np.median([p[i][0] for p in pairs])) for i in (0, 1))
    share = float(np.median([p[1][0] / p[0][0] for p in pairs]))
    job = case.submit("frames.mkv")
    case.client.wait(job)
    far, *idle = case.first_frames(job, args.frames)
    _, *boxed = case.first_frames(job, args.frames, box=True)
    row = in_a_row(case, job)
    case.client.frame(job, case.tracked.shot.frames.start)
    begun = time.perf_counter()
    case.client.frame(job, case.tracked.shot.frames.start)
    again = 1e3 * (time.perf_counter() - begun)
    case.forget_frames()
    busy = [
        case.submit(f"busy{n}.mkv", mouth_gain=1 + n / 500) for n in range(2 + int(args.seconds / BUSY_S))
    ]
    before = psutil.Process().memory_info().rss
    control, errors = many_clients(case.client.endpoint, args.clients, args.seconds)
    grown = psutil.Process().memory_info().rss / before - 1
    for job in reversed(busy):
        with suppress(BadRequest):  # it is done
            case.client.cancel(job)
    for job in busy:
        case.client.wait(job)
    size = f"{case.tracked.shot.info.image.width} x {case.tracked.shot.info.image.height}"
    rows = [
        (f"the first frame of a shot, its last, {size}", *percentiles([far])),
        ("a frame anywhere, not rendered before", *percentiles(idle)),
        ("the same, the bounds of what changes alone", *percentiles(boxed)),
        ("frames in a row, not rendered before", *percentiles(row)),
        (f"status and jobs, {args.clients} clients while a dub runs", *percentiles(control)),
    ]
    text = [
        f"{args.clip.name}, {len(case.tracked.track)} frames of {size}. One worker.",
        table(("request to reply, ms", "median", "p99", "most"), rows),
        f"The same frame again takes {again:.0f} ms. {len(control)} replies in {args.seconds:g} s, {errors}"
        f" errors; memory of service and clients {grown:+.1%}.",
        table(
            ("steady dub, frames/s", *(f"round {n + 1}" for n in range(args.rounds)), "median"),
            [
                ("in process", *(f"{p[0][0]:.1f}" for p in pairs), f"{direct:.1f}"),
                ("through the service", *(f"{p[1][0]:.1f}" for p in pairs), f"{served:.1f}"),
                ("share", *(f"{p[1][0] / p[0][0]:.0%}" for p in pairs), f"{share:.0%}"),
            ],
        ),
    ]
    first, slow = float(np.median(idle)), float(np.percentile(control, 99))
    findings = [
        Finding("first frame of a warm service", f"under {FIRST_MS} ms", f"{first:.0f} ms"),
        Finding("a dub through the service, of in process", f"{SHARE:.0%}", f"{share:.0%}"),
        Finding(
            f"control replies to {args.clients} clients, p99", f"under {CONTROL_MS} ms", f"{slow:.0f} ms"
        ),
    ]
    return text, findings, {"first_frame_ms": first, "dub_share": share, "control_p99_ms": slow}


if __name__ == "__main__":
    main()
