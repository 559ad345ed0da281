"""The prior's last stage, and the measure of what a prior is worth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_scene import TINY, disc_frames

from training.core.config import LossConfig, PriorConfig, adapt_config
from training.data.packed import Dataset
from training.data.resident import ResidentSampler
from training.experiments.margin import FirstFrames, curve, later_windows, people_of
from training.meta import Adaptation, MetaConfig, adaptation_windows, move_prior, starts_within
from training.prior import starts_of
from training.prior_file import load_prior
from training.renderer.generator import Generator
from visualdub.stages import Progress

pytestmark = pytest.mark.slow  # the module's fixtures take seconds themselves

CPU = torch.device("cpu")
CONFIG = PriorConfig(
    TINY, LossConfig(crop=32, perceptual=1.0, adversarial=0.0), steps=1, segments=2, texture_frames=6
)
META = MetaConfig(minutes=1e-6, people=2, segment_steps=3, later_steps=2, batch=2)


class Alone:
    """Runs what a pool of processes would run, in this process."""

    def run(self, function, items, progress):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        return ((item, function(item)) for item in items)


def make_sampler(**changes: float) -> ResidentSampler:
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    sampler = ResidentSampler([[disc_frames(60)], [disc_frames(80)]], config, CPU)
    sampler.load(Progress())
    return sampler


def test_an_adaptation_sees_its_segment_first_and_other_frames_after_it() -> None:
    sampler, rng = make_sampler(), np.random.default_rng(0)
    segment = sampler.segments[1][0]
    steps = list(adaptation_windows(sampler, 1, 0, META, rng))
    assert [len(windows) for windows in steps] == [2] * 5
    known = {f for _, f in segment.reference_pool}
    for number, windows in enumerate(steps):
        for w in windows:
            assert w.person == 1 and w.segment == 0 and w.silent
            assert set(w.rows) <= known if number < 3 else not set(w.rows) & known
    assert (
        len({(w.mirror, w.colouring.tobytes()) for ws in steps for w in ws if w.colouring is not None}) == 1
    )


def test_neighbours_within_a_segment() -> None:
    assert starts_within([(0, 3), (0, 4), (0, 5), (0, 7), (1, 3), (1, 4), (1, 5)], 3) == [(0, 3), (1, 3)]


def test_every_adaptation_starts_from_the_given_weights() -> None:
    torch.manual_seed(0)
    sampler = make_sampler()
    adaptation = Adaptation(Generator(TINY), CONFIG, META, CPU)
    weights = [p.detach().clone() for p in adaptation.network.parameters()]
    batch = sampler.draw([0, 1])
    texture = torch.rand(1, TINY.texture_channels, TINY.texture_size, TINY.texture_size)
    ends = []
    for _ in range(2):
        adaptation.start(weights, texture)
        for _ in range(3):
            adaptation.step(batch)
        ends.append([p.detach().clone() for p in adaptation.network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert any(not torch.equal(a, w) for a, w in zip(ends[0], weights, strict=True))


def test_the_prior_moves_towards_where_adaptations_lead_and_draws_people_better() -> None:
    torch.manual_seed(0)
    sampler, network = make_sampler(mirrored=0.0, recoloured=0.0), Generator(TINY)
    before = [p.detach().clone() for p in network.parameters()]
    starts = starts_of(sampler, CONFIG, Alone(), Progress())  # type: ignore[arg-type]
    counted: list[int] = []
    progress = Progress(lambda stage, done, total: counted.append(done))
    thorough = replace(META, move=1.0, segment_steps=30, later_steps=10)
    done = move_prior(network, sampler, starts, (CONFIG, thorough, CPU), progress)
    assert done == META.people == counted[-1]
    assert any(not torch.equal(a, p) for a, p in zip(before, network.parameters(), strict=True))

    adaptation = Adaptation(network, CONFIG, META, CPU)
    losses = []
    for weights in (before, [p.detach().clone() for p in network.parameters()]):
        batch = sampler.collect(next(adaptation_windows(sampler, 0, 0, META, np.random.default_rng(5))))
        assert starts[0] is not None
        adaptation.start(weights, starts[0][:1])
        losses.append(float(adaptation._loss(batch).detach()))
    assert losses[1] < losses[0]


# ---- what a prior is worth ---------------------------------------------------------------------------------


def test_a_person_is_known_from_first_frames_and_measured_on_later_ones(few_people: Path) -> None:
    dataset = Dataset(few_people)
    config = adapt_config(False, False, steps=2)
    clip = people_of(dataset, 30, config)["carl"]
    assert people_of(dataset, 60, config) == {}
    known = FirstFrames(clip, 30)
    assert len(known) == 30 and len(known.usable) == 30 and len(known.mouth) == 30  # type: ignore[arg-type]
    assert later_windows(clip, 50, 5) == [(0, 50), (0, 55), (0, 60), (0, 65)]
    measured = curve(clip, 30, None, config, (0, 2))
    assert list(measured) == [0, 2] and 15 < measured[0] < 60 and measured[0] != measured[2]


def test_the_gpu_script_runs_on_a_cpu_and_a_second_call_only_measures(
    few_people: Path, tmp_path: Path
) -> None:
    script = Path(__file__).parents[2] / "training" / "gpu_day.sh"
    command = ["sh", str(script), str(few_people), str(tmp_path / "out"), "0.2", "1"]
    short = {
        "META": "--people 1 --segment-steps 2 --later-steps 1",
        "MARGIN": "--frames 30 --steps 0 2",
        "WORKERS": "1",
        "OMP_NUM_THREADS": "1",
    }
    environment = {**os.environ, **short, "PYTHON": sys.executable}
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=550)
        assert done.returncode == 0, done.stdout + done.stderr
    written = {p.name: p.stat().st_size for p in (tmp_path / "out").iterdir() if p.is_file()}
    assert {"first.safetensors", "prior.safetensors", "sheet.png", "margin-none.json"} <= set(written)
    assert max(written.values()) < 16_000_000
    prior = load_prior(tmp_path / "out" / "prior.safetensors")
    assert prior.facts["stages"][-1]["method"] == "Reptile" and prior.facts["people"] == 2
    for name in ("prior", "first", "none"):
        measured = json.loads((tmp_path / "out" / f"margin-{name}.json").read_text())["results"]
        assert [m["person"] for m in measured] == ["carl"] and list(measured[0]["psnr_mask"]) == ["0", "2"]
    assert "training" not in done.stdout and "adapting" not in done.stdout
