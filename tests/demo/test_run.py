"""The demo from end to end, the adaptation replaced by an actor that paints flat skin."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from helpers import write_flat_actor

from visualdub.cli import run
from visualdub.demo.run import DemoFiles, lookup, shown
from visualdub.face.tracker import cached_track
from visualdub.media.source import probe
from visualdub.services import AdaptRequest
from visualdub.stages import Progress


@pytest.mark.slow
def test_demo_leaves_everything_it_promises(
    demo_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[AdaptRequest] = []

    def adapt(request: AdaptRequest, progress: Progress, note: object) -> None:
        requests.append(request)
        write_flat_actor(request.folder, cached_track(request.clips[0].path)[0])

    # `make_source` has made the clip, once for all tests
    monkeypatch.setattr("visualdub.demo.run.make_source", lambda path: shutil.copyfile(demo_clip, path))
    monkeypatch.setattr("visualdub.services.adapt_service", lambda: adapt)
    folder = tmp_path / "demo"
    assert run(["demo", "-o", str(folder), "--steps", "3"]) == 0
    assert [(str(r.clips[0].frames), r.steps, r.name) for r in requests] == [("0:100", 3, "portrait")]
    files = {p.name for p in folder.iterdir()}
    assert files >= {
        "source.mp4",
        "dub.mp4",
        "side_by_side.mp4",
        "contact_sheet.jpg",
        "demo.jpg",
        "report.html",
        "portrait.actor",
        "dub.mp4.report.json",
        "dub.mp4.provenance.json",
    }
    assert not any(name.endswith(".partial") for name in files)
    movies = [probe(folder / f"{name}.mp4") for name in ("source", "dub", "side_by_side")]
    assert [m.frame_count for m in movies] == [125, 125, 125] and all(m.has_audio for m in movies)
    page = (folder / "report.html").read_text()
    assert "Synthetic" in page and not re.search(r"\{\{\w+\}\}", page)
    assert all((folder / name).exists() for name in re.findall(r'src="([^"#]+)', page))
    assert json.loads((folder / "dub.mp4.provenance.json").read_text())["synthetic"] is True


def test_files_that_are_not_a_demos_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("visualdub.cli.entry_points.find_command", lambda name: None)
    (tmp_path / "portrait.actor").mkdir()
    (tmp_path / "source.mp4").write_bytes(b"the user's own")
    assert run(["demo", "-o", str(tmp_path)]) == 2
    assert "source.mp4 is there already and not of a demo" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"portrait.actor", "source.mp4"}
    assert (tmp_path / "source.mp4").read_bytes() == b"the user's own"
    DemoFiles(tmp_path).mark.write_text("a demo that was stopped")
    DemoFiles(tmp_path).require_own()


def test_values_of_the_page() -> None:
    table = {"a": {"b": 0.12345, "c": None, "d": 3}}
    assert [shown(lookup(table, k)) for k in ("a.b", "a.c", "a.d", "a.x.y")] == ["0.123", "-", "3", "-"]
