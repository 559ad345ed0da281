"""How Nuke reaches the service: a bridge in Visual Dub's own Python."""

from __future__ import annotations

import os
from typing import Any

from visualdub.wire.bridge_client import BridgeClient
from visualdub.wire.hosted import vdub_command

CLIENT = "Nuke"
FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # where the packages lie


def connect(endpoint: str = "", **options: Any) -> BridgeClient:
    """A connection to the service at `endpoint`, this user's by default; a context manager.

    Raises `Unreachable` where vdub cannot be started; a service that does not run is told by the first
    request.
    """
    where = ("--endpoint", endpoint) if endpoint else ()
    return BridgeClient([*vdub_command(FOLDER), "bridge", *where], name=CLIENT, **options)
