"""Which module imports which: the layers of DESIGN.md 1, circles, and what may be loaded at all.

The graph is read from the source, imports inside functions too. What the source cannot show is held in a
process of its own.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = tuple(
    name
    for name in (
        "visualdub",
        "training",
        "exporters",
        "daemon",
        "farm",
        "plugin_resolve",
        "plugin_nuke",
        "plugin_blender",
    )
    if (ROOT / name).is_dir()
)
MAY_IMPORT = {  # beside itself
    "visualdub": set[str](),
    "training": {"visualdub"},
    "exporters": {"visualdub", "training"},
    "daemon": {"visualdub"},
    "farm": {"visualdub"},
    "plugin_resolve": {"visualdub"},
    "plugin_nuke": {"visualdub"},
    "plugin_blender": {"visualdub"},
}
LAYERS = (  # of visualdub, from the bottom: each may import those before it; the longest name counts
    "errors",
    "arrays",
    "box",
    "temporaries",
    "log",
    "timing",
    "memory",
    "stages",
    "stops",
    "locks",
    "storage",
    "compiled",
    "mapped",
    "media",
    "edit",
    "face",
    "speech",
    "records",
    "render",
    "actor",
    "render.shot_renderer",
    "dub",
    "dub_people",
    "edit.who",
    "edit.dubbing",
    "edit.request",
    "measure",
    "demo",
    "services",
    "edit.footage",
    "wire",
    "install",
    "console",
    "console_edits",
    "cli",
)
SOCKET_MODULES = {"socket", "socketserver", "http", "urllib", "requests", "asyncio", "zmq"}
POSIX_MODULES = {
    "crypt",
    "curses",
    "fcntl",
    "grp",
    "nis",
    "ossaudiodev",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "spwd",
    "syslog",
    "termios",
    "tty",
}


class Import(NamedTuple):
    """One imported name; `target` is a module of the project where there is one, else as it is written."""

    module: str
    target: str
    for_types: bool  # under `if TYPE_CHECKING`
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


# ---- the graph ---------------------------------------------------------------------------------------------


@cache
def modules() -> dict[str, Path]:
    """Every module of the packages: dotted name -> file."""
    found = {}
    for package in (*PACKAGES, "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@cache
def imports(package: str) -> tuple[Import, ...]:
    """Every import of the package's modules, those inside functions too."""
    return tuple(
        i
        for module, path in modules().items()
        if module.split(".")[0] == package
        for i in _imports_of(module, ast.parse(path.read_text(encoding="utf-8")), False)
    )


def _imports_of(module: str, node: ast.AST, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module, alias.name, for_types, child.lineno)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0 and child.module, f"{module}:{child.lineno} is a relative import"
            for alias in child.names:
                name = f"{child.module}.{alias.name}"
                target = name if name in modules() else child.module
                yield Import(module, target, for_types, child.lineno)
        guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from _imports_of(module, child, for_types or guarded)


def top(name: str) -> str:
    return name.split(".")[0]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other; Tarjan's algorithm, in the order of `edges`."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in number:
            visit(node)
    return found


def test_circles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set[str](), "f": {"d"}}
    assert circles(edges) == [["a", "b", "c"]]
    assert circles({**edges, "c": {"d"}}) == []


# ---- between packages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_along_the_arrows(package: str) -> None:
    allowed = {package, *MAY_IMPORT[package]}
    assert imports(package), f"{package} is empty"
    assert [
        str(i) for i in imports(package) if top(i.target) in MAY_IMPORT and top(i.target) not in allowed
    ] == []


def test_plugins_import_the_wire_and_the_edit_alone() -> None:
    allowed = ("visualdub.wire", "visualdub.edit")
    against = [
        str(i)
        for package in PACKAGES
        if package.startswith("plugin_")
        for i in imports(package)
        if top(i.target) == "visualdub" and not i.target.startswith(allowed)
    ]
    assert against == []


def test_the_commands_are_imported_by_nobody_but_themselves() -> None:
    against = [
        str(i)
        for package in (*PACKAGES, "benchmarks")
        for i in imports(package)
        if f"{i.target}.".startswith("visualdub.cli.") and not f"{i.module}.".startswith("visualdub.cli.")
    ]
    assert against == []


def test_no_import_circle_even_inside_functions() -> None:
    edges: dict[str, set[str]] = {name: set() for name in modules()}
    for package in PACKAGES:
        for i in imports(package):
            if i.target in edges and i.target != i.module and not i.for_types:
                edges[i.module].add(i.target)
    assert circles(edges) == []


# ---- inside packages ---------------------------------------------------------------------------------------


def layer_of(module: str) -> str | None:
    """The longest of `LAYERS` that names the module, or a package it lies in; the package itself has none."""
    inside = module.partition(".")[2]
    named = [x for x in LAYERS if f"{inside}.".startswith(f"{x}.")]
    return max(named, key=len) if named else None


