"""Commands of the project's other packages, found through the entry-point group `visualdub.commands`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.main import get_command, get_group

from visualdub.errors import BadInput

GROUP = "visualdub.commands"
EXTRA = {
    **{"adapt": "training", "train": "training", "export": "exporters"},
    **dict.fromkeys(("serve", "submit", "jobs", "keys", "bridge"), "service"),
    "farm": "farm",
}  # the extra of this project that installs each command


def offered() -> dict[str, EntryPoint]:
    """The commands that other packages offer, by name; none of them is imported."""
    return {e.name: e for e in entry_points(group=GROUP)}


def find_command(name: str) -> Any:
    """The click command `name` of another package.

    Raises `BadInput` where that package, or one that it needs, is not installed.
    """
    found = offered().get(name)
    hint = f"pip install 'visualdub[{EXTRA.get(name, name)}]'"
    if found is None:
        raise BadInput(f"the command {name!r} is not installed; {hint}")
    try:
        target = found.load()
    except ImportError as e:
        raise BadInput(f"the command {name!r} needs a package that is not installed ({e}); {hint}") from e
    return as_click(name, target)


def as_click(name: str, target: Any) -> Any:
    """The click command of what a package offers: a whole Typer application, or one function."""
    command: Any
    if isinstance(target, typer.Typer):
        command = get_group(target)  # of one command too, and without options for the shell's completion
    else:
        app = typer.Typer(add_completion=False)
        app.command(name)(target)
        command = get_command(app)
    command.name = name
    return command


def missing(name: str, reason: BadInput) -> Any:
    """A command that is listed and says why it cannot run."""

    def absent(args: list[str] | None = typer.Argument(None, hidden=True)) -> None:
        raise reason

    app = typer.Typer(add_completion=False)
    app.command(name, help=f"Not installed: {reason}", context_settings={"ignore_unknown_options": True})(
        absent
    )
    return get_command(app)
