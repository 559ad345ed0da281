"""Processes that work through a list, one thread each, stopped at once and without a word by Ctrl-C."""

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

LOOK = 0.3  # seconds between two looks at what the processes have done

Item = TypeVar("Item")
Result = TypeVar("Result")

_stop: Event | None = None  # set in every process by `_begin`
_work: Synchronized[float] | None = None


class Workers:
    """A pool of processes. Leaving the `with` block stops what still runs."""

    def __init__(self, count: int) -> None:
        """count: how many processes, at least 1. They start with the first item."""
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would copy MediaPipe's and FFmpeg's threads half-way
        self._stop, self._work = context.Event(), context.Value("d", 0.0)
        self._pool = ProcessPoolExecutor(count, context, _begin, (self._stop, self._work))

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
        tick: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result, in the order they are finished; `tick` gets the work done since
        the beginning.

        An error of `function` is raised here. Raises `VisualDubError` where a process was killed from
        outside.
        """
        with _deaf_to_ctrl_c():
            futures = {self._pool.submit(function, item): item for item in items}
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, LOOK, FIRST_COMPLETED)
            if tick is not None:
                tick(self._work.value)
            for future in done:
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool as e:
                    raise VisualDubError(
                        "a process was ended from outside, perhaps for lack of memory; what is finished is "
                        "kept: run the same command again, with fewer --jobs"
                    ) from e


def add_work(amount: float) -> None:
    """Count work done by this process. Raises `Interrupted` once the user has stopped the whole."""
    if _stop is not None and _stop.is_set():
        raise Interrupted("stopped")
    if _work is not None:
        with _work.get_lock():
            _work.value += amount


def _begin(stop: Event, work: Synchronized[float]) -> None:
    """In a new process: one thread for arithmetic, no ears for Ctrl-C, and an end when the parent ends."""
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
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started here ignore SIGINT from their first moment, before they could say so themselves."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
