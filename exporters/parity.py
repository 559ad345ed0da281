"""How far an exported graph is from eager PyTorch, and the bound it has to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporters.crops import Window
from visualdub.errors import VisualDubError
from visualdub.render.providers import EXACT_BOUND, FAST_BOUND_DB, FP32
from visualdub.storage import name_or_bytes

OUTPUT = "rgb"
MOST_DB = 200.0  # what is said of pictures that do not differ
Picture = NDArray[np.float32]  # (1, T, 3, S, S) R'G'B' 0..1


@dataclass(frozen=True)
class Parity:
    """How far a graph is from eager PyTorch, R'G'B' in 0..1."""

    worst: float  # largest difference of any sample of any pixel
    psnr_mask: float  # dB inside the masks of all windows
    windows: int

    @property
    def error(self) -> float:
        """Mean squared error inside the mask."""
        return float(10 ** (-self.psnr_mask / 10))

    def describe(self) -> str:
        """In words."""
        inside = f"PSNR inside the mask {self.psnr_mask:.1f} dB"
        return f"worst pixel {self.worst:.2g}, {inside}, {self.windows} windows"


def compare(
    expected: Sequence[Picture], got: Sequence[Picture], masks: Sequence[NDArray[np.float32]]
) -> Parity:
    """The difference of two renderings of the same windows. masks: (1, T, S, S) 0/1."""
    worst, squares = 0.0, []
    for want, have, mask in zip(expected, got, masks, strict=True):
        difference = np.abs(have - want)
        worst = max(worst, float(difference.max()))
        squares.append(np.square(difference.transpose(0, 1, 3, 4, 2)[mask > 0]).ravel())
    mean = float(np.concatenate(squares).mean(dtype=np.float64))
    return Parity(worst, -10 * float(np.log10(max(mean, 10 ** (-MOST_DB / 10)))), len(expected))


def eager_pictures(renderer: nn.Module, windows: Sequence[Window]) -> list[Picture]:
    """What PyTorch renders of each window in eager mode."""
    pictures = []
    for window in windows:
        inputs: list[Tensor] = [torch.from_numpy(values) for values in window.feed.values()]
        with torch.inference_mode():
            pictures.append(renderer(*inputs).numpy())
    return pictures


def onnx_pictures(path: Path, windows: Sequence[Window]) -> list[Picture]:
    """What ONNX Runtime renders of each window on the CPU. Raises `VisualDubError` for other shapes."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(name_or_bytes(path), options, providers=["CPUExecutionProvider"])
    run: Callable[..., list[Picture]] = session.run
    pictures = [run([OUTPUT], window.feed)[0] for window in windows]
    for picture, window in zip(pictures, windows, strict=True):
        expected = window.feed["frame"].shape
        if picture.shape != expected:
            raise VisualDubError(f"{path.name}: ONNX Runtime gives {picture.shape}; expected {expected}")
    return pictures


def most_error() -> float:
    """The mean squared error inside the mask that a fast graph may have."""
    return float(10 ** (-FAST_BOUND_DB / 10))


def require_bound(name: str, parity: Parity, precision: str) -> None:
    """Raise `VisualDubError`, with what was measured, where a graph is beyond the bound of its precision."""
    if precision == FP32 and not parity.worst <= EXACT_BOUND:
        raise VisualDubError(
            f"{name}: it differs from PyTorch by {parity.worst:.2g}; expected at most {EXACT_BOUND:g}"
        )
    if precision != FP32 and not parity.psnr_mask >= FAST_BOUND_DB:
        raise VisualDubError(
            f"{name}: {precision} reaches {parity.psnr_mask:.1f} dB inside the mask against PyTorch (worst"
            f" pixel {parity.worst:.2g}); expected at least {FAST_BOUND_DB:g} dB"
        )
