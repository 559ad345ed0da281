"""Every import is declared, every declaration is imported, and pinned versions fit the declared ranges."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from visualdub.cli.doctor import ALTERNATIVES, NEEDED, judge

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULE = {
    "opencv-contrib-python": "cv2",
    "pillow": "PIL",
    "blind-watermark": "blind_watermark",
    "onnxruntime-ep-openvino": "onnxruntime_ep_openvino",
    "pyzmq": "zmq",
    **dict.fromkeys(("openjd-cli", "openjd-model", "openjd-sessions"), "openjd"),
}  # else the same
NOT_IMPORTED = {
    "tensorboard": "torch.utils.tensorboard imports it",
    "playwright": "tests of the page skip without it",
    "pytest-timeout": "a plugin that pytest finds",
    "pytest-xdist": "a plugin that pytest finds",
    "ruff": "a program",
    "mypy": "a program",
    **{
        f"otio-{name}-adapter": "a plugin that OpenTimelineIO finds"
        for name in ("cmx3600", "fcp", "fcpx-xml", "aaf", "mlt")
    },
}
EXTRAS = {  # what may be imported beside the dependencies of the core
    "visualdub": ("openvino", "edits", "service"),  # the last by `visualdub.wire` alone, see test_imports.py
    "training": ("training",),
    "exporters": ("exporters", "training"),
    "daemon": ("service",),
    "farm": ("farm",),
    "benchmarks": ("training", "exporters", "openvino", "service", "edits", "dev"),
    "plugin_resolve": (),
    "plugin_nuke": (),
    "plugin_blender": ("blender",),
    "tests": ("training", "exporters", "openvino", "service", "edits", "blender", "farm", "dev"),
}
OF_HOSTS = {"nuke", "visualdub_nuke"}  # that a host application brings, or that lies in its own path
APART = {"outline"}  # OpenCue's, in an environment of its own: its protobuf does not fit beside MediaPipe's


def declared(*extras: str) -> dict[str, Requirement]:
    """Requirements of the core, or of `extras`, by canonical name."""
    lists = [PROJECT["optional-dependencies"][e] for e in extras] or [PROJECT["dependencies"]]
    return {canonicalize_name(r.name): r for text in lists for r in map(Requirement, text)}


def module_of(distribution: str) -> str:
    return MODULE.get(distribution, distribution)


@cache
def imported(folder: str) -> dict[str, str]:
    """Top-level modules of others that the folder's files import, at any depth: module -> one such file."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} holds no Python files"
    ours = set(EXTRAS)
    if folder in ("tests", "benchmarks"):  # whose files import each other by their bare names
        own = [*files, *(ROOT / "tests").rglob("*.py")]
        ours |= {*(p.stem for p in own), *(p.parent.name for p in own)}
    found: dict[str, str] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for top in (n.split(".")[0] for n in names):
                if top not in sys.stdlib_module_names and top not in ours | OF_HOSTS:
                    found.setdefault(top, str(path.relative_to(ROOT)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted(EXTRAS))
def test_every_import_is_declared(folder: str) -> None:
    extras = EXTRAS[folder]
    may = {module_of(d) for d in (*declared(), *(declared(*extras) if extras else ()))}
    assert {m: f for m, f in imported(folder).items() if m not in may | APART} == {}


def test_every_dependency_of_the_core_is_imported_by_the_core() -> None:
    assert {d for d in declared() if module_of(d) not in imported("visualdub")} == set()


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"]))
def test_every_dependency_of_an_extra_is_imported_by_who_may(extra: str) -> None:
    using = [f for f, extras in EXTRAS.items() if extra in extras]
    used = {m for f in using for m in imported(f)}
    assert {d for d in declared(extra) if module_of(d) not in used and d not in NOT_IMPORTED} == set()


def test_what_is_not_imported_is_declared_somewhere() -> None:
    everywhere = declared(*PROJECT["optional-dependencies"])
    assert set(NOT_IMPORTED) <= set(everywhere)


def test_one_distribution_of_those_that_overwrite_each_other() -> None:
    everywhere = {*declared(), *declared(*PROJECT["optional-dependencies"])}
    for names in ALTERNATIVES.values():
        assert len(everywhere & set(names)) == 1


def test_ranges_stand_in_pyproject_and_pins_in_the_constraints() -> None:
    for name, requirement in {**declared(), **declared(*PROJECT["optional-dependencies"])}.items():
        operators = {s.operator for s in requirement.specifier}
        assert operators <= {">=", "<"} and operators, f"{name}: {requirement.specifier}"


def test_constraints_pin_every_requirement_inside_its_range() -> None:
    lines = [
        text
        for text in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if text and not text.startswith("#")
    ]
    assert [text for text in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.]+", text)] == []
    pins = {canonicalize_name(text.split("==")[0]): Version(text.split("==")[1]) for text in lines}
    assert len(pins) == len(lines) > 60
    for name, requirement in {**declared(), **declared(*PROJECT["optional-dependencies"])}.items():
        assert pins[name] in requirement.specifier, f"{name}: {pins[name]} not in {requirement.specifier}"
    assert pins["opencv-python"] == pins["opencv-contrib-python"]  # blind-watermark brings the former
    assert "onnxruntime-gpu" not in pins


def test_make_installs_what_is_pinned() -> None:
    installs = re.findall(r"^\t.*pip install .*$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    apart = [
        text for text in installs if "--target .venv/opencue -r $<" in text
    ]  # of constraints-opencue.txt
    assert len(installs) == 4 and len(apart) == 1
    assert all("-c constraints.txt" in text for text in installs if text not in apart)
    pins = (ROOT / "constraints-opencue.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"\w[\w-]*==[\d.]+", line) for line in pins if not line.startswith("#"))


# ---- what `vdub doctor` says of them -----------------------------------------------------------------------


def test_doctor_looks_for_every_dependency_of_the_core() -> None:
    assert set(NEEDED) == set(declared())


@pytest.mark.parametrize(
    ("name", "installed", "ok", "says"),
    [
        ("scipy", {}, False, "pip install visualdub"),
        ("scipy", {"scipy": "1.17.1"}, True, "1.17.1"),
        ("onnxruntime", {"onnxruntime-gpu": "1.30.0"}, True, "onnxruntime-gpu 1.30.0"),
        (
            "onnxruntime",
            {"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.30.0"},
            False,
            "pip uninstall onnxruntime onnxruntime-gpu",
        ),
        (
            "opencv-contrib-python",
            {"opencv-contrib-python": "4.11.0.86", "opencv-python": "4.11.0.86"},
            True,
            "4.11.0.86",
        ),
        (
            "opencv-contrib-python",
            {"opencv-contrib-python": "4.11.0.86", "opencv-python": "5.0.0.90"},
            False,
            "pip uninstall opencv-contrib-python opencv-python",
        ),
    ],
)
def test_doctor_calls_two_builds_of_one_library_broken(
    name: str, installed: dict[str, str], ok: bool, says: str
) -> None:
    finding = judge(name, installed)
    assert finding.ok is ok and says in finding.detail
