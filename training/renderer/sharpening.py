"""The last touch of an adaptation: detail that squared differences average away is given back, as much as is
lacking.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.core.trainer import Probe, Trainer

AMOUNTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # times the detail that a 3 x 3 mean takes away
ENOUGH = 0.8  # of the filmed detail


def detail(pictures: Tensor, within: Tensor) -> Tensor:
    """Mean squared Laplacian of the luma (mean of R'G'B'). pictures (N, T, 3, h, w), within (N, T, h, w) 0/1
    -> scalar.
    """
    luma = pictures.mean(2).flatten(0, 1)[:, None]
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    laplacian = F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), kernel)[:, 0].reshape(within.shape)
    return (laplacian.square() * within).sum() / within.sum().clamp_min(1)


def choose_crispness(trainer: Trainer, probe: Probe, least: float) -> float:
    """The least of `AMOUNTS` that brings the detail inside the mouths' boxes to `ENOUGH` of the filmed.

    Where none does, or the PSNR inside the mask would fall below `least` dB, the most that keeps it. probe:
    frames that were not trained on. The trainer's own amount is left as it is.
    """
    before, within = trainer.crispness, probe.windows.mouth * probe.windows.mask
    filmed = detail(probe.windows.frames, within).clamp_min(1e-9)
    chosen = AMOUNTS[0]
    try:
        for amount in AMOUNTS:
            trainer.crispness = amount
            metrics, drawn = trainer.measure(probe)
            if amount > 0 and metrics["psnr_mask"] < least:
                break
            chosen = amount
            if detail(drawn.rgb, within) >= ENOUGH * filmed:
                break
        return chosen
    finally:
        trainer.crispness = before
