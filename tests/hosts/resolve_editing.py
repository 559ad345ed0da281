"""A timeline in the double of Resolve is edited, as an artist does it with the mouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resolve_double import LineObject, Program, import_media
from resolve_state import Clip, Dissolve, Line, Track


def add_line(program: Program, name: str = "Cut", start: int = 90000) -> Line:
    """A timeline with a track of pictures and one of sound, which becomes the current one."""
    line = Line(program.uid("line"), name, start, program.project.rate)
    line.tracks = [Track("video", "Video 1"), Track("audio", "Audio 1")]
    program.project.lines.append(line)
    program.project.line, program.project.playhead = line.uid, start
    return line


def add_compound(program: Program, name: str, at: int, length: int, path: Path, left: int) -> Clip:
    """A compound clip on the first track of pictures, with one clip of `path` in it."""
    media, line = import_media(program, path), program.line
    inner = Clip(program.uid("clip"), path.name, line.start + at, length, media, left)
    clip = Clip(program.uid("clip"), name, line.start + at, length, None, inside=[inner])
    track = line.of_kind("video")[0]
    track.clips = sorted([*track.clips, clip], key=lambda c: c.start)
    return clip


def add_dissolve(program: Program, cut: int, before: int, after: int) -> None:
    """A dissolve over a cut of the first track of pictures. cut: frames after the timeline's first."""
    line = program.line
    made = Dissolve(program.uid("dissolve"), line.start + cut, before, after)
    line.of_kind("video")[0].dissolves.append(made)


def add_clip(program: Program, path: Path, at: int, left: int, length: int, **more: Any) -> Clip:
    """A clip on a track of the current timeline. at: frames after the timeline's first. track: its number."""
    track_number, speed = int(more.pop("track", 1)), more.pop("speed", 1.0)
    uid = import_media(program, path)
    media = program.project.media_of(uid)
    assert media is not None, path
    line = program.line
    kind = "video" if media.video else "audio"
    tracks = line.of_kind(kind)
    while len(tracks) < track_number:
        LineObject(program, line.uid).do_AddTrack(kind, {})
        tracks = line.of_kind(kind)
    clip = Clip(program.uid("clip"), media.name, line.start + at, length, uid, left, speed, **more)
    track = tracks[track_number - 1]
    track.clips = sorted([*track.clips, clip], key=lambda c: c.start)
    return clip
