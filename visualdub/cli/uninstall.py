"""`vdub uninstall`: what `vdub install` wrote is taken away again."""

from __future__ import annotations

from visualdub.cli.install import DryRun, HostName, show_steps
from visualdub.console import Json


def command(host: HostName, dry_run: DryRun = False, json: Json = False) -> None:
    """Take Visual Dub out of a host application; files that were edited since stay, and are named."""
    from visualdub.install import System, host_named
    from visualdub.install.files import uninstall

    host_named(host)
    show_steps(host, uninstall(System.this(), host, dry_run), dry_run, json)
