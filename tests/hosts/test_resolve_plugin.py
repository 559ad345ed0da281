"""The menu entry of Resolve's double, with a live service and real frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resolve_double import Program, free_21_0, studio
from resolve_scene import (
    DUB,
    RESTORE,
    Answers,
    Suite,
    bridge_command,
    fill,
    plugin_folder,
    suite_in,
    with_takes,
)

from plugin_resolve.session import run
from visualdub.media.source import open_source

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def suite(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with suite_in(tmp_path_factory.mktemp("suite"), talking, flat_actor) as made:
        yield made


def use(program: Program, suite: Suite, *todo: tuple[str, dict[str, Any]], **more: Any) -> Answers:
    """One use of the menu entry; what its window was told."""
    folder = suite.folder / str(id(program))
    window = Answers(folder, list(todo), str(suite.actor), **more)
    run(program.scripting(), window, plugin_folder(suite.folder), bridge_command())
    return window


def pictures(path: str) -> list[Any]:
    with open_source(Path(path)) as source:
        return [np.array(frame.planes[0]) for frame in source.frames()]


@pytest.mark.parametrize("edition", [studio, free_21_0])
def test_a_timeline_is_dubbed_as_takes_and_restored(edition: Any, suite: Suite) -> None:
    program = fill(edition(), suite, (0, 5, 6), (8, 20, 5))
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
        assert media is not None and len(pictures(media.path)) == media.frames == clip.duration
        assert Path(media.path).suffix == ".mov"
    marks = program.line.markers
    assert sorted(marks) == ["0", "8"] and all(m["color"] == "Green" for m in marks.values())
    kept = json.loads(marks["8"]["customData"])["visualdub"]
    assert (kept["take"], kept["takes"], kept["color"]) == (2, 2, "Pink")
    assert program.project.bin == "bin-0" and program.project.page == "edit"
    window = use(program, suite, (RESTORE, {}))
    assert window.said[0].startswith("Restored: ") and program.project.as_bytes() == before
