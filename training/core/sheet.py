"""Contact sheets: rendered frames beside the filmed ones, written while a run goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from visualdub.storage import atomic_path


def as_picture(tensor: Tensor) -> NDArray[np.uint8]:
    """A picture (3, h, w), about 0..1, as (h, w, 3) uint8."""
    return np.asarray(
        (tensor.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy(), np.uint8
    )


def contact_sheet(filmed: Tensor, rendered: Tensor, sampled: Tensor, mask: Tensor) -> NDArray[np.uint8]:
    """One column per frame: filmed, rendered (pasted inside the mask), texture alone, difference times 4.

    filmed, rendered: (n, 3, h, w) 0..1. sampled: (n, 3, h, w) the sampled colours. mask: (n, h, w) 0/1.
    Returns (4h, n * w, 3) uint8.
    """
    columns = []
    for film, render, texture, inside in zip(filmed, rendered, sampled, mask, strict=True):
        pasted = render.float() * inside + film * (1 - inside)
        rows = [as_picture(p) for p in (film, pasted, texture, (pasted - film).abs() * 4)]
        columns.append(np.concatenate(rows))
    return np.concatenate(columns, 1)


def save_sheet(sheet: NDArray[np.uint8], path: Path) -> None:
    """Write as PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
