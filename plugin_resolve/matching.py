"""Which clip of the timeline each shot of the service's result belongs to, and what happens to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugin_resolve.values import DUBBED, PARTLY, REFUSED, Change, Item

QUIET = (  # reasons of the service for clips that nobody asked to be dubbed; they get no colour and no marker
    "nobody speaks in it",
    "it is not seen",
    "it is disabled",
    "it is marked to be left alone",
    "it is an earlier dub",
)
_TRACK = re.compile(r"V(\d+)(/.*)?")  # and inside a compound clip: V1/its name/V1
SEVERAL = "several clips of this compound clip are dubbed; open it in its timeline and dub it there"
INSIDE = "it lies above the compound clip"
DISSOLVE = "its dissolve is not in the dub that lies above; make it there again"


@dataclass(frozen=True)
class ShotFacts:
    """What the report beside a dubbed edit says of a shot."""

    drawn: int = 1  # frames that are redrawn
    frames: int = 1  # in all


_PLAIN = ShotFacts()


def changes_of(
    shots: Sequence[Mapping[str, Any]],
    items: Sequence[Item],
    facts: Mapping[int, ShotFacts],
    ours: frozenset[str] = frozenset(),
) -> list[Change]:
    """What happens to the clips that `shots` tell of; clips that stay as they are are left out.

    shots: of one language of a job's result. items: the clips as they were when the timeline was exported.
    facts: of each shot by number. ours: clips that lie on a track of ours.
    """
    found = []
    compounds: dict[str, list[Change]] = {}
    for shot in shots:
        item = _item_of(shot, items)
        if item is None or item.uid in ours or shot["reason"] in QUIET:
            continue
        change = _change(shot, item, items, facts, ours)
        if "/" in shot["track"]:
            compounds.setdefault(item.uid, []).append(change)
        else:
            found.append(change)
    return found + [_of_compound(changes) for changes in compounds.values()]


def _of_compound(changes: Sequence[Change]) -> Change:
    """What happens to a compound clip, of what would happen to each clip in it: one dub has a place above."""
    dubbed = [c for c in changes if c.movie]
    if len(dubbed) > 1:
        return Change(dubbed[0].item, REFUSED, SEVERAL)
    return dubbed[0] if dubbed else changes[0]


def _item_of(shot: Mapping[str, Any], items: Iterable[Item]) -> Item | None:
    """The clip on the shot's track that shares most frames with it."""
    label = _TRACK.fullmatch(shot["track"])
    if label is None:
        return None
    low, high = shot["timeline"]
    there = [i for i in items if i.track == int(label.group(1)) and i.start < high and low < i.end]
    return max(there, key=lambda i: min(i.end, high) - max(i.start, low), default=None)


def _change(
    shot: Mapping[str, Any],
    item: Item,
    items: Sequence[Item],
    facts: Mapping[int, ShotFacts],
    ours: frozenset[str],
) -> Change:
    movie, (low, high) = shot["movie"], shot["timeline"]
    if not movie:
        return Change(item, REFUSED, shot["reason"])
    fact = facts.get(shot["number"], _PLAIN)
    state = DUBBED if fact.drawn >= fact.frames else PARTLY
    reason = "" if state == DUBBED else f"{fact.drawn} of its {fact.frames} frames are redrawn"
    whole = low <= item.start and item.end <= high
    inside = "/" in shot["track"]
    if shot["action"] == "dub" and whole and not inside:
        first, length = item.start - low, item.end - item.start
        return _unless_locked(Change(item, state, reason, movie, first, length, item.start))
    begin, end = max(low, item.start), min(high, item.end)
    over = [i for i in items if i.track > item.track and i.start < end and begin < i.end and i.enabled]
    if any(i.uid not in ours for i in over):
        return Change(item, REFUSED, "a clip above hides a part of it, so that no take fits")
    if low < item.start or item.end < high:  # the shot has what its dissolves show of it
        state, reason = PARTLY, "; ".join(r for r in (reason, DISSOLVE) if r)
    if inside:
        reason = "; ".join(r for r in (reason, INSIDE) if r)
    return Change(item, state, reason, movie, begin - low, end - begin, begin, above=True)


def _unless_locked(change: Change) -> Change:
    if change.item.locked:
        return Change(change.item, REFUSED, "its track is locked")
    return change


def shot_facts(report: Mapping[str, Any]) -> dict[int, ShotFacts]:
    """The facts of each shot, by number, out of the report beside a dubbed edit."""
    found = {}
    for shot in report.get("shots", ()):
        count = _length(shot.get("frames"))
        if not count or not shot.get("drawn"):
            continue
        if shot["action"] == "bake":
            count = shot["timeline"][1] - shot["timeline"][0]
        count -= sum(_length(run) for run in shot.get("skipped", ()))  # hidden, or marked to be left alone
        found[shot["number"]] = ShotFacts(int(shot["drawn"]), count)
    return found


def _length(run: Any) -> int:
    """The frames of a range A:B; 0 for anything else."""
    ends = re.fullmatch(r"(\d+):(\d+)", str(run or ""))
    return 0 if ends is None else int(ends.group(2)) - int(ends.group(1))
