"""What the double of Resolve keeps: a project as plain values, which can be written down and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

CLIP_COLOURS = (
    *("Orange", "Apricot", "Yellow", "Lime", "Olive", "Green", "Teal", "Navy"),
    *("Blue", "Purple", "Violet", "Pink", "Tan", "Beige", "Brown", "Chocolate"),
)
MARKER_COLOURS = (
    *("Blue", "Cyan", "Green", "Yellow", "Red", "Pink", "Purple", "Fuchsia"),
    *("Rose", "Lavender", "Sky", "Mint", "Lemon", "Sand", "Cocoa", "Cream"),
)


@dataclass
class Media:
    """An item of the media pool. Its frames are counted from 0; `first` is its timecode in frames."""

    uid: str
    path: str
    name: str
    bin: str
    frames: int
    rate: float
    first: int = 0
    video: bool = True
    color: str = ""


@dataclass
class Take:
    """One take of a clip: frames `start` to `end` - 1 of a media item, in the media's own rate."""

    media: str
    start: int
    end: int


@dataclass
class Clip:
    """An item of a timeline. `start` counts from midnight, as the timeline does; `left` in the media's own
    rate. inside: the clips of a compound clip, which start with it.
    """

    uid: str
    name: str
    start: int
    duration: int
    media: str | None
    left: int = 0  # frames of the media before the first one shown
    speed: float = 1.0
    color: str = ""
    enabled: bool = True
    markers: dict[str, dict[str, Any]] = field(default_factory=dict)
    takes: list[Take] = field(default_factory=list)
    take: int = 0
    linked: list[str] = field(default_factory=list)
    title: bool = False  # a generator, whose colour does not hold
    inside: list[Clip] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + self.duration


@dataclass
class Dissolve:
    """A transition over a cut, which scripts are given as one more item of the track."""

    uid: str
    cut: int  # the first frame of the later clip
    before: int  # frames of it before the cut
    after: int


@dataclass
class Track:
    """A track of a timeline."""

    kind: str  # video or audio
    name: str
    clips: list[Clip] = field(default_factory=list)
    dissolves: list[Dissolve] = field(default_factory=list)
    locked: bool = False
    enabled: bool = True


@dataclass
class Line:
    """A timeline."""

    uid: str
    name: str
    start: int
    rate: float
    tracks: list[Track] = field(default_factory=list)
    markers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Track]:
        return [t for t in self.tracks if t.kind == kind]

    def clips(self) -> Iterator[tuple[Track, Clip]]:
        for track in self.tracks:
            for clip in track.clips:
                yield track, clip


@dataclass
class Bin:
    """A folder of the media pool."""

    uid: str
    name: str
    parent: str | None


@dataclass
class Project:
    """A project as it is saved."""

    name: str = "Show"
    page: str = "edit"
    rate: float = 25.0
    lines: list[Line] = field(default_factory=list)
    media: list[Media] = field(default_factory=list)
    bins: list[Bin] = field(default_factory=lambda: [Bin("bin-0", "Master", None)])
    line: str = ""  # the current timeline
    bin: str = "bin-0"  # the current one
    playhead: int = 0  # frames from midnight
    selected: list[str] = field(default_factory=list)  # clips

    def as_bytes(self) -> bytes:
        """Everything, the same bytes for the same state."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def of_bytes(cls, text: bytes) -> Project:
        """The project that `as_bytes` wrote."""
        values = json.loads(text)
        lines = [Line(**{**line, "tracks": [_track(t) for t in line["tracks"]]}) for line in values["lines"]]
        media = [Media(**m) for m in values["media"]]
        bins = [Bin(**b) for b in values["bins"]]
        return cls(**{**values, "lines": lines, "media": media, "bins": bins})

    def media_of(self, uid: str | None) -> Media | None:
        return next((m for m in self.media if m.uid == uid), None)

    def line_of(self, uid: str) -> Line:
        return next(line for line in self.lines if line.uid == uid)

    def clip_of(self, uid: str) -> tuple[Line, Track, Clip] | None:
        for line in self.lines:
            for track, clip in line.clips():
                if clip.uid == uid:
                    return line, track, clip
        return None


def _track(values: dict[str, Any]) -> Track:
    dissolves = [Dissolve(**d) for d in values["dissolves"]]
    return Track(**{**values, "clips": [_clip(c) for c in values["clips"]], "dissolves": dissolves})


def _clip(values: dict[str, Any]) -> Clip:
    inside = [_clip(c) for c in values["inside"]]
    return Clip(**{**values, "takes": [Take(**t) for t in values["takes"]], "inside": inside})
