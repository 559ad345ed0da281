"""Services that tests start: in a thread, in a short folder of their own, ended at the end."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemon.config import Config
from daemon.service import Service
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
