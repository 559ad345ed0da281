"""Dubs go into the double's timeline and out of it: all of it or none, wherever the process ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import write_movie
from resolve_double import Program, studio
from resolve_editing import add_clip, add_line
from resolve_plain import without_uids
from resolve_scene import with_takes
from resolve_state import Project

from plugin_resolve.host import HostError, ResolveHost
from plugin_resolve.journal import read_journal
from plugin_resolve.takes import apply_changes, originals_shown, recover, restore_originals
from plugin_resolve.values import DUBBED, OURS, REFUSED, Change, Item


class Killed(BaseException):
    """The process ends here."""


def movie(folder: Path, name: str, frames: int) -> Path:
    return write_movie(folder / name, [np.full((48, 64, 3), 9 * i, np.uint8) for i in range(frames)])


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Program, ResolveHost, Path]:
    """Three clips of a movie, the second with takes of the artist's own, and a folder with dubs."""
    program = studio()
    source = movie(tmp_path, "source.mkv", 40)
    add_line(program)
    for at, left in ((0, 4), (10, 8), (20, 12)):
        add_clip(program, source, at, left, 10)
    with_takes(program, 1)
    for name in ("one", "two", "three", "again"):
        movie(tmp_path, f"{name}.mov", 10)
    return program, ResolveHost(program.scripting()), tmp_path


def dubs(host: ResolveHost, folder: Path, *names: str) -> list[Change]:
    """Changes for the first clips: a take for each, the third one above."""
    found = []
    for number, (item, name) in enumerate(zip(host.items(), names, strict=False)):
        dub = Change(item, DUBBED, "", str(folder / f"{name}.mov"), 0, 10, item.start, above=number == 2)
        found.append(dub)
    return found


def put_in(host: ResolveHost, folder: Path, changes: list[Change], language: str = "fr") -> list[Change]:
    return apply_changes(host, host.timeline(), changes, language, folder)


def shown(program: Program) -> list[str]:
    """The movie that each clip of the video tracks shows."""
    project, clips = program.project, [c for t in program.line.of_kind("video") for c in t.clips]
    return [m.name if (m := project.media_of(c.media)) else "" for c in clips]


Scene = tuple[Program, ResolveHost, Path]

# ---- in and out --------------------------------------------------------------------------------------------


def test_dubs_are_selected_takes_or_lie_above_and_go_without_a_trace(scene: Scene) -> None:
    program, host, folder = scene
    before = program.project.as_bytes()
    put_in(host, folder, dubs(host, folder, "one", "two", "three"))
    assert shown(program) == ["one.mov", "two.mov", "source.mkv", "three.mov"]
    tracks = program.line.of_kind("video")
    assert [t.name for t in tracks] == ["Video 1", OURS]
    assert [(c.start, c.duration, len(c.takes), c.take) for c in tracks[0].clips] == [
        (90000, 10, 2, 2),
        (90010, 10, 3, 3),
        (90020, 10, 0, 0),
    ]
    assert (tracks[1].clips[0].start, tracks[1].clips[0].duration) == (90020, 10)
    assert [c.color for c in tracks[0].clips] == ["Teal"] * 3
    assert {json.loads(m["customData"])["visualdub"]["language"] for m in program.line.markers.values()} == {
        "fr"
    }
    assert [b.name for b in program.project.bins] == ["Master", OURS] and program.project.bin == "bin-0"
    assert restore_originals(host, host.timeline(), None, folder) == ["source.mkv"] * 3
    assert program.project.as_bytes() == before and read_journal(folder, "line-1") is None


def test_one_clip_is_restored_and_the_others_stay(scene: Scene) -> None:
    program, host, folder = scene
    put_in(host, folder, dubs(host, folder, "one", "two", "three"))
    restore_originals(host, host.timeline(), [host.items()[2].uid], folder)
    assert shown(program) == ["one.mov", "two.mov", "source.mkv"]
    assert [t.name for t in program.line.of_kind("video")] == ["Video 1"]
    assert sorted(program.line.markers) == ["0", "10"]


def test_another_dub_of_a_language_replaces_the_first_and_another_language_is_one_more_take(
    scene: Scene,
) -> None:
    program, host, folder = scene
    before = program.project.as_bytes()
    put_in(host, folder, dubs(host, folder, "one"))
    put_in(host, folder, dubs(host, folder, "again"))
    clip = program.line.of_kind("video")[0].clips[0]
    assert (len(clip.takes), clip.take, shown(program)[0]) == (2, 2, "again.mov")
    assert "one.mov" not in [m.name for m in program.project.media]
    put_in(host, folder, dubs(host, folder, "two"), "de")
    assert (len(clip.takes), clip.take, shown(program)[0]) == (3, 3, "two.mov")
    assert len(program.line.markers) == 2
    restore_originals(host, host.timeline(), None, folder)
    assert program.project.as_bytes() == before


