"""What `vdub install` writes into a user's folders, and that taking it away leaves them as they were."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from visualdub.cli import run
from visualdub.errors import BadInput
from visualdub.install import System, host_named
from visualdub.install.files import (
    AddedLine,
    Installation,
    examine_files,
    install,
    read_record,
    uninstall,
)
from visualdub.install.packages import CLIENT, client_files
from visualdub.install.resolve import CATEGORIES, scripts_folder

ROOT = Path(__file__).resolve().parents[2]


def here(tmp_path: Path, platform: str = "linux") -> System:
    return System(platform, tmp_path / "home", {"VISUALDUB_HOSTS": str(tmp_path / "ours" / "hosts")})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def example(tmp_path: Path, text: bytes = b"one", lines: tuple[AddedLine, ...] = ()) -> Installation:
    return Installation("example", "Example", {tmp_path / "home" / "menu" / "ours.py": text}, lines)


# ---- files of ours -----------------------------------------------------------------------------------------


def test_installing_and_taking_away_leaves_the_home_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "home" / "menu").mkdir(parents=True)
    (tmp_path / "home" / "menu" / "theirs.py").write_text("theirs")
    before, system = contents(tmp_path), here(tmp_path)
    steps = install(system, example(tmp_path), dry_run=True)
    assert [s.what for s in steps] == ["write"] and contents(tmp_path) == before
    install(system, example(tmp_path))
    assert (tmp_path / "home" / "menu" / "ours.py").read_bytes() == b"one"
    assert [s.what for s in install(system, example(tmp_path))] == ["keep"]
    assert [s.what for s in uninstall(system, "example", dry_run=True)] == ["remove"]
    assert read_record(system, "example") is not None
    uninstall(system, "example")
    assert contents(tmp_path) == before and not (tmp_path / "ours" / "hosts").exists()
    with pytest.raises(BadInput, match="not installed in example"):
        uninstall(system, "example")


def test_a_file_that_is_not_ours_is_never_replaced_nor_removed(tmp_path: Path) -> None:
    system, path = here(tmp_path), tmp_path / "home" / "menu" / "ours.py"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody's")
    with pytest.raises(BadInput, match=r"ours\.py is there and is not what vdub install wrote"):
        install(system, example(tmp_path))
    assert path.read_bytes() == b"somebody's" and read_record(system, "example") is None
    path.unlink()
    install(system, example(tmp_path))
    path.write_bytes(b"edited")
    with pytest.raises(BadInput, match="is there and is not"):
        install(system, example(tmp_path, b"two"))
    steps = uninstall(system, "example")
    assert [s.what for s in steps] == ["leave, it was edited since:"] and path.read_bytes() == b"edited"


def test_a_newer_version_replaces_and_removes_what_the_older_one_wrote(tmp_path: Path) -> None:
    system = here(tmp_path)
    install(system, example(tmp_path))
    newer = Installation("example", "Example", {tmp_path / "home" / "menu" / "new.py": b"two"})
    assert sorted(s.what for s in install(system, newer)) == ["remove", "write"]
    assert sorted(p.name for p in (tmp_path / "home" / "menu").iterdir()) == ["new.py"]


def test_an_installation_that_ended_in_the_middle_can_be_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, folder = here(tmp_path), tmp_path / "home" / "menu"
    wanted = Installation("example", "Example", {folder / "a.py": b"a", folder / "b.py": b"b"})
    monkeypatch.setattr("visualdub.install.files._write", lambda path, content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        install(system, wanted)
    monkeypatch.undo()
    folder.mkdir(parents=True)
    (folder / "a.py").write_bytes(b"a")
    uninstall(system, "example")
    assert contents(tmp_path) == {}


# ---- lines in files of the user's --------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, b"", b"import x\n", b"import x", b"import x\r\n", b"\n\n", b"a\rb"])
def test_a_line_is_added_once_and_taken_out_again(tmp_path: Path, before: bytes | None) -> None:
    path, system = tmp_path / "home" / "init.py", here(tmp_path)
    path.parent.mkdir()
    if before is not None:
        path.write_bytes(before)
    wanted = example(tmp_path, lines=(AddedLine(path, "import ours"),))
    install(system, wanted)
    install(system, wanted)
    content = path.read_bytes()
    assert content.startswith(before or b"") and content.count(b"import ours  # added by vdub install") == 1
    uninstall(system, "example")
    assert (path.read_bytes() if path.exists() else None) == before


def test_what_the_user_wrote_around_our_line_stays(tmp_path: Path) -> None:
    path, system = tmp_path / "home" / "init.py", here(tmp_path)
    install(system, example(tmp_path, lines=(AddedLine(path, "import ours"),)))
    path.write_bytes(b"first\n" + path.read_bytes() + b"last\n")
    uninstall(system, "example")
    assert path.read_bytes() == b"first\nlast\n"


def test_a_line_that_another_version_wrote_is_replaced(tmp_path: Path) -> None:
    path, system = tmp_path / "home" / "init.py", here(tmp_path)
    install(system, example(tmp_path, lines=(AddedLine(path, "import old"),)))
    install(system, example(tmp_path, lines=(AddedLine(path, "import new"),)))
    assert path.read_bytes() == b"import new  # added by vdub install\n"
    uninstall(system, "example")
    assert not path.exists()


# ---- what doctor says of it --------------------------------------------------------------------------------


def test_doctor_tells_missing_lost_and_older_files(tmp_path: Path) -> None:
    system, wanted = here(tmp_path), example(tmp_path)
    assert examine_files(system, wanted)[0].detail.startswith("not installed")
    install(system, wanted)
    assert examine_files(system, wanted)[0].ok is True
    assert "another version" in examine_files(system, example(tmp_path, b"two"))[0].detail
    (tmp_path / "home" / "menu" / "ours.py").unlink()
    assert "is gone" in examine_files(system, wanted)[0].detail


# ---- DaVinci Resolve ---------------------------------------------------------------------------------------

FOLDERS = {
    "linux": ".local/share/DaVinciResolve/Fusion/Scripts",
    "darwin": "Library/Application Support/Blackmagic Design/DaVinci Resolve/Fusion/Scripts",
    "win32": "AppData/Roaming/Blackmagic Design/DaVinci Resolve/Support/Fusion/Scripts",
}


@pytest.mark.parametrize("platform", FOLDERS)
def test_resolve_gets_its_entries_in_the_folders_of_one_user(tmp_path: Path, platform: str) -> None:
    system = here(tmp_path, platform)
    install(system, host_named("resolve").installation(system))
    scripts = tmp_path / "home" / FOLDERS[platform]
    assert scripts_folder(system) == scripts
    names = sorted(str(p.relative_to(scripts)) for p in scripts.rglob("*") if p.is_file())
    assert names == sorted([*(f"{c}/Visual Dub.py" for c in CATEGORIES), "Utility/Visual Dub Export.lua"])
    elsewhere = {p for p in contents(tmp_path) if not p.startswith(f"home/{FOLDERS[platform]}/")}
    assert all(p.startswith("ours/hosts/") for p in elsewhere)
    uninstall(system, "resolve")
    assert contents(tmp_path) == {}


def test_what_is_copied_is_the_client_of_a_bridge_and_its_launch(tmp_path: Path) -> None:
    files = client_files(tmp_path)
    for name in CLIENT:
        assert files[tmp_path / "visualdub" / name] == (ROOT / "visualdub" / name).read_bytes()
    command = json.loads(files[tmp_path / "launch.json"])["command"]
    assert sys.executable in command and "-I" in command


def test_the_commands_install_take_away_and_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("VISUALDUB_HOSTS", str(tmp_path / "ours"))
    assert run(["install", "resolve", "--dry-run"]) == 0
    assert "would write" in capsys.readouterr().out and contents(tmp_path) == {}
    assert run(["install", "resolve", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["host"] == "resolve" and contents(tmp_path)
    assert run(["uninstall", "resolve"]) == 0 and contents(tmp_path) == {}
    assert run(["uninstall", "resolve"]) == 2
    assert run(["install", "premiere"]) == 2
    assert "premiere is no host that is known; expected one of" in capsys.readouterr().err
