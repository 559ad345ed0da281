"""Array operations that several packages share, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from visualdub.arrays import padded_slice, smoothstep


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_smoothstep_by_hand(precision: type[np.floating]) -> None:
    x = np.array([-1.0, 0.0, 0.25, 0.5, 1.0, np.inf], precision)
    assert smoothstep(x).tolist() == [0, 0, 0.15625, 0.5, 1, 1] and smoothstep(x).dtype == precision


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (1, 2, [2, 3]),
        (-2, 4, [0, 0, 1, 2]),
        (3, 4, [4, 0, 0, 0]),
        (-1, 6, [0, 1, 2, 3, 4, 0]),
        (-9, 3, [0, 0, 0]),
        (9, 3, [0, 0, 0]),
    ],
)
def test_a_slice_has_zeros_outside_the_samples(start: int, length: int, expected: list[int]) -> None:
    piece = padded_slice(np.arange(1, 5, dtype=np.float32), start, length)
    assert piece.tolist() == expected and piece.dtype == np.float32
