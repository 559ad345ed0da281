"""One worker of the service, as the service hears it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import zmq
from msgspec.structs import replace

from daemon import messages
from daemon.messages import Failed, Stop, Work
from daemon.worker import Worker


def test_work_that_is_stopped_before_it_began_is_given_back(tmp_path: Path) -> None:
    """Work and its stop may come together; a service that hears of neither takes the worker for busy."""
    with zmq.Context() as context, closing(context.socket(zmq.ROUTER)) as service:
        port = service.bind_to_random_port("tcp://127.0.0.1")
        worker = Worker({"identity": "one", "endpoint": f"tcp://127.0.0.1:{port}"})
        with closing(worker._socket):
            first = Work(job=7, token=7, kind="dub", request={}, quality="final", folder=str(tmp_path))
            for work in (first, replace(first, job=8, token=8)):
                worker._take(work)
            worker._take(Stop(token=7))
            assert service.poll(5000)
            _, data = service.recv_multipart()
            told = messages.from_worker(data)
            assert isinstance(told, Failed) and (told.token, told.kind) == (7, "stopped")
            assert [work.token for work in worker._waiting] == [8]
