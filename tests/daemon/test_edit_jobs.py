"""Edits as jobs of the service, and scripts of a dub."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from daemon_helpers import client_of, running, short_folder
from helpers import lumas_of, write_wav
from otio_text import clip, media, timeline, track, write

from daemon.config import Config
from visualdub.cli import run
from visualdub.demo.run import FRENCH
from visualdub.records import read_provenance
from visualdub.wire import BadRequest, Client, Refused

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
pytestmark = pytest.mark.slow
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs the program espeak-ng")
RATE = 25.0


class Suite:
    """A service with a worker, and an edit below its root."""

    def __init__(self, client: Client, folder: Path, clip: Path, actor: Path) -> None:
        self.client, self.folder, self.clip, self.actor = client, folder, clip, actor


@pytest.fixture(scope="module")
def suite(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    folder = tmp_path_factory.mktemp("suite")
    write_wav(folder / "new.wav", 1.6)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        short = stack.enter_context(short_folder())
        patch.setenv("XDG_RUNTIME_DIR", str(short))
        roots = (folder, talking.parent, flat_actor.parent)
        service = stack.enter_context(running(Config(roots, short / "run", short / "state")))
        client = stack.enter_context(client_of(service))
        yield Suite(client, folder, talking, flat_actor)


def shot(name: str, path: Path, start: float, length: float) -> dict[str, Any]:
    return clip(name, start, length, RATE, reference=media(str(path), 0, 40, RATE))


def edit_of(path: Path, *shots: dict[str, Any], voice: Path) -> Path:
    """An edit with one track of pictures and one of dialogue."""
    return write(path, timeline(track(*shots), track(shot("new", voice, 0, 40), kind="Audio", name="new")))


def test_an_edit_is_dubbed_as_the_command_does(suite: Suite, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.mkv"
    shutil.copyfile(suite.clip, elsewhere)
    shots = shot("a", suite.clip, 5, 8), shot("b", elsewhere, 0, 6)
    edit = edit_of(suite.folder / "cut.otio", *shots, voice=suite.folder / "new.wav")
    before = edit.read_bytes()
    asked = {"edit": str(edit), "actor": str(suite.actor), "dialogue_track": "new"}
    job = suite.client.submit_edit(output=str(suite.folder / "out"), **asked)
    stages = {row["stage"] for row in suite.client.watch(job)}
    row = suite.client.job(job)
    assert row["state"] == "done", row["reason"]
    assert any(stage.startswith("shot 1 of 2: ") for stage in stages), stages
    first, second = row["result"]["shots"]
    assert (first["action"], first["timeline"]) == ("dub", [0, 8])
    assert second["movie"] is None and "lies outside" in second["reason"]  # the roots of the service
    (written,) = row["result"]["outputs"]
    assert Path(written["edit"]).is_file() and Path(written["report"]).is_file()
    arguments = ["dub", str(edit), "-o", str(tmp_path / "direct"), "--actor", str(suite.actor)]
    assert run([*arguments, "--dialogue-track", "new"]) == 0
    (direct,) = (tmp_path / "direct" / "shots").glob("0001*.mkv")
    for ours, theirs in zip(lumas_of(Path(first["movie"])), lumas_of(direct), strict=True):
        assert abs(ours.astype(int) - theirs).max() < 40 and (ours == theirs).mean() > 0.99  # another mark
    assert edit.read_bytes() == before
    stamp = Path(first["movie"]).stat().st_mtime_ns
    again = suite.client.submit_edit(output=str(suite.folder / "out"), **asked)
    assert again != job and suite.client.wait(again)["state"] == "done"
    assert Path(first["movie"]).stat().st_mtime_ns == stamp  # what is done is not dubbed again


def test_an_edit_is_drafted_with_consent_and_made_final_by_the_same_job(suite: Suite) -> None:
    """The final is drawn by an actor who came into the library meanwhile, recognised by the face."""
    for known in suite.client.actors():
        suite.client.remove_actor(Path(known["path"]).stem)
    edit = edit_of(suite.folder / "rough.otio", shot("a", suite.clip, 5, 6), voice=suite.folder / "new.wav")
    asked = {"edit": str(edit), "dialogue_track": "new", "output": str(suite.folder / "rough")}
    row = suite.client.wait(suite.client.submit_edit("draft", **asked))
    assert row["state"] == "failed" and "needs consent" in row["reason"]
    with pytest.raises(BadRequest, match="is not complete"):
        suite.client.submit_edit("draft", **asked, consent="Ada")
    job = suite.client.submit_edit("draft", **asked, consent="Ada, today, tests")
    row = suite.client.wait(job)
    assert (row["state"], row["quality"]) == ("done", "draft"), row["reason"]
    (made,) = row["result"]["shots"]
    record = read_provenance(Path(made["movie"]))
    assert record.consent["who"] == "Ada" and record.renderer == {"provider": "none", "mode": "draft"}
    suite.client.add_actor(str(suite.actor))
    suite.client.final(job)
    row = suite.client.wait(job)
    assert (row["state"], row["quality"]) == ("done", "final"), row["reason"]
    assert (read_provenance(Path(made["movie"])).renderer or {})["provider"] == "cpu"


@pytest.mark.parametrize("actor", ["flat", None])
def test_an_actor_of_the_library_speaks_in_an_edit(suite: Suite, actor: str | None) -> None:
    """By name, and recognised where nobody is named; the library lies outside the roots."""
    if not suite.client.actors():
        suite.client.add_actor(str(suite.actor))
    edit = edit_of(suite.folder / "library.otio", shot("a", suite.clip, 5, 6), voice=suite.folder / "new.wav")
    folder = suite.folder / f"by {actor}"
    job = suite.client.submit_edit(
        edit=str(edit), actor=actor, dialogue_track="new", output=str(folder), codec="ffv1"
    )
    row = suite.client.wait(job)
    assert row["state"] == "done", row["reason"]
    assert [s["action"] for s in row["result"]["shots"]] == ["dub"], row["result"]


def test_paths_of_an_edit_outside_the_roots_are_refused(suite: Suite, tmp_path: Path) -> None:
    voice = tmp_path / "new.wav"
    write_wav(voice, 1.6)
    edit = edit_of(suite.folder / "far.otio", shot("a", suite.clip, 0, 8), voice=voice)
    asked = {"actor": str(suite.actor), "dialogue_track": "new"}
    job = suite.client.submit_edit(edit=str(edit), output=str(suite.folder / "far"), **asked)
    row = suite.client.wait(job)
    assert row["state"] == "failed" and "lies outside" in row["reason"] and str(voice) in row["reason"]
    far = edit_of(tmp_path / "cut.otio", shot("a", suite.clip, 0, 8), voice=voice)
    here = str(suite.folder / "far")
    for wrong in ({"edit": str(far), "output": here}, {"edit": str(edit), "output": str(tmp_path / "x")}):
        with pytest.raises(Refused, match="outside"):
            suite.client.submit_edit(**wrong, **asked)
    with pytest.raises(Refused, match="outside"):
        suite.client.submit_edit(edit=str(edit), output=here, cast=str(tmp_path / "cast.toml"), **asked)


@needs_espeak
def test_a_script_decides_what_the_lips_do(suite: Suite) -> None:
    shutil.copyfile(FRENCH, suite.folder / "french.wav")
    script = suite.folder / "said.txt"
    script.write_text("un deux trois quatre cinq six sept huit neuf dix")
    asked = {"clip": suite.clip, "actor": suite.actor, "dialogue": suite.folder / "french.wav"}
    dub = {**{k: str(v) for k, v in asked.items()}, "frames": "0:10"}
    job = suite.client.submit(**dub, output=str(suite.folder / "s.mkv"), script=str(script), language="fr")
    row = suite.client.wait(job)
    assert row["state"] == "done", row["reason"]
    assert any(note.startswith("script: ") for note in row["result"]["notes"])
    half = suite.client.submit(**dub, output=str(suite.folder / "h.mkv"), script=str(script))
    row = suite.client.wait(half)
    assert row["state"] == "failed" and "a script needs its language" in row["reason"]
