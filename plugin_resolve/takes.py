"""Clips get their dubs, and get back what they were: all of it, or none.

`apply_changes` and `restore_originals` write a journal before they touch anything; `recover` makes up for one
that ended in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from plugin_resolve.host import HostError, ResolveHost
from plugin_resolve.journal import Entry, Journal, journal_path, read_journal
from plugin_resolve.values import (
    CLIP_COLOURS,
    MARKER_COLOURS,
    REFUSED,
    Change,
    Item,
    Mark,
    Record,
    TimelineInfo,
)

CHANGED = "it was changed while it was dubbed; dub it again"
Say = Callable[[str], None]

# ---- dubs in -----------------------------------------------------------------------------------------------


def apply_changes(
    host: ResolveHost, info: TimelineInfo, changes: Sequence[Change], language: str, folder: Path
) -> list[Change]:
    """Give the clips of the open timeline their dubs, colours and markers; what became of each.

    folder: where the journal is kept. A clip that was changed since, or whose take Resolve does not add, is
    refused. What was there before is taken back where this fails. Raises `HostError` then.
    """
    there = {item.uid: item for item in host.items()}
    changes = [_still_fits(c, there.get(c.item.uid)) for c in changes if c.item.uid in there]
    marks = host.marks()
    journal = Journal(
        *(info.uid, info.project, host.surroundings(), host.has_bin()),
        entries=[_entry(c, marks, language) for c in changes],
        path=journal_path(folder, info.uid),
    )
    journal.write()
    done = []
    try:
        for change, entry in zip(changes, journal.entries):
            done.append(_apply(host, change, entry, language))
    except HostError:
        roll_back(host, journal)
        raise
    journal.done = True
    journal.write()
    finish(host, journal)
    return done


def _still_fits(change: Change, now: Item | None) -> Change:
    """The change, or a refusal where the clip is another than the one that was exported."""
    if now is None or (now.place, now.movie, now.left) == (
        change.item.place,
        change.item.movie,
        change.item.left,
    ):
        return change
    return Change(now, REFUSED, CHANGED)


def _entry(change: Change, marks: Iterable[Mark], language: str) -> Entry:
    mine = [m for m in marks if m.record.item == change.item.uid]
    replaced = []
    if change.movie:
        # one dub of a language replaces the earlier; on our track one dub replaces any
        replaced = [m.record for m in mine if m.record.movie and m.record.movie != change.movie]
        replaced = [r for r in replaced if r.language == language or r.above]
    return Entry(change.item, change.movie, change.above, change.at, mine, replaced)


def _apply(host: ResolveHost, change: Change, entry: Entry, language: str) -> Change:
    """Change one clip; a take that is not added makes a refusal of it."""
    item = change.item
    if change.movie and change.above:
        for record in entry.replaced:
            if record.above:
                host.remove_above(record.movie, record.at)
        host.place_above(change.movie, change.at, change.first, change.length)
    elif change.movie:
        try:
            number = host.take_of(item.uid, change.movie)
            if number:  # of an earlier run
                host.select_take(item.uid, number)
            else:
                host.add_take(item.uid, change.movie, change.first, change.length)
        except HostError as e:
            change = Change(item, REFUSED, str(e))
    if not change.movie and any(m.record.movie for m in entry.marks):
        return change  # it keeps its earlier dub, and the marker that says so
    record = _record(change, entry, language)
    host.set_colour(item.uid, CLIP_COLOURS[change.state])
    host.remove_marks(item.uid, language)
    note = change.reason or f"take {max(item.takes, 1)} is the original"
    host.add_mark(Mark(item.start, MARKER_COLOURS[change.state], note, record), item.end)
    return change


def _record(change: Change, entry: Entry, language: str) -> Record:
    """What the marker keeps: the clip as it was before its first dub, whatever came in between."""
    item = change.item
    first = entry.marks[0].record if entry.marks else None
    return Record(
        item=item.uid,
        state=change.state,
        language=language,
        movie=change.movie,
        above=change.above,
        at=change.at,
        length=change.length,
        take=first.take if first else item.take,
        takes=first.takes if first else item.takes,
        color=first.color if first else item.color,
        reason=change.reason,
        first=change.first,
    )


def finish(host: ResolveHost, journal: Journal) -> None:
    """Take away what the new dubs replace. May run again where it ended in the middle."""
    for entry in journal.entries:
        for record in entry.replaced:
            if host.has_item(entry.item.uid) and not record.above:
                host.remove_take(entry.item.uid, record.movie, record.take, max(record.takes, 1))
            elif record.above and not entry.above:
                host.remove_above(record.movie, record.at)
    host.drop_movies({r.movie for e in journal.entries for r in e.replaced})
    host.restore_surroundings(journal.surroundings)
    journal.remove()


# ---- and out -----------------------------------------------------------------------------------------------


def roll_back(host: ResolveHost, journal: Journal) -> None:
    """Bring every clip of the journal back to what it was. May run again where it ended in the middle."""
    for entry in journal.entries:
        item = entry.item
        known = {m.record.movie for m in entry.marks}
        if entry.movie and entry.above and entry.movie not in known:
            host.remove_above(entry.movie, entry.at)
        if not host.has_item(item.uid):
            continue
        if entry.movie and not entry.above and entry.movie not in known:
            host.remove_take(item.uid, entry.movie, item.take, item.takes)
        host.select_take(item.uid, item.take)
        for record in entry.replaced:
            if record.above and not _lies_above(host, record):
                host.place_above(record.movie, record.at, record.first, record.length)
        host.set_enabled(item.uid, item.enabled)
        host.set_colour(item.uid, item.color)
        if [m for m in host.marks() if m.record.item == item.uid] != entry.marks:
            host.remove_marks(item.uid)
            for mark in entry.marks:
                host.add_mark(mark, mark.frame + 1)
    host.drop_movies({e.movie for e in journal.entries if e.movie})
    host.restore_surroundings(journal.surroundings)
    journal.remove()


def _lies_above(host: ResolveHost, record: Record) -> bool:
    ours = set(host.on_our_tracks())
    return any(i.uid in ours and (i.start, i.movie) == (record.at, record.movie) for i in host.items())


def restore_originals(
    host: ResolveHost, info: TimelineInfo, uids: Iterable[str] | None, folder: Path
) -> list[str]:
    """Give clips back what they were before their first dub; the names of those that were dubbed.

    uids: of the clips; None for all. folder: where the journal is kept.
    """
    wanted = None if uids is None else set(uids)
    records = [m.record for m in host.marks()]
    records = [r for r in records if wanted is None or r.item in wanted]
    names = {i.uid: i.name for i in host.items()}
    restored = [names[uid] for uid in dict.fromkeys(r.item for r in records) if uid in names]
    if not records:
        return []
    journal = Journal(
        *(info.uid, info.project, host.surroundings(), host.has_bin()),
        restoring=list(dict.fromkeys(r.item for r in records)),
        movies=sorted({r.movie for r in records if r.movie}),
        path=journal_path(folder, info.uid),
    )
    journal.write()
    restore(host, journal)
    return restored


def restore(host: ResolveHost, journal: Journal) -> None:
    """Carry out what `restore_originals` decided. It may run again where it ended in the middle, because the
    marker of a clip, which says what it was, goes last.
    """
    records = [m.record for m in host.marks()]
    for uid in journal.restoring:
        mine = [r for r in records if r.item == uid]
        there = host.has_item(uid)
        for record in mine:
            if record.above:
                host.remove_above(record.movie, record.at)
            elif record.movie and there:
                host.remove_take(uid, record.movie, record.take, record.takes)
        if there and mine:
            host.select_take(uid, mine[0].take)
            host.set_colour(uid, mine[0].color)
        host.remove_marks(uid)
    host.drop_movies(set(journal.movies))
    host.restore_surroundings(journal.surroundings)
    journal.remove()


# ---- originals for a moment --------------------------------------------------------------------------------


@contextmanager
def originals_shown(host: ResolveHost, info: TimelineInfo, folder: Path) -> Iterator[list[Item]]:
    """For an export: dubbed clips show their originals, tracks of ours nothing. Gives the clips as they are.
    The journal brings them back where the process ends inside.
    """
    ours, marks = set(host.on_our_tracks()), host.marks()
    first = {m.record.item: m.record for m in reversed(marks) if m.record.movie}
    items = [i for i in host.items() if i.uid in ours or (i.uid in first and i.takes)]
    entries = [Entry(i, marks=[m for m in marks if m.record.item == i.uid]) for i in items]
    if not entries:
        yield host.items()
        return
    journal = Journal(
        *(info.uid, info.project, host.surroundings(), host.has_bin(), entries),
        path=journal_path(folder, info.uid),
    )
    journal.write()
    try:
        for item in items:
            if item.uid in ours:
                host.set_enabled(item.uid, False)
            else:
                host.select_take(item.uid, first[item.uid].take or 1)
        now = {i.uid: i for i in host.items()}
        yield [now[i.uid] if i.uid in ours else _as_shown(i, items) for i in now.values()]
    finally:
        roll_back(host, journal)


def _as_shown(item: Item, dubbed: Sequence[Item]) -> Item:
    """A clip with the media that it shows outside the export, by which it is known again later."""
    before = next((d for d in dubbed if d.uid == item.uid), None)
    return item if before is None else replace(item, movie=before.movie, left=before.left, take=before.take)


# ---- after an end in the middle ----------------------------------------------------------------------------


def recover(host: ResolveHost, info: TimelineInfo, folder: Path, say: Say) -> None:
    """Take back or finish what an earlier run of the plug-in left half done in this timeline."""
    journal = read_journal(folder, info.uid)
    if journal is None:
        return
    if journal.restoring:
        restore(host, journal)
        say("The originals were not all restored the last time; they are now.")
    elif journal.done:
        finish(host, journal)
        say("The last dub ended before it was over; it is finished now.")
    else:
        roll_back(host, journal)
        say("The last dub ended in the middle; the timeline is as it was before.")
