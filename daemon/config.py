"""How a service is set up."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from visualdub.wire.places import run_folder

MIB = 1 << 20


def state_folder() -> Path:
    """`$VISUALDUB_STATE`, else `visualdub` in the user's folder for what programs keep. Not created."""
    chosen = os.environ.get("VISUALDUB_STATE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "visualdub" / "state"
    kept = os.environ.get("XDG_DATA_HOME")
    return (Path(kept) if kept else Path.home() / ".local" / "share") / "visualdub"


@dataclass(frozen=True)
class Config:
    """A service. Folders are made, for their owner alone."""

    roots: tuple[Path, ...]  # folders that media and results of clients may lie in
    run: Path  # sockets and the address
    state: Path  # jobs, keys, actors, frames
    tcp: str | None = None  # tcp://HOST:PORT for clients on other machines, with CURVE
    workers: int = 1
    cache_mib: int = 4096  # of finished frames
    queue: int = 256  # jobs that may be queued
    frames: int = 64  # frames that may be waited for, by all clients together
    stall_s: float = 15.0  # a worker without a sign of life for so long is killed
    keep_days: float = 30.0  # that a job is known after its end
    crashes: int = 5  # workers that may die of one job without its getting further

    @classmethod
    def default(cls, roots: tuple[Path, ...]) -> Config:
        """A service of this user."""
        return cls(roots, run_folder(), state_folder())

    @property
    def jobs_file(self) -> Path:
        """SQLite."""
        return self.state / "jobs.sqlite"

    @property
    def actors(self) -> Path:
        """The service's library."""
        return self.state / "actors"

    @property
    def cache(self) -> Path:
        """Finished frames."""
        return self.state / "frames"

    @property
    def keys(self) -> Path:
        """The service's own keys, and those of its clients."""
        return self.state / "keys"

    def job_folder(self, job: int) -> Path:
        """What the service keeps of one job."""
        return self.state / "jobs" / str(job)
