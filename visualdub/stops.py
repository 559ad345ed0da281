"""Ctrl-C and SIGTERM: what they stop, what they may not cut short, and the status that a run ends with.

A program (`vdub`) calls `install` first. Within `cancel_on_signals` the first signal cancels the work, which
then stops in order; outside of it, and from the second signal on, `KeyboardInterrupt` is raised in the main
thread. Whoever sends one more does not want to wait: temporary files are removed and the process ends at
once. Within `held` nothing is raised: what must not be cut short is finished first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import NoReturn

from visualdub import temporaries
from visualdub.errors import Interrupted
from visualdub.stages import Progress

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = 130  # status of a run that was stopped otherwise, such as at a question
_BY_SIGNAL = 128  # and the signal, as a shell says it: 130 for SIGINT, 143 for SIGTERM


@dataclass
class _Signals:
    """What came so far. Changed in the main thread alone, which is where Python runs handlers."""

    program: bool = False  # of this project, which may end; an application that uses it decides for itself
    received: int = 0  # the first signal; 0: none
    raised: bool = False  # `KeyboardInterrupt` is on its way
    held: int = 0  # blocks of `held` that are not at their end
    waiting: bool = False  # a signal came within them
    over: int | None = None  # the status of a run that is at its end; nothing is left to stop
    watched: list[Progress] = field(default_factory=list)  # what a signal cancels


_signals = _Signals()


def install() -> None:
    """From now on SIGINT and SIGTERM do what this module says. One that is ignored, as in the background of a
    shell or under nohup, stays ignored. For the main thread of a program alone.
    """
    _start(program=True)
    sys.excepthook = _tell


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A hook for what nobody catches. An extension module that imports another prints what stops it there,
    and the `KeyboardInterrupt` of a signal is no fault.
    """
    if not (issubclass(kind, KeyboardInterrupt) and _signals.received):
        sys.__excepthook__(kind, error, trace)


def _start(program: bool) -> None:
    global _signals
    _signals = _Signals(program)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _came)


def received() -> bool:
    """Whether a signal came since `install`."""
    return bool(_signals.received)


def status() -> int:
    """The exit status of a run that was stopped: 130 by Ctrl-C, 143 by SIGTERM."""
    return _BY_SIGNAL + _signals.received if _signals.received else STOPPED


@contextlib.contextmanager
def cancel_on_signals(progress: Progress) -> Iterator[None]:
    """Within the block the first Ctrl-C or SIGTERM cancels `progress`, a second one raises
    `KeyboardInterrupt`.

    Raises `Interrupted` where a signal came before the block: what it stopped may have been at its end.
    Outside the main thread, which alone may set signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in SIGNALS}
    foreign = _came not in before.values()  # the program has other handlers, which it gets back
    if foreign:
        _start(program=False)
    try:
        if _signals.received:
            raise Interrupted("stopped")
        _signals.watched.append(progress)
        yield
    finally:
        if progress in _signals.watched:
            _signals.watched.remove(progress)
        if foreign:
            _signals.received = 0
            for number, handler in before.items():
                if handler is not None:  # None: set by something that is not Python
                    signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Signals raise nothing within the block; one that came does so at its end. For short work only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _signals.held += 1
    try:
        yield
    finally:
        _signals.held -= 1
        if _signals.waiting and not _signals.held:
            _signals.waiting = False
            _stop()


def _came(number: int, frame: FrameType | None) -> None:
    """The handler of both signals."""
    if _signals.over is not None:
        end_at_once(_signals.over)
    if not _signals.received:
        _signals.received = number
        for progress in _signals.watched:
            progress.cancel()
        if _signals.watched:
            return
    if _signals.held:
        _signals.waiting = True
        return
    _stop()


def _stop() -> None:
    if _signals.raised and _signals.program:
        end_at_once(status())
    _signals.raised = True
    raise KeyboardInterrupt


def end_at_once(code: int) -> NoReturn:
    """End the process with the exit status `code` while threads are still at work: temporary files are
    removed, what was printed is shown, and nothing else is waited for.

    A thread that comes back from native code into an interpreter that is being taken down aborts the process
    (status 134); ended like this, no interpreter is taken down.
    """
    temporaries.remove_all()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, full or being written to this moment
            stream.flush()
    os._exit(code)


def over(code: int) -> None:
    """The run is over, with the exit status `code`; a signal from now on ends the process at once."""
    _signals.over = code


def ignore() -> None:
    """Signals do nothing any more: the run is over, and only the interpreter is left to be taken down."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


# ---- while the program is loaded ---------------------------------------------------------------------------


def end_while_loading(number: int, frame: FrameType | None) -> None:
    """A handler for the time before `main` runs: nothing was begun, so that the process ends at once."""
    os._exit(_BY_SIGNAL + number)
