"""Where the new dialogue comes from: a sound track of the edit, or a folder of recordings."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from visualdub.edit.layout import Edit, EditClip, media_frame
from visualdub.edit.media import path_of
from visualdub.edit.retime import exact
from visualdub.edit.wav import SUFFIXES, ChannelNames, WavFacts, channels_named, wav_facts
from visualdub.errors import BadInput

# What becomes of dialogue that is longer than its shot: its speaker says it in the next shots too; no mouth
# says it and the next shots are left as they are; or the speaker's mouth stays still in them.
POLICIES = ("next-shot", "cut", "hold")


@dataclass(frozen=True)
class Line:
    """A piece of a recording on the timeline, in seconds after the edit's start."""

    recording: Path
    in_point_s: Fraction  # of the recording, that is heard at `start_s`
    start_s: Fraction
    end_s: Fraction
    track: str = ""  # the sound track's name, or the recording's own
    clip: EditClip | None = None  # of a folder: the clip that it is for
    names: ChannelNames = ()  # of the recording's channels, where they have any
    channels: tuple[int, ...] = ()  # those that are heard, from 0; empty: all

    def heard_by(self, dialogue: str | None) -> tuple[int, ...] | None:
        """The channels in which somebody speaks whose track or channel has a name, empty for all; None where
        they do not speak in this line. dialogue: None for somebody who speaks whatever there is.
        """
        if dialogue is None or dialogue.casefold() == self.track.casefold():
            return self.channels
        named = channels_named(self.names, dialogue)
        return tuple(i for i in named if not self.channels or i in self.channels) or None

    def channels_of(self, dialogue: str | None, named: Iterable[str]) -> tuple[int, ...] | None:
        """The channels of one of those who speak in a shot: what has their name, or else what has nobody's.

        named: the names of all of them.
        """
        return self.left_to(named) if dialogue is None else self.heard_by(dialogue)

    def left_to(self, others: Iterable[str]) -> tuple[int, ...] | None:
        """As `heard_by`, of somebody who speaks whatever none of `others` does, who are known by name."""
        taken: set[int] = set()
        for name in others:
            channels = self.heard_by(name)
            if channels == self.channels:
                return None
            taken.update(channels or ())
        if not taken:
            return self.channels
        return tuple(i for i in self.channels or range(len(self.names)) if i not in taken) or None


# ---- tracks ------------------------------------------------------------------------------------------------


def track_lines(edit: Edit, wanted: str, language: str | None = None) -> tuple[list[Line], list[str]]:
    """The lines of a sound track, and what is wrong with some of them.

    wanted: the track's name, its number (2 or A2), or its `metadata.visualdub.role`; `{lang}` in it stands
    for the language. Where several tracks have that name or role, those whose `metadata.visualdub.language`
    is `language` count. Where no track has the name, a channel of the recordings may: of these, the channel
    alone is heard. Several names with commas between them are several tracks, unless one track has that name.
    Raises `BadInput` where there is none.
    """
    name = wanted.replace("{lang}", language or "")
    tracks = {c.track: (c.track_name, c.track_meta) for c in edit.sound}
    chosen = [label for label, (title, meta) in tracks.items() if name in (title, meta.get("role"))]
    if (language and len(chosen) > 1) or (language and not chosen):
        speaking = [t for t in chosen or tracks if tracks[t][1].get("language") == language]
        chosen = speaking or chosen
    if not chosen:
        chosen = [label for label in tracks if label == name or label == f"A{name}"]
    found = [(clip, _line_of(clip, edit)) for clip in edit.sound if clip.enabled]
    if not chosen:
        named = [line for _, line in found if isinstance(line, Line) and channels_named(line.names, name)]
        if named:
            return [replace(n, track=name, channels=channels_named(n.names, name)) for n in named], []
        if "," in name:
            return _several(edit, name, language)
        there = ", ".join(f"{label} {title!r}" for label, (title, _) in tracks.items()) or "none"
        raise BadInput(f"{edit.path} has no dialogue track {name!r}; its sound tracks are: {there}")
    lines, problems = [], []
    for clip, line in found:
        if clip.track not in chosen:
            continue
        if isinstance(line, Line):
            lines.append(line)
            problems += _not_named(line.recording)
        else:
            problems.append(f"the dialogue {clip.name!r} is left out: {line}")
    return lines, list(dict.fromkeys(problems))


def _several(edit: Edit, names: str, language: str | None) -> tuple[list[Line], list[str]]:
    """The lines of several tracks, and what is wrong with some of them."""
    lines: list[Line] = []
    problems: list[str] = []
    for name in dict.fromkeys(n.strip() for n in names.split(",") if n.strip()):
        more, wrong = track_lines(edit, name, language)
        lines, problems = [*lines, *more], [*problems, *wrong]
    return lines, problems


