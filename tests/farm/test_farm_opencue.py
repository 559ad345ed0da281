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
from farm.opencue import write_outline
from visualdub.stages import Progress

# It needs a newer protobuf than MediaPipe, so that it lies in a folder of its own: $OPENCUE_SITE.
SITE = os.environ.get("OPENCUE_SITE")
needs_opencue = pytest.mark.skipif(
    SITE is None and importlib.util.find_spec("outline") is None,
    reason="OpenCue's outline is not installed; $OPENCUE_SITE names the folder of pip install --target",
)
LAYER = (  # the elements of a layer, in the order that the schema 1.15 wants
    "cmd range chunk cores threadable memory gpus gpu gpu_memory timeout timeout_llu tags limits env"
    " services outputs"
)
SERIALISE = """
import sys
from pathlib import Path
from outline.cuerun import OutlineLauncher
from farm.cue_layer import outline_of
ol = outline_of(Path(sys.argv[1]), sys.argv[2])
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


def serialised(run: Run) -> tuple[ElementTree.Element, Path]:
    text, _, session = cue(run, "-c", SERIALISE, str(run.folder), str(vdub(run))).strip().rpartition("\n")
    return ElementTree.fromstring(text.partition('.dtd">')[2]), Path(session)


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
def test_the_specification_has_the_order_and_names_of_its_schema(run: Run) -> None:
    spec, _ = serialised(run)
    job, depends = spec.find("job"), spec.find("depends")
    assert job is not None and depends is not None
    layers = job.findall("layers/layer")
    assert [x.get("name") for x in layers][:2] == ["prepare_0001", "render_0001"]
    for layer in layers:
        order = [child.tag for child in layer]
        assert order == [tag for tag in LAYER.split() if tag in order]  # as its schema 1.15 has it
        assert layer.get("type") in ("Render", "Util", "Post")
    assert layers[1].findtext("range") == "5-14" and layers[1].findtext("chunk") == "7"
    assert {d.get("type") for d in depends} == {"LAYER_ON_LAYER"}
    pairs = {(d.findtext("deplayer"), d.findtext("onlayer")) for d in depends}
    assert ("render_0001", "prepare_0001") in pairs and ("assemble", "movies") in pairs


@needs_opencue
@pytest.mark.slow
def test_two_chunks_by_its_executor_give_the_same_frames(run: Run, suite: Suite) -> None:
    _, session = serialised(run)
    run.prepare()
    code = "import sys; from outline.cuerun import execute_frame; execute_frame(*sys.argv[1:])"
    for frame in ("5", "12"):
        cue(run, "-c", code, str(session / "outline.yaml"), "render_0001", frame)
    assert tasks.movie(run.file, 1, Progress()).endswith("is written")
    from farm_helpers import frame_hashes

    name = "shots/0001_a.mkv"
    assert frame_hashes(run.output / name) == frame_hashes(suite.local / name)
