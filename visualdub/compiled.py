"""Loops over pixels as machine code. They run without the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

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
