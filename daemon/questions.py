"""Frames and performances that clients wait for: asked once however many wait, handed out in fair order."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import msgspec

from daemon import messages
from daemon.crew import Crew, WorkerProcess
from daemon.front import Asker
from daemon.schedule import QueueFull

PER_WORKER = 2  # questions that a worker holds at a time; the others wait here, in fair order
MOST_ASKERS = 64  # of one question
WARM = 3  # jobs whose shots a worker keeps ready


@dataclass
class Question:
    """Something for a worker, with all who wait for the answer."""

    key: tuple[Any, ...]  # equal questions are asked once
    ask: messages.Ask
    askers: list[Asker] = field(default_factory=list)
    worker: str | None = None  # who has it


class Questions:
    """The questions that are not answered. limit: of their number. deaths: workers that may end in one."""

    def __init__(self, crew: Crew, limit: int, deaths: int) -> None:
        self._crew, self._limit, self._deaths = crew, limit, deaths
        self._by_key: OrderedDict[tuple[Any, ...], Question] = OrderedDict()
        self._by_number: dict[int, Question] = {}
        self._asked = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def askers(self) -> list[Asker]:
        """Everybody who waits."""
        return [asker for question in self._by_key.values() for asker in question.askers]

    def add(self, asker: Asker, key: tuple[Any, ...], ask: messages.Ask) -> None:
        """Ask, or wait for the answer to the same question. Raises `QueueFull`."""
        known = self._by_key.get(key)
        if known is not None:
            if len(known.askers) >= MOST_ASKERS:
                raise QueueFull(len(known.askers), "clients wait for this frame")
            known.askers.append(asker)
            return
        if len(self._by_key) >= self._limit:
            raise QueueFull(len(self._by_key), "frames are waited for")
        self._asked += 1
        question = Question(key, msgspec.structs.replace(ask, number=self._asked), [asker])
        self._by_key[key] = self._by_number[self._asked] = question
        self.hand_out()

    def hand_out(self) -> None:
        """Give waiting questions to workers: one of each client in turn, to who has the shot ready."""
        held: dict[str, int] = {}
        for question in self._by_key.values():
            if question.worker is not None:
                name = question.askers[0].name
                held[name] = held.get(name, 0) + 1
        waiting = [q for q in self._by_key.values() if q.worker is None]
        for question in sorted(waiting, key=lambda q: (held.get(q.askers[0].name, 0), q.ask.number)):
            workers = self._crew.workers.values()
            free = [w for w in workers if w.ready and not w.dying and len(w.asks) < PER_WORKER]
            if not free:
                return
            job = question.ask.work.job
            worker = min(free, key=lambda w: (job not in w.warm, len(w.asks), w.lease is not None))
            if self._crew.send(worker, question.ask):
                question.worker = worker.identity
                worker.asks.add(question.ask.number)
                warmed(worker, job)

    def answered(self, worker: WorkerProcess, number: int) -> list[Asker]:
        """Who waited for the answer that a worker gives; nobody where it was given up."""
        worker.asks.discard(number)
        question = self._by_number.pop(number, None)
        if question is None:
            return []
        del self._by_key[question.key]
        return question.askers

    def lost(self, worker: WorkerProcess) -> list[Asker]:
        """A worker was seen dead: what it had is asked again. Who waits for something that too many workers
        ended in is returned, and waits no longer.
        """
        given_up: list[Asker] = []
        for number in worker.asks:
            question = self._by_number.get(number)
            if question is None:
                continue
            question.worker = None
            question.ask = msgspec.structs.replace(question.ask, deaths=question.ask.deaths + 1)
            if question.ask.deaths >= self._deaths:
                del self._by_key[question.key], self._by_number[number]
                given_up += question.askers
        return given_up


def warmed(worker: WorkerProcess, job: int) -> None:
    """A worker has a job's shot ready, from now on; the one before the last WARM is forgotten."""
    if job in worker.warm:
        worker.warm.remove(job)
    worker.warm = [*worker.warm, job][-WARM:]
