"""How an application talks to the service of `vdub serve`: the messages, a client and a bridge.

`Client` needs pyzmq and msgpack and runs on Python 3.9 and later. Where these have no wheel, `BridgeClient`
speaks to `vdub bridge` over a pipe with the standard library alone, on Python 3.7 and later.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from visualdub.wire.errors import (
    BadRequest,
    Busy,
    JobFailed,
    Refused,
    ServiceFault,
    Unreachable,
    WireError,
)

if TYPE_CHECKING:
    from visualdub.wire.bridge_client import BridgeClient
    from visualdub.wire.client import Client

__all__ = [
    "BadRequest",
    "BridgeClient",
    "Busy",
    "Client",
    "JobFailed",
    "Refused",
    "ServiceFault",
    "Unreachable",
    "WireError",
]

_MODULE_OF = {"Client": "client", "BridgeClient": "bridge_client"}


def __getattr__(name: str) -> Any:
    """Load the module of a client when it is first used: the other one's packages may be missing."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
