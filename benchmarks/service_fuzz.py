"""Wild messages and connections that stop midway, sent to a real service: is all refused, is nothing left."""

from __future__ import annotations

import argparse
import json
import os
import random
import socket as sockets
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgpack
import psutil
import zmq

from daemon.config import Config
from daemon.service import Service
from visualdub.measure.result import Finding, table, write_result
from visualdub.wire import schema
from visualdub.wire.client import Client

AT_ONCE = 20  # messages on their way, fewer than a connection has room for
ANSWER_S = 30.0  # without an answer to a message that had none
GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL" + bytes(48)
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
REPLIES = {cls.__struct_config__.tag for cls in get_args(schema.AnyReply)}
WORKED_AT = ("watch", "frame", "performance_get")  # requests that may be answered more than once, and late


def valid_fields(folder: Path) -> dict[str, dict[str, Any]]:
    """A request of each kind that the service could carry out, but for `shutdown`."""
    clip, wav, out = (str(folder / name) for name in ("a.mkv", "a.wav", "out.mkv"))
    dub = {"clip": clip, "dialogue": wav, "actor": "nobody", "output": out, "crf": 16, "skip": ["1:2"]}
    edit = {"edit": str(folder / "a.otio"), "output": str(folder), "languages": "fr", "relink": [str(folder)]}
    return {
        "hello": {"client": "host", "edition": 1},
        "actor_list": {},
        "actor_show": {"actor": "nobody"},
        "actor_add": {"path": str(folder)},
        "actor_remove": {"actor": "nobody"},
        "actor_withdraw": {"actor": "nobody"},
        "submit": {"dub": dub, "quality": "draft", "priority": 1},
        "submit_edit": {"edit": edit, "priority": 1},
        "adapt": {"clips": [clip], "name": "anna", "consent": "who, 2026-01-01, all"},
        "track": {"clip": clip, "output": str(folder / "t.npz"), "frames": "0:9"},
        "speech": {"dub": dub, "priority": 0},
        "jobs": {"limit": 5},
        "watch": {"job": 1},
        "cancel": {"job": 1},
        "retry": {"job": 1},
        "final": {"job": 1},
        "priority": {"job": 1, "priority": 2},
        "frame": {"job": 1, "number": 3, "kind": "dub", "pixels": "rgb8", "box": False},
        "performance_get": {"job": 1},
        "performance_put": {"job": 1, "run": False},
        "status": {},
    }


class Wild:
    """Makes messages by chance: a valid one with something wrong, or nothing of the kind."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance, self.valid = random.Random(seed), valid_fields(folder)

    def parts(self, number: int) -> list[bytes]:
        """The frames of one message."""
        chance = self.chance
        op = chance.choice(list(self.valid))
        message: dict[Any, Any] = {"v": 1, "id": number, "op": op, **json.loads(json.dumps(self.valid[op]))}
        for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
            self.spoil(message)
        head = self.packed(message)
        bulk = [bytes(chance.randrange(64)) for _ in range(chance.choice((0, 0, 0, 0, 1, 3)))]
        return [head, *bulk]

    def spoil(self, message: dict[Any, Any]) -> None:
        """Put one wrong thing somewhere into a message."""
        chance = self.chance
        place = message
        inner = [v for v in message.values() if isinstance(v, dict)]
        if inner and chance.random() < 0.6:
            place = inner[0]
        what = chance.randrange(4)
        if what == 0 and place:
            del place[chance.choice(list(place))]
        elif what == 1:
            place[chance.choice(("", "x", "job", "clip", "é", "v", 3))] = self.value()
        elif place:
            name = chance.choice(list(place))
            place[name] = chance.choice((-1, 2**53 + 1, "x", 1.5, None)) if name == "id" else self.value()

    def value(self, depth: int = 0) -> Any:
        """Any value that msgpack has, and some that it should not have."""
        chance = self.chance
        made = chance.randrange(12)
        if made == 0:
            return chance.choice((0, -1, 1, 2**31, 2**53, 2**53 + 1, 2**64 - 1, -(2**63)))
        if made == 1:
            return chance.choice((0.0, -0.0, 1e308, float("nan"), float("inf"), 0.5))
        if made == 2:
            return chance.choice(
                ("", "a", "/etc/passwd", "../..", "a\0b", "A" * 5000, "🙂" * 40, "-1:4", "9:1")
            )
        if made == 3:
            return bytes(chance.randrange(30))
        if made == 4:
            return msgpack.ExtType(chance.randrange(128), b"x")
        if made == 5:
            return msgpack.Timestamp(chance.randrange(10**6))
        if made == 6 and depth < 4:
            return [self.value(depth + 1) for _ in range(chance.randrange(4))]
        if made == 7 and depth < 4:
            return {str(self.value(9)): self.value(depth + 1) for _ in range(chance.randrange(4))}
        if made == 8:
            deep: Any = 1
            for _ in range(chance.choice((3, 12, 200))):
                deep = [deep]
            return deep
        return chance.choice((None, True, False, "draft", "queued", "rgb8"))

    def packed(self, message: dict[Any, Any]) -> bytes:
        """The bytes of a message, whole or not."""
        chance = self.chance
        try:
            head = bytearray(msgpack.packb(message))
        except (ValueError, OverflowError, TypeError):
            return b"\xc1"
        how = chance.randrange(10)
        if how == 0:  # a key twice
            head[0] += 1
            head += msgpack.packb("op") + msgpack.packb("jobs")
        elif how == 1 and len(head) > 1:
            del head[chance.randrange(1, len(head)) :]
        elif how == 2 and message.get("op") not in WORKED_AT:  # whose number must stay
            head[chance.randrange(len(head))] ^= 1 << chance.randrange(8)
        elif how == 3:
            head += bytes(chance.randrange(1, 9))
        elif how == 4:
            head = bytearray(chance.randbytes(chance.choice((0, 1, 5, 300))))
        elif how == 5 and chance.random() < 0.01:
            head += bytes(schema.MOST_BYTES)
        return bytes(head)


@dataclass
class Found:
    """What became of the messages."""

    sent: int = 0
    answered: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def send_all(endpoint: str, wild: Wild, count: int, found: Found) -> None:
    """Send `count` messages; every one must be answered by one message of the schema."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.set_hwm(0)
    socket.connect(endpoint)
    worked_at: set[int] = set()  # requests that are answered more than once
    counted = time.monotonic()
    while found.answered < count:
        while found.sent < count and found.sent - found.answered < AT_ONCE:
            found.sent += 1
            socket.send_multipart(wild.parts(found.sent))
        if time.monotonic() > counted + ANSWER_S:
            found.faults.append(f"{found.sent - found.answered} messages are not answered")
            break
        while socket.poll(50 if found.sent - found.answered >= AT_ONCE or found.sent == count else 0):
            reply = msgpack.unpackb(socket.recv_multipart()[0])
            kind = reply.get("kind", "") if reply["re"] == "error" else reply["re"]
            found.kinds[kind] += 1
            if reply["re"] not in REPLIES or kind == "fault":
                found.faults.append(f"{reply}"[:300])
            if reply["id"] in worked_at:
                continue
            found.answered, counted = found.answered + 1, time.monotonic()
            if reply["re"] in ("event", "beat"):
                worked_at.add(reply["id"])
    context.destroy(0)


