"""The prior as a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from training_scene import TINY, tiny_config, tiny_trainer

from training.core.config import AdaptConfig, GeneratorConfig, LossConfig
from training.prior_file import SHIPPED, Prior, check_fits, load_prior, load_weights, save_prior
from training.renderer.generator import Generator
from visualdub.errors import BadInput, OutputError


def tiny_prior(config: GeneratorConfig = TINY) -> Prior:
    trainer = tiny_trainer(seed=3, generator=config)
    return Prior(TINY, trainer.network.state_dict(), trainer.critic.state_dict(), {"people": 2})


def test_what_is_written_is_read_in_half_precision(tmp_path: Path) -> None:
    prior = tiny_prior()
    save_prior(tmp_path / "p.safetensors", prior)
    back = load_prior(tmp_path / "p.safetensors")
    assert back.config == TINY and back.facts == {"people": 2} and len(back.hash) == 64
    assert set(back.network) == set(prior.network) and set(back.critic) == set(prior.critic)
    assert all((back.network[k] - v).abs().max() <= v.abs().max() * 2**-11 for k, v in prior.network.items())


@pytest.mark.slow
def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(BadInput, match="not a prior"):
        load_prior(tmp_path / "text")
    with pytest.raises(BadInput, match="not a prior"):
        load_prior(tmp_path / "absent")
    save_file({"a": torch.zeros(1)}, tmp_path / "other", {"schema": "9"})
    with pytest.raises(BadInput, match="schema 9; this version reads schema 1"):
        load_prior(tmp_path / "other")
    meta = {"schema": "1", "face_model": "flame-1", "config": "{}", "facts": "{}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "flame", meta)
    with pytest.raises(BadInput, match="face model flame-1"):
        load_prior(tmp_path / "flame")
    with pytest.raises(OutputError, match="cannot be written"):
        save_prior(tmp_path / "text" / "p", tiny_prior())


def test_a_prior_of_another_network_says_what_differs() -> None:
    with pytest.raises(BadInput, match=r"width 0.0625 instead of 0.25"):
        check_fits(tiny_prior(), GeneratorConfig(), LossConfig(), "mine")


def test_a_prior_without_aligned_references_starts_a_network_with_them() -> None:
    earlier = replace(TINY, aligned=False)
    prior = replace(tiny_prior(earlier), config=earlier)
    check_fits(prior, TINY, LossConfig(), "mine")
    network = Generator(TINY)
    fresh = {k: v.clone() for k, v in network.state_dict().items()}
    load_weights(prior, network)
    loaded = network.state_dict()
    assert {k for k in loaded if torch.equal(loaded[k], fresh[k])} >= {"aligned_stem.weight", "aligned_share"}
    assert all(torch.equal(loaded[k], v) for k, v in prior.network.items())
    with pytest.raises(BadInput, match="aligned True instead of False"):
        check_fits(tiny_prior(), earlier, LossConfig(), "mine")


@pytest.mark.slow
def test_training_starts_from_the_prior_and_is_pulled_back_to_it() -> None:
    prior = tiny_prior()
    free, held = (tiny_trainer(prior=prior, anchor=a, seed=9) for a in (0.0, 300.0))
    assert all(torch.equal(v, prior.network[k]) for k, v in held.network.state_dict().items())
    for trainer in (free, held):
        for i in range(6):
            trainer.step(i / 6)
    moved = [
        sum(float((v - prior.network[k]).square().sum()) for k, v in t.network.state_dict().items())
        for t in (free, held)
    ]
    assert 0 < moved[1] < 0.7 * moved[0]


def test_the_shipped_prior_is_small_and_holds_networks_only() -> None:
    assert SHIPPED.stat().st_size <= 25e6
    prior = load_prior(SHIPPED)
    check_fits(prior, AdaptConfig(steps=1).generator, LossConfig(), SHIPPED.name)
    with safe_open(SHIPPED, "pt") as f:
        assert {k.split("/")[0] for k in f.keys()} == {"network", "critic"}  # noqa: SIM118 (safe_open is no mapping)
        facts = json.loads(f.metadata()["facts"])
    held_out = {
        "hdtf_hill",
        "studio_b",
        "hdtf_roskam",
        "hdtf_radio22",
        "webcam_1",
        "webcam_2",
        "stage_1",
        "stage_2",
        "stage_3",
    }
    assert not held_out & set(facts["clips_trained_on"])
    assert facts["people"] >= 20 and facts["steps"] > 0
    assert tiny_config().generator != prior.config
