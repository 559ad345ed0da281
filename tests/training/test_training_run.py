"""Runs: budgets, early stopping, the best weights, memory that does not suffice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_scene import tiny_trainer, tiny_validation

from training.core.curves import PLOT, Curves, plot_curves, read_curves
from training.core.run import BEST, CHECKPOINT, LOSSES, SHEET, Run
from training.core.trainer import Trainer
from visualdub.errors import BadInput, VisualDubError
from visualdub.stages import Progress


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in trainer.averaged.parameters()]


@pytest.mark.slow
def test_a_run_leaves_curves_and_a_sheet(tmp_path: Path) -> None:
    log = Curves(tmp_path)
    run = Run(tmp_path, tiny_trainer(steps=4), "a", [tiny_validation()], log=log)
    run.train(Progress())
    log.close(tmp_path / LOSSES)
    curves = read_curves(tmp_path / LOSSES)
    assert [step for step, _ in curves["psnr_mask"]] == [0, 4] and curves["l1"][-1][1] > 0
    assert (tmp_path / SHEET).is_file() and (tmp_path / PLOT).stat().st_size > 5000
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_plot_needs_a_table(tmp_path: Path) -> None:
    (tmp_path / LOSSES).write_text("0,psnr_mask,20\n10,psnr_mask,21.5\n10,l1,0.3\n")
    assert read_curves(tmp_path / LOSSES)["psnr_mask"] == [(0, 20.0), (10, 21.5)]
    plot_curves(tmp_path / LOSSES, tmp_path / "p.png")
    assert (tmp_path / "p.png").is_file()


@pytest.mark.slow
def test_never_worse_than_where_it_started(tmp_path: Path) -> None:
    """At a rate that destroys the network, what is left at the end is what was there before the first
    step.
    """
    trainer = tiny_trainer(steps=6, learning_rate=5.0, ema=0.0)
    before = weights(trainer)
    run = Run(tmp_path, trainer, "a", [tiny_validation()])
    run.train(Progress())
    assert run.best_step == 0 and run.metrics["psnr_mask"] == pytest.approx(run.best)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


@pytest.mark.slow
def test_it_ends_early_when_the_held_out_frames_stop_gaining(tmp_path: Path) -> None:
    trainer = tiny_trainer(steps=500, learning_rate=5.0, ema=0.0, patience=2)
    run = Run(tmp_path, trainer, "a", [tiny_validation()])
    run.train(Progress(), save_seconds=0.0)
    assert run.settled and trainer.step_count < 20


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_neither_resumed_nor_written_over(tmp_path: Path) -> None:
    run = Run(tmp_path, tiny_trainer(steps=3), "a", [tiny_validation()])
    run.train(Progress())
    run.save()
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(BadInput, match=r"checkpoint\.safetensors belongs to another training"):
        Run(tmp_path, tiny_trainer(steps=4), "b", [])
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before and tmp_path / BEST in before
    again = Run(tmp_path, tiny_trainer(steps=3), "a", [])
    assert again.trainer.step_count == 3 and again.best == run.best


@pytest.mark.slow
def test_out_of_memory_says_what_to_lower_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_trainer(steps=5, batch=2)
    run = Run(tmp_path, trainer, "a", [])
    whole = trainer.render

    def render(*args: object) -> object:
        if trainer.step_count == 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "render", render)
    with pytest.raises(VisualDubError, match="lower --batch"):
        run.train(Progress())
    assert (
        Run(tmp_path, tiny_trainer(steps=5), "a", []).trainer.step_count == 2
        and (tmp_path / CHECKPOINT).is_file()
    )
