"""Every call that the plug-in makes of Resolve, held against what its editions document."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import vermin
from resolve_surface import ADDED, STUDIO_ONLY, methods_of

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "plugin_resolve"
HOST = PLUGIN / "host.py"
CALLS = {  # class -> what the plug-in asks of it; all of it is documented for every edition it is made in
    "Resolve": {"GetProductName", "GetVersion", "GetProjectManager", "GetCurrentPage", "OpenPage"},
    "ProjectManager": {"GetCurrentProject"},
    "Project": {
        *("GetName", "GetUniqueId", "GetMediaPool", "GetCurrentTimeline", "SetCurrentTimeline"),
        *("GetTimelineCount", "GetTimelineByIndex"),
    },
    "MediaPool": {
        *("GetRootFolder", "GetCurrentFolder", "SetCurrentFolder", "AddSubFolder", "DeleteFolders"),
        *("ImportMedia", "DeleteClips", "AppendToTimeline"),
    },
    "Folder": {"GetName", "GetUniqueId", "GetSubFolderList", "GetClipList"},
    "MediaPoolItem": {"GetClipProperty"},
    "Timeline": {
        *("GetUniqueId", "GetName", "GetStartFrame", "GetSetting", "GetTrackCount", "GetTrackName"),
        *("SetTrackName", "GetIsTrackLocked", "AddTrack", "DeleteTrack", "GetItemListInTrack"),
        *("GetCurrentVideoItem", "DeleteClips", "Export", "AddMarker", "GetMarkers", "DeleteMarkerAtFrame"),
    },
    "TimelineItem": {
        *("GetUniqueId", "GetName", "GetStart", "GetEnd", "GetDuration", "GetLeftOffset"),
        *("GetMediaPoolItem", "GetClipEnabled", "SetClipEnabled"),
        *("GetClipColor", "SetClipColor", "ClearClipColor"),
        *("AddTake", "GetTakesCount", "GetSelectedTakeIndex", "GetTakeByIndex", "SelectTakeByIndex"),
        *("DeleteTakeByIndex", "FinalizeTake"),
    },
}
GUARDED = {"GetSelectedClips"}  # asked for only where `dir` says that this version has it


def named_in(path: Path) -> set[str]:
    """The names of all methods that a module calls as Resolve's are called, in capitals."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return {f.attr for f in called if isinstance(f, ast.Attribute) and f.attr[:1].isupper()}


def test_the_list_is_what_the_module_calls() -> None:
    assert named_in(HOST) == set().union(*CALLS.values()) | GUARDED


@pytest.mark.parametrize("version", [(19, 1, 3), (20, 3, 0), (21, 0, 3), (21, 0, 4), (21, 1, 0)])
def test_every_call_is_documented_in_every_version(version: tuple[int, int, int]) -> None:
    for kind, methods in CALLS.items():
        assert methods <= methods_of(kind, version), kind
    assert {("Timeline", name) for name in GUARDED} <= set(ADDED)


def test_no_call_is_one_of_studio_alone() -> None:
    assert [(k, m) for k, methods in CALLS.items() for m in methods if (k, m) in STUDIO_ONLY] == []


def test_what_is_newer_than_the_oldest_version_is_asked_for_by_dir() -> None:
    text = HOST.read_text(encoding="utf-8")
    for name in GUARDED:
        assert text.count(f".{name}()") == 1 and f'"{name}" in dir(' in text
    assert "hasattr" not in text.replace("`hasattr`", "") and "getattr" not in text


def test_no_other_module_touches_resolve() -> None:
    for path in sorted(PLUGIN.glob("*.py")):
        if path != HOST:
            assert named_in(path) & set().union(*CALLS.values()) == set(), path.name
            assert "DaVinciResolveScript" not in path.read_text(encoding="utf-8")


# ---- the host's Python -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PLUGIN.glob("*.py")), ids=lambda p: p.name)
def test_the_plugin_runs_on_python_3_9(path: Path) -> None:
    _, oldest = vermin.detect(path.read_text(encoding="utf-8"))
    assert (oldest or (3, 0)) <= (3, 9)


def test_the_plugin_loads_the_standard_library_alone() -> None:
    names = ", ".join(f"plugin_resolve.{p.stem}" for p in sorted(PLUGIN.glob("*.py")) if p.stem != "window")
    script = f"import sys\nbefore = set(sys.modules)\nimport {names}\nprint(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert {n for n in loaded if n not in sys.stdlib_module_names} == {"visualdub", "plugin_resolve"}
