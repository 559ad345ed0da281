"""The page's process: `vdub serve --page` starts it, and again should it end; it ends with the service.

`python -m daemon.page.server` with a JSON object on standard input, whose end is the end of the service. It
answers with one line on standard output: the address, or why there is none.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from daemon.access import Roots
from daemon.config import Config
from daemon.structured_log import to_stream
from visualdub.errors import BadInput

HOST, PORT = "127.0.0.1", 7788
PORTS = 20  # that are tried from PORT on, where none is asked for
START_S = 60.0  # that the process gets to listen in
PAUSE_S, MOST_STARTS = 1.0, 10  # of a process that ends by itself
CLOSING_S = 2  # that requests get to end in
LOG = "page.log"  # in the service's run folder
log = logging.getLogger(__name__)

# ---- in the service ----------------------------------------------------------------------------------------


class PageProcess:
    """The process of the page, a context manager. port: None takes a free one. address: to open in a browser.

    Raises `BadInput` where it cannot listen, and where what it needs is not installed.
    """

    def __init__(self, config: Config, endpoint: str, port: int | None = None) -> None:
        self._config, self._endpoint = config, endpoint
        self._ending = False
        self._process, self.address, self._port = self._start(port)
        self._watch = threading.Thread(target=self._restart, name="page", daemon=True)
        self._watch.start()

    def __enter__(self) -> PageProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._ending = True
        _end(self._process)
        self._watch.join(CLOSING_S)

    def _start(self, port: int | None) -> tuple[subprocess.Popen[bytes], str, int]:
        config = self._config
        setting = {
            "state": str(config.state),
            "keys": str(config.keys),
            "roots": [str(r) for r in config.roots],
            "endpoint": self._endpoint,
            "port": port,
        }
        with (config.run / LOG).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "daemon.page.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C is the service's
            )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(setting).encode() + b"\n")
        process.stdin.flush()
        timer = threading.Timer(START_S, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        try:
            said = json.loads(line)
        except ValueError:
            said = {"error": f"the page does not start; {config.run / LOG} says why"}
        if "error" in said:
            _end(process)
            raise BadInput(said["error"])
        return process, said["address"], said["port"]

    def _restart(self) -> None:
        """Start the process again whenever it ends by itself, at the same port."""
        for _ in range(MOST_STARTS):
            self._process.wait()
            if self._ending:
                return
            log.warning("the page ended with status %s and is started again", self._process.returncode)
            time.sleep(PAUSE_S)
            try:
                self._process = self._start(self._port)[0]
            except (BadInput, OSError) as e:
                log.error("the page cannot be started again: %s", e)
                return
            if self._ending:
                _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(CLOSING_S * 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# ---- the process -------------------------------------------------------------------------------------------


def listen(port: int | None) -> socket.socket:
    """A socket that listens on this machine alone. Raises `BadInput` where it cannot."""
    error: OSError | None = None
    for number in [port] if port is not None else [*range(PORT, PORT + PORTS), 0]:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((HOST, number))
        except OSError as e:
            opened.close()
            error = e
        else:
            opened.listen(128)
            return opened
    raise BadInput(f"the page cannot listen at {HOST}:{port}: {error}; --page-port chooses another port")


class Running:
    """A page that serves in a thread of its own, until `close`. address: to open, with its token."""

    def __init__(self, setting: dict[str, Any]) -> None:
        try:
            import uvicorn

            from daemon.page.app import Page
        except ImportError as e:
            raise BadInput(
                f"the page needs starlette and uvicorn ({e}); install them: pip install 'visualdub[service]'"
            ) from e
        from daemon.page.guard import Guard, page_token
        from daemon.page.shots import Clients, Shots

        token = page_token(Path(setting["keys"]))
        self._socket = listen(setting.get("port"))
        self.port = int(self._socket.getsockname()[1])
        self.address = f"http://{HOST}:{self.port}/{token}/"
        self._clients = Clients(setting["endpoint"])
        roots = Roots.of([Path(r) for r in setting["roots"]])
        self.page = Page(Shots(self._clients, Path(setting["state"]), roots))
        config = uvicorn.Config(
            Guard(self.page.app, token, self.port),
            log_config=None,
            access_log=False,  # addresses hold the token
            server_header=False,
            timeout_graceful_shutdown=CLOSING_S,
            h11_max_incomplete_event_size=16 << 10,
            ws="none",
            lifespan="off",
            http="h11",
            loop="asyncio",
            limit_concurrency=256,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="page", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.page.closing = True
        self._server.should_exit = True
        self._thread.join(CLOSING_S * 2 + 1)
        self._socket.close()
        self._clients.close()


def main() -> None:
    """Serve until standard input ends."""
    to_stream(sys.stderr)
    setting = json.loads(sys.stdin.buffer.readline())
    try:
        running = Running(setting)
    except BadInput as e:
        print(json.dumps({"error": str(e)}), flush=True)
        return
    log.info("the page listens at port %d", running.port)
    print(json.dumps({"address": running.address, "port": running.port}), flush=True)
    sys.stdin.buffer.read()
    running.close()


if __name__ == "__main__":
    main()