def half_connections(path: str, count: int) -> int:
    """Open connections and stop at some point of the handshake or of a message; how many were opened."""
    frame = b"\x00" + bytes([40]) + b"x" * 12  # 28 bytes of it never come
    huge = b"\x02" + struct.pack(">Q", 10 << 30) + bytes(1000)
    stages = (b"", b"\xff", GREETING[:10], GREETING, GREETING + READY[:9], GREETING + READY)
    heads = [*stages, GREETING + READY + frame, GREETING + READY + huge]
    for number in range(count):
        with sockets.socket(sockets.AF_UNIX) as half:
            half.connect(path)
            half.sendall(heads[number % len(heads)])
    return count


def settled(of: psutil.Process, before: int) -> int:
    """Open files of a process, after it had time to close those of others that left."""
    end = time.monotonic() + 20
    while of.num_fds() > before and time.monotonic() < end:
        time.sleep(0.1)
    return int(of.num_fds())


def memory(of: psutil.Process) -> int:
    """Bytes of a process."""
    resident: int = of.memory_info().rss
    return resident


def started(folder: Path) -> Iterator[Service]:
    """A service without workers in a thread of this process."""
    service = Service(Config((folder,), folder / "run", folder / "state", workers=0, queue=40))
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    yield service
    service.stop()
    thread.join(60)


def main() -> None:
    """`python -m benchmarks.service_fuzz`: print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    found, this = Found(), psutil.Process()
    with tempfile.TemporaryDirectory(prefix="vd-") as name:
        folder = Path(name)
        for media in ("a.mkv", "a.wav", "a.otio"):
            (folder / media).write_bytes(b"x")
        for service in started(folder):
            endpoint = service.front.endpoints[0]
            warm = Found()
            send_all(endpoint, Wild(args.seed + 1, folder), args.messages // 5, warm)
            files, before = settled(this, this.num_fds()), memory(this)
            send_all(endpoint, Wild(args.seed, folder), args.messages, found)
            half_connections(endpoint.removeprefix("ipc://"), args.connections)
            left, grown = settled(this, files) - files, memory(this) / before - 1
            with Client(endpoint, timeout_s=30) as client:
                alive = client.status()["pid"] == os.getpid()
            untouched = all((folder / media).read_bytes() == b"x" for media in ("a.mkv", "a.wav", "a.otio"))
    report(args, found, (left, grown, alive and untouched))


def report(args: argparse.Namespace, found: Found, after: tuple[int, float, bool]) -> None:
    """Print what was found, and write it."""
    left, grown, whole = after
    rows = [(kind, count) for kind, count in found.kinds.most_common()]
    text = [
        f"{found.sent} messages by chance (seed {args.seed}): fields wrong, missing or unknown, keys twice,"
        f" bytes cut off, flipped or added, frames of bulk data where none belong. Then {args.connections}"
        " connections that stop somewhere between the first byte and the middle of a message.",
        table(("answer", "how often"), rows),
        f"Not answered or a fault: {len(found.faults)}. Open files left over: {left}. Memory of service and"
        f" clients {grown:+.1%} after as many messages as a fifth of these. The service"
        f" {'answers and has written to no input' if whole else 'DOES NOT ANSWER OR WROTE TO AN INPUT'}.",
        *found.faults[:10],
    ]
    print("\n\n".join(text))
    finding = Finding(
        "wild messages and half connections: anything but a clean refusal, anything leaked",
        "nothing",
        f"{len(found.faults)} of {found.sent} messages, {left} of {args.connections} connections, memory"
        f" {grown:+.1%}",
    )
    figures = {"faults": len(found.faults), "messages": found.sent, "left": left, "memory": grown}
    if args.json:
        write_result(args.json, "The service and wild messages", text, [finding], figures)


if __name__ == "__main__":
    main()
