"""`vdub install`: Visual Dub in the menus of a host application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from visualdub.console import Json, out, print_json
from visualdub.install import HOSTS

if TYPE_CHECKING:
    from visualdub.install.files import Step

HostName = Annotated[
    str, typer.Argument(metavar="HOST", help=f"The application: {', '.join(HOSTS)}.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def command(host: HostName, dry_run: DryRun = False, json: Json = False) -> None:
    """Put Visual Dub into a host application of this user: only files of ours, and lines that say so."""
    from visualdub.install import System, host_named
    from visualdub.install.files import install

    system = System.this()
    wanted = host_named(host).installation(system)
    steps = install(system, wanted, dry_run)
    show_steps(host, steps, dry_run, json)
    if json:
        return
    for hint in wanted.hints:
        out.print(hint, markup=False)
    out.print(f"To take it away: vdub uninstall {host}. To try the path to the service: vdub doctor {host}")


def show_steps(host: str, steps: Sequence[Step], dry_run: bool, json: bool) -> None:
    """What was done, or what would be."""
    if json:
        listed = [{"what": s.what, "path": str(s.path)} for s in steps]
        print_json({"host": host, "dry_run": dry_run, "steps": listed})
        return
    for step in steps:
        out.print(f"{'would ' if dry_run else ''}{step}", markup=False, soft_wrap=True)
