"""A farm reckoned through: shots, workers, failures, a queue and a file server, one event after another."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from farm.estimate import WARM_UP, Rates

PREPARE, RENDER, MOVIE, ASSEMBLE = range(4)
MIB = 2**20


@dataclass(frozen=True)
class Farm:
    """What is simulated. Rates of dubbing are measured (`Rates`); the others are assumptions, and said."""

    shots: int = 10_000
    workers: int = 1_000
    chunk: int = 48  # frames
    mean_frames: float = 110.0  # of a shot; their lengths are log-normal
    spread: float = 0.7  # standard deviation of the logarithm
    rates: Rates = field(default_factory=Rates)
    media_bytes: float = 1.1e6  # of a source frame: ProRes 422 HQ at 1080p
    movie_bytes: float = 1.6e6  # of a written frame: ProRes 4444 at 1080p
    server: float = 2e9  # bytes/s that the file server gives to all workers together
    operations: float = 3_000.0  # files a second that it opens, makes or renames
    dispatch: float = 20.0  # tasks a second that the scheduler hands out
    fails: float = 0.01  # share of tasks that end in a failure, half-way in the mean
    dies_s: float = 48 * 3600.0  # mean seconds between two deaths of one worker
    away_s: float = 600.0  # that it is gone for
    resume: bool = True  # whether a render task finds the whole frames of one that was killed
    file_per_frame: bool = False  # in place of a file for each chunk
    movies_apart: bool = True  # each movie a task of its own, in place of all in the last task
    seed: int = 17


@dataclass
class Outcome:
    """What came of it."""

    hours: float = 0.0
    utilisation: float = 0.0  # share of the workers' time in which they did something
    tasks: int = 0
    failed: int = 0
    frames: int = 0
    rendered: int = 0  # with those thrown away and done again
    longest_queue: int = 0
    files: int = 0
    stored_gib: float = 0.0  # of frames between render and movie
    moved_tib: float = 0.0  # over the network
    mean_mib_s: float = 0.0
    busiest_mib_s: float = 0.0  # in the busiest minute, as the tasks ask for it
    dispatch_wait_s: float = 0.0  # mean seconds that a free worker waits for the scheduler

    def as_dict(self) -> dict[str, Any]:
        """Rounded, as JSON."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in vars(self).items()}


@dataclass(order=True)
class Task:
    """Something to be done. kind comes first: what is nearest to its end is done first."""

    order: tuple[int, int]
    kind: int = field(compare=False)
    shot: int = field(compare=False)
    frames: int = field(compare=False)
    done: int = field(compare=False, default=0)  # frames that an earlier try left whole


