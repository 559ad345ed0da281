"""An invisible watermark inside the mask: DWT-DCT-SVD, the scheme of the package blind-watermark."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput

SCHEME = "DWT-DCT-SVD on luma, blocks of 8 x 8"
BITS = 32
BLOCK = 8  # luma samples along the side of a block: one Haar level over a 4 x 4 transform
STEP = 20.0  # quantisation step of the first singular value, 8-bit code values; the package's default is 36
ITERATIONS = 6  # of the power method; skin, whose mean is larger than its texture, is exact to 1e-4 after 3


def payload_bits(text: str) -> NDArray[np.uint8]:
    """(BITS,) 0/1, the first bits of the SHA-256 of `text`, the most significant first."""
    return np.unpackbits(np.frombuffer(hashlib.sha256(text.encode()).digest()[: BITS // 8], np.uint8))


def payload_text(bits: NDArray[np.integer[Any]]) -> str:
    """Bits as hexadecimal."""
    return np.packbits(np.asarray(bits, np.uint8)).tobytes().hex()


def payload_from_text(text: str) -> NDArray[np.uint8]:
    """The bits that `payload_text` wrote. Raises `BadInput` for anything else."""
    try:
        raw = bytes.fromhex(text)
    except ValueError as e:
        raise BadInput(f"watermark payload {text!r} is not hexadecimal") from e
    if len(raw) * 8 != BITS:
        raise BadInput(f"watermark payload {text!r} has {len(raw) * 8} bits; expected {BITS}")
    return np.unpackbits(np.frombuffer(raw, np.uint8))


# ------------------------------------------------------------------------------------------------------------


def _blocks_of(
    shape: tuple[int, int], left: int, top: int
) -> tuple[slice, slice, NDArray[np.int64], NDArray[np.int64]]:
    """The whole blocks of the frame's 8 x 8 grid in a region: its rows and columns, each block's place in the
    grid.
    """
    y0, x0 = -top % BLOCK, -left % BLOCK
    rows, cols = max(0, (shape[0] - y0) // BLOCK), max(0, (shape[1] - x0) // BLOCK)
    grid_y, grid_x = np.mgrid[:rows, :cols]
    return (
        slice(y0, y0 + rows * BLOCK),
        slice(x0, x0 + cols * BLOCK),
        grid_y.ravel() + (top + y0) // BLOCK,
        grid_x.ravel() + (left + x0) // BLOCK,
    )


def _roles(
    grid_y: NDArray[np.int64], grid_x: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Which bit of the payload each block of the grid carries, and whether it carries it inverted.

    Half of the blocks do, so that the votes of a picture without a watermark cancel.
    """
    mixed = grid_y.astype(np.uint64) * np.uint64(0x9E3779B1) + grid_x.astype(np.uint64) * np.uint64(
        0x85EBCA77
    )
    mixed &= np.uint64(0xFFFFFFFF)
    mixed ^= mixed >> np.uint64(15)
    mixed = (mixed * np.uint64(0x2C1B3C6D)) & np.uint64(0xFFFFFFFF)
    mixed ^= mixed >> np.uint64(13)
    return (mixed % np.uint64(BITS)).astype(np.int64), ((mixed >> np.uint64(16)) & np.uint64(1)).astype(
        np.uint8
    )


