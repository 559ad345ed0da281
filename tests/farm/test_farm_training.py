"""The training of a prior as a job: its bundle is valid, and OpenJD's own program trains with it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from farm_helpers import openjd_run
from helpers import portrait_pictures, write_movie

from farm.options import numbers_of
from farm.program import run_python
from farm.training import Measuring, Packing, Training, TrainingBundle, bundle_of_training
from visualdub.errors import BadInput, Interrupted
from visualdub.stages import Progress

pytest.importorskip("openjd.cli", reason="OpenJD is not installed (the extra `farm`)")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with two files that are named as clips."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(b"no movie")
    return folder


def steps_of(template: Path) -> dict[str, dict[str, Any]]:
    """The steps of a template by name, once OpenJD has found it valid."""
    from openjd.model import decode_job_template

    found = json.loads(template.read_text())
    decode_job_template(template=found, supported_extensions=["TASK_CHUNKING"])
    return {step["name"]: step for step in found["steps"]}


def words_of(step: dict[str, Any]) -> str:
    return " ".join(step["script"]["actions"]["onRun"]["args"])


def test_the_bundle_of_a_training_packs_in_parts_and_trains_in_processes(clips: Path, tmp_path: Path) -> None:
    prior = tmp_path / "first.safetensors"
    prior.write_bytes(b"x")
    train = Training(steps=7, size="full", prior=prior, processes=2)
    asked = TrainingBundle(
        tmp_path / "b", (clips,), Packing(validation="ben", parts=3), train, Measuring((0, 5), 25)
    )
    steps = steps_of(bundle_of_training(asked))
    assert list(steps) == ["Prepare", "Collect", "Train", "Measure"]
    after = [d["dependsOn"] for s in steps.values() for d in s.get("dependencies", ())]
    assert after == ["Prepare", "Collect", "Train"]
    (space,) = steps["Prepare"]["parameterSpace"]["taskParameterDefinitions"]
    assert (space["type"], space["range"]) == ("INT", "1-3")
    pack = words_of(steps["Prepare"])
    assert pack.endswith("--validation ben --part {{Task.Param.Part}}/3")
    assert pack.startswith(
        "farm task python -- -m visualdub.cli train prepare {{Param.Inputs}}/clips/0001/clips"
    )
    assert words_of(steps["Collect"]) == pack.partition(" --part")[0]  # the same command goes last
    trained = words_of(steps["Train"])
    assert "-m torch.distributed.run --standalone --nproc-per-node 2 -m visualdub.cli train prior" in trained
    assert "--steps 7 --size full" in trained and "--minutes" not in trained
    assert trained.endswith("--prior {{Param.Inputs}}/training/0001/first.safetensors --seed 0")
    needs = {a["name"]: a["min"] for a in steps["Train"]["hostRequirements"]["amounts"]}
    assert needs["amount.worker.gpu"] == 2 and needs["amount.worker.vcpu"] == 2
    assert "--steps 0 5 --frames 25" in words_of(steps["Measure"])
    assert all(s["script"]["actions"]["onRun"]["timeout"] >= 900 for s in steps.values())
    everything = "".join(p.read_text() for p in (tmp_path / "b").glob("*.json"))
    assert str(tmp_path) not in everything  # it may be moved


def test_clips_in_place_are_folders_of_the_job_and_nobody_held_out_is_not_measured(
    clips: Path, tmp_path: Path
) -> None:
    template = bundle_of_training(TrainingBundle(tmp_path / "b", (clips,), in_place=True))
    steps = steps_of(template)
    assert "Measure" not in steps and "hostRequirements" in steps["Train"]
    assert "prepare {{Param.Media1}} -o {{Param.Work}}/people" in words_of(steps["Collect"])
    values = json.loads((tmp_path / "b" / "parameter_values.json").read_text())["parameterValues"]
    assert values == [{"name": "Media1", "value": str(clips)}]
    assert not list((tmp_path / "b").rglob("*.mp4"))


def test_what_cannot_be_trained_is_refused(clips: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    with pytest.raises(BadInput, match=r"nowhere is not a folder"):
        bundle_of_training(TrainingBundle(bundle, (tmp_path / "nowhere",)))
    with pytest.raises(BadInput, match=r"--parts 0 is out of range"):
        bundle_of_training(TrainingBundle(bundle, (clips,), Packing(parts=0)))
    with pytest.raises(BadInput, match=r"--prior .*none is no file"):
        bundle_of_training(TrainingBundle(bundle, (clips,), training=Training(prior=tmp_path / "none")))
    with pytest.raises(BadInput, match=r"--measure-steps 1,x is no list of numbers"):
        numbers_of("1,x", "--measure-steps")
    assert not bundle.exists() and numbers_of("0, 10", "") == (0, 10)


def test_a_program_that_fails_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; print('vdub: no clips', file=sys.stderr); print('later', file=sys.stderr); sys.exit(3)"
    )
    with pytest.raises(BadInput, match=r": no clips$"):
        run_python(["-c", code], Progress())
    assert "later" in capfd.readouterr().err  # what it says goes on
    with pytest.raises(BadInput, match=r"ZeroDivisionError: division by zero"):
        run_python(["-c", "1/0"], Progress())
    assert run_python(["-c", "pass"], Progress()) == "-c pass: done"


def test_a_program_is_asked_to_end(tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    code = (
        "import pathlib, signal, sys, time\n"
        f"def end(*_):\n pathlib.Path({str(ended)!r}).touch(); sys.exit(0)\n"
        f"signal.signal(signal.SIGTERM, end); pathlib.Path({str(started)!r}).touch(); time.sleep(60)"
    )
    progress = Progress()

    def stop() -> None:
        while not started.exists():
            time.sleep(0.02)
        progress.cancel()

    threading.Thread(target=stop).start()
    with pytest.raises(Interrupted):
        run_python(["-c", code], progress)
    assert ended.exists()


@pytest.mark.slow
def test_openjd_trains_a_prior_of_two_people_in_two_processes(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed (the extra `training`)")
    from training.prior_file import load_prior

    folder, pictures = tmp_path / "clips", portrait_pictures(60)
    folder.mkdir()
    for name, change in (
        ("ann", lambda p: p),
        ("ben", lambda p: np.ascontiguousarray(p[:, ::-1])),
        ("eve", lambda p: p // 2),
    ):
        write_movie(folder / f"{name}.mkv", [change(p) for p in pictures])
    packing = Packing(frames=60, validation="eve", parts=2)
    train = Training(steps=2, processes=2)
    bundle = tmp_path / "b"
    template = bundle_of_training(
        TrainingBundle(bundle, (folder,), packing, train, Measuring((0, 1), 25), hours=0.2)
    )
    done = openjd_run(template, tmp_path)
    assert done.returncode == 0, done.stdout
    facts = load_prior(bundle / "output" / "prior.safetensors").facts
    assert (facts["people"], facts["steps"], facts["processes"]) == (2, 2, 2)
    assert facts["validation"] == ["eve"]
    assert "3 clips packed (3 of them by an earlier run)" in done.stdout  # by the two parts
    measured = json.loads((bundle / "output" / "prior-people.json").read_text())["results"]
    assert [m["person"] for m in measured] == ["eve"] and set(measured[0]["psnr_mask"]) == {"0", "1"}
