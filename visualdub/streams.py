"""Run a stage of a stream in a thread of its own, a bounded number of items ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


class _Failure:
    """An exception on its way from the thread to the reader."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def ahead(items: Iterable[Item], depth: int = 8) -> Iterator[Item]:
    """Yield `items` in order while a thread computes up to `depth` of them in advance.

    An exception in `items` is raised here. Closing this generator, or leaving it by an exception, stops the thread
    after the item it is at and closes `items`.
    """
    if depth < 1:
        raise ValueError(f"depth {depth}; expected at least 1")
    buffer: queue.Queue[object] = queue.Queue(depth)
    stop = threading.Event()
    worker = threading.Thread(target=_fill, args=(items, buffer, stop), daemon=True)
    worker.start()
    try:
        while (item := buffer.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        worker.join(timeout=30)


def _fill(items: Iterable[Item], buffer: queue.Queue[object], stop: threading.Event) -> None:
    iterator = iter(items)
    try:
        for item in iterator:
            if not _put(buffer, item, stop):
                return
        _put(buffer, _END, stop)
    except BaseException as e:  # handed to the reader, who raises it
        _put(buffer, _Failure(e), stop)
    finally:
        close: Callable[[], None] | None = getattr(iterator, "close", None)
        if close is not None:
            close()


def _put(buffer: queue.Queue[object], item: object, stop: threading.Event) -> bool:
    """False where the reader has gone."""
    while not stop.is_set():
        try:
            buffer.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
