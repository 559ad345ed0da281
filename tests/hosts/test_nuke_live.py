"""The node of Visual Dub in the double of Nuke with a service that runs: a real clip becomes a real dub."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_helpers import bridge_words
from nuke_double.pictures import Evaluator, _movie_picture
from nuke_helpers import API, Nuke, start_nuke

from daemon.service import Service
from plugin_nuke.versions import read_version, version_numbers
from visualdub.records import read_provenance

ROOT = Path(__file__).resolve().parents[2]
RANGE, FIRST, LAST = "1011-1016", 10, 15  # of the script and of the clip


def make_node(app: Nuke, clip: Path, actor: Path, dialogue: Path, cache: Path, service: Service) -> Any:
    """A node that is ready to be dubbed, below a Read that begins at 1001."""
    read = app.read(clip)
    read.knob("frame_mode").setValue("start at")
    read.knob("frame").setValue("1001")
    node = app.plugin.create()
    for name, value in (
        ("dialogue", str(dialogue)),
        ("actor", str(actor)),
        ("range", RANGE),
        ("cache", str(cache)),
        ("service", service.front.endpoints[0]),
    ):
        node.knob(name).setValue(value)
    return node


@pytest.fixture
def made(talking: Path, flat_actor: Path, hum: Path, live_service: Service, bridge: list[str]) -> Any:
    def make(app: Nuke, cache: Path, dialogue: Path = hum) -> Any:
        return make_node(app, talking, flat_actor, dialogue, cache, live_service)

    return make


def test_a_dub_is_shown_with_the_pixels_of_the_dubbed_movie(
    monkeypatch: pytest.MonkeyPatch, made: Any, tmp_path: Path, talking: Path
) -> None:
    app = start_nuke(monkeypatch)
    node = made(app, tmp_path / "cache")
    before = app.script()
    version = app.plugin.dub(node)
    assert (version.number, version.first, version.last) == (1, FIRST, LAST)
    assert version.drawn == LAST - FIRST + 1 == len(set(version.keys))
    shape = (version.height, version.width)
    evaluator = Evaluator(shape)
    for time_, index in ((1011, 0), (1016, 5)):
        seen = evaluator.picture(node, time_)
        dubbed = _movie_picture(Path(version.asked["output"]), index)
        assert np.array_equal(seen[..., :3], dubbed[..., :3])
        assert not np.array_equal(seen, evaluator.picture(node.input(0), time_))
    assert np.array_equal(evaluator.picture(node, 1010), _movie_picture(talking, 9))
    assert app.plugin.dub(node) == version  # the same pixels are no new version
    app.nuke.undo()
    assert app.script() == before
    assert version_numbers(str(tmp_path / "cache")) == [1]


def test_a_draft_is_a_version_of_its_own_and_needs_no_actor(
    monkeypatch: pytest.MonkeyPatch, made: Any, tmp_path: Path
) -> None:
    app = start_nuke(monkeypatch)
    node = made(app, tmp_path / "cache")
    for name, value in (("actor", ""), ("quality", "draft"), ("consent", "Ada, today, tests")):
        node.knob(name).setValue(value)
    version = app.plugin.dub(node)
    assert (version.number, version.drawn) == (1, 6)
    assert "1011-1016, 6 frames drafted" in node.knob("status").value()
    assert any("a draft, drawn out of" in note for note in version.notes)
    record = read_provenance(Path(version.asked["output"]))
    assert record.consent["who"] == "Ada" and record.renderer == {"provider": "none", "mode": "draft"}


def test_the_script_renders_without_the_service_and_without_the_plug_in(
    monkeypatch: pytest.MonkeyPatch, made: Any, tmp_path: Path
) -> None:
    app = start_nuke(monkeypatch)
    version = app.plugin.dub(made(app, tmp_path / "cache"))
    app.nuke.createNode("Write", inpanel=False)
    app.nuke.scriptSaveAs(str(tmp_path / "a.nk"), 1)
    from nuke_double import make_nuke

    farm = make_nuke(str(API))  # no plug-in is in its path
    farm.scriptOpen(str(tmp_path / "a.nk"))
    seen: list[Any] = []
    evaluator = Evaluator((version.height, version.width))
    farm.double.draws = lambda node, frame: seen.append(evaluator.picture(node, frame))
    farm.execute("Write1", 1012, 1013)
    dubbed = [_movie_picture(Path(version.asked["output"]), i) for i in (1, 2)]
    assert all(np.array_equal(a[..., :3], b[..., :3]) for a, b in zip(seen, dubbed, strict=True))


def wait_for(app: Nuke, what: Callable[[], Any], seconds: float = 60.0) -> None:
    """Run the main thread until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        app.nuke.double.pump()
        time.sleep(0.02)


