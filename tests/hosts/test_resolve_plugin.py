"""The menu entry of Resolve's double, with a live service and real frames."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import lumas_of
from resolve_double import LineObject, Program, ResolveObject, free_21_0, free_21_1, studio
from resolve_editing import add_clip, add_line
from resolve_scene import (
    DIALOGUE,
    DUB,
    RESTORE,
    Answers,
    Suite,
    bridge_command,
    copy_of,
    fill,
    plugin_folder,
    suite_in,
    with_takes,
)

from plugin_resolve.edition import read_edition
from plugin_resolve.host import ResolveHost
from plugin_resolve.session import Session, run
from plugin_resolve.values import Choices
from visualdub.cli import run as vdub
from visualdub.records import read_provenance

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
pytestmark = pytest.mark.slow
CAST = (("one", DIALOGUE), ("two", "Bob"))  # clips, and the tracks of who speaks in them
NUMBERS = itertools.count(1)  # of projects, whose dubs lie apart


@pytest.fixture(scope="module")
def suite(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with suite_in(tmp_path_factory.mktemp("suite"), talking, flat_actor) as made:
        yield made


def use(program: Program, suite: Suite, *todo: tuple[str, dict[str, Any]], **more: Any) -> Answers:
    """One use of the menu entry; what its window was told."""
    window = Answers(suite.folder / "dubs", list(todo), str(suite.actor), **more)
    run(program.scripting(), window, plugin_folder(suite.folder), bridge_command())
    return window


def new(edition: Callable[[], Program]) -> Program:
    """A program with a project of its own name, so that its dubs lie apart."""
    program = edition()
    program.project.name = f"Show {next(NUMBERS)}"
    return program


@pytest.mark.parametrize("edition", [studio, free_21_0])
def test_a_timeline_is_dubbed_as_takes_and_restored(edition: Any, suite: Suite) -> None:
    program = fill(new(edition), suite, (0, 5, 6), (8, 20, 5))
    with_takes(program, 1)
    before = program.project.as_bytes()
    window = use(program, suite, (DUB, {}))
    assert window.problems == [] and window.said == ["2 dubbed. "], (window.said, window.problems)
    assert window.sentences[0].endswith("clips are dubbed in place, as takes.")
    assert any("shot 1 of 2" in stage for stage in window.stages)
    first, second = program.line.of_kind("video")[0].clips
    assert [(c.start, c.duration, len(c.takes), c.take, c.color) for c in (first, second)] == [
        (90000, 6, 2, 2, "Teal"),
        (90008, 5, 3, 3, "Teal"),
    ]
    for clip in (first, second):
        media = program.project.media_of(clip.media)
        assert media is not None and len(lumas_of(media.path)) == media.frames == clip.duration
        assert Path(media.path).suffix == ".mov"
    marks = program.line.markers
    assert sorted(marks) == ["0", "8"] and all(m["color"] == "Green" for m in marks.values())
    kept = json.loads(marks["8"]["customData"])["visualdub"]
    assert (kept["take"], kept["takes"], kept["color"]) == (2, 2, "Pink")
    assert program.project.bin == "bin-0" and program.project.page == "edit"
    window = use(program, suite, (RESTORE, {}))
    assert window.said[0].startswith("Restored: ") and program.project.as_bytes() == before


def test_a_timeline_is_drafted_before_there_is_an_actor(suite: Suite) -> None:
    """Whoever is recognised is nobody yet: with consent, they are drawn out of the clips' own frames."""
    program = fill(new(studio), suite, (0, 5, 6), (8, 20, 5))
    before = program.project.as_bytes()
    draft = {"actor": "", "quality": "draft"}
    window = use(program, suite, (DUB, draft))
    assert window.said == [] and "a draft of them needs consent" in window.problems[0]
    assert program.project.as_bytes() == before
    window = use(program, suite, (DUB, {**draft, "consent": "Ada, today, tests"}))
    assert window.problems == [] and window.said == ["As a draft: 2 dubbed. "]
    for clip in program.line.of_kind("video")[0].clips:
        media = program.project.media_of(clip.media)
        assert media is not None and clip.take == 2
        record = read_provenance(Path(media.path))
        assert record.consent["who"] == "Ada" and record.renderer == {"provider": "none", "mode": "draft"}


def test_the_selected_clip_alone_is_dubbed(suite: Suite) -> None:
    program = fill(new(studio), suite, (0, 5, 6), (8, 20, 5))
    clips = program.line.of_kind("video")[0].clips
    program.project.selected = [clips[1].uid]
    window = use(program, suite, (DUB, {"scope": "selected"}))
    assert window.problems == [] and window.said == ["1 dubbed. "]
    assert [(len(c.takes), c.color) for c in clips] == [(0, ""), (2, "Teal")]
    program.project.selected = []
    window = use(program, suite, (DUB, {"scope": "selected"}), (RESTORE, {"scope": "selected"}))
    assert window.problems == ["no clip is chosen; select some, or put the playhead on one"] * 2


