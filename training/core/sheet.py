"""Contact sheets: what the renderer draws beside what was filmed, as a run goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from visualdub.storage import atomic_path


def as_picture(tensor: Tensor) -> NDArray[np.uint8]:
    """(3, h, w) about 0..1 -> (h, w, 3) uint8."""
    return np.asarray(
        (tensor.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy(), np.uint8
    )


def contact_sheet(real: Tensor, drawn: Tensor, sampled: Tensor, mask: Tensor) -> NDArray[np.uint8]:
    """One column per frame: filmed, drawn (pasted inside the mask), texture alone, difference times 4.

    real, drawn (n, 3, h, w) 0..1, sampled (n, 3, h, w) the sampled colours, mask (n, h, w) 0/1 -> (4h, n*w,
    3) uint8.
    """
    columns = []
    for r, d, s, m in zip(real, drawn, sampled, mask, strict=True):
        pasted = d.float() * m + r * (1 - m)
        rows = [as_picture(p) for p in (r, pasted, s, (pasted - r).abs() * 4)]
        columns.append(np.concatenate(rows))
    return np.concatenate(columns, 1)


def save_sheet(sheet: NDArray[np.uint8], path: Path) -> None:
    """Write as PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
