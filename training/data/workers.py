"""Processes that work through a list, one thread each, and stop together once their progress is cancelled."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import TypeVar

from visualdub.errors import Interrupted, VisualDubError
from visualdub.stages import Progress

POLL_SECONDS = 0.3  # between two looks at what the processes have finished and at the wish to stop

Item = TypeVar("Item")
Result = TypeVar("Result")

_stop: Event | None = None  # set in every process by `_start_worker`
_work: Synchronized[float] | None = None


class Workers:
    """A pool of processes. Leaving the `with` block stops those that still run."""

    def __init__(self, count: int) -> None:
        """count: how many processes, at least 1. They start with the first item."""
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would copy MediaPipe's and FFmpeg's threads half-way
        self._stop, self._work = context.Event(), context.Value("d", 0.0)
        self._pool = ProcessPoolExecutor(count, context, _start_worker, (self._stop, self._work))

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        progress: Progress,
        on_work: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result, in the order in which they are finished.

        progress: checked every `POLL_SECONDS`. on_work: gets the work counted by `add_work` since the pool
        was made. An error of `function` is raised here. Raises `Interrupted` once `progress` was cancelled,
        `VisualDubError` where a process was killed from outside.
        """
        with _interrupts_ignored():
            futures = {self._pool.submit(function, item): item for item in items}
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool as e:
                    raise VisualDubError(
                        "a process was ended from outside, perhaps for lack of memory; what is finished is "
                        "kept: run the same command again, with fewer --jobs"
                    ) from e
            if on_work is not None:
                on_work(self._work.value)
            progress.check()


def add_work(amount: float) -> None:
    """Count work done by this process. Raises `Interrupted` once the pool is being stopped."""
    if _stop is not None and _stop.is_set():
        raise Interrupted("stopped")
    if _work is not None:
        with _work.get_lock():
            _work.value += amount


def _start_worker(stop: Event, work: Synchronized[float]) -> None:
    """In a new process: compute on one thread, ignore Ctrl-C, and end when the parent ends."""
    global _stop, _work
    import cv2
    from threadpoolctl import threadpool_limits

    _stop, _work = stop, work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"  # for libraries that are loaded later
    cv2.setNumThreads(1)
    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started in this block ignore SIGINT from their start, before they could ask for it
    themselves.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
