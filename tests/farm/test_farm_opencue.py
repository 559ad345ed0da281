"""The outline for OpenCue: its layers, the specification for Cuebot, and chunks by its executor."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from farm_helpers import ROOT, Run, Suite, program

from farm import tasks
from farm.opencue import SCRIPT, write_outline
from visualdub.stages import Progress

# It needs a newer protobuf than MediaPipe, so that it lies in a folder of its own: $OPENCUE_SITE.
SITE = os.environ.get("OPENCUE_SITE")
needs_opencue = pytest.mark.skipif(
    SITE is None and importlib.util.find_spec("outline") is None,
    reason="OpenCue's outline is not installed; $OPENCUE_SITE names the folder of pip install --target",
)
GRAMMAR = Path(__file__).with_name("opencue_job.dtd")
PYCUERUN = "from bin.pycuerun_main import main; main()"  # as its console script has it
SERIALISE = """
import sys
from outline import load_outline
from outline.cuerun import OutlineLauncher
ol = load_outline(sys.argv[1])
launcher = OutlineLauncher(ol)
print(launcher.serialize())
print(ol.get_session().get_path())
"""


@pytest.fixture
def run(read_only: Path, tmp_path: Path) -> Run:
    folder = Path(shutil.copytree(read_only, tmp_path / "cut"))
    write_outline(folder)
    return Run(folder)


def cue(run: Run, *words: str) -> str:
    """What a program prints that runs in OpenCue's own Python."""
    home = run.folder.parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [SITE, str(ROOT)])), "HOME": str(home)}
    env["VDUB"] = str(vdub(run))
    done = subprocess.run(
        [sys.executable, *words], env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def vdub(run: Run) -> Path:
    """A program that tasks of OpenCue start: it puts back the path of this Python."""
    path = program(run.folder.parent)
    lines = path.read_text().splitlines()
    here = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    path.write_text("\n".join([lines[0], f"export PYTHONPATH='{here}'", *lines[1:]]) + "\n")
    return path


def serialised(run: Run) -> tuple[str, Path]:
    """The job specification, and the folder of the session that was made for it."""
    text, _, session = cue(run, "-c", SERIALISE, str(run.folder / SCRIPT)).strip().rpartition("\n")
    return text.partition('.dtd">')[2], Path(session)


def faults(text: str) -> list[str]:
    """What in a job specification its grammar does not allow: ours, and Cuebot's own where $OPENCUE_DTD names
    the file `cjsl-1.15.dtd`.
    """
    pytest.importorskip("lxml", reason="lxml is not installed (the extra `dev`)")
    from lxml import etree

    found: list[str] = []
    for path in filter(None, (str(GRAMMAR), os.environ.get("OPENCUE_DTD"))):
        grammar = etree.DTD(path)
        if not grammar.validate(etree.fromstring(text)):
            found += [entry.message for entry in grammar.error_log]
    return found


def test_layers_are_the_steps(run: Run) -> None:
    import json

    found = json.loads((run.folder / "opencue_layers.json").read_text())["layers"]
    names = [entry["name"] for entry in found]
    assert names == ["prepare_0001", "render_0001", "prepare_0002", "render_0002", "movies", "assemble"]
    render = found[1]
    assert (render["range"], render["chunk"], render["after"]) == ("5-14", 7, ["prepare_0001"])
    assert "{frames}" in render["words"] and "--root=Work={bundle}/work" in render["words"]
    assert found[4]["after"] == ["render_0001", "render_0002"] and found[5]["after"] == ["movies"]
    assert render["needs"]["memory"].endswith("m") and render["needs"]["timeout"] >= 15


@needs_opencue
@pytest.mark.slow
def test_the_specification_is_valid(run: Run) -> None:
    text, _ = serialised(run)
    assert faults(text) == []
    broken = text.replace("<range>", "<frames>", 1).replace("</range>", "</frames>", 1)
    assert faults(broken) and faults(text.replace('type="Util"', 'type="Other"'))
    spec = ElementTree.fromstring(text)
    job, depends = spec.find("job"), spec.find("depends")
    assert job is not None and depends is not None
    layers = job.findall("layers/layer")
    assert [x.get("name") for x in layers][:2] == ["prepare_0001", "render_0001"]
    assert layers[1].findtext("range") == "5-14" and layers[1].findtext("chunk") == "7"
    assert {d.get("type") for d in depends} == {"LAYER_ON_LAYER"}
    pairs = {(d.findtext("deplayer"), d.findtext("onlayer")) for d in depends}
    assert ("render_0001", "prepare_0001") in pairs and ("assemble", "movies") in pairs


@needs_opencue
def test_pycuerun_reads_the_outline(run: Run) -> None:
    said = cue(run, "-c", PYCUERUN, "-i", str(run.folder / SCRIPT)).splitlines()
    layers = [line.removeprefix(" + ") for line in said if line.startswith(" + ")]
    assert layers == ["prepare_0001", "render_0001", "prepare_0002", "render_0002", "movies", "assemble"]
    words = next(line for line in said if "words = " in line and "{frames}" in line)
    assert f"--root=Inputs={run.folder}/inputs" in words


@needs_opencue
@pytest.mark.slow
def test_two_chunks_by_its_executor_give_the_same_frames(run: Run, suite: Suite) -> None:
    _, session = serialised(run)
    run.prepare()
    for frame in ("5", "12"):
        cue(run, "-c", PYCUERUN, str(session / "outline.yaml"), "-e", f"{frame}-render_0001")
    assert tasks.movie(run.file, 1, Progress()).endswith("is written")
    from farm_helpers import frame_hashes

    name = "shots/0001_a.mkv"
    assert frame_hashes(run.output / name) == frame_hashes(suite.local / name)
