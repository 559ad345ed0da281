"""Nuke's double with the plug-in loaded in it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nuke_double import make_nuke, write_script

from plugin_nuke.png import Generated
from plugin_nuke.versions import NewVersion, Version

API = Path(__file__).with_name("nuke_surface.json")  # drawn from the vendor's interpreter, 13.0v1
PLUGIN_PATH = Path(__file__).resolve().parents[2] / "plugin_nuke" / "path"


@dataclass
class Nuke:
    """nuke: the module. plugin: `visualdub_nuke`, as scripts import it. host: `plugin_nuke.host`."""

    nuke: Any
    plugin: Any
    host: Any

    def script(self) -> str:
        """The script as it would be saved."""
        return write_script(self.nuke.double)

    def read(self, clip: Path | str, last: int = 40) -> Any:
        """A Read of a movie, selected."""
        read = self.nuke.createNode("Read", inpanel=False)
        read.knob("file").setValue(str(clip))
        read.knob("last").setValue(last)
        read.knob("origlast").setValue(last)
        return read


def start_nuke(monkeypatch: pytest.MonkeyPatch, gui: bool = False) -> Nuke:
    """Nuke after its start, with the plug-in's folder in its path."""
    module = make_nuke(str(API), gui)
    monkeypatch.setitem(sys.modules, "nuke", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("plugin_nuke.host", "visualdub_nuke"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import plugin_nuke

    monkeypatch.delattr(plugin_nuke, "host", raising=False)
    module.pluginAddPath(str(PLUGIN_PATH))
    loaded = sys.modules["visualdub_nuke"]
    nuke = Nuke(module, loaded, sys.modules["plugin_nuke.host"])
    for name in ("plugin_nuke.host", "visualdub_nuke"):  # gone again after the test
        monkeypatch.setitem(sys.modules, name, sys.modules.pop(name))
    return nuke


def picture(width: int = 8, height: int = 6, value: int = 100) -> Generated:
    """A dub of a small rectangle: one pixel of it is the plate's."""
    matte = bytes([0, 128, 255, 255])
    return Generated(width, height, (2, 1, 4, 3), bytes([value]) * 12, matte)


def make_version(cache: Path, first: int, last: int, value: int = 100) -> Version:
    """A version of small pictures."""
    with NewVersion(str(cache)) as new:
        for number in range(first, last + 1):
            new.add(number, f"{value} {number}", picture(value=value), True)
        return new.finish({"clip": "x"}, ())
