"""`vdub`: the core's commands and those of every installed package, and what every failure looks like.

Exit status:

- 0: everything asked for was done
- 1: a command answers no: `vdub doctor` found something broken, a question was declined
- 2: wrong usage, bad input, or an output that cannot be written; one line says which
- 70: a fault of Visual Dub; one line says what and where the log is
- 130, 143: stopped, by Ctrl-C or by SIGTERM

`--traceback` shows where in the code a failure arose, `--log-file FILE` keeps the log of the run; both may
stand before or after the command. Without a file the log is a temporary one that is kept after a fault only.
"""

from __future__ import annotations

import os
import signal
import sys

from visualdub import stops

# Frames are worked on in several threads already. Those of OpenBLAS wait for the next small product in a
# loop, a fifth of all time that a dub took of two cores; those of OpenCV are woken for every picture, 7 %.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")

if sys.argv[0] == "-m" or sys.argv[0].endswith(("/vdub", "\\vdub", "\\vdub.exe")):  # no module: the program
    for _number in stops.SIGNALS:  # the rest takes a second to load, in which Ctrl-C ends in no traceback
        if signal.getsignal(_number) is not signal.SIG_IGN:
            signal.signal(_number, stops.end_while_loading)

import atexit
import logging
import shlex
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from traceback import print_exception
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from visualdub import __version__, temporaries
from visualdub.cli import entry_points
from visualdub.console import Notes
from visualdub.errors import BadInput, InternalError, Interrupted, OutputError, VisualDubError
from visualdub.log import setup
from visualdub.memory import reuse_memory
from visualdub.stages import end_threads

OWN = (
    "demo",
    "track",
    "sync",
    "dub",
    "reenact",
    "evaluate",
    "actor",
    "cache",
    "edit",
    "doctor",
    "install",
    "uninstall",
)  # each a module of visualdub.cli
ORDER = (
    *("demo", "track", "sync", "adapt", "dub", "reenact", "evaluate"),
    *("train", "export", "actor", "edit", "cache", "doctor", "install", "uninstall"),
)
BAD_INPUT, FAULT, INTERRUPTED = 2, 70, 130
LAST_SECONDS = 10.0  # that threads get to end in, before the process ends without them
TRACEBACK, LOG_FILE = "--traceback", "--log-file"
log = logging.getLogger(__name__)
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
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    traceback: Annotated[
        bool, typer.Option(TRACEBACK, help="Where something fails, show the place in the code as well.")
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            LOG_FILE, metavar="FILE", help="Append to FILE all that is done, and what libraries print."
        ),
    ] = None,
) -> None:
    """The last two are read by `log_options`, before a command is looked for; here they are described."""
    if version:
        print(f"vdub {__version__}")
        raise typer.Exit


# ---- one run -----------------------------------------------------------------------------------------------


def run(args: list[str], native: bool = False) -> int:
    """Run one command line; the exit status, see the top of this module.

    native: what C++ libraries write to descriptor 2 goes to the log, see `visualdub.log.setup`.
    """
    reuse_memory()
    try:
        args, traceback, log_file = log_options(args)
        session = setup(log_file, Notes(), native)
    except VisualDubError as e:
        _complain(str(e))
        return BAD_INPUT
    with session:
        log.info("vdub %s: %s", __version__, shlex.join(args))
        status, message = _run(args, traceback)
        if status == FAULT:
            session.keep = True
            where = f"; the log is {session.path}" if session.path else ""
            hint = "" if traceback else ", and --traceback shows where it happened"
            message = f"this is a fault of Visual Dub, please report it: {message}{where}{hint}"
        if message:
            _complain(message)
        log.info("exit status %d", status)
    return status


def log_options(args: list[str]) -> tuple[list[str], bool, Path | None]:
    """The arguments without --traceback and --log-file FILE, which may stand before or after the command, and
    their values. Raises `BadInput` where the name of the file is missing.
    """
    end = args.index("--") if "--" in args else len(args)
    rest: list[str] = []
    traceback, log_file, options = False, None, iter(args[:end])
    for arg in options:
        name, equals, value = arg.partition("=")
        if arg == TRACEBACK:
            traceback = True
        elif name == LOG_FILE:
            chosen = value if equals else next(options, "")
            if not chosen:
                raise BadInput(f"{LOG_FILE} names no file; expected {LOG_FILE} FILE")
            log_file = Path(chosen)
        else:
            rest.append(arg)
    return [*rest, *args[end:]], traceback, log_file


def _run(args: list[str], traceback: bool) -> tuple[int, str]:
    """The exit status of one command, and the line that says why it is not 0."""
    try:
        # not `app(args)`: Typer would put a hook of its own in the place of the one in `stops`
        status = typer.main.get_command(app)(args, prog_name="vdub", standalone_mode=False)
        if status == INTERRUPTED:  # newer Typers turn Ctrl-C into this status
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0, ""
    except ClickException as e:
        e.show()
        return BAD_INPUT, ""
    except (typer.Abort, KeyboardInterrupt, Interrupted) as e:
        return stops.status(), str(e) or "stopped"
    except Exception as e:
        if stops.received():  # it was raised inside a library, which made another error of it
            log.info("the command was stopped", exc_info=True)
            return stops.status(), "stopped"
        log.info("the command failed", exc_info=True)
        if traceback:
            print_exception(e)
        return _meaning(e)


def _meaning(error: Exception) -> tuple[int, str]:
    """The exit status that `error` ends a run with, and what is said of it."""
    if isinstance(error, InternalError):
        return FAULT, str(error)
    if isinstance(error, VisualDubError):
        return BAD_INPUT, str(error)
    if isinstance(error, OSError):
        return BAD_INPUT, str(OutputError(f"{error.filename or 'output'}: {error.strerror or error}"))
    return FAULT, f"{type(error).__name__}: {error}"


def _complain(message: str) -> None:
    """One line on stderr."""
    line = "vdub: " + " ".join(message.split())
    print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)


def main() -> None:
    """Entry point of the `vdub` program."""
    stops.install()
    if isinstance(sys.stdout, TextIOWrapper):  # whatever the terminal's encoding, a name in it is no failure
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = run(sys.argv[1:], native=True)
        stops.over(status)
    except KeyboardInterrupt:  # while the log is opened or closed, or the second one while the first is said
        status = stops.status()
        stops.over(status)
        _complain("stopped")
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End the process in order: threads, temporary files, the interpreter. A thread that does not end, and a
    run that was stopped in the middle of anything, end without taking the interpreter down.
    """
    ended = end_threads(LAST_SECONDS)
    if ended and not stops.received():
        stops.ignore()
        temporaries.remove_all()
        sys.exit(status)
    atexit._run_exitfuncs()
    stops.end_at_once(status)
