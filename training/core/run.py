"""A run of the optimiser: steps until the budget is spent, with a checkpoint, curves and a contact sheet in a
folder.
"""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.core.checkpoint import checkpoint_facts, load_checkpoint, save_checkpoint
from training.core.config import WIDTHS, RunConfig
from training.core.sheet import contact_sheet, save_sheet
from training.core.trainer import Trainer, ValidationBatch
from visualdub.errors import BadInput, Interrupted, VisualDubError
from visualdub.memory import memory_kept
from visualdub.stages import Progress
from visualdub.storage import atomic_path

SAVE_SECONDS = 60.0  # longest time between checkpoints and evaluations
EVALUATIONS = 10  # evaluations in a run that is shorter than `EVALUATIONS` times `SAVE_SECONDS`
SHEET_COLUMNS = 6  # most columns of a contact sheet
CHECKPOINT, BEST, SHEET, LOSSES, CONFIG = (
    "checkpoint.safetensors",
    "best.safetensors",
    "sheet.png",
    "losses.csv",
    "config.json",
)


@dataclass(frozen=True)
class Status:
    """How far a run is, and how good its renderer is."""

    step: int  # steps taken
    steps: int  # steps in all; an estimate where the budget is in minutes
    progress: float  # 0..1 of the run
    losses: dict[str, float]  # running means
    psnr: (
        float | None
    )  # dB inside the mask on held-out frames; None before the first evaluation or without any
    rate: float  # steps per second since the run was started or resumed
    seconds_left: float


OnStatus = Callable[[Status], None]  # gets a status after every step
Log = Callable[[int, dict[str, float]], None]  # gets a step and everything measured after it


