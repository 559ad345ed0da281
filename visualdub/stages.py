"""Stages of the pipeline: how long each took, and running one in a thread of its own, a few items ahead of
the next.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
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


@contextlib.contextmanager
def cancel_on_signals(progress: Progress) -> Iterator[None]:
    """Within the block the first Ctrl-C or SIGTERM cancels `progress`, a second one raises
    `KeyboardInterrupt`.

    Outside the main thread, which alone may set signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if progress.cancelled:
            raise KeyboardInterrupt
        progress.cancel()

    wanted = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---- threads -----------------------------------------------------------------------------------------------

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int = 8) -> Generator[T, None, None]:
    """Yield `items` in order while a thread produces up to `depth` of them ahead.

    An error of the producer is raised here; closing the iterator early stops the producer and waits for it.
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
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as e:  # handed over, raised again by the consumer
            put("error", e)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if isinstance(value, BaseException) and kind == "error":
                raise value
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
