"""What a plug-in in a host application does with the service: start the bridge, follow a job, stop it.

Python 3.7, the standard library alone.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from visualdub.wire.errors import JobFailed, WireError
from visualdub.wire.requests import Requests

if TYPE_CHECKING:
    from collections.abc import Callable

    Tell = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much

LAUNCH = "launch.json"  # in the folder where `vdub install` put a plug-in: how vdub is started
COMMAND = "VISUALDUB_COMMAND"  # a variable that holds the same as a JSON list, where there is no such file
LOOK_S = 0.25  # between two looks at a job


class Stopped(WireError):
    """The user stopped what was waited for."""


def vdub_command(folder: str) -> list[str]:
    """How `vdub` is started from a plug-in that lies in `folder`: as the installation says, else as the
    variable COMMAND says, else by its name.
    """
    try:
        with open(os.path.join(folder, LAUNCH), encoding="utf-8") as file:
            words = json.load(file)["command"]
    except (OSError, ValueError, KeyError, TypeError):
        words = json.loads(os.environ.get(COMMAND, '["vdub"]'))
    return [str(word) for word in words]


def follow_job(service: Requests, job: int, tell: Tell, stopped: Callable[[], bool]) -> dict[str, Any]:
    """The row of a job once it is done. It asks again and again: through a bridge no request is answered
    while another one is.

    Raises `Stopped`, with the job cancelled, once `stopped()` says so, `JobFailed` with the service's
    reason, and as `Requests.job` does.
    """
    while True:
        row = service.job(job)
        state = row["state"]
        if state == "done":
            return row
        if state in ("failed", "cancelled"):
            raise JobFailed(f"job {job} {state}: {row['reason'] or 'no reason is given'}")
        if stopped():
            service.cancel(job)
            raise Stopped(f"job {job} is stopped")
        waits = f"{state} {row['reason']}".strip()
        tell((row["stage"] or "starting") if state == "running" else waits, row["done"], row["total"])
        time.sleep(LOOK_S)
