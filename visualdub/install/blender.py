"""Blender: an add-on in the user's scripts of every version that was started once, and one to install by
hand.
"""

from __future__ import annotations

import re
from pathlib import Path

from visualdub.install.examine import python_checks
from visualdub.install.files import Check, Installation
from visualdub.install.packages import client_files, package_files
from visualdub.install.system import System

HOST, TITLE = "blender", "Blender"
ADDON = "visual_dub.py"
OLDEST = (4, 4)  # whose sequencer has `strips`
HINTS = (
    "In Blender: Edit > Preferences > Add-ons, tick Visual Dub. Then right-click a movie strip in the"
    " sequencer.",
    "A Blender that was never started, or a portable one: Add-ons > Install from Disk, {addon}.",
)
_LOADER = '''"""Visual Dub in Blender's sequencer; written by `vdub install blender`."""

import sys

bl_info = {{
    "name": "Visual Dub",
    "author": "Visual Dub",
    "version": (1, 0, 0),
    "blender": (4, 4, 0),
    "location": "Video Sequencer > right click on a movie strip",
    "description": "Let the actor of a strip speak other dialogue",
    "category": "Sequencer",
}}

FOLDER = {folder!r}
if FOLDER not in sys.path:
    sys.path.append(FOLDER)


def register():
    from plugin_blender import host

    host.register()


def unregister():
    from plugin_blender import host

    host.unregister()
'''


def settings_folder(system: System) -> Path:
    """Where Blender keeps a user's settings, a folder for each version."""
    if system.platform == "darwin":
        return system.application_data / "Blender"
    if system.platform == "win32":
        return system.application_data / "Blender Foundation" / "Blender"
    configured = system.environment.get("XDG_CONFIG_HOME", "")
    return (Path(configured) if configured else system.home / ".config") / "blender"


def plugin_folder(system: System) -> Path:
    """Where the add-on's packages and the client that they import are copied to."""
    return system.ours / HOST


def versions(system: System) -> list[Path]:
    """The settings of each version of Blender that the add-on runs in, the newest first."""
    folder = settings_folder(system)
    named = [p for p in folder.iterdir() if re.fullmatch(r"\d+\.\d+", p.name)] if folder.is_dir() else []
    fitting = [p for p in named if _number(p) >= OLDEST]
    return sorted(fitting, key=_number, reverse=True)


def _number(folder: Path) -> tuple[int, ...]:
    return tuple(map(int, folder.name.split(".")))


def installation(system: System) -> Installation:
    """The add-on of every version, and the packages that it imports."""
    folder = plugin_folder(system)
    files = {**client_files(folder), **package_files("plugin_blender", folder)}
    loader = _LOADER.format(folder=str(folder)).encode()
    files[folder / ADDON] = loader
    for version in versions(system):
        files[version / "scripts" / "addons" / ADDON] = loader
    return Installation(HOST, TITLE, files, hints=tuple(h.format(addon=folder / ADDON) for h in HINTS))


def examine(system: System) -> list[Check]:
    """The versions of Blender, and the path from a Python like theirs to the service."""
    found = versions(system)
    oldest = ".".join(map(str, OLDEST))
    title = ", ".join(p.name for p in found) or f"no version from {oldest} on was started by this user"
    python = _python(system)
    checks = [Check(TITLE, True if found else None, title)]
    return [*checks, *(python_checks(python, plugin_folder(system)) if python else ())]


def _python(system: System) -> str | None:
    """The Python inside a Blender of the system's own folders, where there is one."""
    roots = {
        "darwin": ["/Applications/Blender.app/Contents/Resources"],
        "win32": [system.environment.get("PROGRAMFILES", r"C:\Program Files") + r"\Blender Foundation"],
    }.get(system.platform, ["/usr/share/blender", "/opt/blender", "/snap/blender/current"])
    pattern = "**/python/bin/python*"
    found = (p for root in roots if Path(root).is_dir() for p in sorted(Path(root).glob(pattern)))
    return next((str(p) for p in found if p.is_file()), None)
