"""Where the new dialogue comes from: a sound track of the edit, or a folder of recordings."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

from visualdub.edit.layout import Edit, EditClip, media_frame
from visualdub.edit.media import path_of
from visualdub.edit.retime import exact
from visualdub.errors import BadInput

# What becomes of dialogue that is longer than its shot: its speaker says it in the next shots too; no mouth
# says it and the next shots are left as they are; or the speaker's mouth stays still in them.
POLICIES = ("next-shot", "cut", "hold")
_LARGEST_CHUNK = 1 << 20


@dataclass(frozen=True)
class Line:
    """A piece of a recording on the timeline, in seconds after the edit's start."""

    recording: Path
    in_point_s: Fraction  # of the recording, that is heard at `start_s`
    start_s: Fraction
    end_s: Fraction
    track: str = ""  # the sound track's name, or the recording's own
    clip: EditClip | None = None  # of a folder: the clip that it is for


@dataclass(frozen=True)
class WavFacts:
    """What a WAV file says of itself."""

    rate: int  # Hz
    samples: int
    time_reference: int | None = None  # samples after midnight (BWF `bext`)
    tracks: tuple[str, ...] = ()  # names of its channels (iXML)


# ---- tracks ------------------------------------------------------------------------------------------------


def track_lines(edit: Edit, wanted: str, language: str | None = None) -> tuple[list[Line], list[str]]:
    """The lines of a sound track, and what is wrong with some of them.

    wanted: the track's name, its number (2 or A2), or its `metadata.visualdub.role`; `{lang}` in it stands
    for the language. Where several tracks have that name or role, those whose `metadata.visualdub.language`
    is `language` count. Raises `BadInput` where there is none.
    """
    name = wanted.replace("{lang}", language or "")
    tracks = {c.track: (c.track_name, c.track_meta) for c in edit.sound}
    chosen = [label for label, (title, meta) in tracks.items() if name in (title, meta.get("role"))]
    if (language and len(chosen) > 1) or (language and not chosen):
        speaking = [t for t in chosen or tracks if tracks[t][1].get("language") == language]
        chosen = speaking or chosen
    if not chosen:
        chosen = [label for label in tracks if label == name or label == f"A{name}"]
    if not chosen:
        there = ", ".join(f"{label} {title!r}" for label, (title, _) in tracks.items()) or "none"
        raise BadInput(f"{edit.path} has no dialogue track {name!r}; its sound tracks are: {there}")
    lines, problems = [], []
    for clip in edit.sound:
        if clip.track not in chosen or not clip.enabled:
            continue
        line = _line_of(clip, edit)
        if isinstance(line, Line):
            lines.append(line)
        else:
            problems.append(f"the dialogue {clip.name!r} is left out: {line}")
    return lines, problems


def _line_of(clip: EditClip, edit: Edit) -> Line | str:
    """A clip of a sound track, or why it cannot be heard."""
    reference = clip.reference()
    if reference is None or reference["kind"] != "external":
        return "it has no media"
    if any(e["kind"] != "blend" for e in clip.effects):
        return "it is retimed"
    try:
        path = path_of(reference["url"], edit.path.parent)
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
    return Line(path, in_point_s, start_s, clip.end_s, clip.track_name or clip.track)


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
        track = facts.tracks[0] if facts.tracks else path.stem
        stem = re.sub(rf"[._-]{re.escape(language)}$", "", path.stem) if language else path.stem
        named = clips.get(stem.lower(), [])
        if len(named) == 1:
            start_s = Fraction(named[0].visible[0][0]) / edit.rate
            lines.append(Line(path, Fraction(0), start_s, start_s + length_s, track, named[0]))
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
    return Line(path, early, begins + early, ends, track)


def wav_facts(path: Path) -> WavFacts:
    """Length, timecode and channel names of a WAV file (RIFF, RF64 or BW64). Raises `BadInput` for others."""
    rate = block = size = 0
    reference: int | None = None
    tracks: tuple[str, ...] = ()
    with path.open("rb") as f:
        head = f.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
            raise BadInput(f"{path} is no WAV file; expected RIFF, RF64 or BW64")
        large = 0
        while len(header := f.read(8)) == 8:
            name, length = header[:4], struct.unpack("<I", header[4:])[0]
            if name == b"data":
                size = large if length == 0xFFFFFFFF else length
                f.seek(size + size % 2, 1)
                continue
            body = f.read(length) if length <= _LARGEST_CHUNK else b""
            f.seek(length - len(body) + length % 2, 1)
            if name == b"ds64" and len(body) >= 16:
                large = struct.unpack("<Q", body[8:16])[0]
            elif name == b"fmt " and len(body) >= 16:
                rate, block = struct.unpack("<I", body[4:8])[0], struct.unpack("<H", body[12:14])[0]
            elif name == b"bext" and len(body) >= 346:
                reference = struct.unpack("<Q", body[338:346])[0]
            elif name == b"iXML":
                tracks = _ixml_tracks(body)
    if rate == 0 or block == 0:
        raise BadInput(f"{path} has no format; expected a WAV file of PCM samples")
    available = max(0, min(size, path.stat().st_size))
    return WavFacts(rate, available // block, reference, tracks)


def _ixml_tracks(body: bytes) -> tuple[str, ...]:
    text = body.rstrip(b"\0").decode("utf-8", "replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return ()
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return ()
    names = (t.findtext("NAME") for t in root.iter("TRACK"))
    return tuple(name.strip() for name in names if name and name.strip())


# ---- overlaps ----------------------------------------------------------------------------------------------


def overlaps(lines: Sequence[Line]) -> list[tuple[Line, Line]]:
    """Pairs of lines that are heard at the same time."""
    ordered = sorted(lines, key=lambda line: line.start_s)
    return [
        (a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :] if b.start_s < a.end_s and a is not b
    ]