def _not_named(recording: Path) -> list[str]:
    """Why the names of a recording's channels are not known, where it has some."""
    try:
        problem = wav_facts(recording).problem if recording.suffix.lower() in SUFFIXES else None
    except BadInput:
        return []
    return [f"{recording.name}: {problem}"] if problem else []


def sound_lines(edit: Edit) -> list[Line]:
    """All that an edit plays, as far as it can be read."""
    found = (_line_of(clip, edit) for clip in edit.sound if clip.enabled)
    return [line for line in found if isinstance(line, Line)]


def _line_of(clip: EditClip, edit: Edit) -> Line | str:
    """A clip of a sound track, or why it cannot be heard."""
    reference = clip.reference()
    if reference is None or reference["kind"] != "external":
        return "it has no media"
    if any(e["kind"] != "blend" for e in clip.effects):
        return "it is retimed"
    try:
        path = path_of(reference["url"], edit.media_folder)
    except BadInput as e:
        return str(e)
    if not path.is_file():
        return f"its recording {path} is missing"
    start_s, avail = clip.start_s, reference.get("avail")
    times = clip.node.get("range") or avail
    if times is None or None in times:
        return "it has no source_range"
    value, _, rate = times
    if avail is not None and None not in avail and avail[2] > 0:
        in_point_s = (media_frame(value, rate, avail[2]) - exact(avail[0])) / exact(avail[2])
    else:
        in_point_s = exact(value) / exact(rate)
    if in_point_s < 0:
        return f"it starts {float(-in_point_s):.3f} s before its recording"
    names: ChannelNames = ()
    if path.suffix.lower() in SUFFIXES:
        with contextlib.suppress(BadInput):
            names = wav_facts(path).channels
    return Line(path, in_point_s, start_s, clip.end_s, clip.track_name or clip.track, names=names)


# ---- folders -----------------------------------------------------------------------------------------------


def folder_lines(edit: Edit, folder: Path, language: str | None = None) -> tuple[list[Line], list[str]]:
    """The recordings of a folder on the timeline: by the name of a clip, or else by BWF timecode.

    language: its own folder below, or the end of a name (`NAME_fr.wav`). Raises `BadInput` where the folder
    is none, or holds no recording.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; expected one with the recordings of the new dialogue")
    inner = folder / language if language and (folder / language).is_dir() else folder
    recordings = sorted(p for p in inner.iterdir() if p.suffix.lower() == ".wav")
    if not recordings:
        raise BadInput(f"{inner} holds no .wav; expected the recordings of the new dialogue")
    clips: dict[str, list[EditClip]] = {}
    for clip in edit.clips:
        if clip.enabled and clip.visible:
            clips.setdefault(Path(clip.name).stem.lower(), []).append(clip)
    lines, problems = [], []
    for path in recordings:
        facts = wav_facts(path)
        length_s = Fraction(facts.samples, facts.rate)
        track = facts.channels[0][0] if len(facts.channels) == 1 else path.stem
        problems += [f"{path.name}: {facts.problem}"] if facts.problem else []
        stem = re.sub(rf"[._-]{re.escape(language)}$", "", path.stem) if language else path.stem
        named = clips.get(stem.lower(), [])
        if len(named) == 1:
            start_s = Fraction(named[0].visible[0][0]) / edit.rate
            lines.append(
                Line(path, Fraction(0), start_s, start_s + length_s, track, named[0], facts.channels)
            )
            continue
        placed = _by_timecode(path, facts, edit, track)
        if isinstance(placed, Line):
            lines.append(placed)
        else:
            many = f"{len(named)} clips have its name and " if named else "no clip has its name and "
            problems.append(f"the recording {path.name} is left out: {many}{placed}")
    return lines, problems


def _by_timecode(path: Path, facts: WavFacts, edit: Edit, track: str) -> Line | str:
    """A recording at its BWF timecode, or why it has no place."""
    if facts.time_reference is None:
        return "it has no timecode"
    if edit.start_frame is None:
        return "the edit has no start timecode to place its own by"
    begins = Fraction(facts.time_reference, facts.rate) - edit.start_frame / edit.rate
    ends = begins + Fraction(facts.samples, facts.rate)
    if ends <= 0 or begins >= edit.frame_count / edit.rate:
        return "its timecode lies outside the edit"
    early = max(Fraction(0), -begins)
    return Line(path, early, begins + early, ends, track, names=facts.channels)


# ---- overlaps ----------------------------------------------------------------------------------------------


def overlaps(lines: Sequence[Line]) -> list[tuple[Line, Line]]:
    """Pairs of lines that are heard at the same time."""
    ordered = sorted(lines, key=lambda line: line.start_s)
    return [
        (a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :] if b.start_s < a.end_s and a is not b
    ]
