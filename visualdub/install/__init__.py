"""Visual Dub put into host applications and taken out again: `vdub install`, `uninstall` and `doctor HOST`.

Every host is a module of this package, listed in `HOSTS`, with two functions, see `Host`. It says which
files are ours and which lines are added to a user's file; writing, refusing and taking away is done in
`files`, the same for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from visualdub.errors import BadInput
from visualdub.install.files import Check, Installation
from visualdub.install.system import System

HOSTS: dict[str, str] = {  # name of the host -> its module
    "resolve": "visualdub.install.resolve",
    "nuke": "visualdub.install.nuke",
    "blender": "visualdub.install.blender",
}


__all__ = ["HOSTS", "Check", "Host", "Installation", "System", "host_named"]


class Host(Protocol):
    """What the module of a host offers."""

    def installation(self, system: System) -> Installation:
        """What is written for this host on `system`; nothing is written yet."""

    def examine(self, system: System) -> list[Check]:
        """What `vdub doctor HOST` looks at beside the installed files: the host itself, and its Python."""


def host_named(name: str) -> Host:
    """The module of the host `name`. Raises `BadInput` for one that is not known."""
    if name not in HOSTS:
        raise BadInput(f"{name} is no host that is known; expected one of {', '.join(sorted(HOSTS))}")
    return cast(Host, import_module(HOSTS[name]))
