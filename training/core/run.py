"""A run of the optimiser: step after step until the budget is spent, with checkpoints, curves and contact
sheets beside it.
"""

from __future__ import annotations

import contextlib
import csv
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.core.checkpoint import checkpoint_facts, load_checkpoint, save_checkpoint
from training.core.config import WIDTHS, RunConfig
from training.core.sheet import contact_sheet, save_sheet
from training.core.trainer import Probe, Trainer
from visualdub.errors import BadInput, Interrupted, VisualDubError
from visualdub.storage import atomic_path

SAVE_SECONDS = 60.0  # between checkpoints, contact sheets and measurements, at most
LOOKS = 10  # measurements in a run that is shorter than `LOOKS` times `SAVE_SECONDS`
SHOWN = 6  # columns of a contact sheet
CHECKPOINT, BEST, SHEET, LOSSES, CONFIG = (
    "checkpoint.safetensors",
    "best.safetensors",
    "sheet.png",
    "losses.csv",
    "config.json",
)


@dataclass(frozen=True)
class Status:
    """Where a run stands, for whoever shows it."""

    step: int
    progress: float  # 0..1 of the run
    losses: dict[str, float]  # running means
    psnr: (
        float | None
    )  # dB inside the mask on held-out frames, None before the first measurement or without any
    rate: float  # steps per second of this session
    seconds_left: float


Show = Callable[[Status], None]
Count = Callable[[str, int, int], None]  # stage, done, total
Log = Callable[[int, dict[str, float]], None]  # step, everything measured


class Asked:
    """Whether the user asked the run to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextlib.contextmanager
def between_steps() -> Iterator[Asked]:
    """Ctrl-C and SIGTERM wait for the end of the step, so that a checkpoint never holds half of one; a second
    Ctrl-C does not.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signals
        yield asked
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if asked.asked:
            raise KeyboardInterrupt
        asked.asked = True

    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def enough_memory(config: RunConfig) -> Iterator[None]:
    """Say what to lower where the memory does not even hold what a run begins with. Raises
    `VisualDubError`.
    """
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError) as e:
        raise VisualDubError(f"out of memory before the first step: {_lower(config)}") from e


def _lower(config: RunConfig) -> str:
    """What takes less memory."""
    if config.batch > 1:
        return "lower --batch and raise --accumulate as much"
    return (
        "take a smaller --size"
        if config.generator.width > min(WIDTHS.values())
        else "end other programs, or give fewer clips"
    )


def require_own_run(folder: Path, fingerprint: str) -> None:
    """Raise `BadInput` where hours of another run would be written over."""
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file() and checkpoint_facts(checkpoint).get("fingerprint") != fingerprint:
        raise BadInput(
            f"{checkpoint} belongs to another training (other options, size, dataset or number of windows a"
            " step); give another -o, or remove that folder"
        )


