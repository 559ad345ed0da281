"""What Resolve documents of its scripting: which calls there are, with which arguments, in which edition.

`resolve_surface.json` is drawn from the vendor's reference; what later versions added stands in `ADDED`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("resolve_surface.json")
Version = tuple[int, int, int]
ADDED: dict[tuple[str, str], tuple[Version, list[list[str]]]] = {  # method -> since when, its arguments
    ("Timeline", "GetSelectedClips"): ((21, 0, 4), [[]]),
    ("TimelineItem", "GetSpeed"): ((21, 1, 0), [[]]),
    ("TimelineItem", "GetFades"): ((21, 1, 0), [[]]),
    ("TimelineItem", "GetType"): ((21, 1, 0), [[]]),
    ("MediaPoolItem", "GetTranscription"): ((21, 1, 0), [[]]),
}
STUDIO_ONLY = {  # in a free edition they return False and raise a dialog that blocks the calls after them
    ("Timeline", "CreateSubtitlesFromAudio"),
    ("Timeline", "DetectSceneCuts"),
    ("Timeline", "AnalyzeDolbyVision"),
    ("TimelineItem", "CreateMagicMask"),
    ("TimelineItem", "RegenerateMagicMask"),
    ("TimelineItem", "SmartReframe"),
    ("TimelineItem", "SetVoiceIsolationState"),
    ("Timeline", "SetVoiceIsolationState"),
    ("MediaPoolItem", "TranscribeAudio"),
    ("MediaPoolItem", "GetTranscription"),
    ("Folder", "TranscribeAudio"),
}


class UndocumentedCall(AssertionError):
    """A call that this version of the program does not have, or not with these arguments."""


@cache
def surface() -> dict[str, Any]:
    """The documented classes, their methods and the lists of parameters that each takes."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def methods_of(kind: str, version: Version) -> set[str]:
    """The methods that objects of a class have."""
    added = {m for (k, m), (since, _) in ADDED.items() if k == kind and version >= since}
    return set(surface()["classes"][kind]) | added


def check_call(kind: str, name: str, arguments: tuple[Any, ...], version: Version) -> None:
    """Raise `UndocumentedCall` for a call that is not in the reference."""
    if name not in methods_of(kind, version):
        raise UndocumentedCall(f"{kind}.{name} is not documented for {'.'.join(map(str, version))}")
    since = ADDED.get((kind, name))
    allowed = surface()["classes"][kind][name] if since is None else since[1]
    if not any(_fits(parameters, arguments) for parameters in allowed):
        raise UndocumentedCall(f"{kind}.{name}{arguments!r}: expected {allowed}")


def _fits(parameters: list[str], arguments: tuple[Any, ...]) -> bool:
    if "..." in parameters:
        fixed = parameters.index("...") - 2  # clip1, clip2, ...
        return len(arguments) > fixed and all(_of_kind(p, a) for p, a in zip(parameters, arguments))  # noqa: B905
    needed = sum("=" not in p for p in parameters)
    if not needed <= len(arguments) <= len(parameters):
        return False
    return all(_of_kind(p, a) for p, a in zip(parameters, arguments))  # noqa: B905


def _of_kind(parameter: str, argument: Any) -> bool:
    """Whether an argument is of the kind that the reference writes: [..] a list, {..} a dict, Bool."""
    if parameter.startswith("["):
        if not isinstance(argument, list):
            return False
        return not parameter.startswith("[{") or all(isinstance(a, dict) for a in argument)
    if parameter.startswith("{") or parameter == "newTrackOptions":
        return isinstance(argument, dict)
    if parameter == "Bool":
        return isinstance(argument, bool)
    if parameter in TEXTS:
        return isinstance(argument, str)
    if parameter in WHOLE:
        return isinstance(argument, int) and not isinstance(argument, bool)
    return not isinstance(argument, (list, dict))


TEXTS = {
    *("trackType", "colorName", "timelineName", "fileName", "filePath", "pageName", "subTrackType", "color"),
    *("name", "note", "customData", "timecode", "propertyName", "settingName"),
}
WHOLE = {"idx", "trackIndex", "index", "frameId", "frameNum", "duration", "startFrame", "endFrame"}
