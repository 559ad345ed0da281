"""UV maps as 16-bit numbers, which take half the memory of floats and are finer than a hundredth of a
texel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UV_SCALE = 65534  # packed UV maps are uint16: 0..1 in steps of 1/65534, NO_MESH where there is no mesh
NO_MESH = 65535


def pack_uv(uv: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Pack a UV map (..., 2) of floats, negative where there is no mesh; the error is at most 1/131068."""
    packed: NDArray[np.uint16] = np.round(np.clip(uv, 0, 1) * UV_SCALE).astype(np.uint16)
    packed[(uv < 0).any(-1)] = NO_MESH
    return packed


def unpack_uv(packed: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The UV map (..., 2) that was packed, float32 in 0..1, -1 where there is no mesh."""
    uv = packed.astype(np.float32) / np.float32(UV_SCALE)
    uv[packed == NO_MESH] = -1
    return uv
