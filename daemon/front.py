"""The sockets that clients connect to: a local one, and one over TCP with CURVE for allowed keys."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from daemon.access import AllowList, new_pair, server_pair, write_secret
from daemon.config import Config
from visualdub.errors import BadInput
from visualdub.wire.places import ADDRESS
from visualdub.wire.schema import MOST_BULK, Reply, encode

MOST_PARTS = 4  # frames of one message: the request and its bulk data
SEND_QUEUE = 64  # messages that may wait for one client; more are dropped, and it is not told more
HANDSHAKE_MS = 5000  # that a connection gets to say who it is in
MOST_SOCKET_PATH = 100  # bytes of an ipc address; systems allow 103 to 107
LOCAL_NAME = "local"
ZAP_ADDRESS, ZAP_DOMAIN, ZAP_VERSION = "inproc://zeromq.zap.01", b"vdub", b"1.0"
log = logging.getLogger(__name__)
Socket = zmq.Socket[bytes]


@dataclass(frozen=True)
class Asker:
    """Who waits for a reply to one request."""

    socket: Socket
    identity: bytes  # of the connection
    number: int  # of the request
    name: str  # of the client: the name its key is allowed under, or LOCAL_NAME
    local: bool  # whether it can read the service's files


class Front:
    """The sockets. Raises `BadInput` for addresses that cannot be bound."""

    def __init__(self, context: zmq.Context[Socket], config: Config) -> None:
        self._context, self._config = context, config
        self.allowed = AllowList(config.keys)
        self.allowed.reload()
        self.zap: Socket = context.socket(zmq.REP)
        self.zap.linger = 0
        self.zap.bind(ZAP_ADDRESS)
        self._own_key: str | None = None  # of local clients, where they connect over TCP
        self.local = self._bind_local(config.run)
        self.tcp: Socket | None = None
        if config.tcp is not None:
            if not config.tcp.startswith("tcp://"):
                raise BadInput(f"{config.tcp} is no address; expected tcp://HOST:PORT")
            self.tcp = self._bind(config.tcp, server_pair(config.keys))
        self.endpoints = [s.getsockopt_string(zmq.LAST_ENDPOINT) for s in self.sockets]

    @property
    def sockets(self) -> list[Socket]:
        """Those that requests come from."""
        return [s for s in (self.local, self.tcp) if s is not None]

    def _bind_local(self, folder: Path) -> Socket:
        values: dict[str, Any] = {}
        if sys.platform == "win32":  # no ipc there: loopback, and a key that only this user can read
            pair, client = new_pair(), new_pair()
            socket = self._bind("tcp://127.0.0.1:*", pair)
            self._own_key = client["public_key"]
            values = {"server_key": pair["public_key"], **client}
        else:
            path = folder / "service.sock"
            if len(os.fsencode(path)) > MOST_SOCKET_PATH:
                raise BadInput(
                    f"{path} is longer than the {MOST_SOCKET_PATH} bytes that a socket's name may have; set"
                    " VISUALDUB_DAEMON to a shorter folder"
                )
            socket = self._bind(f"ipc://{path}", None)
        values["endpoint"] = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        address = folder / ADDRESS
        address.unlink(missing_ok=True)
        write_secret(address, values)
        return socket

    def _bind(self, endpoint: str, keys: dict[str, str] | None) -> Socket:
        socket: Socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.maxmsgsize = MOST_BULK
        socket.router_mandatory = 1
        socket.sndhwm = SEND_QUEUE
        socket.rcvhwm = SEND_QUEUE
        socket.handshake_ivl = HANDSHAKE_MS
        socket.heartbeat_ivl = 5000
        socket.heartbeat_timeout = 15000
        if keys is not None:
            socket.curve_server = True
            socket.curve_publickey = keys["public_key"].encode()
            socket.curve_secretkey = keys["secret_key"].encode()
            socket.zap_domain = ZAP_DOMAIN
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as e:
            socket.close(0)
            raise BadInput(f"{endpoint} cannot be bound: {e}") from e
        return socket

    # ---- who may connect -----------------------------------------------------------------------------------

    def answer_zap(self) -> None:
        """Answer whether a key that wants to connect is allowed."""
        version, request, _, address, _, mechanism, *credentials = self.zap.recv_multipart(zmq.NOBLOCK)
        key = _z85(credentials[0]) if mechanism == b"CURVE" and credentials else ""
        name = self.name_of(key)
        if name is None:
            log.warning(
                "a connection from %s is refused: its key is not allowed", address.decode("ascii", "replace")
            )
        code, text = (b"200", b"OK") if name is not None else (b"400", b"this key is not allowed")
        user = key.encode() if name is not None else b""
        self.zap.send_multipart([version or ZAP_VERSION, request, code, text, user, b""])

    def name_of(self, key: str) -> str | None:
        """The client with this public key; None where it is not allowed (any more)."""
        return LOCAL_NAME if key and key == self._own_key else self.allowed.name_of(key)

    # ---- requests and replies ------------------------------------------------------------------------------

    def receive(self, socket: Socket, most: int) -> Iterator[tuple[bytes, str | None, list[bytes]]]:
        """Requests that have come: the connection's identity, the client's name, the frames of the message.
        The name is None for a key that is not allowed any more: it keeps its connection, and gets nothing.
        """
        for _ in range(most):
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            identity, *parts = frames
            yield (
                identity.bytes,
                self._sender(socket, frames[-1]),
                [p.bytes for p in parts[: MOST_PARTS + 1]],
            )

    def _sender(self, socket: Socket, frame: zmq.Frame) -> str | None:
        if socket is self.local and self._own_key is None:
            return LOCAL_NAME
        try:
            return self.name_of(str(frame.get("User-Id")))
        except zmq.ZMQError:
            return None

    def reply(self, asker: Asker, message: Reply, bulk: tuple[bytes, ...] = ()) -> bool:
        """Send a reply; whether it could be: the client may be gone, or does not read."""
        try:
            asker.socket.send_multipart([asker.identity, encode(message), *bulk], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def close(self) -> None:
        """Close the sockets and take back the address."""
        (self._config.run / ADDRESS).unlink(missing_ok=True)
        for socket in (*self.sockets, self.zap):
            socket.close(0)


def _z85(key: bytes) -> str:
    from zmq.utils import z85

    return str(z85.encode(key).decode()) if len(key) == 32 else ""
