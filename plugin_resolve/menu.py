"""The menu entry: what Resolve's scripts run. What cannot start says so in a window."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FAULT = "This is a fault of Visual Dub, please report it: "


def main(names: Mapping[str, Any], folder: str) -> None:
    """Run one use of Visual Dub. names: the globals of the script that Resolve started. folder: ours."""
    from plugin_resolve.browser import BrowserWindow

    window: Any = None
    try:
        window = open_window(Path(folder))
        from plugin_resolve.session import run

        run(resolve_of(names), window, Path(folder))
    except Exception as e:
        traceback.print_exc()
        (window or BrowserWindow(Path(folder))).say(f"{FAULT}{type(e).__name__}: {e}", True)
    if window is not None:
        window.close()


def open_window(folder: Path) -> Any:
    """A window of Tk, or what stands in for one where this Python or this machine has none."""
    from plugin_resolve.browser import BrowserWindow

    try:
        from plugin_resolve.window import TkWindow

        return TkWindow()
    except Exception:  # no tkinter, no display, a Tk that does not fit the system: each has its own error
        return BrowserWindow(folder)


def resolve_of(names: Mapping[str, Any]) -> Any:
    """What scripts get as `resolve`; None where they get nothing."""
    found = names.get("resolve")
    if found is None and names.get("bmd") is not None:
        found = names["bmd"].scriptapp("Resolve")
    return found
