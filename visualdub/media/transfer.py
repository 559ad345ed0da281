"""From code values to linear light and back, by the clip's transfer tag, for blending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Curve = Callable[[NDArray[np.float32]], NDArray[np.float32]]

PQ, HLG, LINEAR = 16, 18, 8  # FFmpeg's AVColorTransferCharacteristic
GAMMA_BY_TAG = {
    4: 2.2,
    5: 2.8,
    13: 2.2,
}  # gamma 2.2, gamma 2.8, sRGB (its power part; the blend does not see the difference)
DISPLAY_GAMMA = 2.4  # BT.1886, what BT.709, BT.601, BT.2020 and untagged clips are looked at with


@dataclass(frozen=True)
class TransferFunction:
    """A transfer curve and its inverse; both take and give float32, 1.0 = white, and go on above it."""

    to_linear: Curve
    from_linear: Curve


def transfer_function(transfer: int) -> TransferFunction:
    """The curves of FFmpeg's transfer tag `transfer`; 0 and 2 (unspecified) and the BT.709 family are
    BT.1886.
    """
    if transfer == LINEAR:
        return TransferFunction(_same, _same)
    if transfer == PQ:
        return TransferFunction(_pq_to_linear, _pq_from_linear)
    if transfer == HLG:
        return TransferFunction(_hlg_to_linear, _hlg_from_linear)
    gamma = np.float32(GAMMA_BY_TAG.get(transfer, DISPLAY_GAMMA))
    return TransferFunction(
        lambda v: np.power(np.maximum(v, 0), gamma, dtype=np.float32),
        lambda v: np.power(np.maximum(v, 0), 1 / gamma, dtype=np.float32),
    )


def signed(curve: Curve, v: NDArray[np.float32]) -> NDArray[np.float32]:
    """`curve` of values of any size and sign: a negative value becomes the opposite of what its size does."""
    return np.copysign(curve(np.abs(v)), v)


def _same(v: NDArray[np.float32]) -> NDArray[np.float32]:
    return v


# SMPTE ST 2084
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def _pq_to_linear(v: NDArray[np.float32]) -> NDArray[np.float32]:
    p = np.power(np.maximum(v, 0).astype(np.float64), 1 / _M2)
    below = np.maximum(_C2 - _C3 * p, 1e-3)  # 0.16 at a signal of 1; it would turn negative at one of 2
    return np.asarray(np.power(np.maximum(p - _C1, 0) / below, 1 / _M1), np.float32)


def _pq_from_linear(v: NDArray[np.float32]) -> NDArray[np.float32]:
    p = np.power(np.maximum(v, 0).astype(np.float64), _M1)
    return np.power((_C1 + _C2 * p) / (1 + _C3 * p), _M2).astype(np.float32)


# ARIB STD-B67
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073


def _hlg_to_linear(v: NDArray[np.float32]) -> NDArray[np.float32]:
    v64 = np.maximum(v, 0).astype(np.float64)
    return np.where(v64 <= 0.5, v64 * v64 / 3, (np.exp((v64 - _C) / _A) + _B) / 12).astype(np.float32)


def _hlg_from_linear(v: NDArray[np.float32]) -> NDArray[np.float32]:
    v64 = np.maximum(v, 0).astype(np.float64)
    return np.where(
        v64 <= 1 / 12, np.sqrt(3 * v64), _A * np.log(np.maximum(12 * v64 - _B, 1e-9)) + _C
    ).astype(np.float32)
