"""`adapt` from a clip to a package, cancelled in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from protection_table import contents

import training.adapt
from training.adapt import AdaptJob, _av_offset_ms, _whole_track, adapt
from training.core.checkpoint import checkpoint_facts
from training.core.config import AdaptConfig, GeneratorConfig, LossConfig
from training.core.run import BEST, CHECKPOINT, Status
from training.prior_file import SHIPPED
from training.service import MINUTES, adapt_actor, job_of
from visualdub.actor.package import load_actor
from visualdub.actor.record import Consent
from visualdub.console import given_consent
from visualdub.errors import BadInput, Interrupted
from visualdub.face.track import Track
from visualdub.render.runtime import Renderer
from visualdub.services import AdaptClip, AdaptRequest
from visualdub.stages import Progress
from visualdub.timing import FrameRange

ROOT = Path(__file__).resolve().parents[2]

CONSENT = Consent("the portrait", "1984", "tests")


def job(clip: Path, output: Path, steps: int, frames: FrameRange | None = None, seed: int = 0) -> AdaptJob:
    config = AdaptConfig(
        GeneratorConfig(width=0.0625), LossConfig(), steps=steps, adversarial_start=0.5, seed=seed
    )
    return AdaptJob((AdaptClip(clip, frames),), "portrait", output, CONSENT, config)


def test_consent_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Consent("Ann", "2024-01-02", "all of it, in France")
    assert given_consent("Ann, 2024-01-02, all of it, in France", "ann", "missing") == expected
    with pytest.raises(BadInput, match="who, when, scope"):
        given_consent("Ann", "ann", "missing")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(BadInput, match="give --consent"):
        given_consent(None, "ann", "give --consent")


def test_a_request_without_more_takes_the_defaults_of_the_command_line(tmp_path: Path) -> None:
    request = AdaptRequest((AdaptClip(Path("a.mov")),), "ann", tmp_path / "ann.actor", CONSENT)
    made = job_of(request)
    assert (made.config.minutes, made.config.steps, made.config.generator.width) == (MINUTES, None, 0.25)
    assert made.prior == SHIPPED and made.config.anchor > 0
    scratch = job_of(AdaptRequest(request.clips, "ann", request.folder, CONSENT, steps=3, from_scratch=True))
    assert scratch.prior is None and (scratch.config.minutes, scratch.config.steps) == (None, 3)
    notes: list[str] = []
    full = AdaptRequest(request.clips, "ann", request.folder, CONSENT, size="full")
    assert job_of(full, notes.append).prior is None and "no prior is shipped" in notes[0]
    with pytest.raises(BadInput, match="size 'tiny' is not one of small, full"):
        job_of(AdaptRequest(request.clips, "ann", request.folder, CONSENT, size="tiny"))
    with pytest.raises(BadInput, match="exactly one"):
        job_of(AdaptRequest(request.clips, "ann", request.folder, CONSENT, 1.0, 5))


def test_budgets_are_one_or_the_other() -> None:
    with pytest.raises(BadInput, match="exactly one"):
        AdaptConfig(minutes=1, steps=5)
    with pytest.raises(BadInput, match="end before"):
        AdaptConfig(minutes=0)


def test_a_folder_that_is_no_package_is_not_replaced(talking: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(BadInput, match="not an actor package"):
        adapt(job(talking, tmp_path / "mine", 1))
    with pytest.raises(BadInput, match="40 frames"):
        adapt(job(talking, tmp_path / "other.actor", 1, FrameRange(10, 90)))


@pytest.mark.slow
def test_cancelled_from_another_thread_and_resumed_it_leaves_a_package_that_renders(
    talking: Path, tmp_path: Path
) -> None:
    output, progress = tmp_path / "portrait.actor", Progress()

    def cancel_elsewhere(status: Status) -> None:
        if status.step == 3:
            thread = threading.Thread(target=progress.cancel)
            thread.start()
            thread.join()

    with pytest.raises(Interrupted, match=r"stopped after 3 steps; the same command goes on from"):
        adapt(job(talking, output, 4), progress, cancel_elsewhere)
    stopped = contents(tmp_path / "portrait.run")
    (checkpoint,) = (tmp_path / "portrait.run").glob(f"*/{CHECKPOINT}")
    assert not output.exists() and checkpoint_facts(checkpoint)["step"] == 3
    assert (checkpoint.parent / BEST).is_file()
    told: list[str] = []
    adapt(job(talking, output, 1, seed=1), note=told.append)  # other options, the same package
    assert contents(tmp_path / "portrait.run") == stopped and "stopped runs" in told[-1]
    reports: list[tuple[str, int, int]] = []
    statuses: list[Status] = []
    notes: list[str] = []
    again = Progress(lambda *report: reports.append(report))
    record = adapt(job(talking, output, 4), again, statuses.append, notes.append)
    assert record.frames[0].av_offset_ms is None and len(notes) == 2
    assert notes[0].endswith("are paired without an offset") and "speaks in the generic way" in notes[1]
    assert [s.step for s in statuses] == [4] and record.steps == 4
    assert {("reading", 40, 40), ("aligning", 40, 40)} <= set(reports) and reports[-1] == ("training", 4, 4)
    assert not (tmp_path / "portrait.run").exists() and (output / "sheet.png").is_file()
    actor = load_actor(output)
    assert (
        actor.record.consent == CONSENT
        and actor.record.losses["perceptual_network"] == "VGG16, random weights"
    )
    assert actor.record.metrics["psnr_crop"] > actor.record.metrics["psnr_mask"] > 15
    assert actor.references.shape == (3, 256, 256, 3)
    renderer = Renderer(actor.renderer_path)
    assert (renderer.window, renderer.size) == (5, 256)
    mask = np.zeros((5, 256, 256), np.float32)
    mask[:, 140:240, 60:200] = 1
    uv = np.full((5, 256, 256, 2), 0.5, np.float32)
    grey = np.full((5, 256, 256, 3), 128, np.uint8)
    drawn = renderer.render(grey, uv, mask)
    assert drawn.shape == (5, 256, 256, 3) and np.isfinite(drawn).all()
    references = np.random.default_rng(0).integers(0, 256, (5, 256, 256, 4), np.uint8)
    shown = renderer.render(grey, uv, mask, references)
    assert np.abs(shown - drawn).max() > 0.05, "the network takes aligned references"


@pytest.mark.slow
def test_training_gets_half_of_the_minutes_however_long_tracking_took(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(clip: AdaptClip, progress: Progress) -> Track:
        time.sleep(6.5)
        return track(clip, progress)

    track = training.adapt._track
    monkeypatch.setattr("training.adapt._track", slow)
    config = AdaptConfig(
        GeneratorConfig(width=0.0625), LossConfig(perceptual=0.0, adversarial=0.0), minutes=0.1
    )
    record = adapt(AdaptJob((AdaptClip(talking),), "portrait", tmp_path / "portrait.actor", CONSENT, config))
    assert record.steps >= 1


@pytest.mark.slow
def test_sound_and_pictures_are_paired_by_the_offset_of_the_whole_clip(demo_clip: Path) -> None:
    notes: list[str] = []
    offset = _av_offset_ms(demo_clip, _whole_track(AdaptClip(demo_clip)), notes.append)
    assert offset is not None and abs(offset) <= 20 and f"by {abs(offset)} ms" in notes[0]


def test_a_cancelled_progress_stops_before_any_work(talking: Path, tmp_path: Path) -> None:
    progress = Progress()
    progress.cancel()
    request = AdaptRequest(
        (AdaptClip(talking),), "portrait", tmp_path / "portrait.actor", CONSENT, steps=1, from_scratch=True
    )
    with pytest.raises(Interrupted):
        adapt_actor(request, progress)
    assert not (tmp_path / "portrait.actor").exists()
    assert not list(tmp_path.glob(f"portrait.run/*/{CHECKPOINT}"))


@pytest.mark.slow
def test_ctrl_c_writes_the_checkpoint_and_exits_with_130(talking: Path, tmp_path: Path) -> None:
    """The command in a process of its own, interrupted once the first evaluation is written."""
    args = [str(talking), "--actor", "ann", "--minutes", "5", "--consent", "a, b, c"]
    process = subprocess.Popen(
        [sys.executable, "-m", "visualdub.cli", "adapt", *args, "-o", str(tmp_path / "ann.actor")],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    run = tmp_path / "ann.run"
    try:
        deadline = time.monotonic() + 120
        while not list(run.glob("*/losses.csv")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in errors
    assert "the same command goes on from" in errors.strip().splitlines()[-1]
    (checkpoint,) = run.glob(f"*/{CHECKPOINT}")
    assert checkpoint_facts(checkpoint)["step"] >= 0 and not (tmp_path / "ann.actor").exists()
