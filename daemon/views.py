"""Jobs as clients see them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from daemon.store import Job
from visualdub.wire.schema import JobRow


@dataclass
class Pace:
    """When a stage of a job was first heard of, and how far it was then."""

    stage: str
    since: float
    done: int


_paces: dict[int, Pace] = {}  # of running jobs


def moved(job: Job, stage: str, done: int, total: int) -> None:
    """Note how far a job is, and how fast."""
    now, pace = time.monotonic(), _paces.get(job.id)
    if pace is None or pace.stage != stage or done < pace.done:
        pace = _paces[job.id] = Pace(stage, now, done)
    job.stage, job.done, job.total = stage, done, total
    took = now - pace.since
    job.rate = (done - pace.done) / took if took > 0 else 0.0


def forget_pace(job: Job) -> None:
    """A job is at its end."""
    _paces.pop(job.id, None)


def row(job: Job, result: bool = False) -> JobRow:
    """What is shown of a job. result: with its report, which may be long."""
    return JobRow(
        job=job.id,
        kind=job.kind,  # type: ignore[arg-type]
        state=job.state,  # type: ignore[arg-type]
        client=job.client,
        priority=job.priority,
        quality=job.quality,  # type: ignore[arg-type]
        title=job.title,
        stage=job.stage,
        done=job.done,
        total=job.total,
        rate=round(job.rate, 2),
        reason=job.reason,
        attempts=job.attempts,
        created=job.created,
        started=job.started,
        ended=job.ended,
        result=job.result if result else {},
    )
