"""Processes that are killed or frozen in the middle of mixed jobs: no job is lost, and no frame differs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemon_helpers import short_folder, start_process, workers_of
from helpers import write_wav

from benchmarks.service_chaos import hashes
from daemon.config import Config
from visualdub.wire import Client, Unreachable

DEADLINE_S = 400.0


@dataclass
class Stage:
    """A service in a process of its own, and jobs for it."""

    config: Config
    folder: Path
    clip: Path
    actor: Path
    process: subprocess.Popen[bytes]

    def client(self) -> Client:
        return Client(f"ipc://{self.config.run}/service.sock", timeout_s=30.0)

    def submit(self, client: Client, folder: Path) -> list[int]:
        """Two dubs, a track and a performance, written to `folder`."""
        dub = {"clip": str(self.clip), "actor": str(self.actor), "dialogue": str(self.folder / "new.wav")}
        loud = {**dub, "mouth_gain": 1.4, "output": str(folder / "loud.mkv")}
        return [
            client.submit(**dub, output=str(folder / "plain.mkv")),
            client.track(str(self.clip), str(folder / "track.npz"), frames="0:30"),
            client.submit(**loud, matte=str(folder / "loud.matte.mkv")),
            client.speech(**dub, output=str(folder / "none.mkv"), performance=str(folder / "mouth.json")),
        ]

    def kill_service(self) -> None:
        """As `kill -9` does; and start it again."""
        old = [psutil.Process(p) for p in self.worker_processes()]
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.process = start_process(self.config)
        assert not [p for p in old if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], (
            "workers of the killed service work on"
        )

    def worker_processes(self) -> list[int]:
        return [c.pid for c in psutil.Process(self.process.pid).children()]


@pytest.fixture
def stage(talking: Path, flat_actor: Path, tmp_path: Path) -> Iterator[Stage]:
    write_wav(tmp_path / "new.wav", 1.6)
    with short_folder() as short:
        roots = (tmp_path, talking.parent, flat_actor.parent)
        config = Config(roots, short / "run", short / "state", stall_s=4.0, crashes=1000)
        made = Stage(config, tmp_path, talking, flat_actor, start_process(config))
        try:
            yield made
        finally:
            made.process.terminate()
            made.process.kill()
            made.process.wait(30)


def wait_for(client: Client, jobs: list[int]) -> list[dict[str, Any]]:
    return [client.wait(job) for job in jobs]


def ended(client: Client, jobs: list[int]) -> bool:
    return all(client.job(j)["state"] in ("done", "failed", "cancelled") for j in jobs)


def worker_at_work(client: Client, jobs: list[int], deadline: float) -> int | None:
    """A worker that has a job; None once all jobs have ended."""
    while time.monotonic() < deadline and not ended(client, jobs):
        for worker in client.status()["workers"]:
            if worker["ready"] and worker["job"]:
                return int(worker["pid"])
        time.sleep(0.02)
    return None


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_killed_and_frozen_processes_change_nothing(stage: Stage) -> None:
    calm, wild = stage.folder / "calm", stage.folder / "wild"
    calm.mkdir()
    wild.mkdir()
    deadline = time.monotonic() + DEADLINE_S
    with stage.client() as client:
        assert [row["state"] for row in wait_for(client, stage.submit(client, calm))] == ["done"] * 4
    expected = hashes(calm)
    for entry in (stage.config.state / "frames").rglob("*.frame"):
        entry.unlink()  # everything is to be rendered again

    chance = random.Random(14)
    with stage.client() as client:
        jobs = stage.submit(client, wild)
    plan = ["kill"] * 5 + ["freeze", "service", "kill", "service", "kill"]
    done = []
    for what in plan:
        with stage.client() as client:
            pid = worker_at_work(client, jobs, deadline)
        if pid is None:
            break
        time.sleep(chance.uniform(0.0, 1.0))
        if what == "service":
            stage.kill_service()
        else:
            with contextlib.suppress(ProcessLookupError):  # the one before is not seen dead yet
                os.kill(pid, signal.SIGKILL if what == "kill" else signal.SIGSTOP)
        done.append(what)
    with stage.client() as client:
        rows = wait_for(client, jobs)
    assert [row["state"] for row in rows] == ["done"] * 4
    assert len(done) >= 3, "the jobs ended before anything could be killed"
    assert sum(row["attempts"] for row in rows) > 4
    assert hashes(wild) == expected
    assert not [p for p in wild.iterdir() if p.name.endswith(".partial")]


@pytest.mark.timeout(300)
def test_a_frozen_worker_is_seen_dead_before_its_job_is_given_away(stage: Stage) -> None:
    with stage.client() as client:
        job = stage.submit(client, stage.folder)[0]
        pid = worker_at_work(client, [job], time.monotonic() + 120)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        frozen = psutil.Process(pid)
        attempts = 0
        while attempts < 2:
            row = client.job(job)
            attempts = row["attempts"]
            if attempts == 2:
                assert not frozen.is_running() or frozen.status() == psutil.STATUS_ZOMBIE
            time.sleep(0.02)
        assert pid not in workers_of(client)
        assert client.wait(job)["state"] == "done"


def test_a_job_that_kills_every_worker_fails(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    """A job is not tried for ever, and the service stays."""
    from daemon.schedule import Schedule
    from daemon.store import Store

    store = Store(tmp_path / "jobs.sqlite")
    schedule = Schedule(store, limit=4, crashes=3)
    job, _ = schedule.add("dub", "local", "d", {"output": "/o.mkv"})
    for count in range(3):
        assert schedule.take() is job
        lease = schedule.lease(job)
        schedule.lost(job, "worker 7, status -9")
        assert schedule.holder(lease, lease.token) is None
        assert job.state == ("queued" if count < 2 else "failed")
    assert job.reason == "3 workers ended in this job at the same place; the last: worker 7, status -9"


def test_nobody_answers_while_the_service_is_away(stage: Stage) -> None:
    stage.process.kill()
    stage.process.wait(30)
    with (
        Client(f"ipc://{stage.config.run}/service.sock", timeout_s=0.3) as client,
        pytest.raises(Unreachable, match=r"nobody answers|does not answer"),
    ):
        client.status()
