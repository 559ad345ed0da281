"""The demo from end to end, the adaptation replaced by an actor that paints flat skin."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers import write_flat_actor

from visualdub.cli import run
from visualdub.demo.run import lookup, shown
from visualdub.face.tracker import track_clip
from visualdub.media.source import probe


def test_demo_leaves_everything_it_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def adapt(name: str, args: list[str]) -> None:
        called.append([name, *args])
        write_flat_actor(Path(args[args.index("-o") + 1]), track_clip(Path(args[0])))

    monkeypatch.setattr("visualdub.cli.entry_points.run_command", adapt)
    monkeypatch.setattr("visualdub.cli.entry_points.find_command", lambda name: None)
    folder = tmp_path / "demo"
    assert run(["demo", "-o", str(folder), "--minutes", "0.1"]) == 0
    assert len(called) == 1 and called[0][called[0].index("--frames") + 1] == "0:100"
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
    assert all((folder / name).exists() for name in re.findall(r'src="([^"]+)"', page))
    assert json.loads((folder / "dub.mp4.provenance.json").read_text())["synthetic"] is True


def test_values_of_the_page() -> None:
    table = {"a": {"b": 0.12345, "c": None, "d": 3}}
    assert [shown(lookup(table, k)) for k in ("a.b", "a.c", "a.d", "a.x.y")] == ["0.123", "-", "3", "-"]
