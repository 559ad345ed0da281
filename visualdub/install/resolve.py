"""DaVinci Resolve: menu entries in the user's script folders, the plug-in's package in a folder of ours."""

from __future__ import annotations

import shutil
from pathlib import Path

from visualdub.install.examine import python_checks
from visualdub.install.files import Check, Installation
from visualdub.install.packages import client_files, package_files, package_folder
from visualdub.install.system import System

HOST, TITLE = "resolve", "DaVinci Resolve"
CATEGORIES = ("Edit", "Utility", "Tool")  # of scripts: two in the menu Workspace, one at a Fusion tool
ENTRY, LUA_ENTRY = "Visual Dub.py", "Visual Dub Export.lua"
REQUESTS = "requests"  # the folder that the entry of Lua writes into
_README = "Visual Dub Export, an entry in the menu of DaVinci Resolve, leaves timelines and requests here.\n"
HINTS = (
    "In Resolve: Workspace > Scripts > Edit > Visual Dub, or in Fusion a right click on a tool > Scripts.",
    "In the free edition from 21.1 on, which runs no Python: Workspace > Scripts > Utility > Visual Dub"
    " Export.",
)
_LOADER = '''"""Visual Dub in the menus of DaVinci Resolve; written by `vdub install resolve`."""

import sys

FOLDER = {folder!r}
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)
from plugin_resolve.menu import main  # noqa: E402

main(globals(), FOLDER)
'''


def scripts_folder(system: System) -> Path:
    """Where Resolve looks for the scripts of one user; below it are the folders of `CATEGORIES`."""
    if system.platform == "darwin":
        base = system.application_data / "Blackmagic Design" / "DaVinci Resolve"
    elif system.platform == "win32":
        base = system.application_data / "Blackmagic Design" / "DaVinci Resolve" / "Support"
    else:
        base = system.home / ".local" / "share" / "DaVinciResolve"
    return base / "Fusion" / "Scripts"


def plugin_folder(system: System) -> Path:
    """Where the plug-in and the client that it imports are copied to."""
    return system.ours / HOST


def installation(system: System) -> Installation:
    """A menu entry of Python in each category, one of Lua, and the packages that they need."""
    folder, scripts = plugin_folder(system), scripts_folder(system)
    files = {**client_files(folder), **package_files("plugin_resolve", folder)}
    loader = _LOADER.format(folder=str(folder)).encode()
    for category in CATEGORIES:
        files[scripts / category / ENTRY] = loader
    files[scripts / "Utility" / LUA_ENTRY] = lua_entry(folder)
    files[folder / REQUESTS / "README.txt"] = _README.encode()
    return Installation(HOST, TITLE, files, hints=HINTS)


def lua_entry(folder: Path) -> bytes:
    """The menu entry of Lua, which knows where it may leave what it exports."""
    text = (package_folder("plugin_resolve") / "export.lua").read_text(encoding="utf-8")
    return text.replace("@FOLDER@", _lua_text(str(folder / REQUESTS))).encode()


def _lua_text(text: str) -> str:
    """`text` as it stands between the quotes of a Lua string."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# ---- doctor ------------------------------------------------------------------------------------------------


def examine(system: System) -> list[Check]:
    """Resolve itself, and the path from the Python that it would run to the service."""
    found = [p for p in programs(system) if p.exists()]
    title = str(found[0]) if found else "not found where it is installed by default"
    return [
        Check(TITLE, True if found else None, title),
        *python_checks(host_python(), plugin_folder(system)),
    ]


def programs(system: System) -> list[Path]:
    """Where Resolve's installer puts the program."""
    if system.platform == "darwin":
        return [Path("/Applications/DaVinci Resolve/DaVinci Resolve.app")]
    if system.platform == "win32":
        root = system.environment.get("PROGRAMFILES", r"C:\Program Files")
        return [Path(root) / "Blackmagic Design" / "DaVinci Resolve" / "Resolve.exe"]
    return [Path("/opt/resolve/bin/resolve")]


def host_python() -> str | None:
    """The Python 3 that Resolve finds: the machine's own. Studio 21.1 has one inside, which is not tried."""
    return shutil.which("python3") or shutil.which("python")
