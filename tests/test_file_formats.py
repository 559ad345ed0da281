"""Files on disk: those that older versions wrote are read, and no format changes without a new version.

`data/formats` holds a file of every version of every format, made from the demo's portrait. Where a format
gets a new version, a file of it is added there; those of older versions stay as they are.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from format_description import describe, drift, version
from helpers import write_wav

from visualdub.actor import load_actor
from visualdub.actor.detail import read_detail, write_detail
from visualdub.box import Box
from visualdub.cli import run
from visualdub.face.track import Track
from visualdub.face.tracker import track_clip
from visualdub.media.source import open_source
from visualdub.records import read_provenance
from visualdub.render.detail_frames import DetailFrames
from visualdub.render.runtime import Renderer

FORMATS = Path(__file__).parent / "data" / "formats"
WHOLE_CROP = Box(0, 0, 256, 256)


def vdub(*args: str | Path | int) -> None:
    """Run a command that must succeed."""
    assert run([str(a) for a in args]) == 0


def unzipped(schema: str, folder: Path) -> Path:
    """The committed actor package of a schema; zipped, because most of its weights are zeros."""
    archive = FORMATS / f"actor-{schema}.zip"
    assert archive.is_file(), f"actor packages now have schema {schema}: add a zipped one as {archive}"
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder


# ---- files of older versions -------------------------------------------------------------------------------


def test_track_1() -> None:
    track = Track.load(FORMATS / "track-1.npz")
    assert (len(track), track.start, track.rate, track.size) == (5, 4, Fraction(25), (320, 376))
    assert (track.source, track.face_model) == ("portrait.mkv", "face468-1")
    assert track.landmarks.shape == (5, 478, 3) and track.usable.all()
    np.testing.assert_allclose(track.jaw, [0.093726, 0.107883, 0.121457, 0.118815, 0.101476], atol=1e-6)
    np.testing.assert_allclose(track.expression[2, :3], [0.163851, 1.064446, -0.676785], atol=1e-6)
    np.testing.assert_allclose(track.translation[0], [165.535882, 136.323064], atol=1e-6)
    np.testing.assert_allclose(track.landmarks[0, 1], [165.69214, 154.41338, -28.233124], atol=1e-5)


def test_track_2() -> None:
    """The same frames; a track of format 2 says how its camera sees."""
    track, old = Track.load(FORMATS / "track-2.npz"), Track.load(FORMATS / "track-1.npz")
    assert (len(track), track.start, track.source_hash) == (2, 4, old.source_hash)
    assert track.camera == old.camera and track.camera.focal_length is None
    np.testing.assert_allclose(track.jaw, [0.093726, 0.107883], atol=1e-6)


def test_track_3() -> None:
    """A track of format 3 knows shots and people."""
    track = Track.load(FORMATS / "track-3.npz")
    assert (len(track), track.start, track.cuts, track.person) == (2, 4, (5,), 0)
    assert [(f.start, f.end_exclusive, f.count, f.person, f.best) for f in track.faces] == [(4, 6, 2, 0, 5)]
    (face,) = track.faces
    assert face.likeness.texels is not None and face.likeness.texels.shape == (2290, 3)
    assert face.likeness.shape.shape == (468, 3) and face.box[0] == pytest.approx(104.3, abs=1)
    assert Track.load(FORMATS / "track-2.npz").faces == () and not Track.load(FORMATS / "track-1.npz").cuts


def test_track_4() -> None:
    """A track of format 4 says what shape its clip's pixels have: here the columns of the same portrait are
    squeezed to three quarters, and its face lies where it lay.
    """
    track, old = Track.load(FORMATS / "track-4.npz"), Track.load(FORMATS / "track-3.npz")
    assert (len(track), track.start, track.cuts, track.person) == (2, 4, (5,), 0)
    assert (track.size, track.pixel_aspect, old.pixel_aspect) == ((240, 376), Fraction(4, 3), 1)
    np.testing.assert_allclose(track.landmarks[0, 1], [165.72548, 154.16185, -29.168839], atol=1e-5)
    assert track.faces[0].box == pytest.approx(old.faces[0].box, abs=1.2)


def test_actor_1(tmp_path: Path) -> None:
    actor = load_actor(unzipped("1", tmp_path / "old.actor"))
    assert actor.record.name == "portrait" and actor.record.consent.when == "1984-01-01"
    (frames,) = actor.record.frames
    assert (frames.start, frames.end_exclusive, frames.av_offset_ms) == (4, 9, 40.0)
    assert actor.identity.shape == (641, 3) and actor.rest_jaw == pytest.approx(0.00466841, abs=1e-8)
    assert actor.references.shape == (2, 256, 256, 3) and actor.references[1, 3, 9].tolist() == [9, 3, 200]
    means, deviations, seconds, model, adapter, speech_model = dataclasses.astuple(actor.style)
    assert (means[3], deviations[3], seconds, model) == (0.03, 0.53, 2.5, "face468-1")
    assert (adapter[1][2], speech_model) == (0.003, "0123456789abcdef")
    assert (actor.renderer.window, actor.renderer.size) == (5, 256)


@pytest.mark.parametrize("schema", [2, 3, 4])
def test_actor_2_to_4(schema: int, tmp_path: Path) -> None:
    """Which differ in the network alone: its precision, and whether it takes aligned references."""
    actor = load_actor(unzipped(str(schema), tmp_path / "new.actor"))
    (frames,) = actor.record.frames
    assert (actor.record.schema, frames.end_exclusive, frames.av_offset_ms) == (schema, 6, None)
    assert actor.rest_jaw == 0.01 and actor.rest_expression[-1] == 1
    means, deviations, seconds, *_ = dataclasses.astuple(actor.style)
    assert (means[3], deviations[3], seconds) == (0.06, 0.63, 3.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "mean", "deviation"),
    [
        ("1", [0.55836, 0.42500, 0.36754], 0.20283),
        ("2", [0.52400, 0.45082, 0.40442], 0.16889),
        ("3", [0.52400, 0.45082, 0.40442], 0.16889),
        ("4", [0.52400, 0.45082, 0.40442], 0.16889),
    ],
)
def test_the_network_of_an_actor_draws_what_it_drew(
    schema: str, mean: list[float], deviation: float, tmp_path: Path
) -> None:
    """Its weights and its texture, exported again; the figures are of the version that wrote them."""
    pytest.importorskip("torch", reason="the networks are read by the extras `training` and `exporters`")
    folder = unzipped(schema, tmp_path / "old.actor")
    vdub("export", folder, "--to", "onnx")
    renderer = Renderer(folder / "renderer.onnx")
    assert renderer.takes_aligned == (schema == "4")
    y, x = np.mgrid[:256, :256].astype(np.float32) / 256
    frames = np.tile(load_actor(folder).references[:1], (5, 1, 1, 1))
    uv, mask = np.tile(np.stack([x, y], -1), (5, 1, 1, 1)), np.tile((y > 0.5).astype(np.float32), (5, 1, 1))
    inside = renderer.render(frames, uv, mask)[:, 130:200, 64:192]
    np.testing.assert_allclose(inside.mean((0, 1, 2)), mean, atol=1e-3)
    assert inside.std() == pytest.approx(deviation, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_a_performance_is_drawn_as_it_says(
    number: int, talking: Path, flat_actor: Path, tmp_path: Path
) -> None:
    """The file moves frames 4 to 8 of any clip at 25 frames/s; frame 4 is left alone, frame 5 half drawn."""
    wav, out, matte = write_wav(tmp_path / "new.wav", 1.0), tmp_path / "out.mkv", tmp_path / "matte.mkv"
    performance = FORMATS / f"performance-{number}.json"
    written = ("-o", out, "--matte", matte)
    common = ("dub", talking, "--dialogue", wav, "--actor", flat_actor, "--frames", "4:9")
    vdub(*common, "--use-performance", performance, *written)
    with open_source(matte) as source:
        strongest = [int(np.asarray(f.planes[0]).max()) for f in source.frames()]
    assert strongest == [0, 128, 255, 255, 255]
    assert read_provenance(out).performance == performance.name


def test_provenance_1() -> None:
    record = read_provenance(FORMATS / "dub-1.mkv")
    assert (record.source, record.frames, record.actor, record.dialogue) == (
        "portrait.mkv",
        "4:9",
        "portrait",
        "counting_en.wav",
    )
    assert record.consent["scope"] == "tests" and record.synthetic and record.drawn == 4
    assert (record.passed[0].frames, record.watermark.payload) == ("4:5", "5b816eed")
    assert record.watermark.box == (112, 148, 218, 230)


def test_provenance_2() -> None:
    record = read_provenance(FORMATS / "dub-2.mkv")
    assert (record.source, record.frames, record.drawn) == ("portrait.mkv", "4:9", 4)
    assert record.watermark.payload == "74acce79"
    assert record.job is not None and record.job["shot"] == "622098f922f264d7fc9898417f6f6231"


def test_provenance_3() -> None:
    """It says what became of frames with something before the mouth, and which matte was held out."""
    record = read_provenance(FORMATS / "dub-3.mkv")
    assert (record.source, record.frames, record.drawn) == ("portrait.mkv", "4:9", 4)
    assert (record.occluded, record.holdout) == ("hold", "matte.mkv")
    assert record.holdout_hash == "4957e6e4a20fcb47ffb41c228dea71d4"
    old = read_provenance(FORMATS / "dub-2.mkv")
    assert (old.occluded, old.holdout, old.holdout_hash) == (None, None, None)


def test_provenance_4() -> None:
    """It says which movie of a voice actor moved the mouth."""
    record = read_provenance(FORMATS / "dub-4.mkv")
    assert (record.driver, record.driver_hash) == ("voice_actor.mp4", "0b5dd4a86ad2dea2c1a37d6a0c7ed9ad")
    assert (record.dialogue, record.performance) == ("voice_actor.mp4", None)
    assert read_provenance(FORMATS / "dub-3.mkv").driver is None


def test_provenance_5() -> None:
    """It says what the actor's network ran on."""
    record = read_provenance(FORMATS / "dub-5.mkv")
    assert record.renderer == {
        "provider": "cpu",
        "precision": "fp32",
        "library": "ONNX Runtime 1.32.0",
        "mode": "exact",
    }
    assert read_provenance(FORMATS / "dub-4.mkv").renderer is None


