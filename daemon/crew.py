"""The worker processes: started, listened to, and seen dead before anybody else gets their work."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
import zmq

from daemon import messages
from daemon.store import Store

RESTART_S = (0.0, 1.0, 5.0, 30.0)  # before a worker is started again that died young so often in a row
YOUNG_S = 5.0  # age up to which a death counts as young
MOST_SAID = 16 << 20  # bytes of what workers print; then it is begun anew
START_S = 120.0  # that a worker gets to load in, without a sign of life
log = logging.getLogger(__name__)


@dataclass
class Lease:
    """A job in the hands of one worker, or one chunk of a job that another one has. Reports under another
    token are refused.
    """

    job: int
    token: int
    chunk: int | None = None  # None: the whole job
    stopping: bool = False  # it was asked to stop
    since: float = field(default_factory=time.monotonic)


@dataclass
class WorkerProcess:
    """One worker as the service sees it. Times are of the monotonic clock."""

    identity: str
    process: subprocess.Popen[bytes]
    started: float
    seen: float
    ready: bool = False
    lease: Lease | None = None
    asks: set[int] = field(default_factory=set)  # questions it was handed
    warm: list[int] = field(default_factory=list)  # jobs whose shots it has prepared, the latest last
    dying: bool = False  # it was killed, and nobody has seen it dead yet

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid


class Crew:
    """The workers of a service.

    setting: what every worker is told: endpoint, roots, actors, cache, limit. store: remembers processes, so
    that the next service can see those of a killed one dead.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], folder: Path, setting: dict[str, Any], store: Store
    ) -> None:
        self._folder, self._setting, self._store = folder, setting, store
        self.socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.router_mandatory = 1
        path = folder / "workers.sock"
        self.endpoint = f"ipc://{path}" if sys.platform != "win32" else "tcp://127.0.0.1:*"
        self.socket.bind(self.endpoint)
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.workers: dict[str, WorkerProcess] = {}  # by identity
        self._young = 0  # deaths in a row
        self._not_before = 0.0

    def start(self) -> None:
        """Start one more worker, unless workers die as soon as they start: then after a while."""
        if time.monotonic() < self._not_before:
            return
        identity = f"worker-{secrets.token_hex(8)}"
        values = {**self._setting, "endpoint": self.endpoint, "identity": identity, "parent": os.getpid()}
        said = self._folder / "workers.log"
        full = said.is_file() and said.stat().st_size > MOST_SAID
        with said.open("wb" if full else "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "daemon.worker", json.dumps(values)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        now = time.monotonic()
        self.workers[identity] = WorkerProcess(identity, process, now, now)
        self._store.add_worker(process.pid, time.time())
        log.info("worker %d started", process.pid)

    def send(self, worker: WorkerProcess, packet: messages.Packet) -> bool:
        """Hand a packet to a worker; whether it could be: a dead one is noticed soon."""
        try:
            self.socket.send_multipart([worker.identity.encode(), messages.encode(packet)], zmq.NOBLOCK)
        except zmq.ZMQError as e:
            log.warning("worker %d takes no message: %s", worker.pid, e)
            return False
        return True

    def receive(self, most: int) -> Iterator[tuple[WorkerProcess, messages.FromWorker]]:
        """What workers have said, `most` packets at most; what comes from somebody else is dropped."""
        for _ in range(most):
            try:
                identity, data = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            except ValueError:
                continue
            worker = self.workers.get(identity.decode("ascii", "replace").removesuffix("-beat"))
            if worker is None:
                continue
            worker.seen = time.monotonic()
            try:
                packet = messages.from_worker(data)
            except msgspec.DecodeError:
                log.exception("worker %d says what is no packet", worker.pid)
                continue
            yield worker, packet

    def silent(self, stall_s: float) -> Iterator[WorkerProcess]:
        """Workers that have not said anything for `stall_s` seconds, or for START_S while they load."""
        now = time.monotonic()
        for worker in self.workers.values():
            if not worker.dying and now - worker.seen > (stall_s if worker.ready else START_S):
                yield worker

    def kill(self, worker: WorkerProcess) -> None:
        """Kill a worker. Its work is not given away before `bury` has seen it dead."""
        worker.dying = True
        with contextlib.suppress(OSError):
            worker.process.kill()

    def bury(self) -> list[WorkerProcess]:
        """Workers that are dead now, and no longer in the crew."""
        dead = [w for w in self.workers.values() if w.process.poll() is not None]
        now = time.monotonic()
        for worker in dead:
            del self.workers[worker.identity]
            self._store.remove_worker(worker.pid)
            self._young = self._young + 1 if now - worker.started < YOUNG_S and not worker.ready else 0
            self._not_before = now + RESTART_S[min(self._young, len(RESTART_S) - 1)]
            log.warning("worker %d ended with status %d", worker.pid, worker.process.returncode)
        return dead

    def close(self, seconds: float) -> None:
        """Ask all to quit, kill who has not after `seconds`, and see all dead."""
        for worker in self.workers.values():
            self.send(worker, messages.Quit())
        end = time.monotonic() + seconds
        for worker in self.workers.values():
            try:
                worker.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._store.remove_worker(worker.pid)
        self.workers.clear()
        self.socket.close(0)


def see_dead(store: Store, seconds: float = 10.0) -> None:
    """Kill workers that a killed service has left, and see them dead, before their work is given away.

    A process that has got the number of one since is known by when it was started.
    """
    for pid, created in store.workers():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 5.0 and "daemon.worker" in process.cmdline():
                process.kill()
                process.wait(seconds)
                log.warning("worker %d of an earlier service was still there", pid)
        store.remove_worker(pid)
