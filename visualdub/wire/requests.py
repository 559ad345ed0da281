"""The requests that a client may make, by name; how they travel is the business of the classes that inherit
them. Python 3.7, the standard library alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from visualdub.wire.errors import ServiceFault, Unreachable
from visualdub.wire.picture import FramePicture, picture_of, read_planes, unpack_planes

VERSION, EDITION = 1, 5  # of the schema that is spoken here; a test holds them against `schema`
FINAL, DRAFT = "final", "draft"  # qualities of a dub, as in `schema.Quality`
CONNECT_S = 10.0  # to reach a service
TIMEOUT_S = 60.0  # for an answer to anything but a frame, of a service whose machine is busy with other work
FRAME_S = 120.0  # for a frame, whose shot may have to be tracked first
SILENCE_S = 60.0  # without a sign of life while a longer answer is waited for
GONE = 3  # times that a frame is asked for whose file was evicted in between
SLOW = ("frame", "performance_get")  # requests that may wait for a worker


class Requests:
    """The service's requests. name: the host application's, for the list of jobs.

    Every method raises `Unreachable` where no answer comes in time, `Refused`, `BadRequest`, `Busy` and
    `ServiceFault` as the service has it.
    """

    name = "python"

    def hello(self) -> dict[str, Any]:
        """What the service is: `version`, `edition`, `capabilities`, `local`."""
        return dict(self._ask("hello", client=self.name, edition=EDITION)[0])

    def actors(self) -> list[dict[str, Any]]:
        """The records of every actor of the service's library."""
        return list(self._ask("actor_list")[0]["actors"])

    def actor(self, actor: str) -> dict[str, Any]:
        """One actor's record."""
        return dict(self._ask("actor_show", actor=actor)[0]["actors"][0])

    def add_actor(self, path: str) -> dict[str, Any]:
        """Copy the package at `path` into the library; its record."""
        return dict(self._ask("actor_add", path=path)[0]["actors"][0])

    def remove_actor(self, actor: str) -> None:
        """Delete an actor of the library, and what is kept of it."""
        self._ask("actor_remove", actor=actor)

    def withdraw_actor(self, actor: str) -> dict[str, Any]:
        """Record that the person withdrew consent; the record."""
        return dict(self._ask("actor_withdraw", actor=actor)[0]["actors"][0])

    def submit(self, quality: str = FINAL, priority: int = 0, **dub: Any) -> int:
        """Dub a clip; the number of the job. dub: the fields of `schema.DubOptions`."""
        return int(self._ask("submit", dub=dub, quality=quality, priority=priority)[0]["job"])

    def submit_edit(self, quality: str = FINAL, priority: int = 0, **edit: Any) -> int:
        """Dub the clips of an edit in place; the number of the job. edit: the fields of `schema.EditOptions`.

        The job's result has `outputs`, the edit and the report of each language, and `shots`, what became of
        each.
        """
        return int(self._ask("submit_edit", edit=edit, quality=quality, priority=priority)[0]["job"])

    def adapt(self, clips: Sequence[str], name: str, consent: str, **options: Any) -> int:
        """Make an actor of clips of one person, or of the frames of one edit that show them; the number of
        the job. options: `minutes` or `steps`; for clips also `frames` and `face`.
        """
        answer = self._ask("adapt", clips=list(clips), name=name, consent=consent, **options)
        return int(answer[0]["job"])

    def track(self, clip: str, output: str, **options: Any) -> int:
        """Track the face of a clip; the number of the job."""
        return int(self._ask("track", clip=clip, output=output, **options)[0]["job"])

    def speech(self, priority: int = 0, **dub: Any) -> int:
        """Predict what the mouth does, without drawing it; the number of the job."""
        return int(self._ask("speech", dub=dub, priority=priority)[0]["job"])

    def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest jobs, rows of `schema.JobRow`."""
        return list(self._ask("jobs", limit=limit)[0]["jobs"])

    def job(self, job: int) -> dict[str, Any]:
        """One job, with its result."""
        return dict(self._ask("jobs", job=job)[0]["jobs"][0])

    def watch(self, job: int, beats: bool = False) -> Iterator[dict[str, Any]]:
        """The job's row whenever it changes, the last one with its result; ends when the job does.

        beats: also the row as it was, every second in which nothing changes.
        """
        row: dict[str, Any] = {}
        for reply in self._stream("watch", job=job):
            if reply["re"] == "beat":
                if beats and row:
                    yield row
                continue
            row = dict(reply["job"] if reply["re"] == "event" else reply["jobs"][0])
            yield row

    def wait(self, job: int, timeout_s: float | None = None) -> dict[str, Any]:
        """The job's row once it has ended, in whatever state. Raises `Unreachable` after `timeout_s`."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        row: dict[str, Any] = {}
        for row in self.watch(job):
            if end is not None and time.monotonic() > end:
                raise Unreachable(f"job {job} is {row.get('state')} after {timeout_s:g} s")
        return row

    def cancel(self, job: int) -> dict[str, Any]:
        """Stop a job; its row."""
        return self._row("cancel", job=job)

    def retry(self, job: int) -> dict[str, Any]:
        """Run a job again that failed, was cancelled or is paused; its row."""
        return self._row("retry", job=job)

    def final(self, job: int) -> dict[str, Any]:
        """Run a drafted job again in its final quality; its row."""
        return self._row("final", job=job)

    def priority(self, job: int, priority: int) -> dict[str, Any]:
        """Change when a waiting job has its turn, higher first; its row."""
        return self._row("priority", job=job, priority=priority)

    def frame(
        self,
        job: int,
        number: int,
        kind: str = "dub",
        *,
        pixels: str = "rgb8",
        box: bool | None = None,
        timeout_s: float = FRAME_S,
    ) -> FramePicture:
        """One frame of a job's shot, rendered ahead of its turn where it is not there yet.

        number: in the clip. kind: dub, plate, matte, raw (the network's picture) or uv. pixels: rgb8,
        rgb (16 bit where the clip has more than 8) or native. box: only the bounds of what the dub changes;
        None: where the service is on another machine.
        """
        asked: dict[str, Any] = {"job": job, "number": number, "kind": kind, "pixels": pixels, "box": box}
        for _ in range(GONE):
            reply, bulk = self._ask("frame", timeout_s, (), **asked)
            if reply.get("path") is None:
                return picture_of(reply, unpack_planes(reply, bulk[0]))
            try:
                return picture_of(reply, read_planes(reply))
            except FileNotFoundError:
                continue  # evicted before it could be read
        raise ServiceFault(
            f"frame {number} of job {job} is evicted before it can be read; the cache is small"
        )

    def performance(self, job: int) -> bytes:
        """What the mouth of a job does: the bytes of a performance file."""
        return bytes(self._ask("performance_get", FRAME_S, job=job)[1][0])

    def put_performance(self, job: int, content: bytes, run: bool = True) -> dict[str, Any]:
        """Give a job an edited performance. run: make its movie again; only what the edit reaches is
        rendered.
        """
        return dict(self._ask("performance_put", bulk=(content,), job=job, run=run)[0]["jobs"][0])

    def status(self) -> dict[str, Any]:
        """How the service is: workers, queue, cache."""
        return dict(self._ask("status")[0]["values"])

    def shutdown(self) -> None:
        """End the service. Its jobs go on when it is started again."""
        self._ask("shutdown")

    def _row(self, op: str, **fields: Any) -> dict[str, Any]:
        return dict(self._ask(op, **fields)[0]["jobs"][0])

    # ---- what a connection offers --------------------------------------------------------------------------

    def _ask(
        self, op: str, timeout_s: float | None = None, bulk: tuple[bytes, ...] = (), **fields: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The last reply to one request, and its bulk data."""
        raise NotImplementedError

    def _stream(self, op: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Every reply to one request, the last one included."""
        raise NotImplementedError