def test_provenance_6() -> None:
    """It names everybody who speaks in the frames, with their own dialogue and consent."""
    record = read_provenance(FORMATS / "dub-6.mkv")
    assert [(p.actor, p.dialogue, p.drawn, p.passed) for p in record.people] == [
        ("ben", "ben.wav", 8, ()),
        ("anna", "anna.wav", 8, ()),
    ]
    assert all(p.consent["who"] == "the test suite" for p in record.people) and record.dialogue == "both.wav"
    assert read_provenance(FORMATS / "dub-5.mkv").people == ()


def detail_frames() -> DetailFrames:
    """Two frames of nobody."""
    return DetailFrames(
        pictures=(b"first", b"second"),
        mesh=np.arange(24, dtype=np.float32).reshape(2, 4, 3) / 16,
        jaw=np.array([0.05, 0.1]),
        expression=np.array([[0.5, -1.0, 2.0], [0.25, 0.0, 1.0]]),
        rotation=np.tile(np.eye(3), (2, 1, 1)),
        scale=np.array([200.0, 210.0]),
        source_hash=("feed", "beef"),
        number=np.array([3, 70]),
    )


def test_detail_1(tmp_path: Path) -> None:
    """The numbers of an actor's detail frames; the pictures beside them are JPEG."""
    write_detail(tmp_path, detail_frames())
    assert_no_drift(tmp_path / "detail" / "frames.npz", "detail", "format", ".npz")
    shutil.copy(FORMATS / "detail-1.npz", tmp_path / "detail" / "frames.npz")
    found = read_detail(tmp_path)
    assert found is not None and found.digest == detail_frames().digest


