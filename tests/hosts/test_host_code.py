"""The code of the plug-ins for Nuke and Blender: their Python, what they import, and which calls they
make.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import vermin
from nuke_helpers import API, make_version, start_nuke

from plugin_nuke.layout import KNOBS
from visualdub.cli import run

ROOT = Path(__file__).resolve().parents[2]
PYTHON = {"plugin_nuke": (3, 7), "plugin_blender": (3, 9)}  # the oldest of the hosts that are supported
FILES = [p for name in PYTHON for p in sorted((ROOT / name).rglob("*.py"))]
HOSTS = {"plugin_nuke": ("nuke", "plugin_nuke/host.py"), "plugin_blender": ("bpy", "plugin_blender/host.py")}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_it_runs_on_the_oldest_python_of_its_host(path: Path) -> None:
    _, python_3 = vermin.detect(path.read_text(encoding="utf-8"))
    assert (python_3 or (3, 0)) <= PYTHON[name_of(path).split("/")[0]]


def test_ruff_finds_nothing_for_python_3_9() -> None:
    words = ["check", "--target-version", "py39", "plugin_resolve", *PYTHON]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    return names | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}


@pytest.mark.parametrize("package", PYTHON)
def test_one_module_touches_the_host_and_nothing_but_the_standard_library_is_used(package: str) -> None:
    host, only = HOSTS[package]
    files = [p for p in FILES if name_of(p).startswith(package)]
    assert [name_of(p) for p in files if host in imported(p)] == [only]
    ours = {"visualdub", package, "visualdub_nuke", host}
    tops = {name.split(".")[0] for p in files for name in imported(p)}
    assert {t for t in tops if t not in sys.stdlib_module_names} <= ours


def test_every_call_of_nuke_is_documented_and_is_one_of_these(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The double refuses what is not documented; this is all that is left."""
    app = start_nuke(monkeypatch)
    app.nuke.double.surface.calls.clear()
    read = app.read(tmp_path / "plate.mov")
    node = app.plugin.create()
    node.knob("cache").setValue(str(tmp_path / "cache"))
    make_version(tmp_path / "cache", 0, 3)
    app.plugin.refresh(node)
    app.nuke.createNode("Write", inpanel=False)
    app.nuke.execute("Write1", 1, 2)
    node.knob("version").setValue(0)
    assert app.plugin.our_nodes() == [node]
    assert read.fullName() == "Read1"
    used = set(app.nuke.double.surface.calls) - {"execute"}
    knobs = {c.split(".")[1] for c in used if "_Knob." in c}
    assert knobs == {
        *("value", "setValue", "setExpression", "setTooltip", "setFlag", "setRange", "setEnabled", "name")
    }
    assert {c for c in used if "_Knob." not in c} == {
        *("allNodes", "createNode", "selectedNodes", "filename", "frame", "root", "thisKnob", "thisNode"),
        *("Group.addKnob", "Group.begin", "Group.end", "Group.node", "Group.knob"),
        *("Group.Class", "Group.fullName", "Group.input", "Group.inputs", "Group.setInput"),
        *("Group.setName", "Undo.begin", "Undo.end"),
        *("Node.Class", "Node.firstFrame", "Node.fullName", "Node.input", "Node.inputs"),
        *("Node.knob", "Node.setInput", "Node.setName"),
    }


def test_what_is_named_of_nuke_is_documented() -> None:
    """Also where no test comes by: in windows."""
    tree = ast.parse((ROOT / "plugin_nuke" / "host.py").read_text(encoding="utf-8"))
    attributes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    named = {n.attr for n in attributes if n.value.id == "nuke"} | {k.kind for k in KNOBS}  # type: ignore[attr-defined]
    surface = json.loads(API.read_text(encoding="utf-8"))
    documented = {name for part in ("functions", "classes", "constants") for name in surface[part]}
    assert len(named) > 20 and named - documented == set()


# ---- installed ---------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("VISUALDUB_HOSTS", str(tmp_path / "hosts"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / "home" / ".nuke").mkdir(parents=True)
    return tmp_path / "home"


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


START = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from nuke_double import make_nuke
nuke = sys.modules["nuke"] = make_nuke(sys.argv[2])
exec(open(sys.argv[3]).read())
import visualdub_nuke, visualdub, plugin_nuke
node = visualdub_nuke.create()
print(json.dumps([node.name(), visualdub.__file__, plugin_nuke.__file__]))
"""


def test_nuke_finds_the_plug_in_through_one_line_of_the_user_s_init(home: Path, tmp_path: Path) -> None:
    init = home / ".nuke" / "init.py"
    init.write_text("print('mine')")
    before = everything(tmp_path)
    assert run(["install", "nuke"]) == 0
    (line,) = [t for t in init.read_text().splitlines() if "mine" not in t]
    assert (
        line
        == f"import nuke; nuke.pluginAddPath({str(tmp_path / 'hosts' / 'nuke')!r})  # added by vdub install"
    )
    words = [str(ROOT / "tests" / "hosts"), str(API), str(init)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", START, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name, client, plugin = json.loads(done.stdout.splitlines()[-1])
    assert name == "VisualDub1"
    assert client.startswith(str(tmp_path / "hosts")) and plugin.startswith(str(tmp_path / "hosts"))
    assert run(["uninstall", "nuke"]) == 0
    assert everything(tmp_path) == before


def test_blender_finds_the_add_on_in_every_version_that_fits(home: Path, tmp_path: Path) -> None:
    for version in ("3.6", "4.4", "5.0", "config"):
        (home / ".config" / "blender" / version).mkdir(parents=True)
    assert run(["install", "blender"]) == 0
    found = sorted(p.relative_to(home).as_posix() for p in home.rglob("visual_dub.py"))
    assert found == [f".config/blender/{v}/scripts/addons/visual_dub.py" for v in ("4.4", "5.0")]
    stub = (home / found[0]).read_text()
    (info,) = [
        n for n in ast.parse(stub).body if isinstance(n, ast.Assign) and "bl_info" in ast.dump(n.targets[0])
    ]
    assert ast.literal_eval(info.value)["name"] == "Visual Dub"  # Blender reads it without running the file
    words = (
        f"import sys; exec(open({found[0]!r}).read()); import plugin_blender; print(plugin_blender.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", words], capture_output=True, text=True, cwd=home, check=False
    )
    assert done.stdout.startswith(str(tmp_path / "hosts")), done.stderr
    assert run(["uninstall", "blender"]) == 0
    assert everything(tmp_path) == {}


@pytest.mark.parametrize("host", ["nuke", "blender"])
def test_doctor_looks_at_the_host(host: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", host, "--json"]) == 1
    assert "not installed" in capsys.readouterr().out
    run(["install", host])
    capsys.readouterr()
    assert run(["doctor", host, "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [f["ok"] for f in findings][:2] == [True, None]
