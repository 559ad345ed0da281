"""The one module that touches Resolve. It takes and gives plain values; the host's objects stay in here.

Written after what was measured of versions 19.1.3 to 21.0.3: what a call returns is read back where it is
known to lie, and `hasattr` is never asked, because it is always true.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plugin_resolve.values import OURS, Item, Mark, Record, TimelineInfo

EDIT_PAGE = "edit"  # the page that clips can be deleted on
TRIES = 2  # of deleting clips: the first one fails now and then
SAME_RATE = 0.0005  # by which 23.976 and 24000/1001, as they are written, differ at most
ROUNDING = 0.001  # frames


class HostError(Exception):
    """Resolve does not do what it is asked for; one line for the artist."""


class ResolveHost:
    """The open project of a running Resolve and its open timeline."""

    def __init__(self, resolve: Any) -> None:
        self._resolve = resolve
        # asked for once, until something is added or removed: each call of Resolve's goes to another process
        self._known_items: dict[str, tuple[Any, int]] | None = None
        self._known_movies: dict[str, Any] | None = None

    def _forget(self) -> None:
        self._known_items = self._known_movies = None

    # ---- the program ---------------------------------------------------------------------------------------

    def product(self) -> tuple[str, tuple[int, int, int]]:
        """The program's name and version; both are answered by every edition without a dialog."""
        numbers = [int(n) for n in list(self._resolve.GetVersion())[:3]]
        return str(self._resolve.GetProductName()), (numbers[0], numbers[1], numbers[2])

    @property
    def _project(self) -> Any:
        project = self._resolve.GetProjectManager().GetCurrentProject()
        if not project:
            raise HostError("no project is open, or a dialog of Resolve waits for an answer")
        return project

    @property
    def _line(self) -> Any:
        line = self._project.GetCurrentTimeline()
        if not line:
            raise HostError("no timeline is open; open the one that is to be dubbed")
        return line

    def timeline(self) -> TimelineInfo:
        """Facts of the open timeline. Raises `HostError` where none is open."""
        project, line = self._project, self._line
        sound = [str(line.GetTrackName("audio", i + 1)) for i in range(line.GetTrackCount("audio"))]
        return TimelineInfo(
            uid=str(line.GetUniqueId()),
            name=str(line.GetName()),
            project=str(project.GetName()),
            start=int(line.GetStartFrame()),
            rate=str(line.GetSetting("timelineFrameRate")),
            sound_tracks=tuple(sound),
            can_select="GetSelectedClips" in dir(line),
            project_uid=str(project.GetUniqueId()),
        )

    @contextlib.contextmanager
    def on_timeline(self, uid: str) -> Iterator[None]:
        """Make a timeline the open one for a while: an artist may have gone on to another.

        Raises `HostError` where the project has it no longer.
        """
        self._forget()
        project, before = self._project, self._line
        if before.GetUniqueId() == uid:
            yield
            return
        for index in range(1, project.GetTimelineCount() + 1):
            found = project.GetTimelineByIndex(index)
            if found.GetUniqueId() == uid:
                project.SetCurrentTimeline(found)
                try:
                    yield
                finally:
                    self._forget()
                    project.SetCurrentTimeline(before)
                return
        raise HostError("the timeline is not in the open project any more; open its project and try again")

    def surroundings(self) -> dict[str, str]:
        """What an artist has open: the folder of the media pool, the page and the timeline."""
        folder = self._project.GetMediaPool().GetCurrentFolder()
        page, line = self._resolve.GetCurrentPage(), self._line
        return {
            "bin": str(folder.GetUniqueId()),
            "page": str(page or ""),
            "timeline": str(line.GetUniqueId()),
        }

    def restore_surroundings(self, before: Mapping[str, str]) -> None:
        """Open again what was open, as far as it is there."""
        pool = self._project.GetMediaPool()
        folders = [pool.GetRootFolder()]
        for folder in folders:
            if folder.GetUniqueId() == before["bin"]:
                if pool.GetCurrentFolder().GetUniqueId() != before["bin"]:
                    pool.SetCurrentFolder(folder)
                break
            folders.extend(folder.GetSubFolderList() or ())
        if before["page"] and self._resolve.GetCurrentPage() != before["page"]:
            self._resolve.OpenPage(before["page"])
        project = self._project
        if self._line.GetUniqueId() != before["timeline"]:
            for index in range(1, project.GetTimelineCount() + 1):
                if project.GetTimelineByIndex(index).GetUniqueId() == before["timeline"]:
                    project.SetCurrentTimeline(project.GetTimelineByIndex(index))

    # ---- clips ---------------------------------------------------------------------------------------------

    def _objects(self) -> dict[str, tuple[Any, int]]:
        """The clips of all video tracks and the numbers of their tracks, by identifier."""
        if self._known_items is None:
            line, found = self._line, {}
            for track in range(1, line.GetTrackCount("video") + 1):
                for item in _without_transitions(line.GetItemListInTrack("video", track) or ()):
                    found[str(item.GetUniqueId())] = (item, track)
            self._known_items = found
        return self._known_items

    def items(self) -> list[Item]:
        """The clips of all video tracks, from the lowest track up, as they are now."""
        self._forget()
        line, start = self._line, int(self._line.GetStartFrame())
        locked = {
            track: bool(line.GetIsTrackLocked("video", track))
            for track in range(1, line.GetTrackCount("video") + 1)
        }
        return [_values(item, track, start, locked[track]) for item, track in self._objects().values()]

    def media_paths(self) -> list[str]:
        """The paths of all media that the timeline shows or plays."""
        line, found = self._line, []
        for kind in ("video", "audio"):
            for track in range(1, line.GetTrackCount(kind) + 1):
                for item in line.GetItemListInTrack(kind, track) or ():
                    found.append(_path_of(item.GetMediaPoolItem()))
        return [path for path in dict.fromkeys(found) if path]

    def chosen(self, scope: str) -> list[str]:
        """Identifiers of the clips that are selected, or of the one under the playhead."""
        line = self._line
        if scope == "selected" and "GetSelectedClips" in dir(line):
            return [str(item.GetUniqueId()) for item in line.GetSelectedClips() or ()]
        item = line.GetCurrentVideoItem()
        return [str(item.GetUniqueId())] if item else []

    def _item(self, uid: str) -> Any:
        found = self._objects().get(uid)
        if found is None:
            raise HostError("the clip is not in the timeline any more")
        return found[0]

    def has_item(self, uid: str) -> bool:
        """Whether the clip is still there."""
        return uid in self._objects()

    def set_enabled(self, uid: str, enabled: bool) -> None:
        """Show or hide a clip."""
        self._item(uid).SetClipEnabled(enabled)

    def set_colour(self, uid: str, colour: str) -> None:
        """Give a clip one of the 16 colours, or none with an empty text. A title keeps none."""
        item = self._item(uid)
        if colour:
            item.SetClipColor(colour)
        elif item.GetClipColor():
            item.ClearClipColor()

    # ---- the edit ------------------------------------------------------------------------------------------

    def export_otio(self, path: str) -> None:
        """Write the timeline. The live constants are passed: a text would be refused without a word."""
        resolve = self._resolve
        done = self._line.Export(path, resolve.EXPORT_OTIO, resolve.EXPORT_NONE)
        try:
            with open(path, encoding="utf-8") as file:
                written = file.read(1) == "{"
        except OSError:
            written = False
        if not done or not written:
            raise HostError(
                "Resolve does not export the timeline as OTIO; is a dialog open? (OTIO needs version 18.5)"
            )

    # ---- the media pool ------------------------------------------------------------------------------------

    def import_movie(self, path: str) -> Any:
        """The movie in our bin of the media pool, which is made where it is missing. It is the current one
        then; `restore_surroundings` opens again what was open.
        """
        pool = self._project.GetMediaPool()
        ours = self._bin()
        if self._known_movies is None:
            clips = (ours.GetClipList() or ()) if ours is not None else ()
            self._known_movies = {_path_of(clip): clip for clip in clips}
        if path in self._known_movies:
            return self._known_movies[path]
        ours = ours or pool.AddSubFolder(pool.GetRootFolder(), OURS)
        pool.SetCurrentFolder(ours)  # media are imported into the current folder, whatever one asks for
        found = pool.ImportMedia([path])
        if not found:
            raise HostError(f"Resolve does not import {path}")
        self._known_movies[path] = found[0]
        return found[0]

    def _bin(self) -> Any:
        root = self._project.GetMediaPool().GetRootFolder()
        return next((f for f in root.GetSubFolderList() or () if f.GetName() == OURS), None)

    def has_bin(self) -> bool:
        """Whether our bin is in the media pool."""
        return self._bin() is not None

    def movies_kept(self) -> set[str]:
        """The paths of our movies that the project still has: in a timeline, as a take, in our bin."""
        ours = self._bin()
        pool = () if ours is None else ours.GetClipList() or ()
        return self._movies_used() | {_path_of(clip) for clip in pool}

    def drop_movies(self, paths: set[str]) -> None:
        """Take movies out of the media pool that no timeline shows, and our bin where it is empty then."""
        ours = self._bin()
        if ours is None:
            return
        pool, self._known_movies = self._project.GetMediaPool(), None
        used = self._movies_used() if paths else set()
        unused = [
            clip
            for clip in ours.GetClipList() or ()
            if (path := str(clip.GetClipProperty("File Path"))) in paths and path not in used
        ]
        if unused:
            pool.DeleteClips(unused)
        if not ours.GetClipList() and not ours.GetSubFolderList():
            pool.DeleteFolders([ours])

    def _movies_used(self) -> set[str]:
        """The paths of all movies that clips of any timeline show or have as a take."""
        project, found = self._project, set()
        for index in range(1, project.GetTimelineCount() + 1):
            line = project.GetTimelineByIndex(index)
            for track in range(1, line.GetTrackCount("video") + 1):
                for item in line.GetItemListInTrack("video", track) or ():
                    found.add(_path_of(item.GetMediaPoolItem()))
                    found.update(_take_movies(item))
        return found

    # ---- takes ---------------------------------------------------------------------------------------------

    def add_take(self, uid: str, movie: str, first: int, length: int) -> None:
        """Add a movie as a take and select it; the clip keeps its place and its length.

        first, length: of what is shown, in frames of the timeline from the movie's beginning. Whether the
        end of a take counts as inside is not documented: what was made is read back. Raises `HostError`
        where no take fits, and leaves the clip as it was then.
        """
        item, media = self._item(uid), self.import_movie(movie)
        start, duration = item.GetStart(False), item.GetDuration(False)
        before = item.GetSelectedTakeIndex()
        begin, count = self._of_media(media, first, length)
        for end in (begin + count, begin + count - 1, begin + count + 1):
            if not item.AddTake(media, begin, end):
                continue
            number = item.GetTakesCount()
            item.SelectTakeByIndex(number)
            fits = (item.GetStart(False), item.GetDuration(False)) == (start, duration)
            if fits and item.GetSelectedTakeIndex() == number and _path_of(item.GetMediaPoolItem()) == movie:
                return
            item.SelectTakeByIndex(before or 1)
            item.DeleteTakeByIndex(number)
            self._without_selector(item, before)
        raise HostError("Resolve adds no take to this clip")

    def _of_media(self, media: Any, first: int, length: int) -> tuple[int, int]:
        """Frames of the timeline as frames of a movie at a rate of its own: the first, and how many. The
        movie begins with the source frame that is shown at its place, so that the next ones count up.
        """
        rates = _number(media.GetClipProperty("FPS")), _number(self._line.GetSetting("timelineFrameRate"))
        step = rates[0] / rates[1] if all(rates) else 1.0
        if abs(step - 1) < SAME_RATE:
            return first, length
        return math.ceil(first * step - ROUNDING), max(1, round(length * step))

    def select_take(self, uid: str, number: int) -> None:
        """Select a take of a clip."""
        item = self._item(uid)
        if number and item.GetSelectedTakeIndex() != number and not item.SelectTakeByIndex(number):
            raise HostError(f"Resolve does not select take {number} of {item.GetName()}")

    def remove_take(self, uid: str, movie: str, take: int, takes: int) -> None:
        """Take a movie of ours out of a clip's takes.

        take: the one to be selected where ours is; takes: how many there were before, 0 for no selector.
        """
        item = self._item(uid)
        for number in range(item.GetTakesCount(), 0, -1):
            if _path_of(item.GetTakeByIndex(number)["mediaPoolItem"]) != movie:
                continue
            if item.GetSelectedTakeIndex() == number:
                item.SelectTakeByIndex(take or 1)
            item.DeleteTakeByIndex(number)
        self._without_selector(item, takes)

    def _without_selector(self, item: Any, takes: int) -> None:
        """Close the take selector of a clip that had none and has its original alone."""
        if not takes and item.GetTakesCount() == 1:
            item.FinalizeTake()

    def take_of(self, uid: str, movie: str) -> int:
        """The number of the take that shows a movie; 0 where there is none."""
        item = self._item(uid)
        for number in range(1, item.GetTakesCount() + 1):
            if _path_of(item.GetTakeByIndex(number)["mediaPoolItem"]) == movie:
                return number
        return 0

    # ---- a track of ours -----------------------------------------------------------------------------------

    def _our_tracks(self) -> list[int]:
        line = self._line
        count = line.GetTrackCount("video")
        return [n for n in range(1, count + 1) if str(line.GetTrackName("video", n)) == OURS]

    def on_our_tracks(self) -> list[str]:
        """Identifiers of the clips that lie on tracks of ours."""
        line = self._line
        return [
            str(item.GetUniqueId())
            for n in self._our_tracks()
            for item in line.GetItemListInTrack("video", n) or ()
        ]

    def place_above(self, movie: str, at: int, first: int, length: int) -> None:
        """Put a movie on a track of ours, from frame `at` of the timeline on; first, length: as for a take.

        Raises `HostError` where it does not lie there afterwards: what the call returns proves nothing.
        """
        line, media = self._line, self.import_movie(movie)
        record = int(line.GetStartFrame()) + at
        tracks = [n for n in self._our_tracks() if self._is_free(n, record, record + length)]
        if not tracks:
            line.AddTrack("video", {"index": line.GetTrackCount("video") + 1})
            tracks = [line.GetTrackCount("video")]
            line.SetTrackName("video", tracks[0], OURS)
        begin, count = self._of_media(media, first, length)
        info = {"mediaPoolItem": media, "startFrame": begin, "endFrame": begin + count}
        place = {"recordFrame": record, "trackIndex": tracks[0], "mediaType": 1}
        self._known_items = None
        self._project.GetMediaPool().AppendToTimeline([{**info, **place}])
        for item in line.GetItemListInTrack("video", tracks[0]) or ():
            if (item.GetStart(False), item.GetDuration(False)) == (record, length):
                return
        raise HostError("Resolve does not place the dubbed clip on a track above")

    def _is_free(self, track: int, start: int, end: int) -> bool:
        items = self._line.GetItemListInTrack("video", track) or ()
        return not any(i.GetStart(False) < end and start < i.GetEnd(False) for i in items)

    def remove_above(self, movie: str, at: int) -> None:
        """Take a movie off our tracks, and a track of ours that is empty then."""
        line = self._line
        record = int(line.GetStartFrame()) + at
        self._delete(
            [
                item
                for n in self._our_tracks()
                for item in line.GetItemListInTrack("video", n) or ()
                if item.GetStart(False) == record and _path_of(item.GetMediaPoolItem()) == movie
            ]
        )
        for number in reversed(self._our_tracks()):
            if not line.GetItemListInTrack("video", number):
                line.DeleteTrack("video", number)
                self._known_items = None

    def _delete(self, items: list[Any]) -> None:
        """Delete clips; nothing can be deleted but on the Edit page, and the first try may fail."""
        if not items:
            return
        gone = {str(i.GetUniqueId()) for i in items}
        with self._page(EDIT_PAGE):
            for _ in range(TRIES):
                self._line.DeleteClips(items, False)
                self._known_items = None
                if gone.isdisjoint(self._objects()):
                    return
        raise HostError("Resolve does not delete our clip; is its track locked?")

    @contextlib.contextmanager
    def _page(self, name: str) -> Iterator[None]:
        before = self._resolve.GetCurrentPage()
        if before == name:
            yield
            return
        self._resolve.OpenPage(name)
        try:
            yield
        finally:
            if before:
                self._resolve.OpenPage(before)

    # ---- markers -------------------------------------------------------------------------------------------

    def marks(self) -> list[Mark]:
        """The markers of ours, in order."""
        found = []
        for frame, values in sorted((self._line.GetMarkers() or {}).items()):
            record = _record(values.get("customData", ""))
            if record is not None:
                found.append(Mark(int(frame), str(values["color"]), str(values.get("note", "")), record))
        return found

    def add_mark(self, mark: Mark, until: int) -> None:
        """Add a marker at its frame, or at the next one before `until` that has none."""
        line, custom = self._line, json.dumps(mark.record.as_dict(), sort_keys=True)
        for frame in range(mark.frame, max(until, mark.frame + 1)):
            if line.AddMarker(frame, mark.color, f"{OURS}: {mark.record.state}", mark.note, 1, custom):
                return

    def remove_marks(self, uid: str, language: str | None = None) -> None:
        """Remove our markers of a clip; of one language alone where it is given."""
        for mark in self.marks():
            if mark.record.item == uid and language in (None, mark.record.language):
                self._line.DeleteMarkerAtFrame(mark.frame)


