"""A clip becomes a version of dubbed frames: asked of the service, waited for, fetched, written."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugin_nuke.errors import BadSetting
from plugin_nuke.png import Generated
from plugin_nuke.versions import NewVersion, Version
from visualdub.wire.hosted import Stopped, follow_job
from visualdub.wire.picture import FramePicture
from visualdub.wire.requests import DRAFT, FINAL, Requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualdub.wire.hosted import Tell

WAITS = ("queued", "running", "paused")  # states of a job that has not ended


@dataclass(frozen=True)
class Asked:
    """What is dubbed. Paths are absolute, as the service's machine has them."""

    clip: str
    dialogue: str
    actor: str  # a name in the service's library, or the path of a package; a draft needs none
    cache: str  # where versions go
    frames: tuple[int, int] | None = None  # of the clip, half open; None: all
    skip: tuple[tuple[int, int], ...] = ()  # of the clip, half open, that keep the plate
    quality: str = FINAL  # or DRAFT
    consent: str = ""  # "who, when, scope": to a draft without an actor

    def fields(self) -> dict[str, Any]:
        """The fields of `Requests.submit`. The dubbed movie lies in the cache, too, by what was asked for."""
        drafted = self.quality == DRAFT and not self.actor
        who = self.consent if drafted else self.actor
        needed = (("a clip", self.clip), ("dialogue", self.dialogue), ("an actor", drafted or who))
        for name, value in needed:
            if not value:
                raise BadSetting(f"the node names no {name.split()[-1]}; expected {name} to dub with")
        if not who:
            raise BadSetting("the node names no consent; a draft without an actor needs it: who, when, scope")
        values: dict[str, Any] = {"clip": self.clip, "dialogue": self.dialogue}
        values["consent" if drafted else "actor"] = who
        if self.quality == DRAFT:
            values["quality"] = DRAFT
        if self.frames is not None:
            values["frames"] = f"{self.frames[0]}:{self.frames[1]}"
        if self.skip:
            values["skip"] = [f"{start}:{end}" for start, end in self.skip]
        name = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
        return dict(values, output=os.path.join(self.cache, "movies", f"{name}.mkv"))


def dub(service: Requests, asked: Asked, tell: Tell, stopped: Callable[[], bool]) -> Version:
    """The version of `asked`, new or one with the same pixels.

    Raises `Stopped`, `JobFailed` with the service's reason, and as `Requests` does. Unless it returns, no
    version is there that was not there before.
    """
    fields = asked.fields()
    os.makedirs(os.path.dirname(fields["output"]), exist_ok=True)
    job = service.submit(**fields)
    row = follow_job(service, job, tell, stopped)
    start, end = asked.frames or (0, int(row["result"]["frames"]))
    with NewVersion(asked.cache) as new:
        for done, number in enumerate(range(start, end)):
            if stopped():
                raise Stopped("stopped while frames were fetched; nothing has changed")
            tell("frames", done, end - start)
            key, picture, drawn = _fetch(service, job, number)
            new.add(number, key, picture, drawn)
        return new.finish(fields, _notes(row["result"]))


def cancel(service: Requests, asked: Asked) -> list[int]:
    """Stop every job that makes what is asked for, whoever started it; their numbers."""
    output = asked.fields()["output"]
    rows = [r for r in service.jobs(limit=500) if r["title"] == output and r["state"] in WAITS]
    for row in rows:
        service.cancel(row["job"])
    return [row["job"] for row in rows]


def _fetch(service: Requests, job: int, number: int) -> tuple[str, Generated, bool]:
    dubbed = service.frame(job, number, "dub", pixels="rgb", box=True)
    matte = service.frame(job, number, "matte", box=True)
    return dubbed.key, generated(dubbed, matte), dubbed.drawn


def generated(dubbed: FramePicture, matte: FramePicture) -> Generated:
    """What two pictures of one frame show, both of what the dub changes."""
    _, dtype, rgb = dubbed.planes[0]
    bits = 16 if dtype == "uint16" else 8
    return Generated(dubbed.width, dubbed.height, dubbed.box, rgb, matte.planes[0][2], bits)


def _notes(result: dict[str, Any]) -> tuple[str, ...]:
    passed = [f"frames {run['frames']} pass through: {run['reason']}" for run in result.get("passed", ())]
    return (*passed, *(str(note) for note in result.get("notes", ())))
