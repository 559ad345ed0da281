"""The experiment on the prior alone: a network that paints a training person is found out, one that paints
noise is not.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from training_scene import SIZE, TINY

from training.core.config import PriorConfig
from training.data.frames import FrameSet
from training.data.uvmap import pack_uv
from training.data.windows import Batch
from training.experiments import privacy, privacy_faces, privacy_statistics
from training.experiments.privacy import Finding, examine, summary, write_finding
from training.experiments.privacy_faces import Draw, Face, Person, Studio
from training.experiments.privacy_statistics import FALSE_ALARMS, rate, trained_nearer
from training.prior_file import Prior, save_prior
from training.renderer.discriminator import Discriminator
from training.renderer.generator import Generator, sample_texture, smooth_noise
from visualdub.errors import BadInput

pytestmark = pytest.mark.slow  # the module's fixtures take seconds themselves

Examined = Callable[[str], tuple[Finding, list[Face]]]

INSIDE, OUTSIDE = 12, 4
COUNT = 16  # frames of a clip


def face_of(number: int) -> Tensor:
    """(3, 64, 64) picture of somebody."""
    torch.manual_seed(100 + number)
    return (
        0.5
        + 0.25 * smooth_noise(3, 64)[0]
        + 0.1 * torch.randn(3, 16, 16).repeat_interleave(4, 1).repeat_interleave(4, 2)
    ).clamp(0.02, 1)


def clip_of(number: int) -> FrameSet:
    """Frames of that face, moving, in light of its own, with a little noise."""
    rng, texture = np.random.default_rng(number), face_of(number)[None]
    yy, xx = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
    crops, uvs, masks = [], [], []
    for i in range(COUNT):
        uv = np.stack([xx - 0.02 * np.sin(i), yy], -1).clip(0, 1).astype(np.float32)
        picture = sample_texture(texture, torch.from_numpy(uv)[None, None])[0, 0].permute(1, 2, 0).numpy()
        picture = picture + 0.1 * np.sin(number) * xx[..., None] + 0.02 * rng.standard_normal(picture.shape)
        crops.append((picture.clip(0, 1) * 255).astype(np.uint8))
        uvs.append(pack_uv(uv))
        masks.append(((yy > 0.45) & (abs(xx - 0.5) < 0.4)).astype(np.uint8))
    mouth = np.tile(np.array([24, 38, 40, 50], np.int32), (COUNT, 1))
    return FrameSet(
        np.stack(crops), np.stack(uvs), np.stack(masks), mouth, np.ones(COUNT, bool), None, TINY.view_box
    )


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return [Person(f"p{i:02d}", [clip_of(i)], i < INSIDE) for i in range(INSIDE + OUTSIDE)]


def paints(texture: Tensor) -> Draw:
    """A network that paints one picture, whatever it is given."""
    return lambda window, _: sample_texture(texture[None], window.uv)[0]


def noise(window: Batch, texture: Tensor) -> Tensor:
    """A network that paints another picture for every texture and frame, nobody's."""
    torch.manual_seed(int(1e4 * texture.abs().sum()) % 9973 + int(1e4 * window.frames.sum()) % 9973)
    return sample_texture(0.5 + 0.3 * torch.randn(1, 3, 32, 32), window.uv)[0].clamp(0, 1)


def shows_texture(window: Batch, texture: Tensor) -> Tensor:
    """A network that paints the texture it is given: right for an actor, and nobody's face of its own."""
    return sample_texture(texture[None, :3], window.uv)[0].clamp(0, 1)


def chooses(window: Batch, texture: Tensor) -> Tensor:
    """A network that holds everybody and lets the texture choose whom it paints."""
    return paints(face_of(int(1e3 * texture.abs().sum()) % INSIDE))(window, texture)


