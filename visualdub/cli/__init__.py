"""`vdub`: the core's commands and those of every installed package, and what every failure looks like."""

from __future__ import annotations

import io
import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from visualdub import __version__
from visualdub.cli import entry_points
from visualdub.errors import BadInput, Interrupted, OutputError, VisualDubError

OWN = (
    "demo",
    "track",
    "sync",
    "dub",
    "reenact",
    "evaluate",
    "actor",
    "cache",
    "doctor",
)  # each a module of visualdub.cli
ORDER = (
    *("demo", "track", "sync", "adapt", "dub", "reenact", "evaluate"),
    *("train", "export", "actor", "cache", "doctor"),
)
BAD_INPUT, INTERRUPTED = 2, 130
ClickException: Any = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)  # newer Typers carry their own click


class Commands(TyperGroup):
    """Loads a command's module only when the command is named, so that `vdub` starts light."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = {*OWN, *entry_points.offered()}
        return [n for n in ORDER if n in names] + sorted(names - set(ORDER))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in OWN:
            return entry_points.as_click(cmd_name, import_module(f"visualdub.cli.{cmd_name}").command)
        if cmd_name in entry_points.offered():
            try:
                return entry_points.find_command(cmd_name)
            except BadInput as e:
                return entry_points.missing(cmd_name, e)
        return None


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Visual Dub redraws the mouth of an actor in existing footage so that it speaks new dialogue.",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"vdub {__version__}")
        raise typer.Exit


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(args: list[str]) -> int:
    """Run one command line; the exit status: 0 all done, 2 bad input or output, 130 stopped by the user."""
    try:
        status = app(args, prog_name="vdub", standalone_mode=False)
        if status == INTERRUPTED:  # newer Typers turn Ctrl-C into this status
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except ClickException as e:
        e.show()
        return BAD_INPUT
    except (typer.Abort, KeyboardInterrupt, Interrupted) as e:
        _complain(str(e) or "stopped")
        return INTERRUPTED
    except VisualDubError as e:
        _complain(str(e))
        return BAD_INPUT
    except OSError as e:
        _complain(str(OutputError(f"{e.filename or 'output'}: {e.strerror or e}")))
        return BAD_INPUT


def _complain(message: str) -> None:
    """One line on stderr."""
    line = "vdub: " + " ".join(message.split())
    print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)


def quiet_native_logs() -> None:
    """Keep what C++ libraries write straight to descriptor 2 away from progress bars and one-line errors.

    Python's own stderr stays where it was. `VISUALDUB_NATIVE_LOGS=1` shows everything.
    """
    if os.environ.get("VISUALDUB_NATIVE_LOGS"):
        return
    kept = os.dup(2)
    sys.stderr = os.fdopen(kept, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    os.close(silent)


def main() -> None:
    """Entry point of the `vdub` program."""
    quiet_native_logs()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))
