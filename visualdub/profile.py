"""How long each stage took, and what memory the process reached."""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class StageTime:
    """Seconds spent inside one stage, and how many frames it saw."""

    seconds: float = 0.0
    frames: int = 0


class StageClock:
    """Adds up time per named stage, over threads. Stages that overlap add up to more than the wall clock."""

    def __init__(self) -> None:
        self.stages: dict[str, StageTime] = {}
        self.start_up = 0.0  # seconds before the first frame of the work was asked for
        self._begun = time.perf_counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def stage(self, name: str, frames: int = 1) -> Iterator[None]:
        """Count the block's wall time, and `frames` frames, under `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - begun, frames)

    def add(self, name: str, seconds: float, frames: int) -> None:
        """Add what was measured elsewhere."""
        with self._lock:
            entry = self.stages.setdefault(name, StageTime())
            entry.seconds += seconds
            entry.frames += frames

    def started(self) -> None:
        """Everything up to here was start-up: loading models, compiling kernels, opening files."""
        self.start_up = time.perf_counter() - self._begun

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made, start-up included."""
        return time.perf_counter() - self._begun

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Per stage: seconds, frames and frames/s."""
        return {name: {"seconds": round(s.seconds, 3), "frames": s.frames, "fps": round(s.frames / max(s.seconds, 1e-9), 1)}
                for name, s in self.stages.items()}


def peak_memory_mib() -> float:
    """Most resident memory this process has held so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
