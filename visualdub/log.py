"""The log of a run: what the modules say through `logging`, and what native libraries write to descriptor 2.

Every module that has something to say has `log = logging.getLogger(__name__)`. Importing sets nothing up: a
program (`vdub`, a benchmark) calls `setup`; an application that uses Visual Dub sets `logging` up as it
likes.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import logging
import os
import stat
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import TextIO

from visualdub import temporaries
from visualdub.errors import BadInput, OutputError

OWN = ("visualdub", "training", "exporters", "daemon")  # loggers whose every word is kept
FIRST_LINE = "# A log of Visual Dub\n"  # tells a log from any other file of the user's
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
log = logging.getLogger(__name__)


class Log:
    """The log of one run, made by `setup`. A context manager that closes it.

    path: the file; None where no temporary file could be made. keep: False deletes the file on closing.
    """

    def __init__(self, path: Path | None, stream: TextIO, keep: bool) -> None:
        self.path, self.keep = path, keep
        self._stream = stream
        self._undo = contextlib.ExitStack()
        self._native = False

    def close(self) -> None:
        """Put `logging` back as it was and end the file. What native libraries write later goes nowhere, or
        to the file if that is kept.
        """
        atexit.unregister(self.close)
        self._undo.close()
        if self._native:
            faulthandler.disable()
        if self._native and not self.keep:  # an open file cannot be deleted on Windows
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        with contextlib.suppress(OSError):  # a full disk
            self._stream.close()
        if not self.keep and self.path is not None:
            temporaries.remove(self.path)
        elif self.path is not None:
            temporaries.forget(self.path)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def setup(log_file: Path | None = None, notes: logging.Handler | None = None, native: bool = False) -> Log:
    """Start the log of this process.

    log_file: appended to; a temporary file without one, deleted on closing unless `Log.keep` is set. notes:
    also gets what the project's own modules say, from its own level on. native: descriptor 2 becomes the log,
    so that what C++ libraries print is in it and not among progress bars and one-line errors; Python's own
    stderr stays where it was. Raises `BadInput` for a file that is not a log, `OutputError` for one that
    cannot be written.
    """
    path, stream = _open(log_file)
    result = Log(path, stream, keep=log_file is not None)
    atexit.register(result.close)
    _attach(result._undo, _File(stream), notes)
    if native:
        result._native = True
        _take_descriptor_2(stream)
        faulthandler.enable(stream)
    return result


# ---- the file ----------------------------------------------------------------------------------------------


def _open(log_file: Path | None) -> tuple[Path | None, TextIO]:
    if log_file is None:
        return _temporary()
    try:
        existing = log_file.stat()
    except FileNotFoundError:
        existing = None
    except OSError as e:
        raise OutputError(f"{log_file} cannot be written: {e.strerror or e}") from e
    try:
        if existing is not None and stat.S_ISREG(existing.st_mode):
            _require_log(log_file)
        stream = _appending(log_file)
    except OSError as e:
        raise OutputError(f"{log_file} cannot be written: {e.strerror or e}") from e
    if existing is None or existing.st_size == 0:
        stream.write(FIRST_LINE)
    return log_file, stream


def _temporary() -> tuple[Path | None, TextIO]:
    try:
        descriptor, name = tempfile.mkstemp(".log", "vdub-")
    except OSError:  # no folder for temporary files, or none that can be written to
        return None, open(os.devnull, "w", encoding="utf-8")
    temporaries.register(Path(name))
    os.close(descriptor)
    stream = _appending(Path(name))
    stream.write(FIRST_LINE)
    return Path(name), stream


def _appending(path: Path) -> TextIO:
    """Writes of any process, and of `logging` and descriptor 2 in this one, go to the end of the file."""
    return open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)


def _require_log(path: Path) -> None:
    """A clip or a script of the user's is not appended to. Raises `BadInput`, `OSError`."""
    with path.open("rb") as f:
        head = f.read(len(FIRST_LINE))
    if head and head != FIRST_LINE.encode():
        raise BadInput(f"{path} is not a log of vdub; expected a new file, or a log to be continued")


class _File(logging.StreamHandler[TextIO]):
    """Writes records; what cannot be written (a full disk) does not stop the work."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


# ---- what is written to it ---------------------------------------------------------------------------------


def _attach(undo: contextlib.ExitStack, file: logging.Handler, notes: logging.Handler | None) -> None:
    """Loggers, warnings, errors in threads and ignored errors go to `file`; `undo` takes it back."""
    file.setFormatter(logging.Formatter(FORM))
    root = logging.getLogger()
    undo.callback(root.setLevel, root.level)
    root.setLevel(min(root.level, logging.INFO))  # numba and others say a lot below it
    _add(undo, root, file)
    for own in map(logging.getLogger, OWN):
        undo.callback(own.setLevel, own.level)
        own.setLevel(logging.DEBUG)
        if notes is not None:
            _add(undo, own, notes)
    logging.captureWarnings(True)
    undo.callback(logging.captureWarnings, False)
    undo.callback(setattr, threading, "excepthook", threading.excepthook)
    undo.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _ignored


def _add(undo: contextlib.ExitStack, logger: logging.Logger, handler: logging.Handler) -> None:
    logger.addHandler(handler)
    undo.callback(logger.removeHandler, handler)


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread else "of unknown name"
    error = args.exc_value or args.exc_type()
    log.error("the thread %s ended: %s: %s", name, args.exc_type.__name__, error, exc_info=error)


def _ignored(args: sys.UnraisableHookArgs) -> None:
    log.debug("an error in %r is ignored", args.object, exc_info=args.exc_value)


def _take_descriptor_2(stream: TextIO) -> None:
    """Point descriptor 2 to `stream`'s file, and `sys.stderr` to what descriptor 2 was."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    if sys.stderr is not None:
        sys.stderr.flush()
    kept = os.dup(2)
    sys.stderr = os.fdopen(kept, "w", encoding=encoding, errors="backslashreplace", buffering=1)
    os.dup2(stream.fileno(), 2)
