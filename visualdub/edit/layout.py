"""An edit laid out: every clip at its place in the timeline, and which of its frames are seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.edit.retime import NotReadable, SourceMap, exact, source_map
from visualdub.errors import BadInput
from visualdub.timing import STANDARD_RATES

SNAP = Fraction(1, 1000)  # of a rate; nearer to a standard rate it means that one
LONGEST_S = 10 * 24 * 3600  # that an edit may last
_SOLID = ("smptebars", "black", "solid", "color", "colour", "bars")  # generators that hide what lies below
_NEAR = Fraction(1, 500)  # of a frame: a place so near to a whole one means it
Node = Mapping[str, Any]  # of the tree that `otio_file` prints


@dataclass(frozen=True)
class EditClip:
    """A clip of the edit. Places are frames of the timeline, 0 = its first; ranges are half open."""

    name: str
    media: str  # "Video" or "Audio"
    track: str  # its label: V1, A2; of nested tracks with the compound clip's name
    track_name: str
    path: tuple[str | int, ...]  # where it stands in the JSON of the .otio file
    start: int  # frame of the timeline at which its `source_range` starts
    length: int  # frames of its `source_range`
    shown: tuple[int, int]  # frames of the timeline that it covers, with its share of transitions
    start_s: Fraction  # seconds after the edit's start, exact where `start` is rounded
    end_s: Fraction
    node: Node = field(repr=False)
    track_meta: Node = field(default_factory=dict, repr=False)
    enabled: bool = True
    problem: str | None = None  # why it cannot be dubbed, as far as the structure tells
    visible: tuple[tuple[int, int], ...] = ()  # runs of `shown` that no other clip hides
    notes: tuple[str, ...] = ()

    @property
    def meta(self) -> Node:
        """What `metadata.visualdub` says of the clip."""
        found: Node = self.node.get("meta", {})
        return found

    @property
    def effects(self) -> Sequence[Node]:
        """Its effects on time and transparency."""
        found: Sequence[Node] = self.node.get("effects", ())
        return found

    def reference(self, key: str | None = None) -> Node | None:
        """Its media reference with a key, by default the active one; None where there is none."""
        found: Node | None = self.node["refs"].get(self.node["active"] if key is None else key)
        return found


@dataclass(frozen=True)
class Edit:
    """A timeline: its clips in the order of the file, the video's from the lowest track up."""

    path: Path
    name: str
    format: str  # of the file: otio, otioz, or the adapter's name
    rate: Fraction  # frames per second of the timeline
    start_frame: int | None  # its first frame's timecode in frames; None where it says none
    frame_count: int
    clips: tuple[EditClip, ...]  # video
    sound: tuple[EditClip, ...]
    meta: Node = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    bake_retimed: bool = False  # for a program that takes no dub of source frames for a retimed clip
    unpacked: Path | None = None  # where the media of an .otioz lie

    @property
    def media_folder(self) -> Path:
        """The folder that relative paths of its media start from."""
        return self.unpacked or self.path.parent


# ---- time --------------------------------------------------------------------------------------------------


def standard_rate(rate: float) -> Fraction:
    """The exact rate that a number means: the standard one nearest to it within `SNAP`, or itself."""
    near = min(STANDARD_RATES, key=lambda r: abs(float(r) - rate))
    return near if abs(float(near) / rate - 1) < SNAP else exact(rate)


def checked(times: Sequence[float | None], name: str, path: Path) -> list[float]:
    """Numbers and a rate that can be reckoned with. Raises `BadInput` for others."""
    numbers = [t for t in times if t is not None and isfinite(t)]
    if len(numbers) != len(times) or numbers[-1] <= 0 or (len(numbers) == 3 and numbers[1] < 0):
        said = ", ".join("none" if t is None else f"{t:g}" for t in times)
        raise BadInput(f"{path}: {name!r} has a time of {said} (the last is its rate); expected real numbers")
    return numbers


def frames_at(value: float, rate: float, edit_rate: Fraction) -> Fraction:
    """A time of `value` units at `rate` in frames of the edit."""
    return exact(value) / standard_rate(rate) * edit_rate