def test_the_clip_under_the_playhead_is_what_an_older_version_offers(suite: Suite) -> None:
    program = fill(new(free_21_0), suite, (0, 5, 6), (8, 20, 5))
    program.project.playhead = 90003
    window = use(program, suite, (DUB, {"scope": "playhead"}))
    assert window.said == ["1 dubbed. "]
    assert [len(c.takes) for c in program.line.of_kind("video")[0].clips] == [2, 0]


def test_what_cannot_be_dubbed_says_why_and_what_is_retimed_lies_above(suite: Suite, tmp_path: Path) -> None:
    program = fill(new(studio), suite, (0, 5, 6))
    add_clip(program, suite.clip, 8, 20, 5, speed=-1.0)
    gone = copy_of(suite.clip, suite.folder / "gone.mkv")
    add_clip(program, gone, 14, 0, 5)
    gone.unlink()
    before = program.project.as_bytes()
    window = use(program, suite, (DUB, {}))
    assert window.said[0].startswith("2 dubbed, 1 refused. "), (window.said, window.problems)
    assert "gone.mkv: its media gone.mkv are missing" in window.said[0]
    low, high = program.line.of_kind("video")
    assert [c.color for c in low.clips] == ["Teal", "Teal", "Orange"]
    assert [(c.start, c.duration) for c in high.clips] == [(90008, 5)] and high.name == "Visual Dub"
    host = ResolveHost(program.scripting())
    session = Session(host, read_edition(*host.product()), window, tmp_path)
    again, _, _ = session._exported(
        host.timeline(), Choices("whole", DIALOGUE, "", folder=str(tmp_path)), None
    )
    tracks = json.loads((again.folder / "timeline.otio").read_text())["tracks"]["children"]
    clips = [c for t in tracks[:2] for c in t["children"] if c["OTIO_SCHEMA"].startswith("Clip")]
    skipped = [c.get("metadata", {}).get("visualdub", {}).get("skip", False) for c in clips]
    assert skipped == [False, False, False, True]  # the dub that lies above
    program.project.selected = [high.clips[0].uid]
    window = use(program, suite, (RESTORE, {"scope": "selected"}))
    assert window.said[0].startswith("Restored: ") and [c.color for c in low.clips] == ["Teal", "", "Orange"]
    assert len(program.line.of_kind("video")) == 1
    program.project.selected = []
    use(program, suite, (RESTORE, {}))
    assert program.project.as_bytes() == before


def test_cancel_leaves_the_timeline_as_it_was(suite: Suite) -> None:
    program = fill(new(studio), suite, (0, 5, 30))
    before = program.project.as_bytes()
    window = use(program, suite, (DUB, {}), stop_at=2)
    assert window.said == ["Stopped; the timeline is as it was."] and program.project.as_bytes() == before


def test_an_artist_who_goes_on_to_another_timeline_finds_the_dub_in_the_first(suite: Suite) -> None:
    program = fill(new(studio), suite, (0, 5, 6))
    first = program.line

    def go_on(said: str) -> None:
        if len(program.project.lines) == 1:
            add_line(program, "another")

    window = use(program, suite, (DUB, {}), on_progress=go_on)
    assert window.said == ["1 dubbed. "] and program.line.name == "another"
    assert len(first.of_kind("video")[0].clips[0].takes) == 2


def test_a_service_that_somebody_else_started_keeps_its_folders(suite: Suite, tmp_path: Path) -> None:
    program = fill(new(studio), suite, (0, 5, 6))
    before = program.project.as_bytes()
    window = use(program, suite, (DUB, {"folder": str(tmp_path / "elsewhere")}), (DUB, {}))
    assert (
        "elsewhere" in window.problems[0] and "lies outside the folders of the service" in window.problems[0]
    )
    assert window.said == ["1 dubbed. "] and program.project.as_bytes() != before


def test_ranges_of_the_timeline_alone_are_dubbed(suite: Suite) -> None:
    """Both ends of a range are inside; what lies outside shows the plate, and its clip has no take."""
    program = fill(new(studio), suite, (0, 5, 20), (24, 5, 10))
    before = program.project.as_bytes()
    ranges = "01:00:00:04-01:00:00:11"
    window = use(program, suite, (DUB, {"ranges": "4-11"}), (DUB, {"ranges": ranges}))
    assert window.problems == [
        "'4-11' is no range of the timeline; expected one like 01:00:04:10-01:00:06:00"
    ]
    assert window.said == ["1 dubbed. "], window.said
    dubbed, other = program.line.of_kind("video")[0].clips
    assert (len(dubbed.takes), len(other.takes)) == (2, 0)
    media = program.project.media_of(dubbed.media)
    assert media is not None
    report = json.loads((Path(media.path).parents[1] / "timeline.otio.report.json").read_text())
    assert [(s["skipped"], s["drawn"]) for s in report["shots"][:1]] == [(["5:9", "17:25"], 8)]
    use(program, suite, (RESTORE, {}))
    assert program.project.as_bytes() == before


