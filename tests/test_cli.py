"""The command line: what it lists, what it prints, and what each ending looks like."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from visualdub import __version__, cli
from visualdub.cli import entry_points as find
from visualdub.errors import BadInput, Interrupted, OutputError
from visualdub.storage import require_writable, write_json, write_text

COMMANDS = (
    "demo",
    "track",
    "sync",
    "adapt",
    "dub",
    "reenact",
    "evaluate",
    "train",
    "export",
    "actor",
    "doctor",
)


def test_help_lists_every_command_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    listed = re.findall(r"^\W{1,2}(\w+) ", capsys.readouterr().out, re.M)
    assert [c for c in listed if c in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("adapt", "train", "export")])
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--help"]) == 0
    assert f"vdub {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"vdub {__version__}\n"


@pytest.mark.parametrize(
    "args", [["frobnicate"], ["dub"], ["track", "x.mp4", "--no-such-option"], ["demo", "--minutes", "many"]]
)
def test_wrong_usage_is_status_2_without_a_traceback(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(args) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (BadInput("x.mp4 is a poem; expected a movie"), 2, "vdub: x.mp4 is a poem; expected a movie\n"),
        (OutputError("out is read-only"), 2, "vdub: out is read-only\n"),
        (OSError(28, "No space left on device", "out.mkv"), 2, "vdub: out.mkv: No space left on device\n"),
        (KeyboardInterrupt(), 130, "vdub: stopped\n"),
        (
            Interrupted("stopped at step 7; the next run goes on from there"),
            130,
            "vdub: stopped at step 7; the next run goes on from there\n",
        ),
        (BadInput("two\nlines"), 2, "vdub: two lines\n"),
    ],
)
def test_every_failure_is_one_line_and_its_status(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*args: object, **kwargs: object) -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    assert cli.run(["track", "x.mp4"]) == status
    assert capsys.readouterr().err == line


def test_a_failure_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> NoReturn:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(ZeroDivisionError):
        cli.run(["track", "x.mp4"])


class Absent:
    """An entry point of a room whose package is missing."""

    name = "adapt"

    def load(self) -> NoReturn:
        raise ImportError("No module named 'torch'")


def test_a_room_that_is_not_installed_only_lacks_its_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(find, "offered", lambda: {"adapt": Absent()})
    assert cli.run(["--help"]) == 0
    assert "demo" in capsys.readouterr().out
    assert cli.run(["adapt", "clip.mp4", "--actor", "ada"]) == 2
    assert "pip install 'visualdub[training]'" in capsys.readouterr().err


def test_dub_without_an_actor_names_what_it_needs(
    talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from helpers import write_wav

    wav = write_wav(tmp_path / "new.wav", 1.0)
    assert cli.run(["dub", str(talking), "--dialogue", str(wav), "-o", str(tmp_path / "out.mkv")]) == 2
    assert "consent" in capsys.readouterr().err


def test_dub_without_an_actor_adapts_first_and_says_how_long(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from helpers import write_wav

    called: list[list[str]] = []

    def adapt(name: str, args: list[str]) -> NoReturn:
        called.append([name, *args])
        raise Interrupted("far enough for this test")

    monkeypatch.setattr(find, "run_command", adapt)
    wav = write_wav(tmp_path / "new.wav", 1.0)
    args = [
        "dub",
        str(talking),
        "--dialogue",
        str(wav),
        "-o",
        str(tmp_path / "out.mkv"),
        "--minutes",
        "3",
        "--consent",
        "a, b, c",
    ]
    assert cli.run(args) == 130
    folder = tmp_path / "talking.actor"
    assert called == [
        [
            "adapt",
            str(talking),
            "--actor",
            "talking",
            "--minutes",
            "3",
            "-o",
            str(folder),
            "--consent",
            "a, b, c",
        ]
    ]
    assert "about 3 minutes" in capsys.readouterr().err


def test_actor_commands(
    tmp_path: Path, flat_actor: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    shutil.copytree(flat_actor, tmp_path / "ada.actor")
    monkeypatch.chdir(tmp_path)
    assert cli.run(["actor", "list", "--json"]) == 0
    assert [a["path"] for a in json.loads(capsys.readouterr().out)["actors"]] == ["ada.actor"]
    assert cli.run(["actor", "show", "ada", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["consent"]["who"] == "the test suite"
    assert cli.run(["actor", "withdraw", "ada"]) == 0
    assert cli.run(["actor", "list"]) == 0
    assert "withdrawn" in capsys.readouterr().out
    assert cli.run(["actor", "forget", "ada"]) == 2  # nobody is there to ask
    assert (tmp_path / "ada.actor").is_dir()
    assert cli.run(["actor", "forget", "ada", "--yes"]) == 0
    assert not (tmp_path / "ada.actor").exists()


def test_track_prints_json_alone_on_stdout(
    talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = tmp_path / "overlay.mp4"
    assert (
        cli.run(
            [
                "track",
                str(talking),
                "--frames",
                "0:20",
                "-o",
                str(tmp_path / "t.npz"),
                "--overlay",
                str(overlay),
                "--json",
            ]
        )
        == 0
    )
    values = json.loads(capsys.readouterr().out)
    assert values["frames"] == values["usable"] == 20
    assert values["reprojection_percent"] < 1.5 and values["lip_lag_frames"] == 0
    from visualdub.face.track import Track
    from visualdub.media.source import probe

    assert len(Track.load(tmp_path / "t.npz")) == 20 and probe(overlay).frame_count == 20


def test_doctor_finds_this_machine_well(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["doctor", "--json"])
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    broken = {name for name, f in found.items() if f["ok"] is False}
    assert broken <= {"memory", "cache"}  # the machine may be small; the installation may not be broken
    assert {"python", "face model", "speech model", "encoders", "torch"} <= set(found)


def test_native_logs_stay_off_stderr() -> None:
    code = (
        "import os, sys; from visualdub import cli; cli.quiet_native_logs(); os.write(2, b'noise');"
        " sys.stderr.write('kept')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "kept"


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"é": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"é": 1}
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken"):
        write_text(tmp_path / "taken", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "taken"]
    with pytest.raises(OutputError, match="is a folder"):
        require_writable(tmp_path / "taken")
    with pytest.raises(OutputError, match="nowhere is not a folder"):
        require_writable(tmp_path / "nowhere" / "x.mkv")
