"""One use of the menu entry, from the export to the takes. It asks and tells through a `Window`."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from plugin_resolve.edition import Edition, read_edition
from plugin_resolve.host import HostError, ResolveHost
from plugin_resolve.matching import changes_of, shot_facts
from plugin_resolve.otio_copy import media_of, only_ranges, only_these, read_copy, write_copy
from plugin_resolve.ranges import parse_ranges
from plugin_resolve.runs import (
    NEWEST,
    drop_old_runs,
    mark_placed,
    next_run,
    read_json,
    runs_of,
    timeline_folder,
)
from plugin_resolve.service import Row, Service, Stopped, launch_command
from plugin_resolve.takes import apply_changes, originals_shown, recover, restore_originals
from plugin_resolve.values import (
    DUBBED,
    PARTLY,
    PLAYHEAD,
    REFUSED,
    SELECTED,
    WHOLE,
    Change,
    Choices,
    Item,
    TimelineInfo,
)
from visualdub.wire import Unreachable, WireError
from visualdub.wire.requests import DRAFT, FINAL

SETTINGS = "settings.json"  # the last choices, in the plug-in's folder
EXPORTED, DUBBED_FOLDER = "timeline.otio", "dubbed"  # in the folder of one run
CAST = ".toml"  # how the name of a cast file ends
DUB, RESTORE, CLOSE = "dub", "restore", "close"
NONE_CHOSEN = "no clip is chosen; select some, or put the playhead on one"


@dataclass(frozen=True)
class Question:
    """What the window offers to choose from."""

    sentence: str  # its first line
    info: TimelineInfo
    actors: tuple[str, ...]
    scopes: tuple[str, ...]
    last: Choices
    dubbed: int  # clips that can be restored


@dataclass(frozen=True)
class Run:
    """One export that is dubbed."""

    folder: Path
    media: tuple[str, ...]  # paths that the edit names


class Window(Protocol):
    """What shows itself to the artist: a window of Tk, or the browser."""

    def ask(self, question: Question) -> tuple[str, Choices]:
        """What is to be done (DUB, RESTORE or CLOSE) and how."""

    def progress(self, said: str, done: int, total: int) -> bool:
        """Show how far it is; False where the artist wants to stop."""

    def say(self, text: str, problem: bool = False) -> None:
        """Tell something that the artist has to read."""

    @property
    def wants_page(self) -> bool:
        """Whether progress is better shown by the service's page."""

    def show_page(self, address: str) -> None:
        """Show the service's page."""


# ---- the whole ---------------------------------------------------------------------------------------------


def run(resolve: Any, window: Window, folder: Path, command: Sequence[str] | None = None) -> None:
    """Serve the artist until the window is closed. Whatever fails is said there, in one sentence.

    folder: the plug-in's own, of `vdub install`. command: how `vdub` is started; None: as it says there.
    """
    if resolve is None:
        window.say("Resolve gives its scripts no access; start Visual Dub from Workspace > Scripts.", True)
        return
    host = ResolveHost(resolve)
    try:
        edition = read_edition(*host.product())
        if not edition.in_place:
            window.say(edition.sentence, True)
            return
        Session(host, edition, window, folder, command).run()
    except (HostError, WireError, OSError, ValueError) as e:
        window.say(str(e), True)


