"""Jobs in SQLite: every change is on the disk before anybody is told of it."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visualdub.errors import BadInput

SCHEMA = 1
log = logging.getLogger(__name__)
PRUNED = 100  # jobs that are forgotten at once
ACTIVE = ("queued", "running", "paused")
_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
 id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, client TEXT NOT NULL, digest TEXT NOT NULL,
 created REAL NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL, result TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs(state);
CREATE INDEX IF NOT EXISTS jobs_by_digest ON jobs(digest);
CREATE TABLE IF NOT EXISTS chunks (
 job INTEGER NOT NULL, number INTEGER NOT NULL, token INTEGER NOT NULL, PRIMARY KEY (job, number));
CREATE TABLE IF NOT EXISTS workers (pid INTEGER PRIMARY KEY, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


@dataclass
class Job:
    """One job. Times are seconds since 1970, 0 where there is none yet."""

    id: int
    kind: str  # dub, edit, adapt, track, speech
    client: str  # who asked for it
    digest: str  # of everything that decides its result
    request: dict[str, Any]
    created: float
    state: str = "queued"
    priority: int = 0
    quality: str = "final"
    reason: str = ""  # why it is paused, failed or cancelled
    attempts: int = 0
    crashes: int = 0  # workers that died of it since it last got further
    started: float = 0.0
    ended: float = 0.0
    mark: str | None = None  # the watermark's bits, which stay when its performance is edited
    performance: str | None = None  # the edited performance, a file of the service's own
    result: dict[str, Any] = field(default_factory=dict)
    # not on the disk:
    stage: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    retry_at: float = 0.0  # by the monotonic clock, while it is paused

    @property
    def title(self) -> str:
        """What it makes."""
        values = self.request
        return str(values.get("output") or values.get("performance") or values.get("name") or "")


_ON_DISK = ("request", "priority", "quality", "reason", "attempts", "crashes", "started", "ended", "mark")
_KEPT = (*_ON_DISK, "performance")


class Store:
    """The jobs in the file `path`. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # made in one thread, used in another, never in two at once
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._unsaved: dict[int, Job] = {}
        self._token = 0
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
        except sqlite3.DatabaseError as e:
            raise BadInput(f"{path} is no file of jobs ({e}); move it away to start anew") from e
        found = self.fact("schema", SCHEMA)
        if found != SCHEMA:
            raise BadInput(f"{path} has schema {found}; this version of the service reads {SCHEMA}")
        self.set_fact("schema", SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # ---- jobs ----------------------------------------------------------------------------------------------

    def add(self, kind: str, client: str, digest: str, request: dict[str, Any], **more: Any) -> Job:
        """A new job, on the disk. more: further fields of `Job`."""
        job = Job(0, kind, client, digest, request, time.time(), **more)
        values = (kind, client, digest, job.created, job.state, _body(job), "{}")
        cursor = self._db.execute(
            "INSERT INTO jobs (kind, client, digest, created, state, body, result) VALUES (?,?,?,?,?,?,?)",
            values,
        )
        job.id = int(cursor.lastrowid or 0)
        return job

    def save(self, job: Job) -> None:
        """Bring a job's changes onto the disk; where it is full, at the next `flush` that finds room."""
        self._unsaved[job.id] = job
        self.flush()

    def flush(self) -> None:
        """Bring onto the disk what did not fit before."""
        try:
            for job in list(self._unsaved.values()):
                values = (job.state, _body(job), json.dumps(job.result), job.id)
                self._db.execute("UPDATE jobs SET state = ?, body = ?, result = ? WHERE id = ?", values)
                del self._unsaved[job.id]
        except sqlite3.OperationalError as e:
            log.error("%d jobs cannot be saved, and are later: %s", len(self._unsaved), e)

    def job(self, number: int) -> Job | None:
        """One job; None where there is none."""
        rows = self._rows("WHERE id = ?", number)
        for job in rows:
            found = self._db.execute("SELECT result FROM jobs WHERE id = ?", (number,)).fetchone()
            job.result = json.loads(found[0])
        return rows[0] if rows else None

    def newest(self, limit: int, client: str | None = None) -> list[Job]:
        """The newest `limit` jobs, of one client or of all, the newest first, without their results."""
        if client is None:
            return self._rows("ORDER BY id DESC LIMIT ?", limit)
        return self._rows("WHERE client = ? ORDER BY id DESC LIMIT ?", client, limit)

    def prune(self, before: float) -> list[int]:
        """Forget jobs that ended before a time in seconds since 1970; their numbers. At most PRUNED."""
        ended = f"state NOT IN ({','.join('?' * len(ACTIVE))}) AND created < ? ORDER BY id LIMIT ?"
        old = [j.id for j in self._rows(f"WHERE {ended}", *ACTIVE, before, PRUNED) if j.ended < before]
        with _though_full():
            for number in old:
                self._db.execute("DELETE FROM chunks WHERE job = ?", (number,))
                self._db.execute("DELETE FROM jobs WHERE id = ?", (number,))
        return old

    def active(self) -> list[Job]:
        """Every job that is not at its end, the oldest first."""
        return self._rows(f"WHERE state IN ({','.join('?' * len(ACTIVE))}) ORDER BY id", *ACTIVE)

    def _rows(self, where: str, *values: Any) -> list[Job]:
        rows = self._db.execute(
            f"SELECT id, kind, client, digest, created, state, body FROM jobs {where}", values
        )
        return [
            Job(
                id=number,
                kind=kind,
                client=client,
                digest=digest,
                created=created,
                state=state,
                **json.loads(body),
            )
            for number, kind, client, digest, created, state, body in rows
        ]

    # ---- chunks --------------------------------------------------------------------------------------------

    def add_chunk(self, job: int, number: int, token: int) -> None:
        """Chunk `number` of a job is whole, made under the lease `token`."""
        with _though_full():
            self._db.execute("INSERT OR REPLACE INTO chunks VALUES (?, ?, ?)", (job, number, token))

    def chunks(self, job: int) -> dict[int, int]:
        """The chunks of a job that are whole, with the lease each was made under."""
        return dict(
            self._db.execute("SELECT number, token FROM chunks WHERE job = ? ORDER BY number", (job,))
        )

    def drop_chunks(self, job: int) -> None:
        """Forget a job's chunks: it starts from the beginning."""
        self._db.execute("DELETE FROM chunks WHERE job = ?", (job,))

    # ---- workers and other facts ---------------------------------------------------------------------------

    def add_worker(self, pid: int, created: float) -> None:
        """A worker process was started."""
        with _though_full():
            self._db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?)", (pid, created))

    def remove_worker(self, pid: int) -> None:
        """A worker process was seen dead."""
        self._db.execute("DELETE FROM workers WHERE pid = ?", (pid,))

    def workers(self) -> list[tuple[int, float]]:
        """Workers that nobody has seen dead: process number, and when it was started."""
        return list(self._db.execute("SELECT pid, created FROM workers"))

    def fact(self, name: str, default: int) -> int:
        """A number that outlives the service."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return default if row is None else int(row[0])

    def set_fact(self, name: str, value: int) -> None:
        """Set such a number."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def next_token(self) -> int:
        """The number of a new lease, greater than every earlier one, also of earlier runs."""
        self._token = max(self._token, self.fact("token", 0)) + 1
        with _though_full():
            self.set_fact("token", self._token)
        return self._token


@contextlib.contextmanager
def _though_full() -> Iterator[None]:
    """What is only good to know is left out on a full disk: the service goes on."""
    try:
        yield
    except sqlite3.OperationalError as e:
        log.warning("it is not noted: %s", e)


def _body(job: Job) -> str:
    return json.dumps({name: getattr(job, name) for name in _KEPT})