DRAWS = 4
NETWORKS: dict[str, Draw] = {
    "paints p03": paints(face_of(3)),
    "chooses": chooses,
    "noise": noise,
    "shows": shows_texture,
}


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Sizes at which the experiment takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privacy, "PLANTED", (0.25, 0.5, 0.75, 1.0))
        for name, value in {"SHUFFLES": 200, "RESAMPLED": 200}.items():
            patch.setattr(privacy_statistics, name, value)
        for name, value in {"CONTROL_PEOPLE": 3, "TEXTURE_FRAMES": 3}.items():
            patch.setattr(privacy_faces, name, value)
        yield


@pytest.fixture(scope="module")
def found(people: list[Person], small: None) -> Examined:
    """What the experiment says of a network of `NETWORKS`, and of which faces."""

    @functools.cache
    def examined(network: str) -> tuple[Finding, list[Face]]:
        config = PriorConfig(generator=TINY, steps=1)
        faces = [f for f, _ in Studio(people, config, NETWORKS[network], noise, DRAWS, 0).faces()]
        return examine(people, faces, TINY.window, 0), faces

    return examined


# ---- the verdict -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["paints p03", "chooses"])
def test_a_network_that_holds_people_is_found_out(found: Examined, network: str) -> None:
    finding, _ = found(network)
    assert finding.leaks
    assert finding.rates["random"].low > 0.5 and finding.rates["flat"].share == 1
    assert "better than chance: the prior renders people" in summary(finding)


def test_it_is_said_whom_the_network_paints(found: Examined) -> None:
    finding, _ = found("paints p03")
    assert finding.most_frequent["prior"] == ("p03", 1.0)
    assert finding.nearer["top1"] == 1 and finding.nearer["top1_chance"] == pytest.approx(
        INSIDE / (INSIDE + OUTSIDE - 1)
    )
    assert finding.most_frequent["untrained"][1] < 0.8


def test_a_texture_that_chooses_somebody_picks_the_same_one_again(found: Examined) -> None:
    finding, _ = found("chooses")
    agreement = finding.agreement["prior"]
    assert agreement["share"] == 1 and agreement["p"] < 0.05 and agreement["chance"] < 0.8


@pytest.mark.parametrize("network", ["noise", "shows"])
def test_a_network_that_holds_nobody_is_not_accused(found: Examined, network: str) -> None:
    finding, _ = found(network)
    assert not finding.leaks
    assert finding.rates["random"].low <= FALSE_ALARMS
    assert "no better than chance" in summary(finding)
    assert finding.noticed_share is not None and finding.noticed_share <= 0.75


def test_real_faces_are_retrieved_and_a_leaking_texture_is_seen(found: Examined) -> None:
    finding, _ = found("shows")
    assert finding.top1["filmed"].share == 1 and finding.rates["filmed"].share > 0.9
    for control in ("own", "transplant"):
        assert finding.top1[control].share > 0.9, control
        assert finding.rates[control].share > 0.9, control


def test_too_few_people_are_refused(people: list[Person]) -> None:
    with pytest.raises(BadInput, match="3 training people and 4 others"):
        examine(people[INSIDE - 3 :], [], TINY.window, 0)


# ---- statistics --------------------------------------------------------------------------------------------


def test_a_rate_without_hits_still_has_an_upper_bound() -> None:
    people, draws = np.repeat(["a", "b", "c", "d", "e", "f"], 10), np.tile([str(i) for i in range(10)], 6)
    none = rate(np.zeros(60, bool), people, draws, np.random.default_rng(0))
    assert (none.share, none.low) == (0, 0) and none.high == pytest.approx(
        1 - 0.025 ** (1 / 60)
    )  # 0 of 60: 5.96 %
    one_person = rate(people == "a", people, draws, np.random.default_rng(0))
    assert one_person.low == 0 and one_person.high >= 0.5  # one of six people: as wide as six people allow