class Session:
    """The steps of one use. folder: as for `run`."""

    def __init__(
        self,
        host: ResolveHost,
        edition: Edition,
        window: Window,
        folder: Path,
        command: Sequence[str] | None = None,
    ) -> None:
        self.host, self.edition, self.window, self.folder = host, edition, window, folder
        self._command = command
        self._asked: tuple[str, Choices] | None = None  # in this use: of which timeline, and what

    def run(self) -> None:
        """Ask and do, until the window is closed."""
        info = self.host.timeline()
        recover(self.host, info, self.folder, self.window.say)
        command = launch_command(self.folder) if self._command is None else list(self._command)
        said = self.folder / "service.log" if self.window.wants_page else None
        service = Service(command, self.folder, self._tick, said)
        service.touches([*self.host.media_paths(), *self._chosen_last(info)])
        try:
            service.connect()
            if page := service.page():
                self.window.show_page(page)
            while self._once(service):
                pass
        except Stopped:
            self.window.say("Stopped; the timeline is as it was.")
        finally:
            service.close()

    def _once(self, service: Service) -> bool:
        """One question and what follows; False where the artist is done."""
        info = self.host.timeline()
        try:
            found = service.requests.actors()
        except Unreachable:  # it ended since the last question
            service.connect()
            found = service.requests.actors()
        actors = tuple(str(a["name"]) for a in found)
        what, choices = self.window.ask(self._question(info, actors))
        if what == CLOSE:
            return False
        self._asked = info.uid, choices
        try:
            if what == RESTORE:
                names = restore_originals(self.host, info, self._chosen(choices), self.folder)
                self.window.say(
                    f"Restored: {', '.join(names)}." if names else "None of these clips is dubbed."
                )
            else:
                write_settings(self.folder, choices)
                self.window.say(self.dub(service, info, choices))
        except Stopped:
            self.window.say("Stopped; the timeline is as it was.")
        except (HostError, WireError, OSError, ValueError) as e:
            self.window.say(str(e), True)
        return True

    def _question(self, info: TimelineInfo, actors: tuple[str, ...]) -> Question:
        scopes = (SELECTED, PLAYHEAD, WHOLE) if info.can_select else (PLAYHEAD, WHOLE)
        if self._asked is not None and self._asked[0] == info.uid:
            last = self._asked[1]  # nothing has to be typed again
        else:
            last = read_settings(self.folder, info, actors)
        dubbed = len({m.record.item for m in self.host.marks()})
        return Question(self.edition.sentence, info, actors, scopes, last, dubbed)

    def _chosen(self, choices: Choices) -> list[str] | None:
        """Identifiers of the chosen clips; None for all. Raises `HostError` where there is none."""
        if choices.scope == WHOLE:
            return None
        uids = self.host.chosen(choices.scope)
        if not uids:
            raise HostError(NONE_CHOSEN)
        ours = set(self.host.on_our_tracks())
        if ours.isdisjoint(uids):
            return uids
        # a dub that lies above is what an artist sees and selects: its clip is meant
        records = (mark.record for mark in self.host.marks())
        below = {(r.at, r.movie): r.item for r in records if r.above}
        clips = {i.uid: below.get((i.start, i.movie), i.uid) for i in self.host.items() if i.uid in ours}
        return list(dict.fromkeys(clips.get(uid, uid) for uid in uids))

    def _tick(self, said: str, row: Row) -> bool:
        return self.window.progress(said, int(row.get("done", 0)), int(row.get("total", 0)))

    def _chosen_last(self, info: TimelineInfo) -> list[str]:
        """The paths of the last choices: folders that a service will most likely need."""
        last = read_settings(self.folder, info, ())
        return [last.folder, last.actor]

    # ---- a dub ---------------------------------------------------------------------------------------------

    def dub(self, service: Service, info: TimelineInfo, choices: Choices) -> str:
        """Dub what was chosen; what became of it, in a sentence or two. Raises `Stopped` and the errors of
        its parts, after which the timeline is as it was.
        """
        minutes = minutes_of(choices.minutes)
        run, items, ours = self._exported(info, choices, self._chosen(choices))
        service.touches([*run.media, str(run.folder), choices.actor])
        actor = choices.actor
        if choices.new_actor:
            actor = self._new_actor(service, run, choices, minutes)
            self._asked = info.uid, replace(choices, actor=actor, new_actor="", consent="", minutes="")
            self.window.say(f"The actor {actor} is made.")  # whatever becomes of the dub
        cast = actor.lower().endswith(CAST)
        job = service.requests.submit_edit(
            edit=str(run.folder / EXPORTED),
            output=str(run.folder / DUBBED_FOLDER),
            actor=None if cast or not actor else actor,
            cast=actor if cast else None,
            dialogue_track=choices.dialogue_track,
            languages=choices.language or None,
            host="resolve",
            quality=choices.quality,
            consent=None if choices.new_actor else choices.consent or None,
        )
        row = service.follow(job)
        if row["state"] == "cancelled":
            raise Stopped
        if row["state"] != "done":
            raise HostError(str(row["reason"]) or "the service could not dub this timeline")
        mark_placed(run.folder, info.project_uid)
        said = self.put_in(info, row["result"], items, ours)
        timelines = run.folder.parent
        if len(runs_of(timelines)) > NEWEST:  # to look through a project takes a while
            drop_old_runs(timelines, info.project_uid, self.host.movies_kept())
        return f"As a draft: {said}" if choices.quality == DRAFT else said

    def _exported(
        self, info: TimelineInfo, choices: Choices, uids: Sequence[str] | None
    ) -> tuple[Run, list[Item], frozenset[str]]:
        """This run, the timeline's clips, and those of them on tracks of ours."""
        ranges, rate = parse_ranges(choices.ranges, info.start, info.rate), rate_of(info.rate)
        timelines = timeline_folder(Path(choices.folder or default_folder()), info.project, info.name)
        timelines.mkdir(parents=True, exist_ok=True)
        ours = frozenset(self.host.on_our_tracks())
        exported = timelines / f".exported-{os.getpid()}.otio"
        try:
            with originals_shown(self.host, info, self.folder) as items:
                self.host.export_otio(str(exported))
            edit = read_copy(exported)
            if uids is not None or ours:  # no dub of ours is footage, not even of a new actor
                chosen = [i for i in items if (uids is None or i.uid in uids) and i.uid not in ours]
                only_these(edit, {(i.track, i.start) for i in chosen}, rate)
            only_ranges(edit, ranges, rate)
            write_copy(exported, edit)
            folder = next_run(timelines, exported.read_bytes(), choices)
            os.replace(exported, folder / EXPORTED)
        finally:
            with suppress(FileNotFoundError):
                exported.unlink()
        return Run(folder, tuple(media_of(edit))), items, ours

    def _new_actor(self, service: Service, run: Run, choices: Choices, minutes: float | None) -> str:
        """Make an actor of what the chosen clips show of a person, with handles; its name."""
        name, more = choices.new_actor, {} if minutes is None else {"minutes": minutes}
        job = service.requests.adapt([str(run.folder / EXPORTED)], name, choices.consent, **more)
        row = service.follow(job, f"the actor {name}: ")
        if row["state"] == "cancelled":
            raise Stopped
        if row["state"] != "done":
            raise HostError(f"the actor {name} could not be made: {row['reason']}")
        return name

    def put_in(
        self,
        info: TimelineInfo,
        result: dict[str, Any],
        items: Sequence[Item],
        ours: frozenset[str],
    ) -> str:
        """Give the timeline what a finished job made; what became of it."""
        done: list[Change] = []
        with self.host.on_timeline(info.uid):
            for output in result["outputs"]:
                shots = [s for s in result["shots"] if s["language"] == output["language"]]
                facts = shot_facts(read_json(Path(output["report"])))
                changes = changes_of(shots, items, facts, ours)
                language = output["language"] or ""
                done += apply_changes(self.host, info, changes, language, self.folder)
        return summary(done)


