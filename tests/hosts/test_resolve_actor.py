"""New, from these clips: an actor is made of a timeline in the double of Resolve, and speaks in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from resolve_double import studio
from resolve_editing import add_clip
from resolve_scene import DUB, Answers, Suite, bridge_command, copy_of, fill, plugin_folder, suite_in

from plugin_resolve.session import minutes_of, run
from visualdub.actor.record import load_record

pytest.importorskip("torch", reason="torch is not installed (the extra `training`)")
pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
CONSENT = "Anna Example, 2026-11-01, tests"
NEW = {"scope": "selected", "actor": "", "new_actor": "anna", "consent": CONSENT, "minutes": "0,02"}
KNOWN = {"scope": "selected", "actor": "anna"}


@pytest.fixture(scope="module")
def suite(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with suite_in(tmp_path_factory.mktemp("suite"), talking, flat_actor) as made:
        yield made


def test_minutes_are_a_number_as_artists_write_it() -> None:
    assert (minutes_of(""), minutes_of(" 2.5 "), minutes_of("0,5")) == (None, 2.5, 0.5)
    for wrong in ("five", "0", "-1", "nan", "inf"):
        with pytest.raises(ValueError, match=f"'{wrong}' is no number of minutes; expected one like 5"):
            minutes_of(wrong)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_actor_is_made_of_the_chosen_clips_and_speaks(suite: Suite) -> None:
    """Of what they show, with handles: not of the other clip, nor of the rest of a file. A dub that fails or
    is stopped leaves the timeline as it was, and nothing has to be typed again.
    """
    program = fill(studio(), suite, (0, 5, 6), (8, 20, 5))
    other = copy_of(suite.clip, suite.folder / "somebody else.mkv")
    add_clip(program, other, 50, 0, 5)
    first, second, third = program.line.of_kind("video")[0].clips
    program.project.selected = [first.uid, second.uid]
    before = program.project.as_bytes()

    def use(*todo: dict[str, Any], **more: Any) -> Answers:
        window = Answers(suite.folder / "dubs", [(DUB, choices) for choices in todo], **more)
        run(program.scripting(), window, plugin_folder(suite.folder), bridge_command())
        return window

    window = use(NEW, stop_at=2)
    assert window.said == ["Stopped; the timeline is as it was."] and program.project.as_bytes() == before
    window = use({**NEW, "minutes": "soon"}, NEW, {**NEW, "language": "de"}, {**KNOWN, "language": "fr"})
    said = ["The actor anna is made.", "2 dubbed. ", "2 dubbed. "]
    assert window.said == said, (window.said, window.problems)
    assert window.problems == [
        "'soon' is no number of minutes; expected one like 5",
        "the actor anna could not be made: anna is an actor of the library already; give another name,"
        " or remove it",
    ]
    offered = [(c.actor, c.new_actor, c.minutes) for c in window.offered]
    assert offered[1:3] == [("", "anna", "soon"), ("anna", "", "")] and "anna" in window.actors
    assert [(len(c.takes), c.color) for c in (first, second, third)] == [(3, "Teal"), (3, "Teal"), (0, "")]
    record = load_record(suite.service.config.actors / "anna.actor")
    assert record.consent.who == "Anna Example"
    assert {f.source for f in record.frames} == {suite.clip.name}
    assert any(stage.startswith("the actor anna: ") for stage in window.stages)