def test_the_button_dubs_behind_a_bar_and_changes_the_script_once(
    monkeypatch: pytest.MonkeyPatch, made: Any, tmp_path: Path
) -> None:
    app = start_nuke(monkeypatch, gui=True)
    assert app.nuke.double.menu_items == {
        "Nodes/Visual Dub/VisualDub": "import visualdub_nuke; visualdub_nuke.create()"
    }
    node = made(app, tmp_path / "cache")
    before = app.script()
    node.knob("dub").execute()
    node.knob("dub").execute()
    assert "is being dubbed already" in app.nuke.double.said.pop()
    assert app.script() == before
    wait_for(app, lambda: node.knob("version").value() == 1)
    (task,) = app.nuke.double.tasks
    assert "frames 5/6" in task.seen and app.nuke.double.said == []
    app.nuke.undo()
    assert app.script() == before


@pytest.mark.parametrize("how", ["knob", "bar"])
def test_a_dub_that_is_stopped_leaves_the_script_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
    made: Any,
    tmp_path: Path,
    live_service: Service,
    how: str,
) -> None:
    app = start_nuke(monkeypatch, gui=True)
    node = made(app, tmp_path / "cache")
    before = app.script()
    node.knob("dub").execute()
    wait_for(app, lambda: app.nuke.double.tasks)
    if how == "knob":
        node.knob("cancel").execute()
    else:
        app.nuke.double.tasks[0].cancelled = True
    wait_for(app, lambda: not app.host._stops)
    assert (app.script(), version_numbers(str(tmp_path / "cache"))) == (before, [])
    assert app.nuke.double.said == []
    leases = live_service.schedule.leases
    wait_for(app, lambda: not any(held.stopping for held in [*leases.values()]))  # the worker has let go
    node.knob("cancel").execute()
    assert "nothing is being dubbed for VisualDub1" in app.nuke.double.said.pop()


def test_what_goes_wrong_is_said_in_a_window(
    monkeypatch: pytest.MonkeyPatch, made: Any, tmp_path: Path
) -> None:
    app = start_nuke(monkeypatch, gui=True)
    node = made(app, tmp_path / "cache", dialogue=tmp_path / "gone.wav")
    before = app.script()
    node.knob("dub").execute()
    wait_for(app, lambda: app.nuke.double.said and not app.host._stops)
    assert "gone.wav" in app.nuke.double.said.pop()
    assert app.script() == before and version_numbers(str(tmp_path / "cache")) == []
    monkeypatch.setenv("VISUALDUB_DAEMON", str(tmp_path / "none"))
    node.knob("service").setValue("")
    node.knob("dub").execute()
    wait_for(app, lambda: app.nuke.double.said and not app.host._stops)
    assert "expected a service that it can reach: vdub serve" in app.nuke.double.said.pop()


OLD = """
import json, os, sys
root, api, api_path, values = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
sys.path[:0] = [root + "/tests/hosts", root]
from nuke_double import make_nuke
nuke = sys.modules["nuke"] = make_nuke(api)
nuke.pluginAddPath(api_path)
import visualdub_nuke
read = nuke.createNode("Read", inpanel=False)
read.knob("file").setValue(values.pop("clip"))
for name in ("last", "origlast"):
    read.knob(name).setValue(40)
node = visualdub_nuke.create()
for name, value in values.items():
    node.knob(name).setValue(value)
version = visualdub_nuke.dub(node)
nuke.scriptSaveAs(values["cache"] + "/a.nk", 1)
files = {n.split(".")[0]: getattr(m, "__file__", "") or "" for n, m in sys.modules.items()}
foreign = sorted(n for n, file in files.items() if "site-packages" in file)
print(json.dumps([version.first, version.last, node.knob("status").value(), foreign]))
"""


def old_python(name: str) -> str:
    """The path of an older Python, where there is one."""
    found = sorted(Path.home().glob(f".pyenv/versions/{name}.*/bin/python"))
    if not found:
        pytest.skip(f"there is no Python {name} here")
    return str(found[0])


@pytest.mark.parametrize("name", ["3.7", "3.9"])
def test_the_python_of_an_old_nuke_runs_it_with_the_standard_library_alone(
    tmp_path: Path,
    talking: Path,
    flat_actor: Path,
    hum: Path,
    live_service: Service,
    name: str,
) -> None:
    values = {
        "clip": str(talking),
        "dialogue": str(hum),
        "actor": str(flat_actor),
        "range": "11-16",
        "cache": str(tmp_path / "cache"),
        "service": live_service.front.endpoints[0],
    }
    environment = {**os.environ, "VISUALDUB_COMMAND": json.dumps(bridge_words())}
    environment.pop("PYTHONPATH", None)
    words = [
        str(ROOT),
        str(API),
        str(ROOT / "plugin_nuke" / "path"),
        json.dumps(values),
    ]
    done = subprocess.run(
        [old_python(name), "-I", "-c", OLD, *words],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, last, status, foreign = json.loads(done.stdout.splitlines()[-1])
    assert (first, last, foreign) == (FIRST, LAST, []) and "6 frames dubbed" in status
    assert read_version(str(tmp_path / "cache"), 1).drawn == 6
    assert (tmp_path / "cache" / "a.nk").read_text().count("Keymix") == 1
