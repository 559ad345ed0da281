"""Ends the host, the bridge or the service in the middle of a dub in Nuke, and looks at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin_nuke.versions import read_version, version_numbers

ROOT = Path(__file__).resolve().parents[2]
STEPS = Path(__file__).with_name("nuke_kill_steps.py")
VICTIMS = ("host", "bridge", "service")


@dataclass(frozen=True)
class Left:
    """What a dub left behind that was ended, or not, at some point.

    outcome: "before", nothing has changed; "after", it is finished; else what is wrong. seconds: from its
    start.
    """

    outcome: str
    said: str
    seconds: float
    keys: tuple[str, ...] = ()  # of the frames that are shown


def dub_once(
    asked: dict[str, Any], command: list[str], victim: str = "", after_s: float = 0.0, service: int = 0
) -> Left:
    """Dub in a process of its own; end `victim` after so many seconds. service: the number of its process.

    command: how the bridge is started.
    """
    cache = asked["cache"]
    kept = version_numbers(cache)
    paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "VISUALDUB_COMMAND": json.dumps(command),
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, str(STEPS), json.dumps(asked)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None and process.stdout is not None
        ready = process.stdout.readline().split()
        assert ready and ready[0] == b"ready", "the host does not start"
        script = Path(asked["script"]).read_bytes()
        numbers = {"host": process.pid, "bridge": int(ready[1]), "service": service}
        started = time.monotonic()
        process.stdin.write(b"go\n")
        process.stdin.flush()
        timer = threading.Timer(after_s, end, (numbers[victim],)) if victim else None
        if timer is not None:
            timer.start()
        said = process.stdout.readline()
        seconds = time.monotonic() - started
        process.wait()
    if timer is not None:
        timer.join()
    if Path(asked["script"]).read_bytes() != script:
        return Left("the saved script is another", "", seconds)
    return judge(json.loads(said) if said else None, cache, kept, seconds)


def end(process: int) -> None:
    """Kill a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def judge(said: dict[str, Any] | None, cache: str, kept: list[int], seconds: float) -> Left:
    """Whether what is left is what was there, or all of a dub. said: what the host said, if it lived."""
    versions = [read_version(cache, n) for n in version_numbers(cache)]
    if any(v.missing() for v in versions):
        return Left("a version lacks frames", str(said), seconds)
    new = [v for v in versions if v.number not in kept]
    keys = versions[-1].keys if versions else ()
    if said is None:  # the script in memory is gone with the host
        return Left("after" if new else "before", "killed", seconds, keys)
    if said["said"]:
        fine = said["same"] and not new
        return Left("before" if fine else "an error and a change", said["said"], seconds, keys)
    fine = not said["same"] and said["version"] in [v.number for v in versions]
    return Left("after" if fine else "no error and no change", "", seconds, keys)
