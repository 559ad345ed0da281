"""The client of a bridge: the service's requests through `vdub bridge`, a process of Visual Dub's own Python.
Python 3.7, the standard library alone.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from visualdub.wire.errors import BadRequest, ServiceFault, Unreachable, error_of
from visualdub.wire.requests import FRAME_S, SILENCE_S, SLOW, TIMEOUT_S, Requests

ENDING_S = 5.0  # that the bridge gets to end in
START_S = 60.0  # more for the first answer: the bridge has to start


class BridgeClient(Requests):
    """A bridge and the requests through it; of one thread, a context manager.

    command: how the bridge is started, `vdub bridge` and its options but --client, each an argument of its
    own. name: the host application's.
    """

    def __init__(
        self,
        command: Sequence[str] = ("vdub", "bridge"),
        *,
        name: str = "python",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.name, self._timeout_s = name, timeout_s
        self._started = False
        try:
            self._process = subprocess.Popen(
                [*command, "--client", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as e:
            raise Unreachable(f"{command[0]} cannot be started: {e}") from e
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> BridgeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the bridge. May be called twice."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        """In a thread of its own: what the bridge says; an empty line is its end."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(b"")

    def _ask(
        self, op: str, timeout_s: float | None = None, bulk: tuple[bytes, ...] = (), **fields: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        seconds = FRAME_S if op in SLOW else self._timeout_s if timeout_s is None else timeout_s
        for reply in self._replies(op, seconds, bulk, fields):
            last = reply
        data = [base64.b64decode(text) for text in last.pop("bulk", ())]
        return last, data

    def _stream(self, op: str, **fields: Any) -> Iterator[dict[str, Any]]:
        return self._replies(op, None, (), fields)

    def _replies(
        self, op: str, seconds: float | None, bulk: tuple[bytes, ...], fields: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """seconds: for the last reply; None: as long as there are signs of life."""
        request = dict(fields, op=op)
        if bulk:
            request["bulk"] = [base64.b64encode(data).decode() for data in bulk]
        try:
            line = json.dumps(request, allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError) as e:
            raise BadRequest(f"{op} cannot be sent: {e}") from e
        more = 0.0 if self._started else START_S
        end = None if seconds is None else time.monotonic() + seconds + more
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError) as e:
            raise Unreachable(f"the bridge has ended: {e}") from e
        while True:
            quiet = time.monotonic() + SILENCE_S + 1 + more  # the bridge gives up first, and says so
            reply = self._next_reply(quiet if end is None else min(end + 1, quiet))
            self._started, more = True, 0.0
            if reply["re"] == "error":
                if reply["kind"] == "unreachable":
                    raise Unreachable(reply["message"])
                raise error_of(reply["kind"], reply["message"], reply.get("waiting", 0))
            yield reply
            if reply["re"] not in ("event", "beat"):
                return

    def _next_reply(self, end: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            self._process.kill()  # its answer would be taken for that of the next request
            raise Unreachable("the bridge does not answer in time") from None
        if not line:
            raise Unreachable("the bridge has ended; expected a service that it can reach: vdub serve")
        try:
            reply = json.loads(line)
            reply["re"] + ""
        except (ValueError, TypeError, KeyError) as e:
            raise ServiceFault(f"the bridge answers what is no reply: {line[:80]!r}") from e
        return dict(reply)
