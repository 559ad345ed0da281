"""Commands of every installed room, found through the entry-point group `visualdub.commands`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.main import get_command

from visualdub.errors import BadInput, VisualDubError

GROUP = "visualdub.commands"
STOPPED = 130  # the status newer Typers give for Ctrl-C
EXTRA = {"adapt": "training", "train": "training", "export": "exporters"}


def offered() -> dict[str, EntryPoint]:
    """The commands other rooms offer, by name; nothing of them is loaded."""
    return {e.name: e for e in entry_points(group=GROUP)}


def find_command(name: str) -> Any:
    """The click command `name` of another room.

    Raises `BadInput` where that room, or a package it needs, is not installed.
    """
    found = offered().get(name)
    hint = f"pip install 'visualdub[{EXTRA.get(name, name)}]'"
    if found is None:
        raise BadInput(f"the command {name!r} belongs to a room that is not installed; {hint}")
    try:
        target = found.load()
    except ImportError as e:
        raise BadInput(f"the command {name!r} needs a package that is not installed ({e}); {hint}") from e
    return as_click(name, target)


def as_click(name: str, target: Any) -> Any:
    """A room may offer a whole Typer application or one function."""
    if isinstance(target, typer.Typer):
        command = get_command(target)
    else:
        app = typer.Typer(add_completion=False)
        app.command(name)(target)
        command = get_command(app)
    command.name = name
    return command


def missing(name: str, reason: BadInput) -> Any:
    """A command that stands in the list of commands and says why it cannot run."""

    def absent(args: list[str] | None = typer.Argument(None, hidden=True)) -> None:
        raise reason

    app = typer.Typer(add_completion=False)
    app.command(name, help=f"Not installed: {reason}", context_settings={"ignore_unknown_options": True})(
        absent
    )
    return get_command(app)


def run_command(name: str, args: list[str]) -> None:
    """Run another room's command in this process, as if typed. Its errors are raised here."""
    status = find_command(name).main(args=args, prog_name=f"vdub {name}", standalone_mode=False)
    if status == STOPPED:
        raise KeyboardInterrupt
    if isinstance(status, int) and status != 0:
        raise VisualDubError(f"vdub {name} ended with status {status}")
