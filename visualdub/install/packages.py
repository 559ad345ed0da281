"""What of Visual Dub is copied for a host: the plug-in's own package and the client of a bridge.

The copy needs nothing but the host's Python. It stands in a folder of its own, so that no other package of
Visual Dub's Python is ever imported by the host.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from visualdub import __version__
from visualdub.errors import BadInput

WIRE = ("__init__", "errors", "picture", "places", "requests", "bridge_client", "hosted")
CLIENT = (  # of visualdub, what the client of a bridge loads: Python 3.7 and the standard library
    "__init__.py",
    "errors.py",
    *(f"wire/{name}.py" for name in WIRE),
)
LAUNCH = "launch.json"  # beside the copied packages: how the plug-in starts vdub
COPIED = (".py", ".lua", ".json", ".png")
FOREIGN = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # of a host, which would break another Python


def package_folder(name: str) -> Path:
    """The folder of a package of the project, not imported. Raises `BadInput` where it is missing."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise BadInput(f"the package {name} is not installed beside visualdub; install Visual Dub again")
    return Path(next(iter(found.submodule_search_locations)))


def package_files(name: str, folder: Path) -> dict[Path, bytes]:
    """The files of the package `name`, as they are copied below `folder`."""
    source = package_folder(name)
    found = sorted(p for p in source.rglob("*") if p.suffix in COPIED and p.is_file())
    return {folder / name / p.relative_to(source): p.read_bytes() for p in found}


def client_files(folder: Path) -> dict[Path, bytes]:
    """The client of a bridge, as it is copied below `folder`, and how vdub is started from there."""
    source = package_folder("visualdub")
    files = {folder / "visualdub" / name: (source / name).read_bytes() for name in CLIENT}
    values = {"version": __version__, "command": vdub_command(sys.executable, os.environ)}
    files[folder / LAUNCH] = json.dumps(values, indent=1).encode() + b"\n"
    return files


def vdub_command(python: str, environment: Mapping[str, str], platform: str = sys.platform) -> list[str]:
    """How `vdub` is started out of a host, whose own settings for Python and for libraries do not count."""
    paths = [str(Path(p).absolute()) for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    clean = [] if platform == "win32" else ["/usr/bin/env", *(a for name in FOREIGN for a in ("-u", name))]
    return [*clean, python, "-I", "-c", _start(paths)]


def _start(paths: Sequence[str]) -> str:
    """The program that Visual Dub's own Python runs: it is shut off from what the host set for its Python."""
    return (
        f"import os, sys; paths = {list(paths)!r}; sys.path[:0] = paths;"
        " [os.environ.pop(name) for name in list(os.environ) if name.startswith('PYTHON')];"
        " paths and os.environ.update(PYTHONPATH=os.pathsep.join(paths));"
        " from visualdub.cli import main; main()"
    )
