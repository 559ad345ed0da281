"""Large arrays whose memory can be given back while they are kept: they lie in a file without a name."""

from __future__ import annotations

import logging
import mmap
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.storage import cache_folder

log = logging.getLogger(__name__)

LARGE = 16 << 20  # bytes; a smaller array stays as it is


def spilled(values: NDArray[Any], least: int = LARGE) -> NDArray[Any]:
    """The same values, read-only, mapped from a file in the cache's folder that vanishes with them.

    An array of less than `least` bytes comes back as it is, and so does every array where the file cannot be
    written.
    """
    if values.nbytes < least or isinstance(_map_under(values), mmap.mmap):
        return values
    return spilled_blocks(lambda: [values], values.shape, values.dtype, least)


def spilled_blocks(
    blocks: Callable[[], Iterable[NDArray[Any]]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    least: int = LARGE,
) -> NDArray[Any]:
    """As `spilled`, an array of `shape` whose rows come in blocks that never lie in memory together.

    blocks: starts them from the first one, and is asked twice where the file cannot be written.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    if size >= max(least, 1):
        try:
            return _written(blocks(), shape, dtype)
        except OSError as e:  # a full disk, or no folder to write to
            log.info("%d KiB stay in memory: %s", size >> 10, e)
    return np.concatenate([np.zeros((0, *shape[1:]), dtype), *blocks()])


def _written(blocks: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
        file.flush()
        return np.ndarray(shape, dtype, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def let_go(values: NDArray[Any]) -> bool:
    """Give back the memory of an array from `spilled`, or of a part of one; it is read from its file when it
    is used again. Returns whether there was anything to give back.
    """
    mapped = _map_under(values)
    if sys.platform == "win32" or not isinstance(mapped, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return False
    mapped.madvise(mmap.MADV_DONTNEED)
    return True


def _map_under(values: NDArray[Any]) -> object:
    """What holds the values of an array, under any number of views."""
    base: object = values
    while isinstance(base, np.ndarray):
        base = base.base
    return base