def test_a_dub_above_is_replaced_by_the_next_one(scene: Scene) -> None:
    program, host, folder = scene
    before = program.project.as_bytes()
    put_in(host, folder, dubs(host, folder, "one", "two", "three")[2:])
    item = next(i for i in host.items() if i.start == 20 and i.track == 1)
    change = Change(item, DUBBED, "", str(folder / "again.mov"), 2, 8, 22, above=True)
    put_in(host, folder, [change])
    assert [(c.start, c.duration, c.left) for c in program.line.of_kind("video")[1].clips] == [(90022, 8, 2)]
    restore_originals(host, host.timeline(), None, folder)
    assert program.project.as_bytes() == before


def test_the_end_of_a_take_may_count_either_way(scene: Scene) -> None:
    program, host, folder = scene
    before = program.project.as_bytes()
    program.take_end_exclusive = False
    put_in(host, folder, dubs(host, folder, "one"))
    clip = program.line.of_kind("video")[0].clips[0]
    assert (clip.duration, len(clip.takes), shown(program)[0]) == (10, 2, "one.mov")
    restore_originals(host, host.timeline(), None, folder)
    assert program.project.as_bytes() == before


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_take_that_would_change_the_length_is_not_left_behind(scene: Scene, exclusive: bool) -> None:
    program, host, folder = scene
    program.take_end_exclusive = exclusive
    (change,) = dubs(host, folder, "one")
    (done,) = put_in(host, folder, [replace(change, length=6)])
    clip = program.line.of_kind("video")[0].clips[0]
    assert (done.state, done.reason) == (REFUSED, "Resolve adds no take to this clip")
    assert (clip.takes, clip.duration, clip.color, shown(program)[0]) == ([], 10, "Orange", "source.mkv")


def test_a_refusal_has_its_colour_and_marker_and_keeps_an_earlier_dub(scene: Scene) -> None:
    program, host, folder = scene
    before = program.project.as_bytes()
    first, second = dubs(host, folder, "one", "two")
    put_in(host, folder, [first])
    put_in(host, folder, [Change(c.item, REFUSED, "no face") for c in dubs(host, folder, "one", "two")])
    clips = program.line.of_kind("video")[0].clips
    assert [c.color for c in clips[:2]] == ["Teal", "Orange"] and shown(program)[0] == "one.mov"
    assert program.line.markers["10"]["note"] == "no face" and program.line.markers["10"]["color"] == "Red"
    restore_originals(host, host.timeline(), None, folder)
    assert program.project.as_bytes() == before and second.item.start == 10


def test_a_clip_that_was_changed_while_it_was_dubbed_is_refused(scene: Scene) -> None:
    program, host, folder = scene
    changes = dubs(host, folder, "one", "two")
    moved, gone = program.line.of_kind("video")[0].clips[:2]
    moved.duration = 5
    program.line.of_kind("video")[0].clips.remove(gone)
    (done,) = put_in(host, folder, changes)
    assert done.state == REFUSED and "was changed while" in done.reason and moved.takes == []


def test_a_marker_of_the_artists_stays_where_it_is(scene: Scene) -> None:
    program, host, folder = scene
    theirs = {"color": "Blue", "duration": 1, "note": "n", "name": "m", "customData": '{"other": 1}'}
    program.line.markers = {"0": dict(theirs), "5": dict(theirs)}
    before = program.project.as_bytes()
    put_in(host, folder, dubs(host, folder, "one"))
    assert sorted(program.line.markers) == ["0", "1", "5"] and program.line.markers["0"] == theirs
    restore_originals(host, host.timeline(), None, folder)
    assert program.project.as_bytes() == before


def test_another_timeline_that_uses_the_dub_keeps_it(scene: Scene) -> None:
    program, host, folder = scene
    put_in(host, folder, dubs(host, folder, "one"))
    copied = Project.of_bytes(program.project.as_bytes()).lines[0]
    copied.uid, copied.name = "line-9", "copy"
    for _, clip in copied.clips():
        clip.uid += "9"
    program.project.lines.append(copied)
    restore_originals(host, host.timeline(), None, folder)
    assert "one.mov" in [m.name for m in program.project.media]
    assert OURS in [b.name for b in program.project.bins]


def test_a_timeline_that_is_not_open_any_more_is_found_again(scene: Scene) -> None:
    program, host, folder = scene
    uid = host.timeline().uid
    add_line(program, "another")
    with host.on_timeline(uid):
        assert host.timeline().name == "Cut"
    assert host.timeline().name == "another"
    with pytest.raises(HostError, match="not in the open project"), host.on_timeline("line-7"):
        pass
    assert folder.is_dir()


