"""Stages of the pipeline: how long each took, and running one in a thread of its own, a few items ahead of
the next.
"""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from visualdub.errors import Interrupted

# ---- clocks ------------------------------------------------------------------------------------------------

WAIT = "waiting"  # for another thread; never reported as work
PROCESS_STATUS = Path("/proc/self/status")  # of Linux
Item = TypeVar("Item")


@dataclass
class StageTime:
    """Seconds spent inside one stage, and how many frames it saw."""

    seconds: float = 0.0
    frames: int = 0


class StageClock:
    """Adds up time per named stage, over threads; a stage inside another is taken out of the outer one.

    Stages of different threads overlap, so that they add up to more than the wall clock.
    """

    def __init__(self) -> None:
        self.stages: dict[str, StageTime] = {}
        self.start_up = 0.0  # seconds before the first frame of the work was asked for
        self._begun = time.perf_counter()
        self._lock = threading.Lock()
        self._local = threading.local()

    @contextlib.contextmanager
    def stage(self, name: str, frames: int = 1) -> Iterator[None]:
        """Count the block's wall time, and `frames` frames, under `name`."""
        outer = getattr(self._local, "inner", 0.0)
        self._local.inner = 0.0
        begun = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begun
            self.add(name, took - self._local.inner, frames)
            self._local.inner = outer + took

    def add(self, name: str, seconds: float, frames: int) -> None:
        """Add what was measured elsewhere."""
        with self._lock:
            entry = self.stages.setdefault(name, StageTime())
            entry.seconds += seconds
            entry.frames += frames
        if _peak_is_sampled():
            peak_memory_mib()

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """`items`, the time each takes to come counted under `name`."""
        source = iter(items)
        while True:
            with self.stage(name, 0):
                item = next(source, None)
            if item is None:
                return
            self.add(name, 0.0, 1)
            yield item

    def started(self) -> None:
        """Everything up to here was start-up: loading models, compiling kernels, opening files."""
        self.start_up = time.perf_counter() - self._begun

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made, start-up included."""
        return time.perf_counter() - self._begun

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Per stage: seconds, frames and frames/s."""
        return {
            name: {
                "seconds": round(s.seconds, 3),
                "frames": s.frames,
                "fps": round(s.frames / max(s.seconds, 1e-9), 1),
            }
            for name, s in self.stages.items()
            if name != WAIT
        }


_highest_seen = 0  # bytes, by the samples of `peak_memory_mib`


def peak_memory_mib() -> float:
    """Most resident memory this process has held so far, MiB.

    Linux and Windows keep that figure. macOS keeps none that Python reaches without a POSIX-only module:
    there it is the most that was resident at any call, and a `StageClock` calls whenever a stage ends.
    """
    global _highest_seen
    kept = _kept_peak()
    if kept is None:
        import psutil

        _highest_seen = max(_highest_seen, psutil.Process().memory_info().rss)
        kept = _highest_seen
    return kept / 2**20


def _kept_peak() -> int | None:
    """The system's own figure in bytes; None where it keeps none."""
    if PROCESS_STATUS.is_file():
        for line in PROCESS_STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import psutil

    peak: int | None = getattr(psutil.Process().memory_info(), "peak_wset", None)
    return peak


@cache
def _peak_is_sampled() -> bool:
    return _kept_peak() is None


# ---- progress and cancel -----------------------------------------------------------------------------------

ShowProgress = Callable[[str, int, int], None]  # stage, done, total


class Progress:
    """How far one piece of work is, and the wish to stop it: one object, handed in, usable from any thread.

    show: gets every report (stage, units done, units in all); None shows nothing.
    """

    def __init__(self, show: ShowProgress | None = None) -> None:
        self._show = show
        self._cancelled = threading.Event()

    def part(self, name: str) -> Progress:
        """The progress of a part of this work: reports carry `name` before their stage, and what stops one
        stops the other.
        """
        show = self._show
        inner = Progress(None if show is None else lambda stage, done, total: show(name + stage, done, total))
        inner._cancelled = self._cancelled
        return inner

    def report(self, stage: str, done: int, total: int) -> None:
        """Tell how far `stage` is. Raises `Interrupted` once `cancel` was called."""
        self.check()
        if self._show is not None:
            self._show(stage, done, total)

    def cancel(self) -> None:
        """Ask the work to stop; it raises `Interrupted` at its next report or check."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise `Interrupted` once `cancel` was called."""
        if self._cancelled.is_set():
            raise Interrupted("stopped")


# ---- threads -----------------------------------------------------------------------------------------------

T = TypeVar("T")
_working: dict[threading.Thread, threading.Event] = {}  # threads of `prefetch`, with what stops each


def prefetch(items: Iterable[T], depth: int = 8) -> Generator[T, None, None]:
    """Yield `items` in order while a thread produces up to `depth` of them ahead.

    An error of the producer is raised here; closing the iterator early stops the producer, waits for it and
    closes `items`. Close it where an error may end its use: what an error's traceback holds is not closed by
    itself.
    """
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            try:
                for item in items:
                    if not put("item", item):
                        return
            finally:
                close = getattr(items, "close", None)
                if close is not None:
                    close()
            put("end", None)
        except BaseException as e:  # handed over, raised again by the consumer
            put("error", e)
        finally:
            _working.pop(thread, None)

    thread = threading.Thread(target=produce, daemon=True)
    _working[thread] = stop
    try:
        thread.start()
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if isinstance(value, BaseException) and kind == "error":
                try:
                    raise value
                finally:
                    del value  # the error holds this frame, which would hold the error
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()


Result = TypeVar("Result")


def mapped(
    function: Callable[[T], Result], items: Iterable[T], at_once: int
) -> Generator[tuple[T, Result], None, None]:
    """Each item with `function` of it, in order; `at_once` of them are worked out at the same time, each in a
    thread of its own, while this one gets the next item. With 1, all is done here, one after another.

    An error of `function` is raised here, once the results before it were given.
    """
    if at_once == 1:
        for item in items:
            yield item, function(item)
        return
    waiting: collections.deque[tuple[T, Future[Result]]] = collections.deque()
    pool = ThreadPoolExecutor(at_once)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) == at_once:
                done, result = waiting.popleft()
                yield done, result.result()
        for done, result in waiting:
            yield done, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


def end_threads(seconds: float) -> bool:
    """Stop every `prefetch` and wait for its thread, `seconds` at most for all of them; True where no thread
    but this one is at work any more.

    Called at the end of a program: a thread that comes back from native code after the interpreter was taken
    down aborts the process.
    """
    deadline = time.monotonic() + seconds
    for stop in tuple(_working.values()):
        stop.set()
    for thread in tuple(_working):
        if thread.ident is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
    return all(t is threading.current_thread() for t in threading.enumerate())