# ---- values of the host's objects --------------------------------------------------------------------------


def _values(item: Any, track: int, start: int, locked: bool) -> Item:
    return Item(
        uid=str(item.GetUniqueId()),
        name=str(item.GetName()),
        track=track,
        start=int(item.GetStart(False)) - start,
        end=int(item.GetEnd(False)) - start,
        left=int(item.GetLeftOffset(False)),
        color=str(item.GetClipColor() or ""),
        enabled=bool(item.GetClipEnabled()),
        locked=locked,
        takes=int(item.GetTakesCount() or 0),
        take=int(item.GetSelectedTakeIndex() or 0),
        movie=_path_of(item.GetMediaPoolItem()),
    )


def _without_transitions(items: Sequence[Any]) -> list[Any]:
    """The clips among the items of a track: a transition is one, too, without media, over the clips that it
    joins; clips never overlap.
    """
    spans = [(int(i.GetStart(False)), int(i.GetEnd(False))) for i in items]
    kept = []
    for number, (item, (start, end)) in enumerate(zip(items, spans)):
        over = [b - a for k, (a, b) in enumerate(spans) if k != number and a < end and start < b]
        if not over or max(over) < end - start or item.GetMediaPoolItem():
            kept.append(item)
    return kept


def _number(text: Any) -> float:
    """The number that a text begins with, 29.97 DF; 0 for none."""
    found = re.match(r"\d+(\.\d+)?", str(text))
    return float(found.group(0)) if found else 0.0


def _path_of(media: Any) -> str:
    return str(media.GetClipProperty("File Path") or "") if media else ""


def _take_movies(item: Any) -> list[str]:
    count = int(item.GetTakesCount() or 0)
    return [_path_of(item.GetTakeByIndex(n)["mediaPoolItem"]) for n in range(1, count + 1)]


def _record(custom: Any) -> Record | None:
    try:
        return Record.of_dict(json.loads(custom))
    except (TypeError, ValueError):
        return None
