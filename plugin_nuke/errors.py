"""What the plug-in raises; every message is one that an artist can act on."""

from __future__ import annotations


class DubError(Exception):
    """Base of all errors of the plug-in. Those of the service are `visualdub.wire.WireError`."""


class BadSetting(DubError, ValueError):
    """A knob of the node, or what the node is connected to, cannot be used."""


class NoFrames(DubError, LookupError):
    """There is no such version, or a frame of it is missing."""
