"""The lines of the house: which room imports which, held in a subprocess and on the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("visualdub", "daemon", "training", "exporters", "plugin_resolve", "plugin_nuke")
MAY_IMPORT = {
    "visualdub": {"visualdub"},
    "training": {"visualdub", "training"},
    "exporters": {"visualdub", "training", "exporters"},
}
SOCKET_MODULES = {"socket", "socketserver", "http", "urllib", "requests", "asyncio", "zmq"}


def _modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _loaded_after(code: str) -> set[str]:
    """Top-level names of every module loaded after running `code` in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_rooms_import_only_along_the_arrows(room: str) -> None:
    files = _modules(room)
    assert files, f"{room} is empty"
    against = [
        f"{p.relative_to(ROOT)}: {name}"
        for p in files
        for name in _imported(p)
        if name.split(".")[0] in ROOMS and name.split(".")[0] not in MAY_IMPORT[room]
    ]
    assert against == []


def test_only_wire_may_open_sockets() -> None:
    against = [
        f"{p.relative_to(ROOT)}: {name}"
        for p in _modules("visualdub")
        if "wire" not in p.parts
        for name in _imported(p)
        if name.split(".")[0] in SOCKET_MODULES
    ]
    assert against == []


def test_every_module_of_the_core_loads_without_torch_and_other_rooms() -> None:
    names = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for p in _modules("visualdub")
    ]
    loaded = _loaded_after("".join(f"import {n}\n" for n in names if not n.endswith("__main__")))
    assert "visualdub" in loaded and "numpy" in loaded
    assert loaded.isdisjoint({"torch", "training", "exporters", "daemon", "plugin_resolve", "plugin_nuke"})


def test_importing_the_package_alone_loads_nothing_heavy() -> None:
    assert _loaded_after("import visualdub").isdisjoint(
        {"torch", "numpy", "av", "mediapipe", "onnxruntime", "cv2"}
    )


def test_vdub_help_starts_light() -> None:
    assert _loaded_after("import visualdub.cli").isdisjoint(
        {"torch", "mediapipe", "onnxruntime", "numba", "matplotlib"}
    )


def test_no_module_of_ours_reads_pickles() -> None:
    against = [
        f"{p.relative_to(ROOT)}: {name}"
        for room in MAY_IMPORT
        for p in _modules(room)
        for name in _imported(p)
        if name.split(".")[0] in {"pickle", "cPickle", "dill", "joblib", "shelve"}
    ]
    assert against == []
