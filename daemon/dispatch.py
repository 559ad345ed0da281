"""Work and workers brought together: who is alive, who gets what, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from daemon import messages
from daemon.config import Config
from daemon.crew import Crew, Lease, WorkerProcess
from daemon.front import Asker
from daemon.questions import Questions, warmed
from daemon.schedule import Schedule
from daemon.shot_frames import CHUNK
from daemon.store import Job, Store
from daemon.views import forget_pace, moved

log = logging.getLogger(__name__)
Tell = Callable[[Job, bool], None]
Answered = Callable[[list[Asker], messages.Answer], None]


class Dispatch:
    """The crew of a service and the jobs and questions that it works at.

    tell: is called with a job that changed, and whether such changes are frequent. answered: with who waited
    for an answer, and the answer. given_up: with who waited for something that too many workers ended in.
    """

    def __init__(
        self,
        config: Config,
        crew: Crew,
        schedule: Schedule,
        *,
        tell: Tell,
        answered: Answered,
        given_up: Callable[[list[Asker]], None],
    ) -> None:
        self._config, self.crew, self.schedule = config, crew, schedule
        self.store: Store = schedule.store
        self.questions = Questions(crew, config.frames, config.crashes)
        self.restarts = 0  # workers that ended
        self._tell, self._answered, self._given_up = tell, answered, given_up

    def tend(self) -> None:
        """Kill who gives no sign of life, take the work of who is seen dead, start others."""
        for worker in list(self.crew.silent(self._config.stall_s)):
            log.warning("worker %d gives no sign of life and is killed", worker.pid)
            self.crew.kill(worker)
        for worker in self.crew.bury():
            self.restarts += 1
            self._given_up(self.questions.lost(worker))
            if worker.lease is not None:
                job = self.schedule.jobs.get(worker.lease.job)
                if worker.lease.chunk is not None:
                    self.schedule.give_back(worker.lease)
                elif job is not None and self.schedule.holder(worker.lease, worker.lease.token):
                    self.schedule.lost(job, f"worker {worker.pid}, status {worker.process.returncode}")
                    self._tell(job, False)
        while len(self.crew.workers) < self._config.workers:
            before = len(self.crew.workers)
            self.crew.start()
            if len(self.crew.workers) == before:
                break

    def give_work(self) -> None:
        """Give jobs, and chunks of them, to workers that have nothing to do."""
        self.questions.hand_out()
        for worker in self.crew.workers.values():
            lease = worker.lease
            if lease is not None and not lease.stopping and lease.job not in self.schedule.jobs:
                self.stop_work(worker, lease)  # its chunk is of a job that is at its end
            if not worker.ready or worker.dying or worker.lease is not None:
                continue
            job = self.schedule.take()
            if job is None:
                self._give_chunk(worker)
                continue
            fresh = job.attempts > 0
            lease = self.schedule.lease(job)
            if not self.crew.send(worker, self.work(job, lease.token, fresh)):
                self.schedule.lost(job, "it takes no message")
                continue
            worker.lease = lease
            warmed(worker, job.id)
            self._tell(job, False)

    def _give_chunk(self, worker: WorkerProcess) -> None:
        """Who has nothing to do renders a later chunk of a dub that another worker has."""
        lease = self.schedule.take_chunk(CHUNK)
        if lease is None:
            return
        work = self.work(self.schedule.jobs[lease.job], lease.token)
        work = msgspec.structs.replace(work, kind="chunk", chunk=lease.chunk or 0)
        if self.crew.send(worker, work):
            worker.lease = lease
            warmed(worker, lease.job)
        else:
            self.schedule.give_back(lease)

    def stop_work(self, worker: WorkerProcess, lease: Lease) -> None:
        """Tell a worker to stop what it has under a lease."""
        lease.stopping = True
        self.crew.send(worker, messages.Stop(token=lease.token))

    def work(self, job: Job, token: int, fresh: bool = False) -> messages.Work:
        """A job as a worker is told of it, under a lease, or 0 for a question about it."""
        return messages.Work(
            job=job.id,
            token=token,
            kind=job.kind,  # type: ignore[arg-type]
            request=job.request,
            quality=job.quality,  # type: ignore[arg-type]
            folder=str(self._config.job_folder(job.id)),
            mark=job.mark,
            performance=job.performance,
            fresh=fresh,
        )

    def hear(self, worker: WorkerProcess, packet: messages.FromWorker) -> None:
        """Take what a worker says. A report under a lease that it has lost is refused."""
        if isinstance(packet, messages.Ready):
            worker.ready = True
        elif isinstance(packet, messages.Answer):
            self._answered(self.questions.answered(worker, packet.number), packet)
            self.questions.hand_out()
        elif not isinstance(packet, messages.Alive):
            job = self.schedule.holder(worker.lease, packet.token)
            if job is None:
                over = isinstance(packet, messages.Finished | messages.Failed)
                if over and worker.lease is not None and worker.lease.token == packet.token:
                    worker.lease = None
                log.warning(
                    "worker %d reports under lease %d, which it does not hold", worker.pid, packet.token
                )
                return
            self._report(worker, job, packet)

    def _report(self, worker: WorkerProcess, job: Job, packet: Any) -> None:
        if worker.lease is not None and worker.lease.chunk is not None:
            self._chunk_report(worker, worker.lease, job, packet)
            return
        if isinstance(packet, messages.Moved):
            moved(job, packet.stage, packet.done, packet.total)
            self._tell(job, True)
            return
        if isinstance(packet, messages.Marked):
            job.mark = packet.mark
            self.store.save(job)
            return
        if isinstance(packet, messages.Chunk):
            self.schedule.chunk(job, packet.number, packet.token)
            return
        lease, worker.lease = worker.lease, None
        forget_pace(job)
        if isinstance(packet, messages.Finished):
            self.schedule.finish(job, packet.result)
            log.info("job %d is done", job.id)
        else:
            self._unfinished(job, packet, lease)
        self._tell(job, False)

    def _chunk_report(self, worker: WorkerProcess, lease: Lease, job: Job, packet: Any) -> None:
        """What a worker says of a chunk; how far it is interests nobody."""
        if isinstance(packet, messages.Finished) and lease.chunk is not None:
            self.schedule.chunk(job, lease.chunk, packet.token)
            self.schedule.give_back(lease)
        elif not isinstance(packet, messages.Failed):
            return
        worker.lease = None  # a chunk that failed is left to who has the job, and says so

    def _unfinished(self, job: Job, packet: messages.Failed, lease: Lease | None) -> None:
        if packet.kind == "full":
            log.warning("job %d is paused: %s", job.id, packet.message)
            self.schedule.pause(job, packet.message)
        elif packet.kind == "stopped":
            asked = lease is not None and lease.stopping
            if asked:
                self.schedule.end(job, "cancelled", "cancelled")
            else:  # the worker quits
                self.schedule.lost(job, "it was told to quit")
        else:
            log.warning("job %d failed: %s", job.id, packet.message)
            self.schedule.end(job, "failed", packet.message)