def test_layers_import_downwards() -> None:
    core = [m for m in modules() if m.startswith("visualdub.")]
    assert [m for m in core if layer_of(m) is None] == [], "every module has its place in the table of layers"
    against = []
    for i in imports("visualdub"):
        high, low = layer_of(i.module), layer_of(i.target) if i.target in core else None
        if high and low and LAYERS.index(low) > LAYERS.index(high):
            against.append(str(i))
    assert against == []


def test_the_core_uses_its_public_names_from_their_modules() -> None:
    """`from visualdub import X` inside the core would load what the name hides, or go in a circle."""
    import visualdub

    against = []
    for module, path in modules().items():
        if top(module) != "visualdub":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "visualdub":
                names = {a.name for a in node.names} - {"__version__"}
                against += [f"{module}:{node.lineno} {n}" for n in sorted(names & set(visualdub.__all__))]
    assert against == []


def test_mediapipe_stands_behind_one_module() -> None:
    users = {i.module for package in PACKAGES for i in imports(package) if top(i.target) == "mediapipe"}
    assert users == {"visualdub.face.mediapipe_models"}


# ---- what is never imported --------------------------------------------------------------------------------


def test_only_wire_and_the_service_may_open_sockets() -> None:
    against = [
        str(i)
        for package in PACKAGES
        if package != "daemon"
        for i in imports(package)
        if top(i.target) in SOCKET_MODULES and "wire" not in i.module.split(".")
        if i.target != "urllib.parse"  # takes addresses apart and opens nothing
    ]
    assert against == []


def test_no_module_of_ours_reads_pickles() -> None:
    against = [
        str(i)
        for package in PACKAGES
        for i in imports(package)
        if top(i.target) in {"pickle", "cPickle", "dill", "joblib", "shelve"}
    ]
    assert against == []


def test_no_posix_only_module_where_artists_sit() -> None:
    against = [
        str(i)
        for package in PACKAGES
        if package not in ("training", "exporters")
        for i in imports(package)
        if top(i.target) in POSIX_MODULES
    ]
    assert against == []


# ---- in a process of their own -----------------------------------------------------------------------------


def loaded_after(code: str) -> set[str]:
    """Top-level names of every module loaded after running `code` in a fresh interpreter."""
    script = f"{code}\nprint(' '.join({{n.split('.')[0] for n, m in sys.modules.items() if m is not None}}))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{script}"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_every_module_of_the_core_loads_without_torch_other_packages_and_posix() -> None:
    """Every module of POSIX is missing, as on Windows, but for `posix`, which is a part of `os` here."""
    names = [m for m in modules() if top(m) == "visualdub" and not m.endswith("__main__")]
    missing = sorted(POSIX_MODULES - {"posix"})
    loaded = loaded_after(
        f"for name in {missing}: sys.modules[name] = None\n" + "".join(f"import {n}\n" for n in names)
    )
    assert {"visualdub", "numpy"} <= loaded
    assert loaded.isdisjoint({"torch", *missing, *PACKAGES[1:]})


@pytest.mark.slow
def test_a_prior_is_trained_from_its_dataset_without_media_and_detectors() -> None:
    """As on a machine with a GPU that has PyTorch and little else."""
    missing = ["av", "mediapipe", "onnxruntime"]
    loaded = loaded_after(
        f"for name in {missing}: sys.modules[name] = None\n"
        "import training.__main__, training.prior, training.meta, training.experiments.margin"
    )
    assert "torch" in loaded and loaded.isdisjoint(missing)


@pytest.mark.slow
def test_faces_are_found_without_matplotlib_which_is_there_for_plots() -> None:
    """MediaPipe would load it, and with it half of what the start of a dub takes."""
    code = (
        "from visualdub.face.mediapipe_models import Detector, mesh_edges\nDetector().close()\nmesh_edges()\n"
    )
    loaded = loaded_after(f"{code}assert not {{'matplotlib', 'matplotlib.pyplot'}} & set(sys.modules)")
    assert "mediapipe" in loaded
    assert "PIL" in loaded_after(f"{code}import matplotlib.pyplot as plt\nplt.figure")


def test_importing_the_package_alone_loads_nothing_heavy() -> None:
    assert loaded_after("import visualdub").isdisjoint(
        {"torch", "numpy", "av", "mediapipe", "onnxruntime", "cv2", "typer", "rich"}
    )


def test_vdub_help_starts_light() -> None:
    assert loaded_after("import visualdub.cli").isdisjoint(
        {"torch", "mediapipe", "onnxruntime", "numba", "matplotlib", "numpy"}
    )


def test_listing_the_commands_of_other_packages_loads_no_torch() -> None:
    assert loaded_after("import training.commands, exporters.commands").isdisjoint(
        {"torch", "onnx", "mediapipe", "onnxruntime", "numba", "transformers"}
    )