def test_dataset_1() -> None:
    packed = pytest.importorskip("training.data.packed", reason="the extra `training` is not installed")
    dataset = packed.Dataset(FORMATS / "dataset-1")
    (facts,) = dataset.clips
    assert (facts.speaker, facts.split, facts.frames, facts.usable, facts.sound) == (
        "anna",
        "train",
        25,
        25,
        True,
    )
    packed.read_whole(FORMATS / "dataset-1" / "anna-portrait.shard")  # every byte is checked
    clip = dataset.open(facts, WHOLE_CROP)
    assert clip.track.jaw[3] == pytest.approx(0.0648094, abs=1e-6) and clip.track.rate == 25
    assert clip.mel.shape == (25, 80, 16) and float(clip.mel[10].mean()) == pytest.approx(0.43335, abs=1e-3)
    assert clip.mouth[3].tolist() == [81, 142, 182, 196]
    view = clip.view([3])
    assert view.crops.mean() == pytest.approx(118.772, abs=0.5) and view.mask.sum() == 15801


@pytest.mark.slow
def test_checkpoint_1() -> None:
    torch = pytest.importorskip("torch", reason="the extra `training` is not installed")
    from training.core.checkpoint import load_checkpoint

    network, rng = torch.nn.Linear(2, 2), torch.Generator()
    optimiser = torch.optim.Adam(network.parameters())
    facts = load_checkpoint(
        FORMATS / "checkpoint-1.safetensors", {"network": network}, {"network_optimiser": optimiser}, rng
    )
    assert facts == {"step": 1, "fingerprint": "f"} and network.weight.tolist() == [[1, 2], [3, 4]]
    assert optimiser.state[network.weight]["step"] == 1
    assert torch.rand(1, generator=rng).item() == pytest.approx(0.8303, abs=1e-4)


