"""A double of DaVinci Resolve's scripting: real state, real edits, the documented calls and no others.

Three editions behave as they were measured: `studio()`, `free_21_0()` and `free_21_1()`, without Python.
The double raises for a call that is not documented, and fails in silence where Resolve does.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resolve_otio import Reader, bins_below, write_otio
from resolve_state import (
    CLIP_COLOURS,
    MARKER_COLOURS,
    Bin,
    Clip,
    Dissolve,
    Line,
    Media,
    Project,
    Take,
    Track,
)
from resolve_surface import STUDIO_ONLY, UndocumentedCall, Version, check_call, methods_of, surface

from visualdub.edit.media import timecode_s
from visualdub.media.source import probe

TRACK_NAMES = {"video": "Video", "audio": "Audio"}
AFTER_A_DIALOG = ("GetProductName", "GetVersion", "GetVersionString", "GetUniqueId")  # go on answering


class Constant:
    """A constant of the live program; a text of the same name is none."""

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass
class Program:
    """A running Resolve. take_end_exclusive: how AddTake counts its end, which nobody has measured.

    before_call: called before every call, to end the process there. saved: called after every call that may
    change something, with the project as Live Save would write it.
    """

    studio: bool
    version: Version
    project: Project = field(default_factory=Project)
    take_end_exclusive: bool = True
    flaky_delete: int = 0  # how many DeleteClips fail first
    dialog: bool = False  # a dialog is open, which only a person can close
    calls: list[tuple[str, str, tuple[Any, ...]]] = field(default_factory=list)
    before_call: Callable[[str], None] = lambda name: None
    saved: Callable[[Project], None] = lambda project: None
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def runs_python(self) -> bool:
        """Whether its menu lists scripts of Python."""
        return self.studio or self.version < (21, 1, 0)

    def scripting(self) -> Any:
        """What scripts get as `resolve`. Raises `UndocumentedCall` in the edition that runs no Python."""
        if not self.runs_python:
            raise UndocumentedCall("this edition lists no script of Python")
        return ResolveObject(self, "")

    def uid(self, kind: str) -> str:
        """An identifier that was not given before."""
        taken = [int(u.rpartition("-")[2]) for u in self._uids() if u.startswith(f"{kind}-")]
        number = max([self.numbers.get(kind, 0), *taken]) + 1
        self.numbers[kind] = number
        return f"{kind}-{number}"

    def _uids(self) -> list[str]:
        project = self.project
        named = [*project.lines, *project.media, *project.bins]
        return [x.uid for x in named] + [c.uid for line in project.lines for _, c in line.clips()]

    @property
    def line(self) -> Line:
        """The current timeline."""
        return self.project.line_of(self.project.line)


def studio(version: Version = (21, 0, 4), **more: Any) -> Program:
    """DaVinci Resolve Studio."""
    return Program(True, version, **more)


def free_21_0(**more: Any) -> Program:
    """The free edition that still runs Python."""
    return Program(False, (21, 0, 3), **more)


def free_21_1(**more: Any) -> Program:
    """The free edition that runs no Python."""
    return Program(False, (21, 1, 0), **more)


# ---- objects of the scripting interface --------------------------------------------------------------------


class Remote:
    """An object of Resolve's: `hasattr` is always true, `dir` tells the truth, calls are checked."""

    kind = ""

    def __init__(self, program: Program, uid: str) -> None:
        self._program, self._uid = program, uid

    def __dir__(self) -> list[str]:
        return sorted(methods_of(self.kind, self._program.version))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **named: self._call(name, arguments, named)

    def _call(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        program = self._program
        if named:
            raise UndocumentedCall(f"{self.kind}.{name} takes no arguments by name: {named}")
        check_call(self.kind, name, arguments, program.version)
        program.before_call(f"{self.kind}.{name}")
        program.calls.append((self.kind, name, arguments))
        if program.dialog and name not in AFTER_A_DIALOG:
            return False
        if (self.kind, name) in STUDIO_ONLY and not program.studio:
            program.dialog = True
            return False
        done = getattr(type(self), f"do_{name}", None)
        assert done is not None, f"the double does not know yet what {self.kind}.{name} does"
        result = done(self, *arguments)
        if not name.startswith("Get"):
            program.saved(program.project)
        return result

    def do_GetUniqueId(self) -> str:
        return self._uid


class ResolveObject(Remote):
    kind = "Resolve"

    def __getattr__(self, name: str) -> Any:
        if name.isupper():
            return Constant(name) if name in surface()["constants"] else None
        return super().__getattr__(name)

    def do_GetProductName(self) -> str:
        return "DaVinci Resolve Studio" if self._program.studio else "DaVinci Resolve"

    def do_GetVersion(self) -> list[Any]:
        return [*self._program.version, 5, ""]

    def do_GetVersionString(self) -> str:
        return ".".join(map(str, self._program.version))

    def do_GetProjectManager(self) -> Any:
        return ManagerObject(self._program, "manager")

    def do_GetCurrentPage(self) -> str:
        return self._program.project.page

    def do_OpenPage(self, page: str) -> bool:
        self._program.project.page = page
        return True


class ManagerObject(Remote):
    kind = "ProjectManager"

    def do_GetCurrentProject(self) -> Any:
        return ProjectObject(self._program, f"project {self._program.project.name}")

    def do_SaveProject(self) -> bool:
        return self._program.project.name != "Untitled Project"


class ProjectObject(Remote):
    kind = "Project"

    def do_GetName(self) -> str:
        return self._program.project.name

    def do_GetMediaPool(self) -> Any:
        return PoolObject(self._program, "pool")

    def do_GetTimelineCount(self) -> int:
        return len(self._program.project.lines)

    def do_GetTimelineByIndex(self, index: int) -> Any:
        return LineObject(self._program, self._program.project.lines[index - 1].uid)

    def do_GetCurrentTimeline(self) -> Any:
        uid = self._program.project.line
        return LineObject(self._program, uid) if uid else None

    def do_SetCurrentTimeline(self, line: Any) -> bool:
        self._program.project.line = line._uid
        return True


class BinObject(Remote):
    kind = "Folder"

    def do_GetName(self) -> str:
        return next(b.name for b in self._program.project.bins if b.uid == self._uid)

    def do_GetSubFolderList(self) -> list[Any]:
        return [BinObject(self._program, b.uid) for b in bins_below(self._program.project, self._uid)]

    def do_GetClipList(self) -> list[Any]:
        return [MediaObject(self._program, m.uid) for m in self._program.project.media if m.bin == self._uid]


class PoolObject(Remote):
    kind = "MediaPool"

    def do_GetRootFolder(self) -> Any:
        return BinObject(self._program, "bin-0")

    def do_GetCurrentFolder(self) -> Any:
        return BinObject(self._program, self._program.project.bin)

    def do_SetCurrentFolder(self, folder: Any) -> bool:
        self._program.project.bin = folder._uid
        return True

    def do_AddSubFolder(self, folder: Any, name: str) -> Any:
        made = Bin(self._program.uid("bin"), name, folder._uid)
        self._program.project.bins.append(made)
        self._program.project.bin = made.uid  # a new folder becomes the current one
        return BinObject(self._program, made.uid)

    def do_DeleteFolders(self, folders: list[Any]) -> bool:
        project, gone = self._program.project, {f._uid for f in folders}
        project.bins = [b for b in project.bins if b.uid not in gone]
        project.media = [m for m in project.media if m.bin not in gone]
        if project.bin in gone:
            project.bin = "bin-0"
        return True

    def do_ImportMedia(self, items: list[Any]) -> list[Any]:
        """Into the current folder, whatever was asked for. A file that cannot be read is left out."""
        found = [self._program.project.media_of(import_media(self._program, Path(p))) for p in items]
        return [MediaObject(self._program, m.uid) for m in found if m is not None]

    def do_DeleteClips(self, clips: list[Any]) -> bool:
        project, gone = self._program.project, {c._uid for c in clips}
        project.media = [m for m in project.media if m.uid not in gone]
        for line in project.lines:
            for _, clip in line.clips():
                if clip.media in gone:
                    clip.media = None
        return True

    def do_AppendToTimeline(self, infos: list[Any], *more: Any) -> list[Any]:
        assert not more and all(isinstance(i, dict) for i in infos), "only [{clipInfo}, ...] is done here"
        return [self._append(i) for i in infos]

    def _append(self, info: dict[str, Any]) -> Any:
        """One item. Where another one lies the earlier one wins, and what comes back has no identifier."""
        program = self._program
        media = program.project.media_of(info["mediaPoolItem"]._uid)
        tracks = program.line.of_kind("video" if info.get("mediaType", 1) == 1 else "audio")
        if media is None or info["trackIndex"] > len(tracks) or info["endFrame"] <= info["startFrame"]:
            return None
        length = round((info["endFrame"] - info["startFrame"]) * program.line.rate / media.rate)
        track, at = tracks[info["trackIndex"] - 1], info["recordFrame"]
        if any(c.start < at + length and at < c.end for c in track.clips):
            return ItemObject(program, "")
        clip = Clip(program.uid("clip"), media.name, at, length, media.uid, info["startFrame"])
        track.clips = sorted([*track.clips, clip], key=lambda c: c.start)
        return ItemObject(program, clip.uid)

    def do_ImportTimelineFromFile(self, path: str, options: dict[str, Any]) -> Any:
        project, name = self._program.project, options.get("timelineName", "")
        if any(line.name == name for line in project.lines):
            return None
        reader = Reader(project, self._program.uid, options.get("importSourceClips", True))
        line = reader.line(Path(path), name)
        if line is None:
            return None
        project.lines.append(line)
        return LineObject(self._program, line.uid)


class MediaObject(Remote):
    kind = "MediaPoolItem"

    @property
    def _media(self) -> Media:
        media = self._program.project.media_of(self._uid)
        assert media is not None, f"{self._uid} is gone"
        return media

    def do_GetName(self) -> str:
        return self._media.name

    def do_GetClipProperty(self, name: str) -> str:
        media = self._media
        length = sum(c.media == media.uid for ln in self._program.project.lines for _, c in ln.clips())
        known = {"File Path": media.path, "FPS": str(media.rate), "Frames": str(media.frames)}
        return {**known, "Usage": str(length)}[name]


class MarkersMixin(Remote):
    """Markers of a timeline or an item."""

    def _markers(self) -> dict[str, dict[str, Any]]:
        raise NotImplementedError

    def do_AddMarker(self, frame: int, color: str, name: str, note: str, duration: int, custom: str) -> bool:
        markers = self._markers()
        if str(frame) in markers or color not in MARKER_COLOURS or duration < 1:
            return False
        values = {"color": color, "duration": duration, "note": note, "name": name, "customData": custom}
        markers[str(frame)] = values
        return True

    def do_GetMarkers(self) -> dict[int, dict[str, Any]]:
        return {int(frame): dict(values) for frame, values in self._markers().items()}

    def do_DeleteMarkerAtFrame(self, frame: int) -> bool:
        return self._markers().pop(str(frame), None) is not None


class LineObject(MarkersMixin):
    kind = "Timeline"

    @property
    def _line(self) -> Line:
        return self._program.project.line_of(self._uid)

    def _markers(self) -> dict[str, dict[str, Any]]:
        return self._line.markers

    def do_GetName(self) -> str:
        return self._line.name

    def do_GetStartFrame(self) -> int:
        return self._line.start

    def do_GetEndFrame(self) -> int:
        return max((c.end for _, c in self._line.clips()), default=self._line.start)

    def do_GetSetting(self, name: str) -> str:
        return {"timelineFrameRate": f"{self._line.rate:g}"}.get(name, "")

    def do_GetTrackCount(self, kind: str) -> int:
        return len(self._line.of_kind(kind))

    def do_GetTrackName(self, kind: str, index: int) -> str:
        return self._line.of_kind(kind)[index - 1].name

    def do_SetTrackName(self, kind: str, index: int, name: str) -> bool:
        self._line.of_kind(kind)[index - 1].name = name
        return True

    def do_GetIsTrackLocked(self, kind: str, index: int) -> bool:
        return self._line.of_kind(kind)[index - 1].locked

    def do_AddTrack(self, kind: str, options: dict[str, Any]) -> bool:
        number = len(self._line.of_kind(kind)) + 1
        before = [i for i, t in enumerate(self._line.tracks) if t.kind == kind]
        place = before[-1] + 1 if before else 0
        self._line.tracks.insert(place, Track(kind, f"{TRACK_NAMES[kind]} {number}"))
        return True

    def do_DeleteTrack(self, kind: str, index: int) -> bool:
        self._line.tracks.remove(self._line.of_kind(kind)[index - 1])
        return True

    def do_GetItemListInTrack(self, kind: str, index: int) -> list[Any]:
        track = self._line.of_kind(kind)[index - 1]
        over = [TransitionObject(self._program, self._uid, d) for d in track.dissolves]
        found = [*(ItemObject(self._program, c.uid) for c in track.clips), *over]
        return sorted(found, key=lambda item: item.do_GetStart(False))

    def do_GetSelectedClips(self) -> list[Any]:
        there = {c.uid for _, c in self._line.clips()}
        return [ItemObject(self._program, u) for u in self._program.project.selected if u in there]

    def do_GetCurrentVideoItem(self) -> Any:
        at = self._program.project.playhead
        for track in reversed(self._line.of_kind("video")):
            for clip in track.clips:
                if clip.start <= at < clip.end and clip.enabled:
                    return ItemObject(self._program, clip.uid)
        return None

    def do_DeleteClips(self, items: list[Any], ripple: bool) -> bool:
        """Exactly these items: linked sound stays. On any page but Edit nothing is deleted."""
        if self._program.project.page != "edit":
            return False
        if self._program.flaky_delete > 0:
            self._program.flaky_delete -= 1
            return False
        gone = {i._uid for i in items}
        for track in self._line.tracks:
            track.clips = [c for c in track.clips if c.uid not in gone]
        return True

    def do_Export(self, path: str, kind: Any, subtype: Any) -> bool:
        """A text in the place of a constant is refused without a word."""
        if not isinstance(kind, Constant) or not isinstance(subtype, Constant) or kind.name != "EXPORT_OTIO":
            return False
        write_otio(self._program.project, self._line, Path(path))
        return True


class ItemObject(MarkersMixin):
    kind = "TimelineItem"

    @property
    def _found(self) -> tuple[Line, Track, Clip]:
        found = self._program.project.clip_of(self._uid)
        assert found is not None, f"there is no item {self._uid!r}"
        return found

    @property
    def _clip(self) -> Clip:
        return self._found[2]

    def _markers(self) -> dict[str, dict[str, Any]]:
        return self._clip.markers

    def do_GetName(self) -> str:
        return self._clip.name

    def do_GetStart(self, subframe: bool) -> int:
        return self._clip.start

    def do_GetEnd(self, subframe: bool) -> int:
        return self._clip.end

    def do_GetDuration(self, subframe: bool) -> int:
        return self._clip.duration

    def do_GetLeftOffset(self, subframe: bool) -> int:
        return self._clip.left

    def do_GetMediaPoolItem(self) -> Any:
        return MediaObject(self._program, self._clip.media) if self._clip.media else None

    def do_GetTrackTypeAndIndex(self) -> list[Any]:
        line, track, _ = self._found
        return [track.kind, line.of_kind(track.kind).index(track) + 1]

    def do_GetClipEnabled(self) -> bool:
        return self._clip.enabled

    def do_SetClipEnabled(self, enabled: bool) -> bool:
        self._clip.enabled = enabled
        return True

    def do_GetClipColor(self) -> str:
        return self._clip.color

    def do_SetClipColor(self, color: str) -> bool:
        if color not in CLIP_COLOURS:
            return False
        if not self._clip.title:  # a generator says yes and keeps none
            self._clip.color = color
        return True

    def do_ClearClipColor(self) -> bool:
        self._clip.color = ""
        return True

    # ---- takes ----

    def do_AddTake(self, media: Any, start: int, end: int) -> bool:
        clip, program = self._clip, self._program
        found = program.project.media_of(media._uid)
        last = end if program.take_end_exclusive else end + 1
        if found is None or not 0 <= start < last or last > found.frames or self._found[1].locked:
            return False
        if not clip.takes:
            assert clip.media is not None
            length = round(clip.duration * self._media_frames(clip.media))
            clip.takes, clip.take = [Take(clip.media, clip.left, clip.left + length)], 1
        clip.takes.append(Take(found.uid, start, last))
        return True

    def do_GetTakesCount(self) -> int:
        return len(self._clip.takes)

    def do_GetSelectedTakeIndex(self) -> int:
        return self._clip.take

    def do_GetTakeByIndex(self, index: int) -> dict[str, Any]:
        take = self._clip.takes[index - 1]
        last = take.end if self._program.take_end_exclusive else take.end - 1
        item = MediaObject(self._program, take.media)
        return {"startFrame": take.start, "endFrame": last, "mediaPoolItem": item}

    def do_SelectTakeByIndex(self, index: int) -> bool:
        clip = self._clip
        if not 1 <= index <= len(clip.takes) or self._found[1].locked:
            return False
        take, clip.take = clip.takes[index - 1], index
        clip.media, clip.left = take.media, take.start
        clip.duration = round((take.end - take.start) / self._media_frames(take.media))
        return True

    def _media_frames(self, media: str | None) -> float:
        """Frames of a media item that one frame of the timeline lasts."""
        found = self._program.project.media_of(media)
        assert found is not None
        return found.rate / self._found[0].rate

    def do_DeleteTakeByIndex(self, index: int) -> bool:
        clip = self._clip
        if not 1 <= index <= len(clip.takes) or index == clip.take:
            return False
        del clip.takes[index - 1]
        clip.take -= index < clip.take
        return True

    def do_FinalizeTake(self) -> bool:
        clip = self._clip
        if not clip.takes:
            return False
        clip.takes, clip.take = [], 0
        return True


class TransitionObject(Remote):
    """A transition: an item of the track without media, over its cut."""

    kind = "TimelineItem"

    def __init__(self, program: Program, line: str, dissolve: Dissolve) -> None:
        super().__init__(program, dissolve.uid)
        self._at = dissolve

    def do_GetName(self) -> str:
        return "Cross Dissolve"

    def do_GetStart(self, subframe: bool) -> int:
        return self._at.cut - self._at.before

    def do_GetEnd(self, subframe: bool) -> int:
        return self._at.cut + self._at.after

    def do_GetDuration(self, subframe: bool) -> int:
        return self._at.before + self._at.after

    def do_GetLeftOffset(self, subframe: bool) -> int:
        return 0

    def do_GetMediaPoolItem(self) -> None:
        return None

    def do_GetClipEnabled(self) -> bool:
        return True

    def do_GetClipColor(self) -> str:
        return ""

    def do_GetTakesCount(self) -> int:
        return 0

    def do_GetSelectedTakeIndex(self) -> int:
        return 0


# ---- media -------------------------------------------------------------------------------------------------


def import_media(program: Program, path: Path) -> str | None:
    """The identifier of a file in the media pool; a recording takes the project's rate and keeps it."""
    project = program.project
    known = next((m for m in project.media if m.path == str(path) and m.bin == project.bin), None)
    if known is not None:
        return known.uid
    if not path.is_file():
        return None
    if path.suffix == ".wav":
        with wave.open(str(path)) as sound:
            frames, rate = round(sound.getnframes() / sound.getframerate() * project.rate), project.rate
        first, video = 0, False
    else:
        info = probe(path)
        frames, rate, video = info.frame_count, float(info.rate), True
        seconds = timecode_s(info)
        first = 0 if seconds is None else round(seconds * info.rate)
    uid = program.uid("media")
    project.media.append(Media(uid, str(path), path.name, project.bin, frames, rate, first, video))
    return uid
