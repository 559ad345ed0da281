"""The path from a host's Python to the service, tried from that Python."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from visualdub.install.files import Check
from visualdub.install.packages import LAUNCH

TRY_S = 90.0  # for the host's Python to start, the bridge to start and the service to answer
_TRY = """
import json, sys
sys.path.insert(0, {folder!r})
said = {{"python": sys.version.split()[0]}}
try:
    import tkinter
    said["tk"] = True
except ImportError:
    said["tk"] = False
from visualdub.wire import BridgeClient, WireError
with open({launch!r}, encoding="utf-8") as file:
    command = json.load(file)["command"]
try:
    with BridgeClient([*command, "bridge"], name="vdub doctor") as service:
        said["service"] = service.hello()["version"]
except WireError as e:
    said["problem"] = str(e)
print(json.dumps(said))
"""


def python_checks(python: str | None, folder: Path) -> list[Check]:
    """Checks of a host's Python: its version, its window toolkit, and whether it reaches the service.

    folder: where the client of a bridge was copied to.
    """
    name = "the host's Python"
    if python is None:
        return [Check(name, False, "no python3 found; the host needs one, from python.org or the system")]
    if not (folder / LAUNCH).is_file():
        return [Check(name, None, f"{python}; not tried, nothing is installed in {folder}")]
    program = _TRY.format(folder=str(folder), launch=str(folder / LAUNCH))
    try:
        done = subprocess.run(
            [python, "-I", "-c", program], capture_output=True, text=True, timeout=TRY_S, check=False
        )
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as e:
        return [Check(name, False, f"{python} cannot run the client: {e}")]
    window = "with Tk" if said["tk"] else "without Tk: questions are asked in the browser"
    checks = [Check(name, True, f"{said['python']} {window}, {python}")]
    return [*checks, _service_check(said)]


def _service_check(said: dict[str, Any]) -> Check:
    """What the client said of the service. None running is no fault: the plug-in starts one."""
    if "service" in said:
        return Check("the service", True, f"version {said['service']} answers through the bridge")
    idle = "no service runs here" in said["problem"]
    return Check("the service", None if idle else False, said["problem"])
