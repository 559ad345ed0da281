"""A client of the service: one request at a time, time-outs everywhere. Python 3.9, pyzmq and msgpack."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgpack
import zmq

from visualdub.errors import BadInput
from visualdub.wire.errors import BadRequest, ServiceFault, Unreachable, error_of
from visualdub.wire.places import read_address
from visualdub.wire.requests import (
    CONNECT_S,
    EDITION,
    FRAME_S,
    SILENCE_S,
    SLOW,
    TIMEOUT_S,
    VERSION,
    Requests,
)

if TYPE_CHECKING:
    Answer = tuple[dict[str, Any], list[bytes]]


LOOK_S = 1.0  # between two looks whether the service is still there


class Client(Requests):
    """A connection to the service, of one thread; a context manager.

    endpoint: as `vdub serve` prints it; None: the service of this user, as it left its address. key: a file
    of `vdub keys new`, for a service on another machine. server_key: the service's public key, with `key`.
    client: the host application's name. timeout_s: for an answer; a service that cannot be reached is given
    up after `CONNECT_S` at the latest, and one that ends meanwhile at once. Nothing is sent before the first
    request.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        key: Path | None = None,
        server_key: str | None = None,
        client: str = "python",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        address = read_address() if endpoint is None else {"endpoint": endpoint}
        self.endpoint: str = address["endpoint"]
        self._timeout_s, self.name = timeout_s, client
        self._next = 0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.immediate = 1  # a request to nobody times out, it is not kept for whoever comes
        self._socket.maxmsgsize = 1 << 30
        try:
            keys = _keys(address, key, server_key)
            if keys is not None:
                self._socket.curve_serverkey, self._socket.curve_publickey, self._socket.curve_secretkey = (
                    keys
                )
            self._socket.connect(self.endpoint)
        except (zmq.ZMQError, ValueError) as e:
            self.close()
            raise BadInput(f"{self.endpoint} is no address of a service: {e}") from e
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. May be called twice."""
        self._socket.close(0)
        self._context.term()

    # ---- the connection ------------------------------------------------------------------------------------

    def request(self, op: str, bulk: Sequence[bytes] = (), **fields: Any) -> Iterator[Answer]:
        """Every reply to any request by its name on the wire, with its bulk data, as the bridge forwards
        them; the last one is neither `event` nor `beat`.
        """
        end = time.monotonic() + (FRAME_S if op in SLOW else self._timeout_s)
        number = self._send(op, fields, tuple(bulk))
        while True:
            quiet = time.monotonic() + SILENCE_S
            reply, data = self._receive(number, quiet if op == "watch" else min(end, quiet))
            yield reply, data
            if reply["re"] not in ("beat", "event"):
                return

    def _stream(self, op: str, **fields: Any) -> Iterator[dict[str, Any]]:
        for reply, _ in self.request(op, **fields):
            yield reply

    def _ask(
        self, op: str, timeout_s: float | None = None, bulk: tuple[bytes, ...] = (), **fields: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The last reply to one request, and its bulk data."""
        number = self._send(op, fields, bulk)
        end = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            quiet = time.monotonic() + SILENCE_S
            reply, data = self._receive(number, min(end, quiet))
            if reply["re"] not in ("beat", "event"):
                return reply, data

    def _send(self, op: str, fields: dict[str, Any], bulk: tuple[bytes, ...]) -> int:
        message = {"op": op, "v": VERSION, "id": self._next + 1, **fields}
        try:
            head = msgpack.packb(message)
        except (TypeError, ValueError, OverflowError) as e:
            raise BadRequest(f"{op} cannot be sent: {e}") from e
        if not self._is_reached(min(CONNECT_S, self._timeout_s)):
            raise Unreachable(f"nobody answers at {self.endpoint}; expected a service: vdub serve")
        try:
            if self._next == 0 and op != "hello":  # say who asks; the answer is not waited for
                hello = {"op": "hello", "v": VERSION, "id": 0, "client": self.name, "edition": EDITION}
                self._socket.send(msgpack.packb(hello), zmq.NOBLOCK)
            self._socket.send_multipart([head, *bulk], zmq.NOBLOCK)
        except zmq.Again as e:
            raise Unreachable(f"nobody takes requests at {self.endpoint}") from e
        self._next += 1
        return self._next

    def _is_reached(self, within_s: float) -> bool:
        """Whether there is a connection to the service."""
        return bool(self._socket.poll(int(within_s * 1000), zmq.POLLOUT))

    def _receive(self, number: int, end: float) -> tuple[dict[str, Any], list[bytes]]:
        """The next reply to request `number`; those to requests that were given up are dropped."""
        while True:
            left_s = max(0.0, end - time.monotonic())
            if not self._socket.poll(int(min(left_s, LOOK_S) * 1000), zmq.POLLIN):
                if left_s <= LOOK_S:
                    raise Unreachable(f"the service at {self.endpoint} does not answer in time")
                if not self._is_reached(0.0):  # it will not answer what it was asked, even if it comes back
                    raise Unreachable(f"the service at {self.endpoint} has ended")
                continue
            head, *bulk = self._socket.recv_multipart(zmq.NOBLOCK)
            try:
                reply = msgpack.unpackb(head)
                known = reply["v"] == VERSION and isinstance(reply["re"], str)
            except (ValueError, TypeError, KeyError, msgpack.UnpackException) as e:
                raise ServiceFault(f"{self.endpoint} answers what is no message of this version") from e
            if not known:
                raise ServiceFault(f"{self.endpoint} speaks version {reply['v']!r}; expected {VERSION}")
            refused = reply["re"] == "error"
            if reply["id"] != number and not (refused and reply["id"] == 0):  # 0: to what it could not read
                continue
            if refused:
                raise error_of(reply["kind"], reply["message"], reply.get("waiting", 0))
            return reply, bulk


def _keys(
    address: dict[str, Any], key: Path | None, server_key: str | None
) -> tuple[bytes, bytes, bytes] | None:
    """The service's public key, and the client's public and secret one; None where there are none."""
    if key is None:
        if server_key is not None:
            raise BadInput("--server-key needs the client's own key, too: a file of vdub keys new")
        if "server_key" not in address:
            return None
        values = address
    else:
        try:
            values = json.loads(Path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise BadInput(f"{key} is no key file ({e}); expected one of vdub keys new") from e
        values = {**values, "server_key": server_key or values.get("server_key")}
    names = ("server_key", "public_key", "secret_key")
    if not all(isinstance(values.get(n), str) for n in names):
        raise BadInput(f"{key or 'the address file'} lacks a key; expected {', '.join(names)}")
    return values[names[0]].encode(), values[names[1]].encode(), values[names[2]].encode()
