"""The record of an actor package, `actor.json`: consent, source frames and how it was adapted."""

from __future__ import annotations

import dataclasses
import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visualdub.errors import ActorError, BadInput

# In schema 1 the network and its texture have other names, see `training.core.formats`; up to 2 they are in
# single precision; up to 3 the network takes no aligned references.
SCHEMA = 4
RECORD = "actor.json"


@dataclass(frozen=True)
class Consent:
    """Who allowed what, and when. Nothing is rendered once it is withdrawn."""

    who: str
    when: str  # as the consenting person or their agent wrote it; ISO 8601 where it was filled in
    scope: str
    withdrawn: str | None = None  # ISO 8601 day of withdrawal

    @classmethod
    def parse(cls, text: str) -> Consent:
        """Read `who, when, scope` (scope may hold commas). Raises `BadInput` where one of the three is
        missing.
        """
        parts = [p.strip() for p in text.split(",", 2)]
        if len(parts) != 3 or not all(parts):
            raise BadInput(f'consent {text!r} is not complete; expected "who, when, scope"')
        return cls(*parts)

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        return f"{self.who}, {self.when}, {self.scope}"


@dataclass(frozen=True)
class SourceFrames:
    """Frames of one clip on which the actor was adapted."""

    source: str  # file name of the clip
    source_hash: str  # of its bytes, as `Track.source_hash`
    start: int
    end_exclusive: int
    av_offset_ms: float | None = None  # positive: audio leads video; None: not found, 0 was used

    @property
    def frame_count(self) -> int:
        """The number of frames."""
        return self.end_exclusive - self.start


@dataclass(frozen=True)
class ActorRecord:
    """The content of `actor.json` without the file hashes, which `seal` writes."""

    name: str
    consent: Consent
    frames: tuple[SourceFrames, ...]
    steps: int  # optimiser steps of the adaptation
    size: str  # "small" or "full"
    width: float  # channel multiplier of the generator
    window: int  # frames per network pass, T
    face_model: str  # name and version of the model of identity and texture
    prior_hash: str | None = None  # of the prior that the network started from; None: from scratch
    losses: dict[str, Any] = field(default_factory=dict)  # weights, and which perceptual network was used
    rehearsal: str = "none"  # other people's data that was mixed in, or how the weights stayed near the prior
    metrics: dict[str, float] = field(default_factory=dict)  # measured in training, on held-out frames
    created: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    version: str = ""  # of Visual Dub
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Plain values for `actor.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any], name: str) -> ActorRecord:
        """Read `to_json`'s values; `name` is the file for the message. Raises `ActorError` for any other
        content.
        """
        if data.get("schema") not in range(1, SCHEMA + 1):
            raise ActorError(
                f"{name} has schema {data.get('schema')!r}; expected 1 to {SCHEMA}, as written by vdub adapt"
            )
        try:
            names = {f.name for f in dataclasses.fields(cls)}
            values = {k: v for k, v in data.items() if k in names}
            values["consent"] = Consent(**data["consent"])
            values["frames"] = tuple(SourceFrames(**f) for f in data["frames"])
            return cls(**values)
        except (KeyError, TypeError) as e:
            raise ActorError(f"{name} is not an actor record of schema {SCHEMA}: {e}") from e


def read_json(folder: Path) -> dict[str, Any]:
    """The raw content of a package's `actor.json`. Raises `ActorError` where the folder or the file is not
    one.
    """
    path = folder / RECORD
    if not folder.is_dir():
        raise ActorError(f"{folder} is not a folder; expected an actor package written by vdub adapt")
    if not path.is_file():
        raise ActorError(f"{folder} holds no {RECORD}; expected an actor package written by vdub adapt")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as e:
        raise ActorError(
            f"{path} is not readable JSON ({e}); expected the record written by vdub adapt"
        ) from e
    if not isinstance(data, dict):
        raise ActorError(f"{path} holds a {type(data).__name__}; expected the record written by vdub adapt")
    return data


def load_record(folder: Path) -> ActorRecord:
    """The record of the package at `folder`, consent withdrawn or not. Raises `ActorError`."""
    return ActorRecord.from_json(read_json(folder), str(folder / RECORD))
