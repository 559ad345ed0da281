"""Training in one process or many: gradients are averaged over the processes that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process and the number of processes that train together."""

    rank: int = 0
    size: int = 1
    workers: int = 0  # processes that prepare windows ahead, for each of them

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def average_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Replace each weight's gradient by its mean over all processes; a missing gradient counts as 0."""
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            if self.size > 1:
                dist.all_reduce(weight.grad)
                weight.grad /= self.size

    def share(self, mine: Tensor | None, owner: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """The tensor that process `owner` holds, in all processes. mine: in that process the tensor, of
        `shape`; None in all others.
        """
        shared = torch.empty(shape, device=device) if mine is None else mine.to(device)
        if self.size > 1:
            dist.broadcast(shared, owner)
        return shared.cpu()

    def any(self, mine: bool, device: torch.device) -> bool:
        """Whether `mine` is true in any process; all processes must ask."""
        if self.size == 1:
            return mine
        count = torch.tensor([float(mine)], device=device)
        dist.all_reduce(count)
        return bool(count > 0)

    def agree(self, value: float, device: torch.device) -> float:
        """The first process's value, in all processes."""
        if self.size == 1:
            return value
        shared: Tensor = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(shared, 0)
        return float(shared)


def start_world(workers: int = 0) -> World:
    """Join the other processes where `torchrun` started this one: with NCCL on GPUs, gloo on CPUs.

    workers: see `World`.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(workers=workers)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return World(dist.get_rank(), size, workers)


def end_world() -> None:
    """Leave the group of processes, where there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