@contextlib.contextmanager
def enough_memory(config: RunConfig) -> Iterator[None]:
    """Within the block running out of memory raises `VisualDubError`, which says what to change."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError) as e:
        raise VisualDubError(f"out of memory before the first step: {_memory_advice(config)}") from e


def _memory_advice(config: RunConfig) -> str:
    """A change that takes less memory."""
    if config.batch > 1:
        return "lower --batch and raise --accumulate as much"
    return (
        "take a smaller --size"
        if config.generator.width > min(WIDTHS.values())
        else "end other programs, or give fewer clips"
    )


def require_own_run(folder: Path, fingerprint: str) -> None:
    """Raise `BadInput` where the checkpoint of another training would be overwritten."""
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file() and checkpoint_facts(checkpoint).get("fingerprint") != fingerprint:
        raise BadInput(
            f"{checkpoint} belongs to another training (other options, size, dataset or number of windows a"
            " step); give another -o, or remove that folder"
        )


class Run:
    """One training, which resumes where an earlier one of the same fingerprint stopped."""

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        fingerprint: str,
        validation: Sequence[ValidationBatch],
        sheet_batch: ValidationBatch | None = None,
        began: float | None = None,
        log: Log | None = None,
    ) -> None:
        """folder: of checkpoint, curves and sheet. fingerprint: of everything that decides the result.
        validation: held-out frames, one batch for each person. sheet_batch: what the contact sheet shows
        where nothing is held out. began: `time.monotonic()` at which the budget's clock started, by default
        now. log: gets every evaluation.

        Raises `BadInput` where the checkpoint in `folder` cannot be read, and where it is of another run: it
        is never written over.
        """
        self.folder, self.trainer, self.fingerprint = folder, trainer, fingerprint
        self.validation, self.sheet_batch, self.log = list(validation), sheet_batch, log
        self.metrics: dict[str, float] = {}  # of the last evaluation
        self.means: dict[str, float] = {}  # running means of the losses
        # dB inside the mask on the held-out frames, before the first step and at best
        self.started = self.best = float("-inf")
        self.best_step, self.without_gain = 0, 0
        self.resumed_at = 0
        self._spent_before, self._began = 0.0, time.monotonic() if began is None else began
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
        """Seconds spent on this run so far, those before it was resumed included."""
        return self._spent_before + time.monotonic() - self._began

    @property
    def share_done(self) -> float:
        """The share of the budget that is spent, 0..1, the same in every process."""
        config = self.trainer.config
        if config.steps is not None:
            return min(1.0, self.trainer.step_count / config.steps)
        mine = min(1.0, self.seconds / (60 * (config.minutes or 1)))
        return self.trainer.world.agree(mine, self.trainer.device)

    def train(
        self, progress: Progress, on_status: OnStatus | None = None, save_seconds: float = SAVE_SECONDS
    ) -> None:
        """Train until the budget is spent or the held-out frames stop gaining; leave the best averaged
        weights.

        progress: gets the stage "training" after every step; the run stops between two steps once it is
        cancelled in any process. on_status: gets the losses and the PSNR besides. save_seconds: longest time
        between evaluations; shorter in a run of few minutes.

        Raises `Interrupted` once `progress` was cancelled and the checkpoint is written, `VisualDubError`
        where the memory does not suffice.
        """
        try:
            with memory_kept():
                self._train(progress, on_status, save_seconds)
        except Interrupted:
            self.save()
            raise Interrupted(
                f"stopped after {self.trainer.step_count} steps; "
                f"the same command goes on from {self._checkpoint}"
            ) from None
        except (torch.cuda.OutOfMemoryError, MemoryError) as e:
            self.save()
            raise VisualDubError(
                f"out of memory after {self.trainer.step_count} steps; the run is saved in"
                f" {self._checkpoint}: {_memory_advice(self.trainer.config)}, and run it again"
            ) from e
        except VisualDubError:  # such as a damaged shard: the steps taken so far are kept
            self.save()
            raise

    def _train(self, progress: Progress, on_status: OnStatus | None, save_seconds: float) -> None:
        saved = started = time.monotonic()
        budget = 60 * (self.trainer.config.minutes or float("inf"))
        pause = min(save_seconds, max(1.0, budget / EVALUATIONS))
        if self.trainer.step_count == 0:
            self.evaluate()
            self.started = self.metrics.get("psnr_mask", self.started)
        world, device = self.trainer.world, self.trainer.device
        self._require_going_on(progress)
        while (share := self.share_done) < 1 and not world.any(self.settled, device):
            for name, value in self.trainer.step(share).items():
                self.means[name] = 0.95 * self.means.get(name, value) + 0.05 * value
            if time.monotonic() - saved > pause and world.first:
                self.evaluate()
                self.save()
                saved = time.monotonic()
            status = self._status(share, started)
            if on_status is not None:
                on_status(status)
            if world.first:
                with contextlib.suppress(Interrupted):  # all processes stop together, in the next line
                    progress.report("training", status.step, status.steps)
            self._require_going_on(progress)
        self.evaluate()
        if self.trainer.config.keep_best:
            self._restore_best()

    def _require_going_on(self, progress: Progress) -> None:
        """Raise `Interrupted`, in all processes alike, once `progress` was cancelled in one of them."""
        if self.trainer.world.any(progress.cancelled, self.trainer.device):
            raise Interrupted("stopped")

    @property
    def settled(self) -> bool:
        """Whether the held-out frames have not gained for the run's patience."""
        patience = self.trainer.config.patience
        return bool(patience) and self.without_gain >= patience

    def _status(self, share: float, started: float) -> Status:
        step, config = self.trainer.step_count, self.trainer.config
        rate = (step - self.resumed_at) / max(time.monotonic() - started, 1e-6)
        if config.steps:
            steps, left = config.steps, (config.steps - step) / rate
        else:
            left = 60 * (config.minutes or 0) - self.seconds
            steps = step + max(0, round(left * rate))
        return Status(step, steps, share, self.means, self.metrics.get("psnr_mask"), rate, max(0.0, left))

    # ---- evaluation ----------------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Measure, write the contact sheet and the losses, and store the weights where they are the best so
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
        """The mean of each measure over the validation batches; writes the contact sheet, too."""
        results, columns = [], []
        middle = self.trainer.config.generator.window // 2
        for batch in self.validation or ([self.sheet_batch] if self.sheet_batch else []):
            metrics, rendered = self.trainer.measure(batch)
            results.append(metrics)
            w = batch.windows
            columns += [
                (w.frames[i, middle], rendered.rgb[i, middle], rendered.sampled[i, middle], w.mask[i, middle])
                for i in range(len(w))
            ]
        if columns:
            count = min(SHEET_COLUMNS, len(columns))
            chosen = [columns[k * len(columns) // count] for k in range(count)]
            sheet = contact_sheet(*(torch.stack(c) for c in zip(*chosen, strict=True)))
            save_sheet(sheet, self.folder / SHEET)
        return {k: sum(r[k] for r in results) / len(results) for k in results[0]} if self.validation else {}

    def _exported(self) -> dict[str, Tensor]:
        """The averaged weights, which are what is exported."""
        parts: dict[str, nn.Module] = {
            "averaged": self.trainer.averaged,
            "texture": self.trainer.averaged_texture,
        }
        return {f"{name}/{k}": v for name, module in parts.items() for k, v in module.state_dict().items()}

    def _restore_best(self) -> None:
        """Restore the best averaged weights where the last ones are worse, so that a run never ends worse
        than it started.
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