def _whole(where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Blocks of (rows * 8, cols * 8) all of whose pixels are set: (rows * cols,)."""
    rows, cols = where.shape[0] // BLOCK, where.shape[1] // BLOCK
    lines = (
        np.logical_and.reduceat(where, np.arange(0, where.shape[0], BLOCK), axis=0)
        if rows * cols
        else where[:0]
    )
    return (
        np.asarray(lines.reshape(rows, cols, BLOCK).all(2).ravel(), np.bool_)
        if rows * cols
        else np.zeros(0, np.bool_)
    )


def _low_bands(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Haar low band of each 8 x 8 block: (rows * 8, cols * 8) -> (rows * cols, 4, 4)."""
    low = (luma[0::2, 0::2] + luma[1::2, 0::2] + luma[0::2, 1::2] + luma[1::2, 1::2]) * np.float32(0.5)
    rows, cols = low.shape[0] // 4, low.shape[1] // 4
    return np.asarray(low.reshape(rows, 4, cols, 4).transpose(0, 2, 1, 3).reshape(-1, 4, 4))


def _first_singular(
    blocks: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Largest singular value (B,) of each of B blocks (B, 4, 4) and its vectors (B, 4), by the power method.

    The DCT of the scheme is left out: it is orthonormal and changes neither the singular values nor the block
    that the inverse DCT would give.
    """
    v = np.full((len(blocks), 4, 1), 0.5, np.float32)
    transposed = blocks.transpose(0, 2, 1)
    for _ in range(ITERATIONS):
        v = transposed @ (blocks @ v)
        v /= np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-20)
    u = blocks @ v
    s = np.linalg.norm(u, axis=1)
    u /= np.maximum(s[:, None], 1e-20)
    return s[:, 0], u[..., 0], v[..., 0]


# ------------------------------------------------------------------------------------------ embedding


@dataclass(frozen=True)
class Watermark:
    """The watermark of one job: every 8 x 8 block of luma that lies wholly in the mask carries one bit."""

    bits: NDArray[np.uint8]  # (BITS,) 0/1
    step: float = STEP  # 8-bit code values

    def delta(
        self, luma: NDArray[np.float32], left: int, top: int, where: NDArray[np.bool_], depth: int = 8
    ) -> NDArray[np.float32]:
        """(h, w) what to add to `luma` (h, w), code values of `depth` bits.

        The first sample of `luma` is (left, top) in the frame. Only blocks that lie wholly in `where` (h, w)
        are marked; elsewhere the result is 0.
        """
        out = np.zeros(luma.shape, np.float32)
        ys, xs, grid_y, grid_x = _blocks_of((luma.shape[0], luma.shape[1]), left, top)
        rows, cols = (ys.stop - ys.start) // BLOCK, (xs.stop - xs.start) // BLOCK
        inside = _whole(where[ys, xs])
        if not inside.any():
            return out
        step = np.float32(self.step * 2.0 ** (depth - 8))
        index, flip = _roles(grid_y[inside], grid_x[inside])
        s, u, v = _first_singular(_low_bands(luma[ys, xs])[inside])
        bit = (self.bits[index] ^ flip).astype(np.float32)
        offset = (np.float32(0.25) + np.float32(0.5) * bit) * step
        change = np.rint((s - offset) / step) * step + offset - s  # the nearest value that reads as the bit
        marked = np.zeros((rows * cols, 4, 4), np.float32)
        marked[inside] = (change * np.float32(0.5))[:, None, None] * u[:, :, None] * v[:, None, :]
        low = marked.reshape(rows, cols, 4, 4).transpose(0, 2, 1, 3).reshape(rows * 4, cols * 4)
        out[ys, xs] = low.repeat(2, 0).repeat(2, 1)
        return out


# ------------------------------------------------------------------------------------------ extraction


class WatermarkReader:
    """Reads a watermark: every block of every added frame votes for its bit. It needs no source clip."""

    def __init__(self, step: float = STEP) -> None:
        self.step = step
        self._votes = np.zeros(BITS)
        self._weight = np.zeros(BITS)

    def add(
        self,
        luma: NDArray[np.generic],
        depth: int = 8,
        box: tuple[int, int, int, int] | None = None,
        matte: NDArray[np.uint8] | None = None,
    ) -> None:
        """Take the luma plane (H, W) of one frame.

        box: (left, top, right, bottom) to read, by default the whole frame. matte: (H, W); where it is given,
        only the blocks in which it is 255 vote. Blocks without a watermark vote at random and only lower the
        certainty.
        """
        left, top, right, bottom = box or (0, 0, luma.shape[1], luma.shape[0])
        part = np.asarray(luma[top:bottom, left:right], np.float32)
        ys, xs, grid_y, grid_x = _blocks_of((part.shape[0], part.shape[1]), left, top)
        index, flip = _roles(grid_y, grid_x)
        blocks = _low_bands(part[ys, xs])
        if matte is not None:
            keep = _whole((matte[top:bottom, left:right] == 255)[ys, xs])
            index, flip, blocks = index[keep], flip[keep], blocks[keep]
        if len(blocks) == 0:
            return
        phase = _first_singular(blocks)[0] / np.float32(self.step * 2.0 ** (depth - 8))
        vote = -np.sin(2 * np.pi * phase) * np.where(
            flip == 1, -1, 1
        )  # -1 at the middle of a 0, +1 at the middle of a 1
        np.add.at(self._votes, index, vote)
        np.add.at(self._weight, index, 1.0)

    @property
    def bits(self) -> NDArray[np.uint8]:
        """(BITS,) the bits as voted so far."""
        return (self._votes > 0).astype(np.uint8)

    @property
    def certainty(self) -> NDArray[np.float64]:
        """(BITS,) the vote for each bit, in standard deviations of the vote of a picture without a watermark.

        Above 4 it is no chance.
        """
        return np.asarray(np.abs(self._votes) / np.sqrt(np.maximum(self._weight, 1) / 2))
