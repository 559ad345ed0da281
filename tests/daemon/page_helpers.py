"""The page as its own script asks it for things, without a browser."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from daemon_helpers import client_of

from daemon.service import Service

if TYPE_CHECKING:
    from daemon.page.server import Running


class Browser:
    """Requests to a page as its own script makes them. headers: of every request; None leaves one out."""

    def __init__(self, address: str) -> None:
        self.parts = urlsplit(address)
        self.headers: dict[str, str | None] = {"Host": self.parts.netloc}

    def ask(
        self, path: str, body: dict[str, Any] | None = None, **headers: str | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, content and headers. path: after the token, or from the root where it begins with /."""
        origin = {"Origin": f"http://{self.parts.netloc}"} if body is not None else {}
        given = {**self.headers, **origin, **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection = http.client.HTTPConnection(self.parts.hostname or "", self.parts.port, timeout=30)
        try:
            target = path if path.startswith("/") else self.parts.path + path
            connection.putrequest("GET" if body is None else "POST", target, skip_host=True)
            content = b"" if body is None else json.dumps(body).encode()
            for name, value in {**given, "Content-Length": str(len(content))}.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(content)
            answer = connection.getresponse()
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return answer.status, answer.readline(), {}
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()}
        finally:
            connection.close()

    def json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What a request that is not refused answers."""
        status, content, _ = self.ask(path, body)
        assert status == 200, content
        return json.loads(content)


@contextmanager
def opened(service: Service) -> Iterator[Running]:
    """The page of `service`, in this process."""
    from daemon.page.server import Running

    config = service.config
    running = Running(
        {
            "state": str(config.state),
            "keys": str(config.keys),
            "roots": [str(r) for r in config.roots],
            "endpoint": service.front.endpoints[0],
            "port": 0,
        }
    )
    try:
        yield running
    finally:
        running.close()


def queued(service: Service, folder: Path) -> int:
    """A job that waits."""
    for name in ("clip.mkv", "new.wav"):
        (folder / name).write_bytes(b"not media; no service reads it")
    with client_of(service) as client:
        return client.submit(
            clip=str(folder / "clip.mkv"),
            dialogue=str(folder / "new.wav"),
            output=str(folder / "out.mkv"),
            actor="ada",
        )
