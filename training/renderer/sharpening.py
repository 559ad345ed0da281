"""The last step of an adaptation: detail that squared differences average away is added back, as much as is
missing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.core.trainer import Trainer, ValidationBatch

GAINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # times the detail that a 3 x 3 mean takes away
ENOUGH = 0.8  # share of the filmed detail that is aimed at


def detail(pictures: Tensor, region: Tensor) -> Tensor:
    """Mean squared Laplacian of the luma (mean of R'G'B') inside a region; a scalar.

    pictures: (N, T, 3, h, w). region: (N, T, h, w) 0/1.
    """
    luma = pictures.mean(2).flatten(0, 1)[:, None]
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    laplacian = F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), kernel)[:, 0].reshape(region.shape)
    return (laplacian.square() * region).sum() / region.sum().clamp_min(1)


def choose_sharpening_gain(trainer: Trainer, validation: ValidationBatch, least_psnr: float) -> float:
    """The smallest of `GAINS` that brings the detail inside the mouths' boxes to `ENOUGH` of the filmed
    detail.

    Where none does, or the PSNR inside the mask would fall below `least_psnr` dB, it is the largest gain that
    keeps that PSNR. validation: frames that were not trained on. The trainer's own gain is left unchanged.
    """
    before, region = trainer.sharpening_gain, validation.windows.mouth * validation.windows.mask
    filmed = detail(validation.windows.frames, region).clamp_min(1e-9)
    chosen = GAINS[0]
    try:
        for gain in GAINS:
            trainer.sharpening_gain = gain
            metrics, rendered = trainer.measure(validation)
            if gain > 0 and metrics["psnr_mask"] < least_psnr:
                break
            chosen = gain
            if detail(rendered.rgb, region) >= ENOUGH * filmed:
                break
        return chosen
    finally:
        trainer.sharpening_gain = before
