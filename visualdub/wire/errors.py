"""What a request to the service may end with. Python 3.7, the standard library alone."""

from __future__ import annotations

from visualdub.errors import VisualDubError


class WireError(VisualDubError):
    """Base of all errors of a request to the service."""


class Unreachable(WireError, OSError):
    """Nobody answers at the address, or the answer stopped coming."""


class Refused(WireError, PermissionError):
    """The service does not do this for this client: a key it does not know, a path outside its folders."""


class BadRequest(WireError, ValueError):
    """The request cannot be used: a value out of its range, a file that cannot be read, a job that does not
    exist.
    """


class Busy(WireError):
    """The service's queue is full; ask again later. waiting: how many requests it holds."""

    def __init__(self, message: str, waiting: int = 0) -> None:
        super().__init__(message)
        self.waiting = waiting


class JobFailed(WireError):
    """A job that was waited for ended without its result."""


class ServiceFault(WireError, RuntimeError):
    """A fault of the service itself; its log says more."""


KINDS = {  # of error replies, by the word on the wire
    "bad_request": BadRequest,
    "refused": Refused,
    "failed": JobFailed,
    "fault": ServiceFault,
}


def error_of(kind: str, message: str, waiting: int = 0) -> WireError:
    """The error that a reply of the service stands for."""
    if kind == "busy":
        return Busy(message, waiting)
    return KINDS.get(kind, ServiceFault)(message)


def kind_of(error: WireError) -> str:
    """The word on the wire for `error`, the opposite of `error_of`."""
    if isinstance(error, Busy):
        return "busy"
    if isinstance(error, Unreachable):
        return "unreachable"
    return next((word for word, kind in KINDS.items() if isinstance(error, kind)), "fault")
