"""Nuke: one line in the user's `init.py`, and the plug-in's folder, which may also stand in NUKE_PATH."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from visualdub.install.examine import python_checks
from visualdub.install.files import AddedLine, Check, Installation
from visualdub.install.packages import client_files, package_files, package_folder
from visualdub.install.system import System

HOST, TITLE = "nuke", "Nuke"
ENTRIES = ("init.py", "menu.py", "visualdub_nuke.py")  # what Nuke finds in its path
HINTS = (
    "In Nuke: Tab > VisualDub below the plate's Read, or import visualdub_nuke in a script.",
    "For every artist of a studio: NUKE_PATH={folder} in place of the line in init.py.",
    "The render farm needs no plug-in to show frames that are there; with it, missing ones are told by name.",
)


def nuke_folder(system: System) -> Path:
    """Nuke's own folder in the user's home, the same on all systems."""
    return system.home / ".nuke"


def plugin_folder(system: System) -> Path:
    """Where the plug-in and the client that it imports are copied to."""
    return system.ours / HOST


def installation(system: System) -> Installation:
    """The plug-in's packages with Nuke's entries beside them, and the line that names their folder."""
    folder = plugin_folder(system)
    files = {**client_files(folder), **package_files("plugin_nuke", folder)}
    source = package_folder("plugin_nuke") / "path"
    files.update({folder / name: (source / name).read_bytes() for name in ENTRIES})
    path = str(folder).replace("\\", "/")  # as Nuke writes them on every system
    line = AddedLine(nuke_folder(system) / "init.py", f"import nuke; nuke.pluginAddPath({path!r})")
    return Installation(HOST, TITLE, files, (line,), tuple(h.format(folder=folder) for h in HINTS))


# ---- doctor ------------------------------------------------------------------------------------------------


def examine(system: System) -> list[Check]:
    """Nuke itself, and the path from its Python to the service."""
    found = programs(system)
    title = ", ".join(map(str, found)) if found else "not found where it is installed by default"
    python = next((p for program in found if (p := python_of(program))), None)
    checks = [Check(TITLE, True if found else None, title)]
    if found and python is None:
        return [
            *checks,
            Check("the host's Python", None, f"{found[-1].parent} has no python to try the path with"),
        ]
    return [*checks, *(python_checks(python, plugin_folder(system)) if python else ())]


def programs(system: System) -> list[Path]:
    """Every Nuke where its installer puts them, the newest first."""
    if system.platform == "darwin":
        patterns = ["/Applications/Nuke*/Nuke*.app/Contents/MacOS/Nuke*"]
    elif system.platform == "win32":
        root = system.environment.get("PROGRAMFILES", r"C:\Program Files")
        patterns = [f"{root}/Nuke*/Nuke*.exe"]
    else:
        patterns = [f"{root}/Nuke*/Nuke[0-9]*" for root in ("/usr/local", "/opt", str(system.home))]
    found = (Path(p) for pattern in patterns for p in glob.glob(pattern))
    return sorted((p for p in found if os.path.isfile(p)), key=lambda p: _version(p.name), reverse=True)


def python_of(program: Path) -> str | None:
    """The Python that comes with a Nuke, where it has one as a program."""
    names = ("python.exe", "python3", "python")
    return next((str(p) for name in names if (p := program.parent / name).is_file()), None)


def _version(name: str) -> tuple[int, ...]:
    digits = "".join(c if c.isdigit() else " " for c in name.replace(".exe", ""))
    return tuple(int(part) for part in digits.split())
