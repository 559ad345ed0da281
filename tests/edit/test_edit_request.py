"""What is said of an edit beside the plan of its shots."""

from __future__ import annotations

from pathlib import Path

import pytest
from otio_text import clip as clip_of
from otio_text import media, timeline, track, write

from visualdub.actor.record import Consent
from visualdub.cli import run
from visualdub.edit.dubbing import EditOutput
from visualdub.edit.request import EditRequest, EditWords, EditWritten, plan_request, with_note_on_paths
from visualdub.edit.writing import HostRules, host_rules
from visualdub.wire.schema import EditOptions

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")


def test_paths_from_the_folder_of_the_edit_are_named(tmp_path: Path) -> None:
    """The dubbed edit lies elsewhere, and its bytes stay: a program would find none of these files."""
    urls = ("rushes/a.mov", "b.mov", str(tmp_path / "c.mov"), "file:///d.mov", "E:/e.mov")
    edit = write(
        tmp_path / "cut.otio", timeline(track(*(clip_of(u, 0, 8, reference=media(u)) for u in urls)))
    )
    (plan,) = plan_request(EditRequest(edit, None, EditWords(), EditWritten()))
    said: list[str] = []
    noted = with_note_on_paths(plan, EditOutput(tmp_path / "out", HostRules()), said.append)
    assert "2 media are named by paths from the folder of cut.otio" in noted.notes[-1] and len(said) == 1
    for output in (EditOutput(tmp_path, HostRules()), EditOutput(tmp_path / "out", host_rules("resolve"))):
        assert with_note_on_paths(plan, output, said.append) is plan
    assert len(said) == 1


@pytest.mark.parametrize(
    "given",
    [
        ("--dialogue", "a.wav"),
        ("--matte", "m.mkv"),
        ("--skip", "0:4"),
        ("--mouth-gain", "1.5"),
        ("--occluded", "draw"),
        ("--keep-audio",),
        ("--check-sync",),
        ("--minutes", "2"),
        ("--consent", "Ada, today, tests"),
    ],
)
def test_an_option_that_would_do_nothing_for_an_edit_is_refused(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = tmp_path / "cut.otio"
    edit.write_text("{}")
    assert run(["dub", str(edit), "-o", str(tmp_path / "out"), *given]) == 2
    assert f"is an edit, which {given[0]} is not for" in capsys.readouterr().err


def test_the_service_is_told_the_quality_and_the_consent(tmp_path: Path) -> None:
    written = EditWritten(tmp_path / "out", quality="draft")
    consent = Consent("Ada", "today", "tests")
    asked = EditRequest(tmp_path / "cut.otio", None, EditWords(), written, consent=consent).fields()
    assert (asked.pop("quality"), asked["consent"]) == ("draft", "Ada, today, tests")
    assert set(asked) == set(EditOptions.__struct_fields__)  # the rest is what the schema has


def test_a_quality_that_is_none_is_refused_for_an_edit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = tmp_path / "cut.otio"
    edit.write_text("{}")
    assert run(["dub", str(edit), "-o", str(tmp_path / "out"), "--quality", "rough"]) == 2
    assert "--quality rough is not known; expected final or draft" in capsys.readouterr().err
    wrong = ["--quality", "draft", "--consent", "Ada"]
    assert run(["dub", str(edit), "-o", str(tmp_path / "out"), *wrong]) == 2
    assert "consent 'Ada' is not complete" in capsys.readouterr().err


@pytest.mark.parametrize("given", [("--cast", "x.toml"), ("--longer", "cut"), ("--for", "nuke"), ("--plan",)])
def test_an_option_of_edits_is_refused_for_a_clip(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "a.mkv"
    clip.write_bytes(b"x")
    assert run(["dub", str(clip), "-o", str(tmp_path / "b.mkv"), "--dialogue", "w.wav", *given]) == 2
    assert f"is no edit, which {given[0]} is for" in capsys.readouterr().err
