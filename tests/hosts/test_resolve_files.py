"""The way by files, for the free edition from 21.1 on: a timeline is exported, dubbed and imported."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import lumas_of, write_wav
from resolve_double import LineObject, PoolObject, Program, ResolveObject, free_21_1
from resolve_editing import add_clip, add_line
from resolve_surface import methods_of

from visualdub.cli import run
from visualdub.install import System, host_named
from visualdub.install.files import install

PRELUDE = Path(__file__).with_name("resolve_prelude.lua")


# ---- the menu entry of Lua ---------------------------------------------------------------------------------


@pytest.fixture
def luajit() -> str:
    found = shutil.which("luajit")
    if found is None:
        pytest.skip("there is no luajit here, the Lua that Resolve runs")
    return found


def run_entry(luajit: str, folder: Path, timeline: str | None) -> tuple[Path, set[str]]:
    """Run the installed entry; the folder that it leaves requests in, and what it called."""
    system = System("linux", folder, {"VISUALDUB_HOSTS": str(folder / 'hosts "x"')})
    install(system, host_named("resolve").installation(system))
    entry = folder / ".local/share/DaVinciResolve/Fusion/Scripts/Utility/Visual Dub Export.lua"
    environment = {"TIMELINE": timeline} if timeline is not None else {}
    command = [luajit, str(PRELUDE), str(entry), str(folder / "calls")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder / 'hosts "x"' / "resolve" / "requests", set((folder / "calls").read_text().split())


def test_the_entry_of_lua_exports_and_leaves_a_request(luajit: str, tmp_path: Path) -> None:
    requests, calls = run_entry(luajit, tmp_path, "Reel 1 / Übung")
    names = sorted(p.name for p in requests.iterdir())
    assert len(names) == 3 and names[0] == "README.txt" and names[1].startswith("Reel_1_")
    assert (requests / names[1]).suffix == ".otio" and (requests / names[2]).suffix == ".request"
    text = (requests / names[2]).read_text()
    assert f'["edit"] = "{requests / names[1]!s}"'.replace('"x"', '\\"x\\"') in text
    assert '["sound_tracks"] = { [1] = "Audio 1", [2] = "Dialogue FR" }' in text
    assert '["timeline"] = "Reel 1 / Übung"' in text and '["product"] = "DaVinci Resolve"' in text
    for call in calls:
        kind, name = call.split(".")
        assert name in methods_of(kind, (21, 1, 0)), call


def test_the_entry_of_lua_without_a_timeline_leaves_the_reason(luajit: str, tmp_path: Path) -> None:
    requests, _ = run_entry(luajit, tmp_path, None)
    assert "no timeline is open" in (requests / "problem.request").read_text()
    assert list(requests.glob("*.otio")) == []


# ---- export, command, import -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_timeline_goes_out_and_comes_back_dubbed(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
    program: Program = free_21_1()
    add_line(program)
    add_clip(program, talking, 0, 5, 6)
    add_clip(program, talking, 8, 20, 5)
    add_clip(program, write_wav(tmp_path / "new words.wav", 1.6), 0, 0, 40)
    before = program.project.as_bytes()
    resolve = ResolveObject(program, "")  # what the menus do: File > Export and File > Import
    line = LineObject(program, program.project.line)
    exported, folder = tmp_path / "cut.otio", tmp_path / "dubbed"
    assert line.Export(str(exported), resolve.EXPORT_OTIO, resolve.EXPORT_NONE)
    original = exported.read_bytes()
    options = ["--dialogue-track", "Audio 1", "--actor", str(flat_actor), "-o", str(folder)]
    assert run(["dub", str(exported), "--for", "resolve", *options]) == 0
    assert re.search(r"cut\.otio: 2 clips, 2 dubbed, 0 left alone", capsys.readouterr().out)
    back = PoolObject(program, "pool").ImportTimelineFromFile(
        str(folder / "cut.otio"), {"timelineName": "Dub"}
    )
    assert back is not None and (back.GetStartFrame(), back.GetEndFrame()) == (90000, 90040)
    for item, (start, length) in zip(back.GetItemListInTrack("video", 1), ((0, 6), (8, 5)), strict=True):
        movie = item.GetMediaPoolItem().GetClipProperty("File Path")
        assert (item.GetStart(False) - 90000, item.GetDuration(False)) == (start, length)
        assert Path(movie).parent == folder / "shots" and item.GetLeftOffset(False) == 0
        assert len(lumas_of(movie)) == length
    assert run(["edit", "undo", str(folder / "cut.otio")]) == 0
    assert (folder / "cut.otio").read_bytes() == original == exported.read_bytes()
    assert before != program.project.as_bytes()
