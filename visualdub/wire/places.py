"""Where the service of this user listens. Python 3.7, the standard library alone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from visualdub.wire.errors import Unreachable

ADDRESS = "address.json"  # in the run folder: where the service listens, and the keys of a local client


def run_folder() -> Path:
    """`$VISUALDUB_DAEMON`, else `visualdub` in the user's folder for what runs. Not created."""
    chosen = os.environ.get("VISUALDUB_DAEMON")
    if chosen:
        return Path(chosen)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "visualdub"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "visualdub" / "run"
    return Path.home() / ".cache" / "visualdub" / "run"


def read_address(folder: Path | None = None) -> dict[str, Any]:
    """Where the service listens: `endpoint`, and for CURVE `server_key`, `public_key` and `secret_key`.

    Raises `Unreachable` where no service has left its address.
    """
    path = (folder or run_folder()) / ADDRESS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise Unreachable(
            f"no service runs here ({path} does not say where); start one: vdub serve"
        ) from None
    if not isinstance(values, dict) or not isinstance(values.get("endpoint"), str):
        raise Unreachable(f"{path} names no endpoint; start the service again: vdub serve")
    return values
