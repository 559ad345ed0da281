"""The floating-point format of convolutions."""

from __future__ import annotations

import time

import torch
from torch import nn

from training.core.distributed import World


def choose_dtype(device: torch.device, world: World | None = None) -> torch.dtype:
    """bfloat16 or float32 for convolutions, whichever is faster here in a short trial.

    All processes of `world` take the first one's choice.
    """
    fastest = _fastest(device)
    if world is None:
        return fastest
    return torch.bfloat16 if world.agree(float(fastest == torch.bfloat16), device) else torch.float32


def _fastest(device: torch.device) -> torch.dtype:
    """The format in which forward and backward pass of a convolution take less time."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        conv = nn.Conv2d(64, 64, 3, padding=1).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.zeros(1, 64, 96, 96, dtype=dtype).to(memory_format=torch.channels_last)
        best = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            conv(x).sum().backward()
            best = min(best, time.perf_counter() - start)
        seconds[dtype] = best
    return min(seconds, key=lambda d: seconds[d])
