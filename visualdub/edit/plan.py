"""The plan of a dubbed edit: for every clip what will happen, to which frames, and what is said in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import Any

from visualdub.edit.cast import NOBODY, Cast, Role
from visualdub.edit.dialogue import Line, overlaps
from visualdub.edit.layout import Edit, EditClip, media_frame, source_frames, standard_rate
from visualdub.edit.media import Media, MediaFinder, timecode_s
from visualdub.edit.retime import NotReadable, SourceMap
from visualdub.edit.shot import DialogueCue, Shot
from visualdub.errors import BadInput
from visualdub.timing import FrameRange, shift_timecode

DUB, BAKE, KEEP = "dub", "bake", "keep"
OURS = "visualdub"  # how the keys of our own media references start
HIDDEN_HANDLE = 12  # frames of the edit around the seen part of a clip that are drawn too
SECONDS_A_FRAME = 0.15  # that tracking and drawing take on two cores, about
SECONDS_A_SHOT = 4.0
_NOTHING = Media()
Runs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Speaking:
    """Somebody who speaks in a shot, and what, in seconds after the shot's first frame."""

    role: Role
    cues: tuple[DialogueCue, ...]  # none: what they say began in an earlier shot, and their mouth stays still


@dataclass(frozen=True)
class PlannedShot:
    """What becomes of one clip of the edit."""

    number: int  # from 1, in the order of the edit
    clip: EditClip
    action: str  # DUB: a second media reference; BAKE: a new clip on a track above; KEEP: left alone
    reason: str = ""  # of KEEP and BAKE
    media: Media = _NOTHING
    media_rate: float = 0.0  # of the reference, as the file has it
    map: SourceMap | None = None
    frames: FrameRange | None = None  # of the media: those that are shown
    timeline: tuple[int, int] = (0, 0)  # frames of the edit that show them
    skipped: tuple[FrameRange, ...] = ()  # of `frames`, of BAKE of the baked movie, that are left alone
    speaking: tuple[Speaking, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shot(self) -> Shot:
        """The shot of the media, without its dialogue. Of what is kept there is none."""
        if self.frames is None or self.media.info is None or self.media.path is None or self.map is None:
            raise BadInput(f"{self.clip.name!r} is not dubbed: {self.reason}")
        retime = Fraction(1) if self.map.speed <= 0 else self.map.speed
        return Shot(self.media.path, self.media.info, self.frames, retime=retime, skipped=self.skipped)

    def as_dict(self) -> dict[str, Any]:
        """The shot as JSON."""
        speaking = [
            {
                "actor": s.role.actor,
                "person": s.role.person,
                "cues": [
                    {
                        "recording": str(c.recording),
                        "in_point_s": float(c.in_point_s),
                        "place_s": float(c.place_s),
                        "duration_s": None if c.duration_s is None else float(c.duration_s),
                        "channels": list(c.channels),
                    }
                    for c in s.cues
                ],
            }
            for s in self.speaking
        ]
        return {
            "number": self.number,
            "clip": self.clip.name,
            "track": self.clip.track,
            "action": self.action,
            "reason": self.reason,
            "timeline": list(self.timeline),
            "source": str(self.media.path) if self.media.path else None,
            "frames": str(self.frames) if self.frames else None,
            "skipped": [str(run) for run in self.skipped],
            "retime": self.map.kind if self.map else None,
            "speed": float(self.map.speed) if self.map else None,
            "speaking": speaking,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class EditPlan:
    """What becomes of every clip of an edit."""

    edit: Edit
    shots: tuple[PlannedShot, ...]
    notes: tuple[str, ...] = ()
    language: str | None = None

    @property
    def dubbed(self) -> list[PlannedShot]:
        """The shots that are dubbed or baked."""
        return [s for s in self.shots if s.action != KEEP]

    @property
    def drafted(self) -> list[PlannedShot]:
        """The shots in which somebody speaks who has no actor, and is drawn out of the clip's own frames."""
        return [s for s in self.dubbed if any(who.role.actor is None for who in s.speaking)]

    @property
    def seconds(self) -> float:
        """How long the dub takes, about."""
        drawn = sum(len(s.frames) * max(1, len(s.speaking)) for s in self.dubbed if s.frames)
        return drawn * SECONDS_A_FRAME + len(self.dubbed) * SECONDS_A_SHOT

    def timecode(self, frame: int) -> str:
        """The record timecode of a frame of the edit; drop frame is not said in the file and not assumed."""
        return shift_timecode("00:00:00:00", frame + (self.edit.start_frame or 0), self.edit.rate)

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON."""
        rate = self.edit.rate
        return {
            "edit": str(self.edit.path),
            "name": self.edit.name,
            "format": self.edit.format,
            "rate": f"{rate.numerator}/{rate.denominator}",
            "frames": self.edit.frame_count,
            "language": self.language,
            "seconds": round(self.seconds, 1),
            "notes": [*self.edit.notes, *self.notes],
            "shots": [s.as_dict() for s in self.shots],
        }


@dataclass(frozen=True)
class PlanOptions:
    """How an edit is planned."""

    cast: Cast = NOBODY
    policy: str = "next-shot"  # what becomes of dialogue that is longer than its shot, see `POLICIES`
    language: str | None = None
    # actors by the name of a track or channel, which is theirs in shots of which nobody says who speaks
    known: tuple[tuple[str, str], ...] = ()
    undecided: bool = False  # whether shots of which nobody says who speaks are left to `who.decide`


# ---- planning ----------------------------------------------------------------------------------------------


def plan_edit(
    edit: Edit, finder: MediaFinder, lines: Sequence[Line], options: PlanOptions, notes: Sequence[str] = ()
) -> EditPlan:
    """What becomes of every video clip of `edit` when `lines` are spoken.

    Media are probed, no frame is decoded. notes: what is wrong with the dialogue already.
    """
    ordered = sorted(edit.clips, key=lambda c: (c.start, c.track))
    shots = [_located(number, clip, edit, finder, options.cast) for number, clip in enumerate(ordered, 1)]
    heard: set[int] = set()
    framed = shots
    shots = [
        s if s.action == KEEP else _spoken(s, edit, _heard_over(s, edit, lines), options, heard)
        for s in framed
    ]
    if options.policy == "hold":
        shots = [_held_still(s, before, edit, lines) for s, before in zip(shots, framed, strict=True)]
    unheard = [line for line in lines if id(line) not in heard]
    said = list(notes)
    for line in unheard:
        at = shift_timecode("00:00:00:00", int(line.start_s * edit.rate) + (edit.start_frame or 0), edit.rate)
        said.append(f"the dialogue {line.recording.name} at {at} is heard over no shot that is dubbed")
    return EditPlan(edit, tuple(shots), tuple(said), options.language)


def original_key(clip: EditClip) -> str:
    """The key of the media that a clip had before it was dubbed: the active one, where it is not ours."""
    active = str(clip.node["active"])
    reference = clip.reference(active)
    meta = reference.get("meta", {}) if reference else {}
    before = meta.get("original")
    if isinstance(before, str) and before in clip.node["refs"]:
        return before
    if active.startswith(OURS):
        return next((k for k in clip.node["refs"] if not k.startswith(OURS)), active)
    return active


def _located(number: int, clip: EditClip, edit: Edit, finder: MediaFinder, cast: Cast) -> PlannedShot:
    """A clip with its media and source frames, or why it is kept."""
    kept = PlannedShot(number, clip, KEEP, notes=clip.notes, timeline=clip.shown)
    roles = cast.roles(clip)
    if not clip.enabled:
        return replace(kept, reason="it is an earlier dub" if clip.meta.get("baked") else "it is disabled")
    if not clip.visible:
        return replace(kept, reason="it is not seen")
    if isinstance(roles, str):
        return replace(kept, reason=roles)
    if clip.problem is not None:
        return replace(kept, reason=clip.problem)
    reference = clip.reference(original_key(clip))
    media = finder.find(reference)
    if media.note:
        kept = replace(kept, notes=(*kept.notes, media.note))
    if media.info is None or reference is None:
        return replace(kept, reason=media.problem or "it has no media", media=media)
    try:
        first_s = timecode_s(media.info)
        count = media.info.frame_count if _whole(reference, media) else None
        found, media_rate = source_frames(clip, edit.rate, reference, count, first_s)
    except NotReadable as e:
        return replace(kept, reason=str(e), media=media)
    except ValueError as e:
        return replace(kept, reason=f"its times cannot be reckoned with ({e})", media=media)
    found = replace(found, bake=edit.bake_retimed)
    shot = _framed(replace(kept, media=media, map=found, media_rate=media_rate), roles)
    if shot.action == BAKE and not found.several_mouths:
        shot = replace(shot, reason=f"the program's clips take no dub at another speed ({found.kind})")
    return shot


def _whole(reference: Mapping[str, Any], media: Media) -> bool:
    """Whether the file's own length says where the media end."""
    avail = reference.get("avail")
    return avail is None or (media.info is not None and media.info.frame_count < round(avail[1]))


def _framed(shot: PlannedShot, roles: Sequence[Role]) -> PlannedShot:
    """A shot with the frames of its media and those that are left alone in it."""
    clip, found, info = shot.clip, shot.map, shot.media.info
    assert found is not None and info is not None
    low, high = clip.shown  # hidden parts too: programs want media for all that a clip is cut to
    numbers = found.frames(low - clip.start, high - clip.start)
    past = max(numbers) + 1 if found.curve else max(max(numbers) + 1, ceil(found.place(high - clip.start)))
    frames = FrameRange(min(numbers), min(past, info.frame_count))  # to the end of the last frame's time
    notes = list(shot.notes)
    if abs(float(info.rate) / shot.media_rate - 1) > 0.002:
        wrong = f"the edit says {shot.media_rate:g} frames/s of its media, which have {float(info.rate):g}"
        return replace(shot, reason=wrong)
    if held := sum(found.beyond(k) for k in range(low - clip.start, high - clip.start)):
        notes.append(f"{held} of its frames lie outside its media, whose nearest frame is shown")
        if held == len(numbers):
            return replace(shot, reason="all its frames lie outside its media")
    baked = found.needs_baking
    reason = f"one source frame needs several mouths ({found.kind})" if baked else ""
    skipped = tuple(_left_alone_of_movie(shot, found) if baked else _left_alone(shot, found, frames))
    if skipped and sum(len(run) for run in skipped) >= (high - low if baked else len(frames)):
        return replace(shot, reason="all its frames are marked to be left alone")
    return replace(
        shot,
        action=BAKE if baked else DUB,
        reason=reason,
        frames=frames,
        timeline=(low, high),
        skipped=skipped,
        speaking=tuple(Speaking(role, ()) for role in roles),
        notes=tuple(notes),
    )


def _left_alone(shot: PlannedShot, found: SourceMap, frames: FrameRange) -> list[FrameRange]:
    """Runs of source frames that another clip hides or a marker leaves alone; no two of them meet."""
    clip = shot.clip
    hidden = []
    for a, b in _hidden(clip):
        first = frames.start if a == clip.shown[0] else found.frame(a - 1 - clip.start) + 1
        hidden.append((first, frames.end_exclusive if b == clip.shown[1] else found.frame(b - clip.start)))
    return _joined([*hidden, *_marked(shot, found)], frames)


def _left_alone_of_movie(shot: PlannedShot, found: SourceMap) -> list[FrameRange]:
    """As `_left_alone`, in frames of a retimed clip's movie, which has one for each frame of the edit."""
    clip = shot.clip
    low, high = clip.shown
    marked = _marked(shot, found)
    shown = enumerate(found.frames(low - clip.start, high - clip.start))
    runs = [(k, k + 1) for k, number in shown if any(a <= number < b for a, b in marked)]
    runs += [(a - low, b - low) for a, b in _hidden(clip)]
    return _joined(runs, FrameRange(0, high - low))


def _hidden(clip: EditClip) -> list[tuple[int, int]]:
    """Runs of frames of the edit in which other clips hide one, `HIDDEN_HANDLE` frames away from where it is
    seen: a mouth eases in and out of what is left alone.
    """
    low, high = clip.shown
    edges = [low, *(frame for run in clip.visible for frame in run), high]
    runs = []
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        first, end = a + HIDDEN_HANDLE * (a > low), b - HIDDEN_HANDLE * (b < high)
        if a < b and first < end:
            runs.append((first, end))
    return runs


def _marked(shot: PlannedShot, found: SourceMap) -> list[tuple[int, int]]:
    """Source frames that markers leave alone, half open. A marker's times are those of the media."""
    runs = []
    clip = shot.clip
    times = clip.node.get("range")
    lowest = found.start + min(Fraction(0), (clip.length - 1) * found.slope)  # that `source_range` starts at
    for marker in clip.node.get("markers", ()):
        if marker["meta"].get("skip") is not True or not times or None in (marker["range"] or [None]):
            continue
        start, length, rate = marker["range"]
        begins = media_frame(start, rate, times[2]) - Fraction(times[0])  # in frames of the clip's own rate
        ends = begins + Fraction(length) / Fraction(rate) * Fraction(times[2])
        step = standard_rate(shot.media_rate) / standard_rate(times[2])
        runs.append((floor(lowest + begins * step), ceil(lowest + ends * step)))
    return runs


def _joined(runs: Sequence[tuple[int, int]], frames: FrameRange) -> list[FrameRange]:
    """The parts of runs of frames that lie in `frames`, in order; those that meet are one."""
    joined: list[FrameRange] = []
    for first, end in sorted((max(a, frames.start), min(b, frames.end_exclusive)) for a, b in runs):
        if first >= end:
            continue
        if joined and first <= joined[-1].end_exclusive:
            joined[-1] = FrameRange(joined[-1].start, max(end, joined[-1].end_exclusive))
        else:
            joined.append(FrameRange(first, end))
    return joined


# ---- dialogue ----------------------------------------------------------------------------------------------


def _spoken(
    shot: PlannedShot, edit: Edit, lines: Sequence[Line], options: PlanOptions, heard: set[int]
) -> PlannedShot:
    """A shot with what is spoken in it; kept where nothing is. heard: ids of the lines that some shot has."""
    low, high = (Fraction(frame) / edit.rate for frame in shot.timeline)
    speaking, notes = [], list(shot.notes)
    here = [line for line in lines if line.start_s < high and line.end_s > low]
    if options.policy != "next-shot":
        here = [line for line in here if low <= line.start_s < high]
    roles = _named(shot.speaking, here, options)
    for s in roles:
        theirs = {id(line): line.channels_of(s.role.dialogue, roles_named(roles)) for line in here}
        heard.update(key for key, channels in theirs.items() if channels is not None)
        mine = [
            replace(line, channels=channels) for line in here if (channels := theirs[id(line)]) is not None
        ]
        if not mine:
            continue
        fits = (_fit(line, low, high, options.policy) for line in mine)
        notes += [said for said in fits if said and said not in notes]  # several may speak one line
        for a, b in overlaps(mine):
            notes.append(f"{a.recording.name} and {b.recording.name} overlap for one face; both move it")
        speaking.append(replace(s, cues=tuple(_cue(line, low, high, shot, edit) for line in mine)))
    if not speaking:
        return replace(shot, action=KEEP, reason="nobody speaks in it", speaking=(), notes=tuple(notes))
    if any(s.role.actor is None for s in speaking) and not options.undecided:
        nobody = "nobody says who speaks in it (--actor, --cast or metadata.visualdub.actor)"
        return replace(shot, action=KEEP, reason=nobody, speaking=(), notes=tuple(notes))
    return replace(shot, speaking=tuple(speaking), notes=tuple(notes))


def _heard_over(shot: PlannedShot, edit: Edit, lines: Sequence[Line]) -> list[Line]:
    """The lines that are heard while a shot is seen."""
    seen = [(Fraction(a) / edit.rate, Fraction(b) / edit.rate) for a, b in shot.clip.visible]
    return [line for line in lines if any(line.start_s < end and line.end_s > start for start, end in seen)]


def _held_still(shot: PlannedShot, framed: PlannedShot, edit: Edit, lines: Sequence[Line]) -> PlannedShot:
    """A shot over which lines of earlier shots are heard on: who says them keeps a closed mouth in it, where
    they say nothing else. framed: the shot before it was known who speaks in it.
    """
    if framed.action == KEEP:
        return shot
    low = Fraction(framed.timeline[0]) / edit.rate
    on = [line for line in lines if line.start_s < low < line.end_s]
    speaks = {s.role for s in shot.speaking}
    still = [
        replace(s, cues=())
        for s in framed.speaking
        if s.role.actor is not None and s.role not in speaks
        if any(line.heard_by(s.role.dialogue) is not None for line in on)
    ]
    if not still:
        return shot
    names = ", ".join(line.recording.name for line in on)
    note = f"{names} is heard on from an earlier shot, and no mouth says it"
    action, reason = framed.action, framed.reason  # it was kept where nobody speaks in it
    speaking, notes = (*shot.speaking, *still), (*shot.notes, note)
    return replace(shot, action=action, reason=reason, speaking=speaking, notes=notes)


def _named(speaking: Sequence[Speaking], lines: Sequence[Line], options: PlanOptions) -> list[Speaking]:
    """Who may speak: where nobody is said to, also the actors whose names `lines` have."""
    if any(s.role.actor is not None for s in speaking):
        return list(speaking)
    spoken = {
        actor: name for name, actor in options.known if any(n.heard_by(name) is not None for n in lines)
    }
    return [*(Speaking(Role(actor, dialogue=name), ()) for actor, name in spoken.items()), *speaking]


def roles_named(speaking: Sequence[Speaking]) -> list[str]:
    """The names of the tracks and channels that are somebody's."""
    return [s.role.dialogue for s in speaking if s.role.dialogue is not None]


def _cue(line: Line, low: Fraction, high: Fraction, shot: PlannedShot, edit: Edit) -> DialogueCue:
    """A line as a cue of a shot that is seen from `low` to `high`, in seconds."""
    begins = max(line.start_s, low)
    return DialogueCue(
        line.recording,
        in_point_s=line.in_point_s + begins - line.start_s,
        place_s=begins - low + _lead(shot, edit),
        duration_s=min(line.end_s, high) - begins,
        channels=line.channels,
    )


def _lead(shot: PlannedShot, edit: Edit) -> Fraction:
    """Seconds that a shot's first source frame began before the edit shows it."""
    found = shot.map
    if found is None or found.needs_baking or found.curve:
        return Fraction(0)
    place = found.start + (shot.timeline[0] - shot.clip.start) * found.slope
    return max(Fraction(0), place - found.frame(shot.timeline[0] - shot.clip.start)) / (
        found.slope * edit.rate
    )


def _fit(line: Line, low: Fraction, high: Fraction, policy: str) -> str:
    """What is to be said of a line that is longer than its shot; empty where it fits."""
    before, after = low - line.start_s, line.end_s - high
    name = line.recording.name
    if before > 0:
        return f"{name} goes on here from the shot before, {float(before):.3f} s in"
    if after > 0:
        ends = {
            "next-shot": "goes on in the next shot of the same dialogue",
            "cut": "moves no mouth; the next shot is left as it is",
            "hold": "is heard on over the next shot, whose mouth stays still",
        }
        return f"{name} is {float(after):.3f} s longer than the shot; the rest {ends[policy]}"
    return ""
