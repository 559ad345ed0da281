"""One process or many: gradients averaged over the processes that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """Which process this is, of how many."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """The one that writes files and speaks."""
        return self.rank == 0

    def average_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Replace each weight's gradient by its mean over all processes; a missing one counts as 0."""
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            if self.size > 1:
                dist.all_reduce(weight.grad)
                weight.grad /= self.size

    def share(self, mine: Tensor | None, owner: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """The tensor of `shape` that process `owner` has, in all of them; `mine` is looked at there alone."""
        told = torch.empty(shape, device=device) if mine is None else mine.to(device)
        if self.size > 1:
            dist.broadcast(told, owner)
        return told.cpu()

    def any(self, mine: bool, device: torch.device) -> bool:
        """Whether it is so in some process."""
        if self.size == 1:
            return mine
        told = torch.tensor([float(mine)], device=device)
        dist.all_reduce(told)
        return bool(told > 0)

    def agree(self, value: float, device: torch.device) -> float:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        told: Tensor = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(told, 0)
        return float(told)


def start_world() -> World:
    """Join the processes of `torchrun`, where it started this one: NCCL on GPUs, gloo on CPUs."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return World(dist.get_rank(), size)


def end_world() -> None:
    """Leave the group, where there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