class Simulation:
    """One run of a farm."""

    def __init__(self, farm: Farm) -> None:
        self.farm, self.random, self.out = farm, np.random.default_rng(farm.seed), Outcome()
        lengths = self.random.lognormal(
            np.log(farm.mean_frames) - farm.spread**2 / 2, farm.spread, farm.shots
        )
        self.lengths = np.maximum(12, np.rint(lengths)).astype(int)
        self.chunks_left = [-(-int(n) // farm.chunk) for n in self.lengths]
        self.shots_rendering = farm.shots
        self.movies_left = farm.shots
        self.ready: list[Task] = []
        self.minutes: dict[int, float] = {}
        self.count = 0

    def run(self) -> Outcome:
        """Run until nothing is left to do."""
        farm, out = self.farm, self.out
        for shot in range(farm.shots):
            self.add(PREPARE, shot, int(self.lengths[shot]))
        free, busy_s, next_dispatch, waited, now = farm.workers, 0.0, 0.0, 0.0, 0.0
        running: list[tuple[float, int, Task, bool, int]] = []
        while self.ready or running:
            while self.ready and free:
                start = max(now, next_dispatch)
                next_dispatch = start + 1 / farm.dispatch
                waited += start - now
                task = heapq.heappop(self.ready)
                seconds, ok, whole = self.outcome_of(task, farm.workers - free + 1)
                self.note(start, seconds, task)
                busy_s += seconds
                out.tasks += 1
                heapq.heappush(running, (start + seconds, out.tasks, task, ok, whole))
                free -= 1
            out.longest_queue = max(out.longest_queue, len(self.ready))
            now, _, task, ok, whole = heapq.heappop(running)
            free += 1
            self.ended(task, ok, whole)
        out.hours, out.frames = now / 3600, int(self.lengths.sum())
        out.utilisation = busy_s / (now * farm.workers)
        out.dispatch_wait_s = waited / out.tasks
        out.mean_mib_s = out.moved_tib * MIB / now
        out.busiest_mib_s = max(self.minutes.values()) / 60 / MIB
        out.stored_gib = out.frames * farm.rates.frame_bytes / 2**30
        return out

    def add(self, kind: int, shot: int, frames: int, done: int = 0) -> None:
        """Something is ready to be done."""
        self.count += 1
        heapq.heappush(self.ready, Task((-kind, self.count), kind, shot, frames, done))

    def outcome_of(self, task: Task, active: int) -> tuple[float, bool, int]:
        """Seconds that a task takes, whether it ends well, and the frames that it leaves whole."""
        farm, rates = self.farm, self.farm.rates
        left = task.frames - task.done
        work = {
            PREPARE: task.frames / rates.track,
            RENDER: (left + WARM_UP) / rates.render,
            MOVIE: task.frames / rates.movie,
            ASSEMBLE: 0.02 * farm.shots if farm.movies_apart else self.lengths.sum() / rates.movie,
        }[task.kind]
        share = farm.server / max(1, active)
        wait_s = self.bytes_of(task) / share + self.files_of(task) * active / farm.operations / max(1, active)
        seconds = rates.start_s + max(work, wait_s)
        dies_in = self.random.exponential(farm.dies_s)
        fails = self.random.random() < farm.fails
        if dies_in >= seconds and not fails:
            if task.kind == RENDER:
                self.out.rendered += left + WARM_UP
            return seconds, True, task.frames
        part = min(dies_in / seconds, 1.0) if dies_in < seconds else 0.5
        whole = task.done
        if task.kind == RENDER:
            made = int(max(0.0, part * seconds - rates.start_s) * rates.render)
            self.out.rendered += made
            whole = min(task.frames, task.done + max(0, made - WARM_UP)) if farm.resume else 0
        return part * seconds + (farm.away_s if dies_in < seconds else 0.0), False, whole

    def bytes_of(self, task: Task) -> float:
        """Bytes that a task reads and writes."""
        farm, n = self.farm, task.frames
        if task.kind == PREPARE:
            return 2 * n * farm.media_bytes  # tracked, and searched for what covers the mouth
        if task.kind == RENDER:
            return (n - task.done) * (farm.media_bytes + farm.rates.frame_bytes) + WARM_UP * farm.media_bytes
        if task.kind == MOVIE:
            return n * (farm.media_bytes + farm.rates.frame_bytes + farm.movie_bytes)
        return 0.0

    def files_of(self, task: Task) -> int:
        """Files that a task opens or makes."""
        if task.kind == RENDER:
            return (task.frames if self.farm.file_per_frame else 1) + 8
        if task.kind == MOVIE:
            return (task.frames if self.farm.file_per_frame else -(-task.frames // self.farm.chunk)) + 12
        return 12

    def note(self, start: float, seconds: float, task: Task) -> None:
        """Count what a task moves and makes."""
        moved = self.bytes_of(task)
        self.out.moved_tib += moved / 2**40
        if task.kind == RENDER:
            self.out.files += task.frames if self.farm.file_per_frame else 1
        minutes = range(int(start // 60), int((start + seconds) // 60) + 1)
        for minute in minutes:
            self.minutes[minute] = self.minutes.get(minute, 0.0) + moved / len(minutes)

    def ended(self, task: Task, ok: bool, whole: int) -> None:
        """What a task that ended makes ready."""
        if not ok:
            self.out.failed += 1
            self.add(task.kind, task.shot, task.frames, whole)
        elif task.kind == PREPARE:
            for first in range(0, task.frames, self.farm.chunk):
                self.add(RENDER, task.shot, min(self.farm.chunk, task.frames - first))
        elif task.kind == RENDER:
            self.chunks_left[task.shot] -= 1
            if self.chunks_left[task.shot] == 0:
                self.shots_rendering -= 1
                if self.shots_rendering == 0:
                    self.after_rendering()
        elif task.kind == MOVIE:
            self.movies_left -= 1
            if self.movies_left == 0:
                self.add(ASSEMBLE, 0, 0)

    def after_rendering(self) -> None:
        """All frames are there."""
        if not self.farm.movies_apart:
            self.add(ASSEMBLE, 0, 0)
            return
        for shot in range(self.farm.shots):
            self.add(MOVIE, shot, int(self.lengths[shot]))
