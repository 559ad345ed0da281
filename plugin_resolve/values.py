"""What the plug-in passes from part to part: plain values, no object of the host.

Frames of a timeline are counted from its first one, 0; ranges are half open. Frames of a movie count from its
first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from visualdub.wire.requests import FINAL

DUBBED, PARTLY, REFUSED = "dubbed", "partly dubbed", "refused"
CLIP_COLOURS = {DUBBED: "Teal", PARTLY: "Yellow", REFUSED: "Orange"}  # of the 16 that Resolve knows
MARKER_COLOURS = {DUBBED: "Green", PARTLY: "Yellow", REFUSED: "Red"}  # a palette of its own
OURS = "Visual Dub"  # the name of our bin in the media pool, of our track, and of our markers
SELECTED, PLAYHEAD, WHOLE = "selected", "playhead", "whole"


@dataclass(frozen=True)
class TimelineInfo:
    """The open timeline."""

    uid: str
    name: str
    project: str
    start: int  # its first frame, counted from midnight
    rate: str  # frames a second, as Resolve writes it
    sound_tracks: tuple[str, ...]
    can_select: bool  # whether this version says which clips are selected
    project_uid: str = ""


@dataclass(frozen=True)
class Item:
    """A clip of a video track."""

    uid: str
    name: str
    track: int  # of the video tracks, from 1
    start: int
    end: int
    left: int  # frames of its media before the first that is shown
    color: str  # "" for none
    enabled: bool
    locked: bool  # its track is
    takes: int  # 0: it has no take selector
    take: int  # the selected one, from 1; 0 without a selector
    movie: str  # the path of the media that it shows; "" for none

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it lies: track, first frame, end."""
        return self.track, self.start, self.end


@dataclass(frozen=True)
class Choices:
    """What the artist asks for."""

    scope: str  # SELECTED, PLAYHEAD or WHOLE
    dialogue_track: str  # several with commas between
    actor: str  # a name of the library, the path of a package or of a cast file; "": whoever is recognised
    language: str = ""
    folder: str = ""  # where the dubbed movies go
    new_actor: str = ""  # the name of an actor that is made of these clips first
    consent: str = ""  # of that actor, or to a draft of whoever has none: "who, when, scope"
    minutes: str = ""  # to make that actor in, as it is written; "": the service's own time
    ranges: str = ""  # of the timeline, in timecode, that alone are dubbed; "": all of the clips
    quality: str = FINAL  # or DRAFT, as `Requests.submit_edit` takes it


@dataclass(frozen=True)
class Change:
    """What happens to one clip. first and length: frames of the movie that are shown; length 0: no movie."""

    item: Item
    state: str  # DUBBED, PARTLY or REFUSED
    reason: str = ""
    movie: str = ""
    first: int = 0
    length: int = 0
    at: int = 0  # of the timeline, for one that is placed above
    above: bool = False  # on a track of ours instead of as a take


@dataclass(frozen=True)
class Record:
    """What was done to a clip and how it was before, as it is kept in the custom data of its marker."""

    item: str
    state: str
    language: str
    movie: str
    above: bool
    at: int
    length: int
    take: int  # selected before
    takes: int  # before
    color: str  # before
    reason: str = ""
    first: int = 0
    version: int = field(default=1)

    def as_dict(self) -> dict[str, Any]:
        """The values for JSON; `of_dict` takes them back."""
        return {"visualdub": asdict(self)}

    @classmethod
    def of_dict(cls, values: Any) -> Record | None:
        """The record in the values of a marker's custom data; None for what is none of ours."""
        found = values.get("visualdub") if isinstance(values, dict) else None
        if not isinstance(found, dict):
            return None
        try:
            return cls(**found)
        except TypeError:  # of another version
            return None


@dataclass(frozen=True)
class Mark:
    """A marker of the timeline that is ours."""

    frame: int
    color: str
    note: str
    record: Record