def summary(changes: Sequence[Change]) -> str:
    """What became of the clips, in a sentence or two."""
    if not changes:
        return "Nothing was dubbed: no new dialogue is heard over a clip of this choice."
    counts = {s: sum(c.state == s for c in changes) for s in (DUBBED, PARTLY, REFUSED)}
    text = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    reasons = [f"{c.item.name}: {c.reason}" for c in changes if c.reason]
    return f"{text}. " + "".join(f"\n{reason}" for reason in reasons[:12])


def rate_of(text: str) -> float:
    """Frames a second of what Resolve writes: 23.976, 29.97 DF. Raises `HostError` for anything else."""
    found = re.match(r"\d+(\.\d+)?", text)
    if found is None:
        raise HostError(f"Resolve says {text!r} frames a second of this timeline; expected a number")
    return float(found.group(0))


def minutes_of(text: str) -> float | None:
    """The minutes that a text names; None for an empty one. Raises `ValueError` for anything else."""
    if not text.strip():
        return None
    try:
        found = float(text.replace(",", "."))
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise ValueError(f"{text!r} is no number of minutes; expected one like 5")
    return found


# ---- folders and settings ----------------------------------------------------------------------------------


def default_folder() -> str:
    """Where dubbed movies go unless the artist says otherwise."""
    movies = Path.home() / "Movies"
    return str((movies if movies.is_dir() else Path.home()) / "Visual Dub")


def read_settings(folder: Path, info: TimelineInfo, actors: Sequence[str]) -> Choices:
    """The last choices, as far as this timeline has them; otherwise what is likely."""
    known = read_json(folder / SETTINGS)
    tracks = info.sound_tracks
    actor_there = os.path.exists(str(known.get("actor") or ""))
    likely = [t for t in tracks if re.search(r"dialog|dub|adr|voice", t, re.IGNORECASE)]
    track = str(known.get("dialogue_track") or "")
    actor = known.get("actor")  # "": whoever is recognised
    known_tracks = track in tracks or all(name.strip() in tracks for name in track.split(","))
    return Choices(
        scope=SELECTED if info.can_select else PLAYHEAD,
        dialogue_track=track if track and known_tracks else (likely or list(tracks) or [""])[-1],
        actor=str(actor) if actor in ("", *actors) or actor_there else (list(actors) or [""])[0],
        language=str(known.get("language", "")),
        folder=str(known.get("folder") or default_folder()),
        ranges=str(known.get("ranges", "")),
        consent=str(known.get("consent", "")),
        quality=DRAFT if known.get("quality") == DRAFT else FINAL,
    )


def write_settings(folder: Path, choices: Choices) -> None:
    """Keep the choices for the next time. In a folder that cannot be written to they are lost."""
    values = asdict(replace(choices, actor=choices.new_actor or choices.actor))
    kept = {k: values[k] for k in ("dialogue_track", "actor", "language", "folder", "quality")}
    with suppress(OSError):
        (folder / SETTINGS).write_text(json.dumps(kept, indent=1), encoding="utf-8")


def read_todo(folder: Path) -> str:
    """What the settings say is to be done where nothing can be asked: DUB or RESTORE."""
    return RESTORE if read_json(folder / SETTINGS).get("do") == RESTORE else DUB
