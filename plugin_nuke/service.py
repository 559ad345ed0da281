"""How Nuke reaches the service: a bridge in Visual Dub's own Python."""

from __future__ import annotations

import json
import os
from typing import Any

from visualdub.wire.bridge_client import BridgeClient

LAUNCH = "launch.json"  # beside the packages, where `vdub install nuke` put them
CLIENT = "Nuke"


def bridge_command() -> list[str]:
    """How `vdub` is started: as the installation says, else `$VISUALDUB_COMMAND`, else by its name."""
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), LAUNCH)
    try:
        with open(beside, encoding="utf-8") as file:
            return [str(word) for word in json.load(file)["command"]]
    except (OSError, ValueError, KeyError, TypeError):
        return json.loads(os.environ["VISUALDUB_COMMAND"]) if "VISUALDUB_COMMAND" in os.environ else ["vdub"]


def connect(endpoint: str = "", **options: Any) -> BridgeClient:
    """A connection to the service at `endpoint`, this user's by default; a context manager.

    Raises `Unreachable` where vdub cannot be started; a service that does not run is told by the first request.
    """
    command = [*bridge_command(), "bridge", *(("--endpoint", endpoint) if endpoint else ())]
    return BridgeClient(command, name=CLIENT, **options)
