"""Which job is next, who holds which, and what is refused: rules alone, without processes or sockets."""

from __future__ import annotations

import time
from typing import Any

from daemon.crew import Lease
from daemon.store import ACTIVE, Job, Store
from visualdub.errors import BadInput

NEXT = 1  # chunks after the one at hand that are left to who has the job: it is there soon
PAUSES_S = (5.0, 10.0, 20.0, 40.0, 60.0)  # before a job whose disk is full is tried again
OUTPUTS = ("output", "matte", "performance")  # fields of a request that name files to write


class QueueFull(Exception):
    """No more is taken. waiting: how many there are. what: a sentence's end that says of what."""

    def __init__(self, waiting: int, what: str = "jobs are queued") -> None:
        super().__init__(f"{waiting} {what}; ask again later")
        self.waiting = waiting


class Schedule:
    """The jobs that are not at their end. limit: how many may be queued. crashes: workers that may die of one
    job without its getting further.
    """

    def __init__(self, store: Store, limit: int, crashes: int) -> None:
        self.store, self.limit, self.crashes = store, limit, crashes
        self.jobs: dict[int, Job] = {}
        self.leases: dict[int, Lease] = {}  # by job
        self._chunks: dict[int, dict[int, Lease]] = {}  # of chunks, by job and number
        self._whole: dict[int, set[int]] = {}  # chunks of running jobs that are whole
        self._served: dict[str, float] = {}  # seconds of work that each client has had
        self._pauses: dict[int, int] = {}
        for job in store.active():  # of an earlier service, whose workers are dead
            job.state, job.reason = "queued", ""
            store.save(job)
            self.jobs[job.id] = job

    @property
    def waiting(self) -> int:
        """How many jobs are queued."""
        return sum(job.state == "queued" for job in self.jobs.values())

    def find(self, number: int) -> Job:
        """A job, at its end or not. Raises `BadInput` where there is none."""
        job = self.jobs.get(number) or self.store.job(number)
        if job is None:
            raise BadInput(f"there is no job {number}")
        return job

    # ---- what clients ask for ------------------------------------------------------------------------------

    def add(
        self, kind: str, client: str, digest: str, request: dict[str, Any], **more: Any
    ) -> tuple[Job, bool]:
        """A new job; or the one that is to do the very same, is not at its end nor cancelled, and True.

        Raises `QueueFull`, and `BadInput` where another job writes one of the same files.
        """
        written = outputs_of(request)
        for job in self.jobs.values():
            lease = self.leases.get(job.id)
            if lease is not None and lease.stopping:
                continue  # it is cancelled; `take` waits until it is at its end
            if job.digest == digest:
                return job, True
            common = written & outputs_of(job.request)
            if common:
                raise BadInput(
                    f"job {job.id} writes {common.pop()}, too; expected another name, or wait for it"
                )
        if self.waiting >= self.limit:
            raise QueueFull(self.waiting)
        job = self.store.add(kind, client, digest, request, **more)
        self.jobs[job.id] = job
        return job, False

    def again(self, job: Job, **changes: Any) -> None:
        """Queue a job that is at its end, or paused. Raises `BadInput` for one that is queued or runs."""
        if job.state in ("queued", "running"):
            raise BadInput(f"job {job.id} is {job.state}; expected one that is at its end, or paused")
        if job.state not in ACTIVE and self.waiting >= self.limit:
            raise QueueFull(self.waiting)
        for name, value in changes.items():
            setattr(job, name, value)
        job.state, job.reason, job.crashes, job.result = "queued", "", 0, {}
        job.ended = job.done = job.total = 0
        job.stage = ""
        self._pauses.pop(job.id, None)
        self.store.drop_chunks(job.id)
        self.store.save(job)
        self.jobs[job.id] = job

    def cancel(self, job: Job) -> Lease | None:
        """Cancel a job; the lease of the worker that has to be told, where there is one."""
        if job.state not in ACTIVE:
            raise BadInput(f"job {job.id} is {job.state} already")
        lease = self.leases.get(job.id)
        if lease is not None:
            lease.stopping = True
            return lease
        self.end(job, "cancelled", "cancelled")
        return None

    # ---- leases --------------------------------------------------------------------------------------------

    def take(self) -> Job | None:
        """The job whose turn it is: the highest priority; among these of the client with the fewest jobs in
        work, then with the least work done for it, then the oldest. None where none waits, or none but those
        that write what a job in work does.
        """
        self._resume()
        in_work: dict[str, int] = {}
        written: set[str] = set()
        for held in self.leases:
            client = self.jobs[held].client
            in_work[client] = in_work.get(client, 0) + 1
            written |= outputs_of(self.jobs[held].request)
        ready = [
            job
            for job in self.jobs.values()
            if job.state == "queued" and written.isdisjoint(outputs_of(job.request))
        ]
        return min(
            ready,
            key=lambda j: (-j.priority, in_work.get(j.client, 0), self._served.get(j.client, 0.0), j.id),
            default=None,
        )

    def lease(self, job: Job) -> Lease:
        """Give a job away, under a token greater than every earlier one."""
        lease = Lease(job.id, self.store.next_token())
        self.leases[job.id] = lease
        job.state, job.attempts = "running", job.attempts + 1
        job.started = job.started or time.time()
        self.store.save(job)
        return lease

    def holder(self, lease: Lease | None, token: int) -> Job | None:
        """The job that a report under `token`, of the worker with `lease`, is about; None where the worker
        has lost it: the report is refused.
        """
        if lease is None or lease.token != token:
            return None
        if lease.chunk is not None:
            current = self._chunks.get(lease.job, {}).get(lease.chunk)
        else:
            current = self.leases.get(lease.job)
        return self.jobs.get(lease.job) if current is not None and current.token == token else None

    def chunk(self, job: Job, number: int, token: int) -> None:
        """A chunk of a job is whole."""
        self.store.add_chunk(job.id, number, token)
        self._whole.setdefault(job.id, set()).add(number)
        job.crashes = 0

    def take_chunk(self, length: int) -> Lease | None:
        """A chunk, of `length` frames, of a dub that somebody renders: the last one that is not whole, in
        nobody's hands and not among the next. None where there is none.
        """
        for job in self.jobs.values():
            if job.kind != "dub" or job.id not in self.leases or job.stage != "rendering":
                continue
            taken = self._chunks.setdefault(job.id, {})
            whole = self._whole.get(job.id, set())
            for number in range(-(-job.total // length) - 1, job.done // length + NEXT, -1):
                if number not in taken and number not in whole:
                    taken[number] = Lease(job.id, self.store.next_token(), number)
                    return taken[number]
        return None

    def give_back(self, lease: Lease) -> None:
        """A chunk is in nobody's hands any more."""
        if lease.chunk is not None:
            self._chunks.get(lease.job, {}).pop(lease.chunk, None)

    def finish(self, job: Job, result: dict[str, Any]) -> None:
        """A job is done."""
        job.result = result
        self.end(job, "done", "")

    def lost(self, job: Job, how: str) -> None:
        """The worker that held a job was seen dead: the job goes back to the queue, or fails where it has
        killed too many.
        """
        lease = self.leases.get(job.id)
        if lease is not None and lease.stopping:
            self.end(job, "cancelled", "cancelled")
            return
        job.crashes += 1
        if job.crashes >= self.crashes:
            self.end(
                job, "failed", f"{job.crashes} workers ended in this job at the same place; the last: {how}"
            )
            return
        self._release(job)
        job.state = "queued"
        self.store.save(job)

    def pause(self, job: Job, reason: str) -> None:
        """A job cannot go on for now; it is tried again after a while."""
        self._release(job)
        count = self._pauses.get(job.id, 0)
        self._pauses[job.id] = count + 1
        job.state, job.reason = "paused", reason
        job.retry_at = time.monotonic() + PAUSES_S[min(count, len(PAUSES_S) - 1)]
        self.store.save(job)

    def end(self, job: Job, state: str, reason: str) -> None:
        """A job is at its end."""
        self._release(job)
        job.state, job.reason, job.ended = state, reason, time.time()
        for kept in (self._pauses, self._chunks, self._whole):
            kept.pop(job.id, None)
        self.store.save(job)
        self.jobs.pop(job.id, None)

    def _release(self, job: Job) -> None:
        lease = self.leases.pop(job.id, None)
        if lease is not None:
            spent = time.monotonic() - lease.since
            self._served[job.client] = self._served.get(job.client, 0.0) + spent

    def _resume(self) -> None:
        now = time.monotonic()
        for job in self.jobs.values():
            if job.state == "paused" and now >= job.retry_at:
                job.state = "queued"


def outputs_of(request: dict[str, Any]) -> set[str]:
    """The files that a request has written, by name."""
    return {str(request[name]) for name in OUTPUTS if request.get(name)}
