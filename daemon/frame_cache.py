"""Finished frames in files named by what their pixels depend on, with a limit on their size: what was not
used for longest goes first.

An entry is written under another name and renamed, so that it is whole or not there, and holds a checksum, so
that a damaged one is not there either. Several processes may use one folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

MAGIC = b"VDFRAME1"  # then BLAKE2b (128 bits) of the rest, the length of the head, the head, the arrays
DIGEST_BYTES = 16
SUFFIX, PARTIAL = ".frame", ".partial"
LOW_WATER = 0.9  # of the limit: what eviction leaves
STALE_S = 60.0  # age of an unfinished file whose process was killed
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One entry as it was read or written. arrays: views of one block of memory, not to be changed."""

    head: dict[str, Any]
    arrays: tuple[NDArray[np.generic], ...]
    path: Path
    offset: int  # bytes into the file at which the arrays begin, one after another


class FrameCache:
    """The entries in `folder`, which is made, for its owner alone. limit: bytes of all entries together."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o700)

    def path(self, key: str) -> Path:
        """Where the entry `key`, hexadecimal, lies or would lie."""
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def has(self, key: str) -> bool:
        """Whether there is an entry; it may be damaged, or be evicted any moment."""
        return self.path(key).is_file()

    def get(self, key: str) -> Entry | None:
        """The entry; None where there is none, or a damaged one, which is removed."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        entry = _parse(content, path)
        if entry is None:
            log.warning("%s is damaged and is made again", path)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return entry

    def put(self, key: str, head: dict[str, Any], arrays: Sequence[NDArray[np.generic]]) -> Entry:
        """Store an entry. A full disk evicts what was not used for longest; what cannot be stored even then
        raises `OSError`.
        """
        arrays = tuple(np.ascontiguousarray(a) for a in arrays)
        shapes = [{"shape": list(a.shape), "dtype": a.dtype.name} for a in arrays]
        inner = msgspec.msgpack.encode({"head": head, "arrays": shapes})
        body = b"".join([struct.pack("<I", len(inner)), inner, *(a.tobytes() for a in arrays)])
        content = MAGIC + hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() + body
        path = self.path(key)
        try:
            _write(path, content)
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.evict(keep=0.5)
            _write(path, content)
        return Entry(head, arrays, path, len(MAGIC) + DIGEST_BYTES + 4 + len(inner))

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(size for _, size, _ in self._entries())

    def evict(self, keep: float | None = None) -> int:
        """Remove what was not used for longest where all are larger than the limit; how many bytes went.

        keep: the share of what is there that may stay, whatever the limit.
        """
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        if keep is None and total <= self.limit:
            return 0
        goal = self.limit * LOW_WATER if keep is None else total * keep
        gone = 0
        for _, size, path in entries:
            if total - gone <= goal:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
                gone += size
        return gone

    def _entries(self) -> list[tuple[float, int, str]]:
        """When it was used, size and path of every entry; unfinished old files are removed."""
        found = []
        for folder in os.scandir(self.folder):
            with contextlib.suppress(OSError):
                for file in os.scandir(folder.path):
                    stat = file.stat()
                    if file.name.endswith(SUFFIX):
                        found.append((stat.st_mtime, stat.st_size, file.path))
                    elif file.name.endswith(PARTIAL) and time.time() - stat.st_mtime > STALE_S:
                        os.unlink(file.path)
        return found


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    path.parent.mkdir(exist_ok=True)
    try:
        descriptor = os.open(
            temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o400
        )
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) or 0 :]
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _parse(content: bytes, path: Path) -> Entry | None:
    start = len(MAGIC) + DIGEST_BYTES
    if content[: len(MAGIC)] != MAGIC or len(content) < start + 4:
        return None
    body = memoryview(content)[start:]
    if hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() != content[len(MAGIC) : start]:
        return None
    (length,) = struct.unpack_from("<I", body)
    inner = msgspec.msgpack.decode(body[4 : 4 + length])
    offset = start + 4 + length
    arrays, at = [], offset
    for facts in inner["arrays"]:
        dtype, shape = np.dtype(facts["dtype"]), tuple(facts["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(content, dtype, count, at).reshape(shape))
        at += count * dtype.itemsize
    return Entry(inner["head"], tuple(arrays), path, offset)
