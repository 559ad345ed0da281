"""Every error a caller may want to catch, under one base."""


class VisualDubError(Exception):
    """Base of all errors of this project. Its message is one line that tells a user what to do."""


class BadInput(VisualDubError, ValueError):
    """Something the user gave cannot be used: names what it was, what was found, what was expected. Exit
    status 2.
    """


class MediaError(BadInput):
    """A media file is missing, unreadable, truncated, of a variable rate or without the stream asked for."""


class NoFace(BadInput):
    """No usable face where one is needed."""


class ActorError(BadInput):
    """An actor package is missing a file, holds a foreign one, or its consent is withdrawn."""


class OutputError(VisualDubError, OSError):
    """A result cannot be written: read-only folder, full disk. Exit status 2."""


class Interrupted(VisualDubError):
    """The user stopped the work; what was done so far is kept where the message says. Exit status 130, or 143
    after SIGTERM.
    """


class InternalError(VisualDubError, RuntimeError):
    """A part of Visual Dub gave another part what it does not take: a fault of the project, not of the user's
    files. Exit status 70.
    """