def test_the_shipped_prior_fits_the_network() -> None:
    """It is a file of format 1. Where another one takes its place, a file of format 1 is kept here."""
    pytest.importorskip("torch", reason="the extra `training` is not installed")
    from training.prior_file import SHIPPED, load_prior, load_weights
    from training.renderer.generator import Generator

    prior = load_prior(SHIPPED)
    assert version(SHIPPED, "schema") == "1"
    load_weights(prior, Generator(prior.config))


# ---- files of today ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapted(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An actor that two optimiser steps of a tiny network made of the demo's portrait."""
    pytest.importorskip("torch", reason="the extra `training` is not installed")
    from training.adapt import AdaptJob, adapt
    from training.core.config import AdaptConfig, GeneratorConfig, LossConfig
    from visualdub.actor.record import Consent
    from visualdub.services import AdaptClip

    losses = LossConfig(perceptual=0.0, adversarial=0.0)
    config = AdaptConfig(GeneratorConfig(width=0.01, texture_size=16, style=16), losses, steps=2)
    folder = tmp_path_factory.mktemp("adapted") / "portrait.actor"
    adapt(AdaptJob((AdaptClip(demo_clip),), "portrait", folder, Consent("a", "b", "c"), config))
    return folder


def assert_no_drift(today: Path, kind: str, key: str, suffix: str, part: str = "") -> None:
    """Compare what is written today with the committed file of the same version.

    kind: the committed file's name before `-VERSION`. key: where the version is written. part: the file to
    compare where `today` is a folder.
    """
    stated = version(today if not part else today / part, key)
    committed = FORMATS / f"{kind}-{stated}{suffix}"
    assert committed.exists(), f"the format is now version {stated}: add a file of it as {committed}"
    found = drift(
        describe(committed / part if part else committed), describe(today / part if part else today)
    )
    assert found == [], f"{kind} has changed, its version {stated} has not: {found}"


def test_a_track_has_not_drifted(talking: Path, tmp_path: Path) -> None:
    track_clip(talking).save(tmp_path / "track.npz")
    assert_no_drift(tmp_path / "track.npz", "track", "format", ".npz")


