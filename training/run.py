"""A run of the optimiser: step after step until the budget is spent, with checkpoints, curves and contact sheets beside it."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.checkpoint import checkpoint_facts, load_checkpoint, save_checkpoint
from training.sheet import contact_sheet, save_sheet
from training.trainer import Probe, Trainer
from visualdub.errors import Interrupted, VisualDubError

SAVE_SECONDS = 60.0  # between checkpoints, contact sheets and measurements, at most
LOOKS = 10  # measurements in a run that is shorter than `LOOKS` times `SAVE_SECONDS`
SHOWN = 6  # columns of a contact sheet
CHECKPOINT, BEST, SHEET, LOSSES, CONFIG = "checkpoint.safetensors", "best.safetensors", "sheet.png", "losses.csv", "config.json"


@dataclass(frozen=True)
class Status:
    """Where a run stands, for whoever shows it."""

    step: int
    progress: float  # 0..1 of the run
    losses: dict[str, float]  # running means
    psnr: float | None  # dB inside the mask on held-out frames, None before the first measurement or without any
    rate: float  # steps per second of this session
    seconds_left: float


Show = Callable[[Status], None]
Count = Callable[[str, int, int], None]  # stage, done, total
Log = Callable[[int, dict[str, float]], None]  # step, everything measured


class Run:
    """One training, resumed where an earlier one of the same fingerprint stopped."""

    def __init__(self, folder: Path, trainer: Trainer, fingerprint: str, probes: Sequence[Probe], shown: Probe | None = None,
                 began: float | None = None, log: Log | None = None, save_seconds: float = SAVE_SECONDS) -> None:
        """folder: of checkpoint, curves and sheet. probes: what is measured; shown: what the sheet shows where there are none.

        began: `time.monotonic()` of when the budget's clock started.
        """
        self.folder, self.trainer, self.fingerprint = folder, trainer, fingerprint
        self.probes, self.shown, self.log = list(probes), shown, log
        self.metrics: dict[str, float] = {}
        self.means: dict[str, float] = {}
        self.best, self.best_step, self.without_gain = float("-inf"), 0, 0
        self.resumed_at = 0
        self._spent_before, self._began = 0.0, time.monotonic() if began is None else began
        budget = 60 * (trainer.config.minutes or float("inf"))
        self._pause = min(save_seconds, max(1.0, budget / LOOKS))
        self._checkpoint = folder / CHECKPOINT
        if trainer.world.first:
            trainer.config.save(folder / CONFIG)
        if self._checkpoint.is_file() and checkpoint_facts(self._checkpoint).get("fingerprint") == fingerprint:
            facts = load_checkpoint(self._checkpoint, trainer.modules, trainer.optimisers, trainer.rng)
            trainer.step_count = self.resumed_at = int(facts["step"])
            self._spent_before, self.means = float(facts["seconds"]), dict(facts["means"])
            self.best, self.best_step, self.without_gain = facts["best"], int(facts["best_step"]), int(facts["without_gain"])

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
        """Spend the budget, or end early where the held-out frames stop gaining; leave the best averaged weights.

        Raises `Interrupted` on Ctrl-C once the checkpoint is written, `VisualDubError` where the memory does not suffice.
        """
        saved = started = time.monotonic()
        try:
            if self.trainer.step_count == 0:
                self.look()
            while (progress := self.progress) < 1 and not self.settled:
                for name, value in self.trainer.step(progress).items():
                    self.means[name] = 0.95 * self.means.get(name, value) + 0.05 * value
                if time.monotonic() - saved > self._pause and self.trainer.world.first:
                    self.look()
                    self.save()
                    saved = time.monotonic()
                if show is not None:
                    show(self._status(started))
            self.look()
            self._restore_best()
        except KeyboardInterrupt:
            self.save()
            raise Interrupted(f"stopped after {self.trainer.step_count} steps; "
                              f"the same command goes on from {self._checkpoint}") from None
        except (torch.cuda.OutOfMemoryError, MemoryError) as e:
            self.save()
            raise VisualDubError(f"out of memory after {self.trainer.step_count} steps; the run is saved in {self._checkpoint}: "
                                 "lower --batch and raise --accumulate as much, or take --size small, and run it again") from e

    @property
    def settled(self) -> bool:
        """The held-out frames have not gained for the run's patience."""
        patience = self.trainer.config.patience
        return bool(patience) and self.without_gain >= patience

    def _status(self, started: float) -> Status:
        rate = (self.trainer.step_count - self.resumed_at) / max(time.monotonic() - started, 1e-6)
        steps, minutes = self.trainer.config.steps, self.trainer.config.minutes
        left = (steps - self.trainer.step_count) / rate if steps else 60 * (minutes or 0) - self.seconds
        return Status(self.trainer.step_count, self.progress, self.means, self.metrics.get("psnr_mask"), rate, max(0.0, left))

    # ---- looking at it ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Measure, write the contact sheet and a line of losses; keep the weights where they are the best so far."""
        if not self.trainer.world.first:
            return
        self.metrics = self._measure()
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
            self.best, self.best_step, self.without_gain = psnr, self.trainer.step_count, 0
            save_file({k: v.detach().cpu().contiguous().clone() for k, v in self._exported().items()}, self.folder / BEST)

    def _measure(self) -> dict[str, float]:
        """Means over the probes; the contact sheet is written on the way."""
        results, columns = [], []
        for probe in self.probes or ([self.shown] if self.shown else []):
            metrics, drawn = self.trainer.measure(probe)
            results.append(metrics)
            middle = self.trainer.config.generator.window // 2
            w = probe.windows
            columns += [(w.frames[i, middle], drawn.rgb[i, middle], drawn.sampled[i, middle], w.mask[i, middle])
                        for i in range(len(w))]
        if columns:
            chosen = [columns[k * len(columns) // min(SHOWN, len(columns))] for k in range(min(SHOWN, len(columns)))]
            save_sheet(contact_sheet(*(torch.stack(c) for c in zip(*chosen, strict=True))), self.folder / SHEET)
        return {k: sum(r[k] for r in results) / len(results) for k in results[0]} if self.probes else {}

    def _exported(self) -> dict[str, Tensor]:
        """The averaged weights: what is exported."""
        parts: dict[str, nn.Module] = {"averaged": self.trainer.averaged, "texture": self.trainer.averaged_texture}
        return {f"{name}/{k}": v for name, module in parts.items() for k, v in module.state_dict().items()}

    def _restore_best(self) -> None:
        """Put the best averaged weights back where the last ones are worse: never worse than where the run started."""
        if not self.metrics or self.metrics["psnr_mask"] >= self.best or not (self.folder / BEST).is_file():
            return
        stored = load_file(self.folder / BEST)
        with torch.no_grad():
            for name, value in self._exported().items():
                value.copy_(stored[name])
        self.metrics = self._measure()

    def save(self) -> None:
        """Write the checkpoint."""
        if not self.trainer.world.first:
            return
        facts = {"fingerprint": self.fingerprint, "step": self.trainer.step_count, "seconds": self.seconds, "means": self.means,
                 "best": self.best, "best_step": self.best_step, "without_gain": self.without_gain}
        save_checkpoint(self._checkpoint, self.trainer.modules, self.trainer.optimisers, self.trainer.rng, facts)
