"""The bundle in the hands of OpenJD: its template is valid, and its own program runs it, wherever it lies."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from farm_helpers import RATE, Run, Suite, bundle_of, edit_request, frame_hashes, openjd_run
from otio_text import clip, media, timeline, track, write

from farm.asked import to_adapt, write_bundle
from farm.bundle import BundleOptions
from farm.template import MOST_FRAMES
from visualdub.actor.package import load_actor
from visualdub.cli import run as vdub
from visualdub.stages import Progress

pytest.importorskip("openjd.cli", reason="OpenJD is not installed (the extra `farm`)")
NOBODY = 65534
# another user, who may read what only its owner may (where this checkout and its interpreter lie), not write
READER = [flag for kind in ("--inh-caps", "--ambient-caps") for flag in (kind, "+dac_read_search")]
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *READER]
other_user = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root may start a program as another user, with setpriv",
)


def decoded(bundle: Path) -> Any:
    from openjd.model import decode_job_template

    found = json.loads((bundle / "template.json").read_text())
    return decode_job_template(template=found, supported_extensions=["TASK_CHUNKING"])


def test_the_template_is_valid_and_every_action_has_an_end(read_only: Path) -> None:
    template = decoded(read_only)
    names = ["Prepare 0001", "Render 0001", "Prepare 0002", "Render 0002", "Movies", "Assemble"]
    assert [s.name for s in template.steps] == names
    found = Run(read_only).template()
    for step in found["steps"]:
        run = step["script"]["actions"]["onRun"]
        assert run["timeout"] >= 900 and run["cancelation"]["mode"] == "NOTIFY_THEN_TERMINATE"
        assert {f"--root={n}={{{{Param.{n}}}}}" for n in ("Inputs", "Work", "Output")} <= set(run["args"])
    render = found["steps"][1]
    (space,) = render["parameterSpace"]["taskParameterDefinitions"]
    assert (space["type"], space["range"]) == ("CHUNK[INT]", "5-14")
    assert space["chunks"] == {"defaultTaskCount": 7, "rangeConstraint": "CONTIGUOUS"}
    assert render["dependencies"] == [{"dependsOn": "Prepare 0001"}]
    kinds = {p["name"]: (p["type"], p.get("objectType")) for p in found["parameterDefinitions"]}
    assert all(kinds[name] == ("PATH", "DIRECTORY") for name in ("Inputs", "Work", "Output"))
    asked = {a["name"] for s in found["steps"] for a in s.get("hostRequirements", {}).get("amounts", ())}
    assert asked == {"amount.worker.vcpu", "amount.worker.memory"}  # a small network needs no GPU
    everything = "".join(p.read_text() for p in read_only.rglob("*.json") if "actors" not in p.parts)
    assert str(read_only) not in everything  # it may be moved


def test_a_full_network_asks_for_a_gpu_and_a_long_chunk_is_cut(suite: Suite, tmp_path: Path) -> None:
    actor = Path(shutil.copytree(suite.actor, tmp_path / "full.actor"))
    record = json.loads((actor / "actor.json").read_text())
    (actor / "actor.json").write_text(json.dumps({**record, "size": "full"}))
    bundle = bundle_of(suite.edit, actor, tmp_path / "gpu", chunk=5000)
    found = Run(bundle.folder).template()
    render = next(s for s in found["steps"] if s["name"] == "Render 0001")
    amounts = {a["name"]: a["min"] for a in render["hostRequirements"]["amounts"]}
    assert amounts["amount.worker.gpu"] == 1 and amounts["amount.worker.gpu.memory"] >= 1024
    (space,) = render["parameterSpace"]["taskParameterDefinitions"]
    assert space["chunks"]["defaultTaskCount"] == MOST_FRAMES == 150
    assert bundle.job.provider == "cuda"
    decoded(bundle.folder)


def test_media_in_place_are_folders_of_the_job(suite: Suite, tmp_path: Path) -> None:
    bundle = bundle_of(suite.edit, suite.actor, tmp_path / "b", in_place=True, chunk=9)
    assert not list(bundle.folder.rglob("talking.mkv"))
    values = json.loads((bundle.folder / "parameter_values.json").read_text())
    assert values == {"parameterValues": [{"name": "Media1", "value": str(suite.movie.parent)}]}
    found = decoded(bundle.folder)
    assert found.parameterDefinitions[-1].name == "Media1"
    args = Run(bundle.folder).template()["steps"][0]["script"]["actions"]["onRun"]["args"]
    assert "--root=Media1={{Param.Media1}}" in args


@pytest.fixture
def abroad(suite: Suite) -> Iterator[Path]:
    """A folder that every user may enter, with a bundle of one short shot in it."""
    folder = Path(tempfile.mkdtemp(prefix="farm-test-"))
    folder.chmod(0o755)
    try:
        shot = clip("a", 5, 6, RATE, reference=media(str(suite.movie), 0, 40, RATE))
        words = clip("new", 0, 40, RATE, reference=media(str(suite.edit.parent / "new.wav"), 0, 40, RATE))
        one = write(folder / "cut.otio", timeline(track(shot), track(words, kind="Audio", name="new")))
        bundle = bundle_of(one, suite.actor, folder / "made" / "bundle", chunk=4).folder
        yield bundle.parent
    finally:
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)


@other_user
@pytest.mark.slow
def test_a_moved_mapped_read_only_bundle_is_run_by_another_user(abroad: Path, suite: Suite) -> None:
    elsewhere = abroad.parent / "else where"
    shutil.move(abroad, elsewhere)
    scratch = abroad.parent / "scratch"
    (scratch / "out").mkdir(parents=True)
    local = abroad.parent / "local"
    cut = abroad.parent / "cut.otio"
    asked = ["dub", str(cut), "-o", str(local), "--dialogue-track", "new", "--actor", str(suite.actor)]
    assert vdub(asked) == 0
    for path in (*elsewhere.rglob("*"), elsewhere):
        path.chmod(0o555 if path.is_dir() else 0o444)
    rules = [("/artist/bundle", elsewhere / "bundle"), ("/artist/out", scratch / "out")]
    mapping = {
        "version": "pathmapping-1.0",
        "path_mapping_rules": [
            {"source_path_format": "POSIX", "source_path": a, "destination_path": str(b)} for a, b in rules
        ],
    }
    values = {"Inputs": "/artist/bundle/inputs", "Work": str(scratch / "work"), "Output": "/artist/out"}
    parameters = [word for k, v in values.items() for word in ("-p", f"{k}={v}")]
    for path in (scratch, scratch / "out"):
        os.chown(path, NOBODY, NOBODY)
    env = {"HOME": str(scratch), "TMPDIR": str(scratch), "VISUALDUB_CACHE": str(scratch / "cache")}
    done = openjd_run(
        elsewhere / "bundle" / "template.json",
        abroad.parent,
        *parameters,
        "--path-mapping-rules",
        json.dumps(mapping),
        env=env,
        cwd=scratch,
        before=AS_NOBODY,
    )
    assert done.returncode == 0, done.stdout
    assert "openjd_progress: 100" in done.stdout and "openjd_status: shot 1 is prepared" in done.stdout
    (movie,) = (scratch / "out" / "shots").glob("*.mkv")
    assert frame_hashes(movie) == frame_hashes(local / "shots" / movie.name)
    edit = json.loads((scratch / "out" / "cut.otio").read_text())
    assert f"/artist/out/shots/{movie.name}" in json.dumps(edit)  # as the editor's machine knows it
    assert movie.stat().st_uid == NOBODY


@pytest.mark.slow
def test_an_actor_who_is_missing_is_adapted_first(suite: Suite, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed (the extra `training`)")
    shot = clip("a", 5, 5, RATE, reference=media(str(suite.movie), 0, 40, RATE))
    words = clip("new", 0, 40, RATE, reference=media(str(suite.edit.parent / "new.wav"), 0, 40, RATE))
    one = write(tmp_path / "cut.otio", timeline(track(shot), track(words, kind="Audio", name="new")))
    said = "Nova, 2026-11-27, these tests"
    adapt = to_adapt([f"nova={suite.movie}@0:30"], said, 0.05)
    asked = replace(edit_request(one, suite.actor), actor="nova")
    bundle = write_bundle(asked, BundleOptions(tmp_path / "b", adapt=adapt, chunk=3), Progress())
    steps = Run(bundle.folder).template()["steps"]
    assert [s["name"] for s in steps] == ["Adapt 1", "Prepare 0001", "Render 0001", "Movies", "Assemble"]
    assert steps[1]["dependencies"] == [{"dependsOn": "Adapt 1"}]
    done = openjd_run(bundle.template, tmp_path)
    assert done.returncode == 0, done.stdout
    actor = bundle.folder / "work" / "actors" / "nova.actor"
    record = load_actor(actor).record
    assert record.consent.who == "Nova" and record.steps >= 1
    local = tmp_path / "local"
    assert vdub(["dub", str(one), "-o", str(local), "--dialogue-track", "new", "--actor", str(actor)]) == 0
    movie = "shots/0001_a.mkv"
    assert frame_hashes(bundle.folder / "output" / movie) == frame_hashes(local / movie)
    again = openjd_run(bundle.template, tmp_path, "--step", "Adapt 1")
    assert again.returncode == 0 and "nova is adapted already" in again.stdout


@pytest.mark.slow
def test_a_task_that_fails_says_why_in_one_line(abroad: Path) -> None:
    next((abroad / "bundle" / "inputs" / "actors").rglob("renderer.onnx")).unlink()
    done = openjd_run(abroad / "bundle" / "template.json", abroad.parent)
    assert done.returncode != 0
    (line,) = (line for line in done.stdout.splitlines() if "openjd_fail: " in line)
    assert "flat.actor" in line and "renderer.onnx" in line
