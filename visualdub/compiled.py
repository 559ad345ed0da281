"""Loops over pixels as machine code, which run without the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from visualdub.storage import cache_folder

KERNELS = "kernels"  # folder of the cache for machine code


def compiled(function: Callable[..., Any]) -> Any:
    """`function` as machine code, which is made when it is first called and kept beside this file. Where the
    installation is read-only it is kept in the cache's folder, and where that is too, nowhere.
    """
    made = numba.njit(nogil=True)(function)
    config: Any = numba.config
    chosen = config.CACHE_DIR  # $NUMBA_CACHE_DIR
    if not chosen and not os.access(Path(__file__).parent, os.W_OK):
        config.CACHE_DIR = str(cache_folder() / KERNELS)
    try:
        made.enable_caching()
    except (AttributeError, RuntimeError):  # compilation is turned off, or no folder can be written to
        pass
    finally:
        config.CACHE_DIR = chosen
    return made


def weighted_rows(
    values: NDArray[np.float32], places: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(m, w) or (m, w, c): each row is the sum of rows of `values` (n, w) or (n, w, c), those at `places`
    (m, k), by `weights` (m, k).

    What resamples a picture along its first axis.
    """
    flat = np.ascontiguousarray(values.reshape(len(values), -1), np.float32)
    out = np.zeros((len(places), flat.shape[1]), np.float32)
    _add_rows(flat, places, weights, out)
    return out.reshape(len(places), *values.shape[1:])


@compiled
def _add_rows(
    values: NDArray[np.float32],
    places: NDArray[np.int64],
    weights: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    for y in range(len(out)):
        for k in range(places.shape[1]):
            weight, row = weights[y, k], places[y, k]
            if weight != 0:
                for x in range(out.shape[1]):
                    out[y, x] += weight * values[row, x]
