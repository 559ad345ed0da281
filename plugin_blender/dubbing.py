"""A strip becomes a dubbed movie: which frames of its clip it shows, what the service is asked, what comes
back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visualdub.wire import WireError
from visualdub.wire.bridge_client import BridgeClient
from visualdub.wire.hosted import Stopped, follow_job, vdub_command
from visualdub.wire.requests import DRAFT, FINAL, Requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualdub.wire.hosted import Tell

CLIENT = "Blender"
_RANGE = re.compile(r"\s*(-?\d+)\s*(?:-\s*(-?\d+)\s*)?")
FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # where the packages lie


class DubError(Exception):
    """What the user asked for cannot be done; the message says what to change."""


@dataclass(frozen=True)
class StripFacts:
    """What matters of a strip of a movie. Frames are of the scene, both numbers whole where nothing is
    retimed.
    """

    name: str
    path: str  # absolute
    frame_start: float  # at which the clip's first frame would be shown, were nothing trimmed
    shown_from: int  # the first frame of the scene that shows it
    shown_to: int  # the frame after the last
    trimmed: int = 0  # frames of the clip that the strip leaves out at its start for good
    length: int = 0  # of the clip, without those
    retimed: bool = False

    def clip_range(self) -> tuple[int, int]:
        """The frames of the clip that the strip shows, half open. Raises `DubError` for a retimed strip and
        for one that shows its clip's first or last frame longer than it lasts.
        """
        if self.retimed or self.frame_start != int(self.frame_start):
            raise DubError(f"{self.name} is retimed; dub the strip first and retime both strips together")
        start = self.shown_from - int(self.frame_start)
        end = self.shown_to - int(self.frame_start)
        if start < 0 or end > self.length:
            raise DubError(
                f"{self.name} holds a frame past its clip, which is shown at {int(self.frame_start)} to"
                f" {int(self.frame_start) + self.length - 1}; pull its handles back"
            )
        return self.trimmed + start, self.trimmed + end

    def clip_ranges(self, text: str) -> tuple[tuple[int, int], ...]:
        """Frames of the clip, half open, that a text names in frames of the scene, both ends inside: 27-32,
        40. Raises `DubError` for what is no range, or is not shown by the strip.
        """
        found = []
        for part in filter(str.strip, text.split(",")):
            match = _RANGE.fullmatch(part)
            low, high = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
            if not self.shown_from <= low <= high < self.shown_to:
                shown = f"{self.shown_from}-{self.shown_to - 1}"
                raise DubError(f"{part.strip()!r} is no range of {self.name}, which is shown at {shown}")
            first = self.trimmed - int(self.frame_start)
            found.append((first + low, first + high + 1))
        return tuple(found)


@dataclass(frozen=True)
class Asked:
    """What is dubbed; all that a result depends on."""

    clip: str
    frames: tuple[int, int]  # of the clip, half open
    dialogue: str
    actor: str  # a name in the service's library, or the path of a package; a draft needs none
    folder: str  # where the dubbed movie goes
    skip: tuple[tuple[int, int], ...] = ()  # of the clip, half open, that stay as they are
    quality: str = FINAL  # or DRAFT
    consent: str = ""  # "who, when, scope": to a draft without an actor

    def fields(self) -> dict[str, Any]:
        """The fields of `Requests.submit`. Raises `DubError` where something is missing."""
        drafted = self.quality == DRAFT and not self.actor
        who = self.consent if drafted else self.actor
        needed = (("dialogue", self.dialogue), ("actor", drafted or who), ("folder", self.folder))
        for what, value in needed:
            if not value:
                raise DubError(f"no {what} is chosen; expected {what} to dub with")
        if not who:
            raise DubError("no consent is typed; a draft without an actor needs it: who, when, scope")
        values: dict[str, Any] = {"clip": self.clip, "frames": f"{self.frames[0]}:{self.frames[1]}"}
        values["dialogue"] = self.dialogue
        values["consent" if drafted else "actor"] = who
        if self.quality == DRAFT:
            values["quality"] = DRAFT
        if self.skip:
            values["skip"] = [f"{start}:{end}" for start, end in self.skip]
        name = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
        stem = os.path.splitext(os.path.basename(self.clip))[0]
        return dict(values, output=os.path.join(self.folder, f"{stem}.dub-{name}.mkv"))


@dataclass(frozen=True)
class Dubbed:
    """A dubbed movie: its first frame is the strip's first."""

    path: str
    frames: int
    drawn: int  # frames that were changed
    notes: tuple[str, ...]


def dub(service: Requests, asked: Asked, tell: Tell, stopped: Callable[[], bool]) -> Dubbed:
    """Ask for the dub and wait for it.

    Raises `DubError`, `Stopped`, `JobFailed`, and as `Requests` does. Nothing is left of what did not come
    to an end.
    """
    fields = asked.fields()
    os.makedirs(asked.folder, exist_ok=True)
    row = follow_job(service, service.submit(**fields), tell, stopped)
    result = row["result"]
    passed = [f"frames {run['frames']} pass through: {run['reason']}" for run in result.get("passed", ())]
    notes = (*passed, *(str(n) for n in result.get("notes", ())))
    return Dubbed(fields["output"], int(result["frames"]), int(result["drawn"]), notes)


def connect(endpoint: str = "") -> BridgeClient:
    """A connection to the service at `endpoint`, this user's by default; a context manager."""
    where = ("--endpoint", endpoint) if endpoint else ()
    return BridgeClient([*vdub_command(FOLDER), "bridge", *where], name=CLIENT)


class Task:
    """A dub that goes on while the host does other things; asked for in one thread, done in another.

    far: what is being done, how much of it is done, of how much. outcome: None while it goes on; then what
    came of it; or why nothing did, in one line, which is empty where it was stopped.
    """

    def __init__(self, asked: Asked, endpoint: str = "") -> None:
        self.asked, self.endpoint = asked, endpoint
        self.far: tuple[str, int, int] = ("starting", 0, 0)
        self.outcome: Dubbed | str | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self.run, daemon=True).start()

    def stop(self) -> None:
        """Stop it soon."""
        self._stop.set()

    def run(self) -> None:
        """Dub, and keep what came of it."""
        try:
            with connect(self.endpoint) as service:
                self.outcome = dub(service, self.asked, self._tell, self._stop.is_set)
        except Stopped:
            self.outcome = ""
        except (DubError, WireError, OSError) as e:
            self.outcome = str(e)
        except BaseException as e:
            self.outcome = f"a fault of the add-on: {type(e).__name__} {e}"
            raise

    def _tell(self, stage: str, done: int, total: int) -> None:
        self.far = (stage, done, total)