def test_an_export_shows_the_originals_and_nothing_is_changed_after_it(scene: Scene) -> None:
    program, host, folder = scene
    put_in(host, folder, dubs(host, folder, "one", "two", "three"))
    dubbed = program.project.as_bytes()
    with originals_shown(host, host.timeline(), folder) as items:
        assert shown(program)[:3] == ["source.mkv"] * 3
        assert [i.enabled for i in items] == [True, True, True, False]
        host.export_otio(str(folder / "e.otio"))
    assert program.project.as_bytes() == dubbed and read_journal(folder, "line-1") is None
    edit = json.loads((folder / "e.otio").read_text())
    urls = [
        c["media_references"]["DEFAULT_MEDIA"]["target_url"]
        for c in edit["tracks"]["children"][0]["children"]
    ]
    assert [Path(u).name for u in urls] == ["source.mkv"] * 3
    assert {i.uid: i.place for i in items} == {i.uid: i.place for i in host.items()}
    assert [i.movie for i in items] == [i.movie for i in host.items()]


def test_clips_are_deleted_from_another_page_too(scene: Scene) -> None:
    program, host, folder = scene
    put_in(host, folder, dubs(host, folder, "one", "two", "three"))
    program.project.page, program.flaky_delete = "color", 1
    restore_originals(host, host.timeline(), None, folder)
    assert program.project.page == "color" and len(program.line.of_kind("video")) == 1


def test_a_failure_in_the_middle_takes_back_what_was_done(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, host, folder = scene
    before = program.project.as_bytes()
    (folder / "three.mov").unlink()
    with pytest.raises(HostError, match="does not import"):
        put_in(host, folder, dubs(host, folder, "one", "two", "three"))
    assert program.project.as_bytes() == before and read_journal(folder, "line-1") is None


# ---- ends in the middle ------------------------------------------------------------------------------------

STEPS: dict[str, Callable[[ResolveHost, Path], object]] = {
    "dub": lambda host, folder: put_in(host, folder, dubs(host, folder, "one", "two", "three")),
    "dub again": lambda host, folder: put_in(host, folder, dubs(host, folder, "again", "one")),
    "restore": lambda host, folder: restore_originals(host, host.timeline(), None, folder),
}


def ends_at(program: Program, folder: Path, step: str, call: int) -> bytes | None:
    """The project after the process ended before its call number `call`, and was started again; None where
    the step was over before.
    """
    left = [call]

    def before_call(name: str) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Killed

    program.before_call = before_call
    try:
        STEPS[step](ResolveHost(program.scripting()), folder)
    except Killed:
        pass
    else:
        return None
    finally:
        program.before_call = lambda name: None
    host = ResolveHost(program.scripting())
    recover(host, host.timeline(), folder, lambda text: None)
    assert read_journal(folder, host.timeline().uid) is None
    return program.project.as_bytes()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("part", [0.03, 0.3, 0.5, 0.6, 0.75, 0.9, 0.97])
def test_a_process_that_ends_in_the_middle_leaves_the_timeline_as_it_was_or_finished(
    scene: Scene, step: str, part: float
) -> None:
    program, host, folder = scene
    if step != "dub":
        STEPS["dub"](host, folder)
    before = program.project.as_bytes()
    program.calls.clear()
    STEPS[step](host, folder)
    finished, calls = program.project.as_bytes(), len(program.calls)
    program.project = Project.of_bytes(before)
    program.numbers.clear()
    after = ends_at(program, folder, step, max(1, round(calls * part)))
    assert after is not None
    assert without_uids(after) in (without_uids(before), without_uids(finished))


def test_a_long_timeline_takes_calls_in_proportion(tmp_path: Path) -> None:
    """Each call of Resolve's goes to another process: twice the clips may not be four times the calls."""
    calls = []
    for count in (4, 8):
        program, source = studio(), movie(tmp_path, "s.mkv", 20)
        add_line(program)
        for number in range(count):
            add_clip(program, source, 10 * number, 0, 10)
            movie(tmp_path, f"{number}.mov", 10)
        host = ResolveHost(program.scripting())
        put_in(host, tmp_path / str(count), dubs_of_all(host, tmp_path))
        restore_originals(host, host.timeline(), None, tmp_path / str(count))
        calls.append(len(program.calls))
    assert calls[1] < 2.3 * calls[0]


def dubs_of_all(host: ResolveHost, folder: Path) -> list[Change]:
    """A take for every clip."""
    return [
        Change(item, DUBBED, "", str(folder / f"{n}.mov"), 0, 10, item.start)
        for n, item in enumerate(host.items())
    ]


def test_items_are_known_by_their_place(scene: Scene) -> None:
    _, host, _ = scene
    first = host.items()[0]
    assert isinstance(first, Item) and first.place == (1, 0, 10) and first.left == 4 and first.takes == 0