class Run:
    """One training, resumed where an earlier one of the same fingerprint stopped."""

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        fingerprint: str,
        probes: Sequence[Probe],
        shown: Probe | None = None,
        began: float | None = None,
        log: Log | None = None,
        save_seconds: float = SAVE_SECONDS,
    ) -> None:
        """folder: of checkpoint, curves and sheet. probes: what is measured; shown: what the sheet shows
        where there are none.

        began: `time.monotonic()` of when the budget's clock started. Raises `BadInput` where `folder` holds
        the checkpoint of another run: it is never written over.
        """
        self.folder, self.trainer, self.fingerprint = folder, trainer, fingerprint
        self.probes, self.shown, self.log = list(probes), shown, log
        self.metrics: dict[str, float] = {}
        self.means: dict[str, float] = {}
        self.started = self.best = float(
            "-inf"
        )  # dB inside the mask on the held-out frames, before the first step and at best
        self.best_step, self.without_gain = 0, 0
        self.resumed_at = 0
        self._spent_before, self._began = 0.0, time.monotonic() if began is None else began
        budget = 60 * (trainer.config.minutes or float("inf"))
        self._pause = min(save_seconds, max(1.0, budget / LOOKS))
        self._checkpoint = folder / CHECKPOINT
        require_own_run(folder, fingerprint)
        if trainer.world.first:
            folder.mkdir(parents=True, exist_ok=True)
            trainer.config.save(folder / CONFIG)
        if self._checkpoint.is_file():
            facts = load_checkpoint(self._checkpoint, trainer.modules, trainer.optimisers, trainer.rng)
            trainer.step_count = self.resumed_at = int(facts["step"])
            self._spent_before, self.means = float(facts["seconds"]), dict(facts["means"])
            self.started, self.best = float(facts["started"]), float(facts["best"])
            self.best_step, self.without_gain = int(facts["best_step"]), int(facts["without_gain"])
            trainer.dtype = getattr(torch, facts["precision"])
        elif trainer.world.first:  # of a session of this run that ended before its first checkpoint
            for left_over in (folder / LOSSES, folder / BEST):
                left_over.unlink(missing_ok=True)

    @property
    def seconds(self) -> float:
        """Spent on this run so far, sessions before a resume included."""
        return self._spent_before + time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """0..1."""
        config = self.trainer.config
        if config.steps is not None:
            return min(1.0, self.trainer.step_count / config.steps)
        mine = min(1.0, self.seconds / (60 * (config.minutes or 1)))
        return self.trainer.world.agree(mine, self.trainer.device)

    def train(self, show: Show | None) -> None:
        """Spend the budget, or end early where the held-out frames stop gaining; leave the best averaged
        weights.

        Raises `Interrupted` on Ctrl-C once the checkpoint is written, `VisualDubError` where the memory does
        not suffice.
        """
        with between_steps() as stopped:
            self._train(show, stopped)

    def _train(self, show: Show | None, stopped: Asked) -> None:
        saved = started = time.monotonic()
        try:
            if self.trainer.step_count == 0:
                self.look()
                self.started = self.metrics.get("psnr_mask", self.started)
            world, device = self.trainer.world, self.trainer.device
            while (progress := self.progress) < 1 and not world.any(self.settled, device):
                for name, value in self.trainer.step(progress).items():
                    self.means[name] = 0.95 * self.means.get(name, value) + 0.05 * value
                if time.monotonic() - saved > self._pause and self.trainer.world.first:
                    self.look()
                    self.save()
                    saved = time.monotonic()
                if show is not None:
                    show(self._status(progress, started))
                if world.any(stopped.asked, device):
                    raise KeyboardInterrupt
            self.look()
            if self.trainer.config.keep_best:
                self._restore_best()
        except KeyboardInterrupt:
            self.save()
            raise Interrupted(
                f"stopped after {self.trainer.step_count} steps; "
                f"the same command goes on from {self._checkpoint}"
            ) from None
        except (torch.cuda.OutOfMemoryError, MemoryError) as e:
            self.save()
            raise VisualDubError(
                f"out of memory after {self.trainer.step_count} steps; the run is saved in"
                f" {self._checkpoint}: {_lower(self.trainer.config)}, and run it again"
            ) from e
        except VisualDubError:
            self.save()  # a damaged shard, say: what was learned so far is not lost
            raise

    @property
    def settled(self) -> bool:
        """The held-out frames have not gained for the run's patience."""
        patience = self.trainer.config.patience
        return bool(patience) and self.without_gain >= patience

    def _status(self, progress: float, started: float) -> Status:
        rate = (self.trainer.step_count - self.resumed_at) / max(time.monotonic() - started, 1e-6)
        steps, minutes = self.trainer.config.steps, self.trainer.config.minutes
        left = (steps - self.trainer.step_count) / rate if steps else 60 * (minutes or 0) - self.seconds
        return Status(
            self.trainer.step_count, progress, self.means, self.metrics.get("psnr_mask"), rate, max(0.0, left)
        )

    # ---- looking at it -------------------------------------------------------------------------------------

    def look(self) -> None:
        """Measure, write the contact sheet and a line of losses; keep the weights where they are the best so
        far.
        """
        if not self.trainer.world.first:
            return
        self.metrics = self.measure()
        row = {"seconds": round(self.seconds, 1), **self.means, **self.metrics}
        with (self.folder / LOSSES).open("a", newline="") as f:
            csv.writer(f).writerows([(self.trainer.step_count, k, f"{v:.5g}") for k, v in row.items()])
        if self.log is not None:
            self.log(self.trainer.step_count, row)
        psnr = self.metrics.get("psnr_mask")
        if psnr is None:
            return
        self.without_gain += 1
        if psnr > self.best:
            weights = {k: v.detach().cpu().contiguous().clone() for k, v in self._exported().items()}
            with atomic_path(self.folder / BEST) as temporary:
                save_file(weights, temporary)
            self.best, self.best_step, self.without_gain = psnr, self.trainer.step_count, 0

    def measure(self) -> dict[str, float]:
        """Means over the probes; the contact sheet is written on the way."""
        results, columns = [], []
        for probe in self.probes or ([self.shown] if self.shown else []):
            metrics, drawn = self.trainer.measure(probe)
            results.append(metrics)
            middle = self.trainer.config.generator.window // 2
            w = probe.windows
            columns += [
                (w.frames[i, middle], drawn.rgb[i, middle], drawn.sampled[i, middle], w.mask[i, middle])
                for i in range(len(w))
            ]
        if columns:
            chosen = [
                columns[k * len(columns) // min(SHOWN, len(columns))] for k in range(min(SHOWN, len(columns)))
            ]
            save_sheet(
                contact_sheet(*(torch.stack(c) for c in zip(*chosen, strict=True))), self.folder / SHEET
            )
        return {k: sum(r[k] for r in results) / len(results) for k in results[0]} if self.probes else {}

    def _exported(self) -> dict[str, Tensor]:
        """The averaged weights: what is exported."""
        parts: dict[str, nn.Module] = {
            "averaged": self.trainer.averaged,
            "texture": self.trainer.averaged_texture,
        }
        return {f"{name}/{k}": v for name, module in parts.items() for k, v in module.state_dict().items()}

    def _restore_best(self) -> None:
        """Put the best averaged weights back where the last ones are worse: never worse than where the run
        started.
        """
        if not self.metrics or self.metrics["psnr_mask"] >= self.best or not (self.folder / BEST).is_file():
            return
        stored = load_file(self.folder / BEST)
        with torch.no_grad():
            for name, value in self._exported().items():
                value.copy_(stored[name])
        self.metrics = self.measure()

    def save(self) -> None:
        """Write the checkpoint."""
        if not self.trainer.world.first:
            return
        facts = {
            "fingerprint": self.fingerprint,
            "step": self.trainer.step_count,
            "seconds": self.seconds,
            "means": self.means,
            "precision": str(self.trainer.dtype).removeprefix("torch."),
            "started": self.started,
            "best": self.best,
            "best_step": self.best_step,
            "without_gain": self.without_gain,
        }
        save_checkpoint(
            self._checkpoint, self.trainer.modules, self.trainer.optimisers, self.trainer.rng, facts
        )
