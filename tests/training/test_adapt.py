"""`adapt` from a clip to a package, stopped in between."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import training.adapt
from training.adapt import Job, Source, _offset, adapt
from training.commands import _consent
from training.core.config import AdaptConfig, GeneratorConfig, LossConfig
from training.core.run import Status
from visualdub.actor.package import load_actor
from visualdub.actor.record import Consent
from visualdub.errors import BadInput, Interrupted
from visualdub.face.track import Track
from visualdub.render.runtime import Renderer
from visualdub.timing import FrameRange

CONSENT = Consent("the portrait", "1984", "tests")


def job(clip: Path, output: Path, steps: int, frames: FrameRange | None = None) -> Job:
    config = AdaptConfig(GeneratorConfig(width=0.0625), LossConfig(), steps=steps, adversarial_start=0.5)
    return Job((Source(clip, frames),), "portrait", output, CONSENT, config)


def test_sources_are_read_with_and_without_frames(tmp_path: Path) -> None:
    assert Source.parse("a/b.mp4@3:9", "0:5", None) == Source(Path("a/b.mp4"), FrameRange(3, 9), None)
    assert Source.parse("b.mp4", "0:5", "1") == Source(Path("b.mp4"), FrameRange(0, 5), "1")
    odd = tmp_path / "x@1:2"
    odd.write_text("")
    assert Source.parse(str(odd), None, None).path == odd


def test_consent_is_needed() -> None:
    assert _consent("Ann, 2024-01-02, all of it, in France", "ann") == Consent(
        "Ann", "2024-01-02", "all of it, in France"
    )
    with pytest.raises(BadInput, match="who, when, scope"):
        _consent("Ann", "ann")


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


def test_stopped_and_resumed_it_leaves_a_package_that_draws(talking: Path, tmp_path: Path) -> None:
    output = tmp_path / "portrait.actor"

    def stop(status: Status) -> None:
        if status.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="3 steps"):
        adapt(job(talking, output, 4), stop)
    assert not output.exists() and (tmp_path / "portrait.run" / "checkpoint.safetensors").is_file()
    seen: list[Status] = []
    said: list[str] = []
    record = adapt(job(talking, output, 4), seen.append, say=said.append)
    assert (
        record.frames[0].av_offset_ms is None
        and len(said) == 2
        and said[0].endswith("audio and video are paired without an offset")
    )
    assert "speaks in the generic way" in said[1]
    assert [s.step for s in seen] == [4] and record.steps == 4
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
    drawn = renderer.render(np.full((5, 256, 256, 3), 128, np.uint8), uv, mask)
    assert drawn.shape == (5, 256, 256, 3) and np.isfinite(drawn).all()


def test_learning_gets_half_the_minutes_however_long_tracking_took(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(source: Source, count: object) -> Track:
        time.sleep(6.5)
        return track(source, None)

    track = training.adapt._track
    monkeypatch.setattr("training.adapt._track", slow)
    config = AdaptConfig(
        GeneratorConfig(width=0.0625), LossConfig(perceptual=0.0, adversarial=0.0), minutes=0.1
    )
    record = adapt(Job((Source(talking),), "portrait", tmp_path / "portrait.actor", CONSENT, config))
    assert record.steps >= 1


def test_sound_and_pictures_are_paired_by_the_offset_of_the_whole_clip(demo_clip: Path) -> None:
    said: list[str] = []
    offset = _offset(demo_clip, None, said.append)
    assert offset is not None and abs(offset) <= 20 and f"by {abs(offset)} ms" in said[0]
