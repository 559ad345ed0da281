"""Services that tests start: in a thread, in a short folder of their own, ended at the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Config
from daemon.service import Service
from visualdub.wire import Unreachable
from visualdub.wire.client import Client

ENDING_S = 30.0


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name is short enough for sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="vd-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(config: Config) -> Iterator[Service]:
    """A service that runs."""
    service = Service(config)
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.stop()
        thread.join(ENDING_S)
        assert not thread.is_alive(), "the service does not end"


def client_of(service: Service, **options: Any) -> Client:
    """A client of a service's local socket."""
    return Client(service.front.endpoints[0], **{"timeout_s": 30.0, **options})


RUN = """
import json, sys
from pathlib import Path
import pytest

from daemon.config import Config
from daemon.service import Service
values = json.loads(sys.argv[1])
values["roots"] = tuple(Path(r) for r in values["roots"])
values["run"], values["state"] = Path(values["run"]), Path(values["state"])
Service(Config(**values)).run()
"""


def start_process(config: Config) -> subprocess.Popen[bytes]:
    """A service in a process of its own, which answers."""
    values = {**asdict(config), "roots": [str(r) for r in config.roots]}
    values |= {"run": str(config.run), "state": str(config.state)}
    process = subprocess.Popen([sys.executable, "-c", RUN, json.dumps(values)])
    address, deadline = config.run / "address.json", time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            said = json.loads(address.read_text())
            with Client(said["endpoint"], timeout_s=1.0) as client:
                if client.status()["pid"] == process.pid:
                    return process
        except (OSError, ValueError, Unreachable):
            assert process.poll() is None, "the service ended"
            time.sleep(0.05)
    raise AssertionError("the service does not answer")


def workers_of(client: Client) -> list[int]:
    """Process numbers of the workers that are up."""
    return [w["pid"] for w in client.status()["workers"] if w["ready"]]


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own in memory; skips where this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a tmpfs needs root and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