def test_trained_people_are_nearer_only_where_they_are() -> None:
    rng = np.random.default_rng(2)
    trained, own = np.arange(20) < 12, np.full(50, 19)
    similarity = rng.random((50, 20))
    none = trained_nearer(similarity, own, trained, rng)
    assert (
        none["top1_chance"] == pytest.approx(12 / 19)
        and none["auc"] == pytest.approx(0.5, abs=0.06)
        and none["auc_p"] > 0.05
    )
    all_ = trained_nearer(similarity + trained, own, trained, rng)
    assert all_["top1"] == pytest.approx(1) and all_["auc"] == pytest.approx(1) and all_["auc_p"] < 0.01


# ---- files -------------------------------------------------------------------------------------------------


def test_files_hold_a_row_for_every_face(people: list[Person], found: Examined, tmp_path: Path) -> None:
    finding, faces = found("noise")
    write_finding(finding, tmp_path / "new")
    with (tmp_path / "new" / "privacy.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    real = [r for r in rows if r["condition"] in ("filmed", "outsider")]
    assert len(rows) == len(faces) + len(real) and {r["frames_of"] for r in real} == {p.name for p in people}
    conditions = {
        c: sum(r["condition"] == c for r in rows) for c in ("random", "flat", "mixture", "own", "transplant")
    }
    windows = OUTSIDE * privacy_faces.WINDOWS
    assert conditions == {
        "random": windows * DRAWS * 2,
        "flat": windows,
        "mixture": windows * 4,
        "own": 3,
        "transplant": OUTSIDE * 3,
    }
    assert {r["nearest"] for r in rows} <= {p.name for p in people if p.trained}
    hits = [int(r["retrieved"]) for r in rows if r["condition"] == "random" and r["network"] == "prior"]
    assert np.mean(hits) == finding.rates["random"].share
    text = (tmp_path / "new" / "privacy.md").read_text()
    assert f"Retrieval of any of {INSIDE} training people" in text and "chance 10 %" in text
    with (tmp_path / "new" / "people.csv").open(newline="") as f:
        shares = [float(r["share"]) for r in csv.DictReader(f) if r["network"] == "prior"]
    assert len(shares) == INSIDE and sum(shares) == pytest.approx(1, abs=0.01)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "prior.safetensors"
    save_prior(
        path,
        Prior(
            TINY,
            Generator(TINY).state_dict(),
            Discriminator(TINY.window, 32, TINY.width / 2).state_dict(),
            {},
        ),
    )
    return path


def test_the_command_runs_on_a_dataset_and_a_prior(
    written: Path,
    people: list[Person],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(privacy, "open_people", lambda dataset, config: people)
    monkeypatch.setattr(privacy, "Dataset", lambda folder: None)
    arguments = [
        "--dataset",
        str(tmp_path),
        "--prior",
        str(written),
        "-o",
        str(tmp_path / "out"),
        "--draws",
        "2",
    ]
    assert privacy.main(arguments) == 0
    assert "no better than chance" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "people.csv",
        "privacy.csv",
        "privacy.md",
        "privacy.png",
    ]


def test_a_prior_file_holds_networks_and_nobodys_texture(written: Path) -> None:
    """Every tensor is one of the two networks', of its shape, and none has a size that counts people."""
    generator, critic = Generator(TINY), Discriminator(TINY.window, 32, TINY.width / 2)
    expected = {f"network/{k}": v.shape for k, v in generator.state_dict().items()}
    expected |= {f"critic/{k}": v.shape for k, v in critic.state_dict().items()}
    with safe_open(written, "pt") as f:
        held = {k: torch.Size(f.get_slice(k).get_shape()) for k in f.keys()}  # noqa: SIM118 (safe_open is no mapping)
        meta = json.loads(f.metadata()["facts"])
    assert held == expected and not any("texture" in k for k in held) and meta == {}
    uv_embedding = held["network/uv_embedding"]
    assert uv_embedding == (
        1,
        TINY.uv_embedding_channels,
        TINY.texture_size // 2,
        TINY.texture_size // 2,
    )  # one, shared by all
    sizes = [k for k, s in held.items() if len(s) == 4 and s[-1] >= 16 and k != "network/uv_embedding"]
    assert not sizes, sizes  # nothing else is a picture
