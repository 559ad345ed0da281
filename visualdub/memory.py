"""The memory of arrays that came and went: kept for the next ones, and returned to the system before it piles
up. All of this asks glibc; with another C library nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

KEPT_BLOCK = 32 << 20  # bytes; the most that every glibc keeps
MOST_KEPT = 1 << 30  # bytes at the end of the heap
USUAL_TRIM = 128 << 10  # bytes, of glibc
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
RESIDENT = Path("/proc/self/statm")  # of Linux; its second number is in pages
PILE = 128 << 20  # bytes by which a process grows until what nobody uses is returned
LOOK_EVERY = 1.0  # seconds


def reuse_memory() -> bool:
    """Keep the memory of freed arrays for the next ones, in this process from now on, and return what nobody
    uses to the system whenever the process has grown by `PILE`; whether that can be asked for.

    By itself glibc returns the pages of large arrays, to have them cleared for the next one; once it has
    learned to keep them, it never returns those around small arrays that stay. The former costs a dub 6 % of
    its time, the latter took 1 to 3 GB in ten minutes of 1080p.
    """
    kept = _keep() and RESIDENT.is_file()
    if kept:
        _watch()
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
        if not _watch.cache_info().currsize:
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
def _watch() -> None:
    """Start the thread that returns what has piled up."""
    threading.Thread(target=_return_piles, name="memory", daemon=True).start()


def _return_piles() -> None:
    least = _resident()
    while True:
        time.sleep(LOOK_EVERY)
        if not _kept_by and _resident() > least + PILE:
            return_free_memory()
            least = _resident()
        least = min(least, _resident())


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(RESIDENT.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _ask_glibc(function: str, *arguments: int) -> bool:
    """Call a function of glibc's allocator; False where it refuses, and where there is no glibc."""
    import ctypes

    try:
        return bool(getattr(ctypes.CDLL("libc.so.6"), function)(*arguments))
    except (OSError, AttributeError):  # another system, or another C library
        return False