def test_two_people_speak_on_two_tracks_by_a_cast_file(suite: Suite) -> None:
    program = fill(new(studio), suite, (0, 5, 6), (8, 20, 5))
    add_clip(program, copy_of(suite.voice, suite.folder / "bob.wav"), 0, 0, 40, track=3)
    program.line.of_kind("audio")[2].name = "Bob"
    first, second = program.line.of_kind("video")[0].clips
    first.name, second.name = "one", "two"
    rules = [f'[[cast]]\nclip = "{c}"\nactor = "{suite.actor}"\ndialogue = "{d}"\n' for c, d in CAST]
    cast = suite.folder / "cast.toml"
    cast.write_text("\n".join(rules))
    more = {"actor": str(cast), "dialogue_track": f"{DIALOGUE}, Bob"}
    window = use(program, suite, (DUB, {**more, "dialogue_track": f"{DIALOGUE}, Eve"}), (DUB, more))
    assert "has no dialogue track 'Eve'" in window.problems[0]
    assert window.said == ["2 dubbed. "], (window.said, window.problems)
    media = program.project.media_of(first.media)
    assert media is not None
    report = json.loads((Path(media.path).parents[1] / "timeline.otio.report.json").read_text())
    heard = [Path(s["speaking"][0]["cues"][0]["recording"]).name for s in report["shots"]]
    assert heard == [suite.voice.name, "bob.wav"]


def test_an_edit_without_new_words_is_said_in_one_sentence(suite: Suite) -> None:
    program = fill(new(studio), suite, (0, 5, 6))
    window = use(program, suite, (DUB, {"dialogue_track": "None"}))
    assert "has no dialogue track 'None'; its sound tracks are" in window.problems[0]


def test_every_edition_and_the_command_give_the_same_frames(suite: Suite, tmp_path: Path) -> None:
    shots = [(0, 5, 4), (6, 20, 4)]
    movies: dict[str, list[Any]] = {}
    for edition in (studio, free_21_0):
        program = fill(new(edition), suite, *shots)
        window = use(program, suite, (DUB, {}))
        assert window.said == ["2 dubbed. "]
        clips = program.line.of_kind("video")[0].clips
        shown = [program.project.media_of(c.media) for c in clips]
        movies[program.project.name] = [p for m in shown if m is not None for p in lumas_of(m.path)]
    program = fill(new(free_21_1), suite, *shots)  # its menu: File > Export
    resolve, exported = ResolveObject(program, ""), tmp_path / "cut.otio"
    assert LineObject(program, program.project.line).Export(
        str(exported), resolve.EXPORT_OTIO, resolve.EXPORT_NONE
    )
    arguments = ["--for", "resolve", "--dialogue-track", DIALOGUE, "--actor", str(suite.actor)]
    assert vdub(["dub", str(exported), *arguments, "-o", str(tmp_path / "out")]) == 0
    found = sorted((tmp_path / "out" / "shots").glob("*.mov"))
    movies["command"] = [p for path in found for p in lumas_of(str(path))]
    first, *others = movies.values()
    assert len(first) == 8
    for other in others:
        assert all((a == b).all() for a, b in zip(first, other, strict=True))


def test_what_was_dubbed_before_is_found_where_the_same_is_asked_again(suite: Suite) -> None:
    program = fill(new(studio), suite, (0, 5, 5))
    use(program, suite, (DUB, {}))
    clip = program.line.of_kind("video")[0].clips[0]
    media = program.project.media_of(clip.media)
    assert media is not None
    stamp = Path(media.path).stat().st_mtime_ns
    use(program, suite, (RESTORE, {}), (DUB, {}))
    again = program.project.media_of(clip.media)
    assert again is not None and again.path == media.path and Path(again.path).stat().st_mtime_ns == stamp
    window = use(program, suite, (DUB, {"language": "fr"}))
    newer = program.project.media_of(clip.media)
    for number in range(3, 6):
        stopped = Path(media.path).parents[2].with_name(f"run-{number:04d}")
        stopped.mkdir()
        (stopped / "request.json").write_text("{}")
        os.utime(stopped / "request.json", (0, 0))
    for run_folder in stopped.parent.glob("run-*"):
        for path in run_folder.glob("placed.json"):
            os.utime(path, (0, 0))
    use(program, suite, (DUB, {"language": "de"}))
    left = sorted(p.name for p in stopped.parent.glob("run-*"))
    assert left == ["run-0001", "run-0002", "run-0004", "run-0005", "run-0006"]  # 1 and 2 are shown
    assert window.said == ["1 dubbed. "] and newer is not None
    assert Path(newer.path).parents[2] != Path(media.path).parents[2]  # a run of its own
    assert len(clip.takes) == 4  # the original, the first, and those in French and in German
