"""`vdub doctor`: what this machine has and what is missing."""

from __future__ import annotations

import typer
from rich.table import Table

from visualdub.commands.console import out, print_json
from visualdub.commands.options import Json

SIGN = {True: "ok", False: "BROKEN", None: ""}


def command(json: Json = False) -> None:
    """Check this machine: packages, models, encoders, memory and disk. Exit status 1 where something is broken."""
    from dataclasses import asdict

    from visualdub.doctor import examine, healthy

    findings = examine()
    if json:
        print_json({"healthy": healthy(findings), "findings": [asdict(f) for f in findings]})
    else:
        table = Table("", "", "", box=None, show_header=False)
        for f in findings:
            table.add_row(f.name, SIGN[f.ok], f.detail)
        out.print(table)
    if not healthy(findings):
        raise typer.Exit(1)