@pytest.mark.slow
def test_an_actor_package_has_not_drifted(adapted: Path, tmp_path: Path) -> None:
    schema = version(adapted / "actor.json", "schema")
    old = unzipped(schema, tmp_path / "old.actor")
    parts = {p.relative_to(old).as_posix() for p in old.rglob("*") if p.is_file()}
    assert parts <= {p.relative_to(adapted).as_posix() for p in adapted.rglob("*") if p.is_file()}
    described = [p for p in sorted(parts) if p.endswith((".json", ".npz", ".safetensors"))]
    assert len(described) == 5
    for part in described:
        found = drift(describe(old / part), describe(adapted / part))
        assert found == [], f"{part} has changed, the schema {schema} of actor packages has not: {found}"
    assert Renderer(adapted / "renderer.onnx").window == 5


@pytest.fixture(scope="module")
def dubbed(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `dub.mkv`, its records and its performance."""
    folder = tmp_path_factory.mktemp("dubbed")
    wav = write_wav(folder / "new.wav", 1.0)
    written = ("-o", folder / "dub.mkv", "--performance", folder / "performance.json")
    vdub("dub", talking, "--dialogue", wav, "--actor", flat_actor, "--frames", "4:9", *written)
    return folder


def test_a_performance_has_not_drifted(dubbed: Path) -> None:
    assert_no_drift(dubbed / "performance.json", "performance", "version", ".json")


def test_a_provenance_record_has_not_drifted(dubbed: Path) -> None:
    assert_no_drift(dubbed / "dub.mkv.provenance.json", "dub", "format", ".mkv.provenance.json")


def test_a_report_keeps_its_keys(dubbed: Path) -> None:
    """A report has no version: scripts read it, so that a key may be added and none may go."""
    old, today = describe(FORMATS / "dub-1.mkv.report.json"), describe(dubbed / "dub.mkv.report.json")
    assert [line for line in drift(old, today) if not line.endswith("is new")] == []


@pytest.mark.slow
def test_a_dataset_has_not_drifted(demo_clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `training` is not installed")
    folder = tmp_path / "clips" / "anna"
    folder.mkdir(parents=True)
    shutil.copy(demo_clip, folder / "counting.mp4")
    made = tmp_path / "dataset"
    vdub("train", "prepare", tmp_path / "clips", "-o", made, "--quality", 5, "--frames", 25, "--jobs", 1)
    assert_no_drift(made, "dataset", "schema", "", "dataset.json")
    (shard,) = made.glob("*.shard")
    committed = FORMATS / f"dataset-{version(shard, 'schema')}" / "anna-portrait.shard"
    assert committed.is_file(), f"shards have a new schema: add one as {committed}"
    assert drift(describe(committed), describe(shard)) == []


def test_a_checkpoint_has_not_drifted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra `training` is not installed")
    from training.core.checkpoint import save_checkpoint

    network = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    path, rng = tmp_path / "checkpoint.safetensors", torch.Generator()
    save_checkpoint(path, {"network": network}, {"network_optimiser": optimiser}, rng, {"step": 1})
    assert_no_drift(path, "checkpoint", "schema", ".safetensors")


# ---- the comparison itself ---------------------------------------------------------------------------------


def changed_json(change: Callable[[dict[str, object]], None], path: Path) -> Path:
    """A copy of the committed provenance record, changed."""
    values = json.loads((FORMATS / "dub-1.mkv.provenance.json").read_text())
    change(values)
    path.write_text(json.dumps(values))
    return path


def test_a_key_that_is_gone_new_or_of_another_type_is_named(tmp_path: Path) -> None:
    def change(values: dict[str, object]) -> None:
        del values["drawn"]
        values["colour"], values["frames"], values["prior_hash"] = "red", 7, None

    old = describe(FORMATS / "dub-1.mkv.provenance.json")
    found = drift(old, describe(changed_json(change, tmp_path / "a.json")))
    assert found == ["drawn is gone", "colour is new", "frames was str, is number"]
    with np.load(FORMATS / "track-1.npz") as arrays:
        values = {k: arrays[k] for k in arrays} | {"jaw": arrays["jaw"].astype(np.float32)}
    np.savez(tmp_path / "track.npz", **values)
    assert drift(describe(FORMATS / "track-1.npz"), describe(tmp_path / "track.npz")) == [
        "jaw was float64 1d, is float32 1d"
    ]
