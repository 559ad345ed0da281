"""The messages between the service and its workers, over sockets in the service's own folder."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct


class Packet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Base of all of them."""


# ---- to a worker -------------------------------------------------------------------------------------------


class Work(Packet, frozen=True, kw_only=True):
    """A job to do, or to know of, for frames of it."""

    job: int
    token: int  # of the lease; every report carries it
    kind: Literal["dub", "edit", "adapt", "track", "speech", "chunk"]
    request: dict[str, Any]
    quality: Literal["draft", "final"]
    folder: str  # the job's own, where its performance is kept
    mark: str | None = None  # the watermark's bits, where they are known from an earlier run
    performance: str | None = None  # an edited performance in place of the predicted one
    chunk: int = 0  # the one to render, of kind "chunk"
    fresh: bool = False  # whatever of it is kept ready is made anew: its files may have changed


class Ask(Packet, frozen=True, kw_only=True):
    """Something small, to be done before anything else: a frame of a job, or its performance."""

    number: int  # of this question
    work: Work
    what: Literal["frame", "performance"]
    deaths: int = 0  # workers that had it and ended
    frame: int = 0
    kind: str = "dub"
    pixels: str = "rgb8"
    box: bool = False


class Stop(Packet, frozen=True, kw_only=True):
    """Stop the work under this lease."""

    token: int


class Quit(Packet, frozen=True, kw_only=True):
    """End the process."""


# ---- from a worker -----------------------------------------------------------------------------------------


class Ready(Packet, frozen=True, kw_only=True):
    """The process is up."""

    pid: int


class Alive(Packet, frozen=True, kw_only=True):
    """The process runs: every BEAT_S, from a thread of its own."""

    pid: int


class Moved(Packet, frozen=True, kw_only=True):
    """How far the work is."""

    token: int
    stage: str
    done: int
    total: int


class Marked(Packet, frozen=True, kw_only=True):
    """A shot is prepared: its watermark's bits."""

    token: int
    job: int
    mark: str


class Chunk(Packet, frozen=True, kw_only=True):
    """One chunk of a dub is whole: its frames are in the cache."""

    token: int
    number: int


class Finished(Packet, frozen=True, kw_only=True):
    """The work is done."""

    token: int
    result: dict[str, Any]


class Failed(Packet, frozen=True, kw_only=True):
    """The work ended without a result. full: the disk is; bad: what was asked for cannot be done."""

    token: int
    kind: Literal["bad", "full", "stopped", "fault"]
    message: str


class Answer(Packet, frozen=True, kw_only=True):
    """The answer to an `Ask`: fields of `schema.Picture`, or nothing more to say, or why not."""

    number: int
    picture: dict[str, Any] | None = None
    path: str | None = None  # of the file that holds the planes
    offset: int = 0
    error: str | None = None
    kind: Literal["bad", "fault"] = "bad"


ToWorker = Work | Ask | Stop | Quit
FromWorker = Ready | Alive | Moved | Marked | Chunk | Finished | Failed | Answer
BEAT_S = 0.5

T = TypeVar("T")
_to_worker = msgspec.msgpack.Decoder(ToWorker)
_from_worker = msgspec.msgpack.Decoder(FromWorker)


def encode(packet: Packet) -> bytes:
    """The bytes of a packet."""
    return msgspec.msgpack.encode(packet)


def to_worker(data: bytes) -> ToWorker:
    """The packet in `data`. Raises `msgspec.DecodeError` for anything else."""
    packet: ToWorker = _to_worker.decode(data)
    return packet


def from_worker(data: bytes) -> FromWorker:
    """The packet in `data`. Raises `msgspec.DecodeError` for anything else."""
    packet: FromWorker = _from_worker.decode(data)
    return packet