def media_frame(value: float, rate: float, media_rate: float) -> Fraction:
    """A time in frames of the media, whose rate is written `media_rate`.

    Programs write 23.976 and 23.976024627685547 for one rate, and reckon with what they write: of two rates
    that mean the same, and of the two ways to reckon, the one that gives a whole frame is taken.
    """
    if rate == media_rate:
        return exact(value)
    meant = exact(value) / standard_rate(rate) * standard_rate(media_rate)
    written = Fraction(value) / Fraction(rate) * Fraction(media_rate)
    whole = [Fraction(round(t)) for t in (written, meant) if abs(t - round(t)) < _NEAR]
    if whole:
        return whole[0]
    return meant if standard_rate(rate) == standard_rate(media_rate) else written


def edit_rate_of(tree: Node) -> Fraction:
    """The rate of a timeline: the one most of its video clips are cut in, or else its start's."""
    counts = Counter(
        node["range"][2] for node in _nodes(tree["stack"]) if node["kind"] == "clip" and node.get("range")
    )
    video = Counter(
        node["range"][2]
        for track in tree["stack"]["children"]
        if track["kind"] != "track" or track.get("media") != "Audio"
        for node in _nodes(track)
        if node["kind"] == "clip" and node.get("range")
    )
    start = tree["start"]
    if start is not None and start[1] and (not video or start[1] in video):
        return standard_rate(start[1])
    for rates in (video, counts):
        usable = [rate for rate, _ in rates.most_common() if rate and rate > 0]
        if usable:
            return standard_rate(usable[0])
    return standard_rate(start[1]) if start is not None and start[1] else Fraction(24)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("children", ()):
        yield from _nodes(child)


# ---- laying out --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where a stack or track of the tree stands. Times are frames of the edit."""

    origin: Fraction  # of the timeline, at which its own time 0 lies
    window: tuple[Fraction, Fraction]  # of the timeline, what its parents let through
    label: str
    media: str = "Video"
    name: str = ""
    enabled: bool = True
    problem: str | None = None
    meta: Node = field(default_factory=dict)


