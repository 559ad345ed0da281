"""The add-on in Blender itself, `bpy`, with a service that runs: `make test-blender`.

Blender runs in a process of its own. Without it these tests are skipped, but for those of the plain values.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from daemon.service import Service
from plugin_blender.dubbing import Asked, Dubbed, DubError, StripFacts, Task
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.records import read_provenance

ROOT = Path(__file__).resolve().parents[2]
STRIP = StripFacts("s", "/a.mov", 101.0, 111, 117, 0, 40)

# ---- plain values ------------------------------------------------------------------------------------------


def test_a_strip_shows_these_frames_of_its_clip() -> None:
    assert STRIP.clip_range() == (10, 16)
    assert replace(STRIP, trimmed=5).clip_range() == (15, 21)
    assert replace(STRIP, shown_from=101, shown_to=141).clip_range() == (0, 40)
    for wrong, says in (
        ({"retimed": True}, "retimed"),
        ({"frame_start": 101.5}, "retimed"),
        ({"shown_from": 100}, "shown at 101 to 140"),
        ({"shown_to": 142}, "pull its handles back"),
    ):
        with pytest.raises(DubError, match=says):
            replace(STRIP, **wrong).clip_range()


def test_frames_that_are_left_alone_are_those_of_the_clip() -> None:
    assert STRIP.clip_ranges("") == () == STRIP.clip_ranges(" , ")
    assert STRIP.clip_ranges("111-112, 116") == ((10, 12), (15, 16))
    assert replace(STRIP, trimmed=5).clip_ranges("111") == ((15, 16),)
    for wrong in ("110-112", "116-117", "113-112", "a few"):
        with pytest.raises(DubError, match=f"'{wrong}' is no range of s, which is shown at 111-116"):
            STRIP.clip_ranges(wrong)
    asked = Asked("/a.mov", (10, 16), "/d.wav", "ada", "/out", ((10, 12), (15, 16)))
    assert asked.fields()["skip"] == ["10:12", "15:16"] and "skip" not in replace(asked, skip=()).fields()
    assert asked.fields()["output"] != replace(asked, skip=()).fields()["output"]


@pytest.mark.parametrize("missing", ["dialogue", "actor", "folder"])
def test_what_is_not_chosen_is_said(missing: str) -> None:
    asked = Asked("/a.mov", (0, 9), "/d.wav", "ada", "/out")
    assert Path(asked.fields()["output"]).name.startswith("a.dub-")
    assert asked.fields()["output"] != replace(asked, dialogue="/e.wav").fields()["output"]
    with pytest.raises(DubError, match=f"no {missing} is chosen"):
        replace(asked, **{missing: ""}).fields()


def test_a_draft_needs_no_actor_but_consent() -> None:
    final = Asked("/a.mov", (0, 9), "/d.wav", "ada", "/out", consent="Ada, today, tests")
    rough = replace(final, quality="draft")
    drafted = replace(rough, actor="")
    assert "quality" not in final.fields() and "consent" not in final.fields()
    assert (rough.fields()["quality"], rough.fields()["actor"]) == ("draft", "ada")
    assert (drafted.fields()["quality"], drafted.fields()["consent"]) == ("draft", "Ada, today, tests")
    assert "actor" not in drafted.fields() and "consent" not in rough.fields()
    assert len({a.fields()["output"] for a in (final, rough, drafted)}) == 3
    with pytest.raises(DubError, match="no consent is typed"):
        replace(drafted, consent="").fields()


@pytest.fixture
def asked(talking: Path, flat_actor: Path, hum: Path, tmp_path: Path, bridge: list[str]) -> Asked:
    return Asked(str(talking), (10, 16), str(hum), str(flat_actor), str(tmp_path / "dubs"))


def outcome(task: Task, seconds: float = 60) -> Dubbed | str:
    end = time.monotonic() + seconds
    while task.outcome is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return task.outcome


def test_a_task_that_is_stopped_leaves_no_movie(asked: Asked, live_service: Service) -> None:
    task = Task(asked, live_service.front.endpoints[0])
    task.start()
    task.stop()
    assert outcome(task) == "" and os.listdir(asked.folder) == []
    again = Task(asked, live_service.front.endpoints[0])
    again.start()
    dubbed = outcome(again)
    assert isinstance(dubbed, Dubbed) and (dubbed.frames, dubbed.drawn) == (6, 6)
    assert again.far[0] and Path(dubbed.path).is_file()


def test_a_draft_of_a_strip_is_drawn_out_of_its_clip(asked: Asked, live_service: Service) -> None:
    drafted = replace(asked, actor="", quality="draft", consent="Ada, today, tests")
    task = Task(drafted, live_service.front.endpoints[0])
    task.run()
    assert isinstance(task.outcome, Dubbed) and task.outcome.drawn == 6
    assert any("a draft, drawn out of" in note for note in task.outcome.notes)
    record = read_provenance(Path(task.outcome.path))
    assert record.consent["who"] == "Ada" and record.renderer == {"provider": "none", "mode": "draft"}


def test_a_task_without_a_service_says_so(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALDUB_DAEMON", str(tmp_path / "none"))
    task = Task(asked)
    task.run()
    assert (
        isinstance(task.outcome, str) and "expected a service that it can reach: vdub serve" in task.outcome
    )


# ---- in Blender --------------------------------------------------------------------------------------------


@pytest.mark.blender
def test_a_strip_is_dubbed_rendered_and_undone_in_blender(
    asked: Asked, live_service: Service, tmp_path: Path
) -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("bpy, Blender as a module, is not installed: make test-blender")
    with open_source(Path(asked.clip)) as source:
        size = (source.info.image.width, source.info.image.height)
    values = {
        "clip": asked.clip,
        "actor": asked.actor,
        "dialogue": asked.dialogue,
        "folder": asked.folder,
        "service": live_service.front.endpoints[0],
        "size": size,
        "out": str(tmp_path),
    }
    said = in_blender(values)
    assert said["menu"][-1] == "draw_menu" and said["ended"] == ["FINISHED"]
    assert said["strip"] == [2, 111, 117, "plate"]
    assert said["changed"] == ["select"] and said["undone"] and said["redone"] and said["removed"]
    assert not said["can_remove"]
    assert said["in_meta"] == [[["plate", 1, 111], ["plate dubbed", 2, 111]], True], said["in_meta"]
    nothing, nobody, gone, *killed, held = said["refused"]
    assert "no consent is typed" in nobody and said["drafted"] == ["draft", ["consent"], True]
    assert len(killed) == 3 and all("the bridge has ended" in text for text in killed), killed
    assert "no dialogue is chosen" in nothing and "hum.wav.gone" in gone and "pull its handles back" in held
    shown, alone = ([read_rgb(Path(p)) for p in said[k]] for k in ("frames", "alone"))
    assert len(shown) == 6 and all(map(np.array_equal, shown, alone))
    with open_source(Path(said["movie"])) as movie:
        dubbed = [frame_rgb(f, fast=True) for f in movie.frames()]
    # Blender's own conversion of YUV: with 5.0.1, at most 3 codes and 1.1 on average from swscale's quick one
    apart = [np.abs(a - b.astype(int)) for a, b in zip(shown, dubbed, strict=True)]
    print("apart:", [(int(a.max()), round(float(a.mean()), 3)) for a in apart])
    assert max(a.max() for a in apart) <= 4 and max(a.mean() for a in apart) < 1.5
    plate, again = (read_rgb(Path(said[k])) for k in ("plate", "again"))
    assert np.array_equal(plate, again) and np.abs(plate - dubbed[1].astype(int)).max() > 30


def in_blender(values: dict[str, Any]) -> dict[str, Any]:
    """What `blender_session.py` says of itself."""
    paths = [str(ROOT), *(p for p in sys.path if p)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "hosts" / "blender_session.py"), json.dumps(values)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONFAULTHANDLER": "1"},
        check=False,
    )
    lines = [t for t in done.stdout.splitlines() if t.startswith("SAID ")]
    assert lines, f"{done.returncode} {done.stdout[-2000:]} {done.stderr[-4000:]}"
    said: dict[str, Any] = json.loads(lines[-1].removeprefix("SAID "))
    return said


def read_rgb(path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    codes = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert codes is not None, path
    return codes[..., ::-1].astype(np.int64)
