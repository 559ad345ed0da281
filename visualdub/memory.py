"""The memory of arrays that came and went: kept for the next ones, and returned to the system before it piles
up. All of this asks glibc; with another C library nothing is changed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from functools import cache

KEPT_BLOCK = 32 << 20  # bytes; the most that every glibc keeps
MOST_KEPT = 1 << 30  # bytes at the end of the heap
USUAL_TRIM = 128 << 10  # bytes, of glibc
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
EVERY = 3.0  # seconds, after which what nobody uses is returned


def reuse_memory() -> bool:
    """Keep the memory of freed arrays for the next ones, in this process from now on, and return what nobody
    uses to the system every few seconds; whether that can be asked for.

    By itself glibc returns the pages of large arrays, to have them cleared for the next one; once it has
    learned to keep them, it never returns those around small arrays that stay. The former costs a dub 6 % of
    its time, the latter took 1 to 3 GB in ten minutes of 1080p.
    """
    kept = _keep()
    if kept:
        _start_returning()
    return kept


@contextlib.contextmanager
def memory_kept() -> Iterator[None]:
    """Within the block nothing is returned; after it, all that nobody uses.

    A step of training frees what the next one takes: returned and cleared each time, a step took 1.04 s in
    place of 0.66.
    """
    global _kept_by
    _keep()
    _kept_by += 1
    try:
        yield
    finally:
        _kept_by -= 1
        if not _start_returning.cache_info().currsize:
            _ask_glibc("mallopt", M_TRIM_THRESHOLD, USUAL_TRIM)
        return_free_memory()


def return_free_memory() -> bool:
    """Return what glibc's heaps hold and nobody uses to the system, such as the small arrays that tracking
    makes for every frame; whether that can be asked for.
    """
    return _ask_glibc("malloc_trim", 0)


_kept_by = 0  # blocks of `memory_kept` that are open


def _keep() -> bool:
    trim = _ask_glibc("mallopt", M_TRIM_THRESHOLD, MOST_KEPT)
    return _ask_glibc("mallopt", M_MMAP_THRESHOLD, KEPT_BLOCK) and trim


@cache
def _start_returning() -> None:
    threading.Thread(target=_return_now_and_then, name="memory", daemon=True).start()


def _return_now_and_then() -> None:
    while True:
        time.sleep(EVERY)
        if not _kept_by:
            return_free_memory()


def _ask_glibc(function: str, *arguments: int) -> bool:
    """Call a function of glibc's allocator; False where it refuses, and where there is no glibc."""
    import ctypes

    try:
        return bool(getattr(ctypes.CDLL("libc.so.6"), function)(*arguments))
    except (OSError, AttributeError):  # another system, or another C library
        return False
