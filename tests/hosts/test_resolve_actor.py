"""New, from these clips: an actor is made of a timeline in the double of Resolve, and speaks in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from resolve_double import studio
from resolve_editing import add_clip
from resolve_scene import DUB, Answers, Suite, bridge_command, copy_of, fill, plugin_folder, suite_in

from plugin_resolve.session import run
from visualdub.actor.record import load_record
from visualdub.wire.requests import Requests

pytest.importorskip("torch", reason="torch is not installed (the extra `training`)")
pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CONSENT = "Anna Example, 2026-11-01, tests"
NEW = {"actor": "", "new_actor": "anna", "consent": CONSENT}


@pytest.fixture(scope="module")
def suite(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with suite_in(tmp_path_factory.mktemp("suite"), talking, flat_actor) as made:
        yield made


def test_an_actor_is_made_of_the_chosen_clips_and_speaks(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    plain = Requests.adapt

    def one_step(self: Requests, clips: list[str], name: str, consent: str) -> int:
        asked.append(list(clips))
        return plain(self, clips, name, consent, steps=1)

    monkeypatch.setattr(Requests, "adapt", one_step)
    program = fill(studio(), suite, (0, 5, 6), (8, 20, 5))
    other = copy_of(suite.clip, suite.folder / "somebody else.mkv")
    add_clip(program, other, 50, 0, 5)
    first, second, third = program.line.of_kind("video")[0].clips
    program.project.selected = [first.uid, second.uid]
    before = program.project.as_bytes()

    def use(stop_at: int = 10**6, **more: Any) -> Answers:
        window = Answers(
            suite.folder / "dubs", [(DUB, {"scope": "selected", **NEW, **more})], stop_at=stop_at
        )
        run(program.scripting(), window, plugin_folder(suite.folder), bridge_command())
        return window

    window = use(stop_at=2)
    assert window.said == ["Stopped; the timeline is as it was."] and program.project.as_bytes() == before
    window = use()
    assert window.problems == [] and window.said == ["2 dubbed. "], (window.said, window.problems)
    assert asked == [[str(suite.clip)]] * 2  # each clip's media once, of the chosen clips alone
    assert [(len(c.takes), c.color) for c in (first, second, third)] == [(2, "Teal"), (2, "Teal"), (0, "")]
    assert load_record(suite.service.config.actors / "anna.actor").consent.who == "Anna Example"
    assert any("training" in stage for stage in window.stages)
    window = use()
    assert window.problems[0].startswith("the actor anna could not be made: anna is an actor of the library")
    window = use(actor="anna", new_actor="", consent="", language="fr")
    assert "anna" in window.actors and window.said == ["2 dubbed. "], (window.said, window.problems)