class _Layout:
    """Collects the clips of a tree."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate = path, rate
        self.layers: list[list[EditClip]] = []  # of video, from the lowest up
        self.sound: list[EditClip] = []
        self.unknown: list[str] = []
        self.record_start: Fraction | None = None  # the first frame's timecode, of an EDL

    def length(self, node: Node) -> Fraction:
        """How long an item lasts."""
        times = node.get("range")
        if times is None and node["kind"] == "clip":
            reference = node["refs"].get(node["active"]) or next(iter(node["refs"].values()), None)
            times = reference.get("avail") if reference else None
            if times is None:
                raise BadInput(f"{self.path}: {node['name']!r} has no source_range and its media no length")
        if times is not None:
            _, length, rate = checked(times, node["name"], self.path)
            return frames_at(length, rate, self.rate)
        if node["kind"] == "stack":
            return max((self.length(child) for child in node["children"]), default=Fraction(0))
        inner = (child for child in node.get("children", ()) if child["kind"] != "transition")
        return sum((self.length(child) for child in inner), Fraction(0))

    def inside(self, node: Node, start: Fraction, place: _Place) -> _Place:
        """The place of what a stack or track holds that starts at `start` of the timeline."""
        low, high = place.window
        low, high = max(low, start), min(high, start + self.length(node))
        if (times := node.get("range")) is not None:
            first, _, rate = checked(times, node["name"], self.path)
            offset = frames_at(first, rate, self.rate)
            if offset + self.length(node) > 0:
                start -= offset
            else:  # an EDL's adapter writes minus the record timecode, by which nothing would be seen
                self.record_start = -offset
        problem = place.problem
        if any(e["kind"] != "blend" for e in node.get("effects", ())):
            problem = f"it lies in {node['name'] or 'a compound clip'!r}, which is retimed as a whole"
        meta = {**place.meta, **node.get("meta", {})}
        enabled = place.enabled and node.get("enabled", True)
        return replace(place, origin=start, window=(low, high), enabled=enabled, problem=problem, meta=meta)

    def stack(self, node: Node, place: _Place) -> None:
        """The layers of a stack, whose time 0 is `place.origin`."""
        counts: Counter[str] = Counter()
        for child in node["children"]:
            media = child.get("media", place.media) if child["kind"] == "track" else place.media
            counts[media] += 1
            own = f"{media[:1]}{counts[media]}"
            label = f"{place.label}/{own}" if place.label else own
            inner = replace(place, label=label, media=media, name=child["name"])
            if child["kind"] == "track":
                self.track(child, self.inside(child, place.origin, inner))
            else:
                self.layer([child], inner)

    def track(self, node: Node, place: _Place) -> None:
        """The items of a track, one after the other."""
        self.layer(node["children"], place)

    def layer(self, children: Sequence[Node], place: _Place) -> None:
        """Items that follow each other from `place.origin` on; nested stacks become layers of their own."""
        at, clips, nested = place.origin, [], []
        for i, child in enumerate(children):
            if child["kind"] == "transition":
                continue
            length = self.length(child)
            before, after = self.overlap(children, i)
            shown = max(at - before, place.window[0]), min(at + length + after, place.window[1])
            if child["kind"] == "clip":
                clips.append(self.clip(child, (at, length), shown, place))
            elif child["kind"] in ("stack", "track"):
                nested.append((child, at))
            elif child.get("unknown"):
                self.unknown.append(child["unknown"])
            at += length
        if place.media == "Audio":
            self.sound += clips
        else:
            self.layers.append(clips)
        for child, start in nested:
            inner = self.inside(child, start, place)
            inner = replace(inner, label=f"{place.label}/{child['name'] or 'nested'}")
            if child["kind"] == "stack":
                self.stack(child, inner)
            else:
                self.track(child, inner)

    def overlap(self, children: Sequence[Node], i: int) -> tuple[Fraction, Fraction]:
        """Frames that an item shows before and after its own, in transitions."""
        before = after = Fraction(0)
        if i > 0 and children[i - 1]["kind"] == "transition":
            first, rate, _, _ = children[i - 1]["offsets"]
            value, units = checked([first, rate], children[i - 1]["name"], self.path)
            before = frames_at(value, units, self.rate)
        if i + 1 < len(children) and children[i + 1]["kind"] == "transition":
            _, _, last, rate = children[i + 1]["offsets"]
            value, units = checked([last, rate], children[i + 1]["name"], self.path)
            after = frames_at(value, units, self.rate)
        return before, after

    def clip(
        self, node: Node, at: tuple[Fraction, Fraction], shown: tuple[Fraction, Fraction], place: _Place
    ) -> EditClip:
        """A clip that starts at `at[0]` and lasts `at[1]`, of which `shown` is let through."""
        start, length = at
        low, high = max(0, round(shown[0])), round(shown[1])
        whole = round(start), round(start + length)
        return EditClip(
            name=node["name"],
            media=place.media,
            track=place.label,
            track_name=place.name,
            path=tuple(node["path"]),
            start=whole[0],
            length=whole[1] - whole[0],
            shown=(low, high) if low < high else (0, 0),
            start_s=max(start, place.window[0]) / self.rate,
            end_s=min(start + length, place.window[1]) / self.rate,
            node=node,
            track_meta=place.meta,
            enabled=place.enabled and node.get("enabled", True) and not node.get("meta", {}).get("baked"),
            problem=place.problem,
        )


def lay_out(path: Path, tree: Node) -> Edit:
    """The edit in the `tree` of the file at `path`. Raises `BadInput` for times that are no numbers, and for
    an edit of more than `LONGEST_S`.
    """
    if tree["start"] is not None:
        checked(tree["start"], "global_start_time", path)
    rate = edit_rate_of(tree)
    layout = _Layout(path, rate)
    length = layout.length(tree["stack"])
    if length / rate > LONGEST_S:
        raise BadInput(f"{path} lasts {float(length / rate / 3600):.0f} hours; expected at most 240")
    everything = Fraction(0), length
    layout.stack(
        tree["stack"], layout.inside(tree["stack"], Fraction(0), _Place(Fraction(0), everything, ""))
    )
    notes = list(tree["notes"])
    if tree["others"]:
        notes.append(f"holds {len(tree['others'])} more timelines, which are left alone: {tree['others']}")
    if layout.unknown:
        notes.append(f"holds {', '.join(sorted(set(layout.unknown)))}, which is taken for a gap")
    start = tree["start"]
    begins = layout.record_start if start is None else frames_at(start[0], start[1], rate)
    return Edit(
        path=path,
        name=tree["name"] or path.stem,
        format=tree["format"],
        rate=rate,
        start_frame=None if begins is None else round(begins),
        frame_count=round(length),
        clips=tuple(what_is_seen(layout.layers, round(length))),
        sound=tuple(layout.sound),
        meta=tree["meta"],
        notes=tuple(notes),
    )


# ---- what is seen ------------------------------------------------------------------------------------------


def what_is_seen(layers: Sequence[Sequence[EditClip]], frame_count: int) -> list[EditClip]:
    """The clips of `layers`, from the lowest up, with the runs of frames that no clip above them hides."""
    hidden = np.zeros(frame_count + 1, np.bool_)
    veiled: dict[int, str] = {}  # frame -> what lies over it and lets it through
    found: list[list[EditClip]] = []
    for clips in reversed(layers):
        found.append([_seen(clip, hidden, veiled) for clip in clips])
        for clip in clips:
            low, high = clip.shown
            if not clip.enabled or low >= high:
                continue
            if (veil := lets_through(clip)) is None:
                hidden[low:high] = True
            else:
                veiled.update(dict.fromkeys((low, (low + high) // 2, high - 1), f"{clip.track}: {veil}"))
    return [clip for clips in reversed(found) for clip in clips]


def _seen(clip: EditClip, hidden: NDArray[np.bool_], veiled: Mapping[int, str]) -> EditClip:
    low, high = clip.shown
    if not clip.enabled or low >= high:
        return clip
    edges = np.flatnonzero(np.diff(np.concatenate([[True], hidden[low:high], [True]]))) + low
    runs = tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))
    notes = list(clip.notes)
    over = {text for frame, text in veiled.items() if low <= frame < high} if veiled else set()
    notes += [f"something lies over it and lets it through ({text})" for text in sorted(over)]
    if (blend := next((e for e in clip.effects if e["kind"] == "blend"), None)) is not None:
        notes.append(f"it is blended with what lies below ({blend['name']})")
    return replace(clip, visible=runs, notes=tuple(notes))


def lets_through(clip: EditClip) -> str | None:
    """Why what lies below a clip stays visible; None where the clip hides it."""
    reference = clip.reference()
    if any(e["kind"] == "blend" for e in clip.effects):
        return f"{clip.name!r} is blended"
    if reference is None or reference["kind"] == "missing":
        return f"{clip.name!r} has no media"
    if reference["kind"] == "generator" and not str(reference["generator"]).lower().startswith(_SOLID):
        return f"{clip.name!r} is a {reference['generator'] or 'generator'}"
    return None


# ---- source frames -----------------------------------------------------------------------------------------


def source_frames(
    clip: EditClip,
    edit_rate: Fraction,
    reference: Node,
    count: int | None = None,
    first_s: float | None = None,
) -> tuple[SourceMap, float]:
    """Which frames of its media a clip shows, and the rate of the media as the file has it.

    count: frames that the media have, where that is known; first_s: its timecode in seconds, for a reference
    without a range of its own. Raises `NotReadable` where the file does not say.
    """
    times = clip.node.get("range") or reference.get("avail")
    if times is None or None in times:
        raise NotReadable("it has no source_range")
    value, _, rate = times
    avail = reference.get("avail")
    if avail is not None and (None in avail or avail[2] <= 0 or avail[1] < 0):
        raise NotReadable("the range of its media is no range of real numbers")
    if avail is None:
        media_rate = float(reference.get("rate") or rate)
        start = media_frame(value, rate, media_rate)
        if first_s is not None and start >= int(first_s * media_rate):
            start -= round(Fraction(first_s) * standard_rate(media_rate))
        last = None
    else:
        media_rate = avail[2]
        start, begins = media_frame(value, rate, media_rate), exact(avail[0])
        counted_from_0 = start >= 0 and start + clip.length * exact(media_rate / rate) <= begins
        start -= (
            0 if counted_from_0 else begins
        )  # older programs count a clip's frames from its media's first
        last = max(0, round(avail[1]) - 1)
    if count is not None:
        last = count - 1
    if abs(start - round(start)) < _NEAR:
        start = Fraction(round(start))
    step = standard_rate(media_rate) / edit_rate
    return source_map(clip.effects, start, step, clip.length, last), media_rate
