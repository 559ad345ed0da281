"""The command line: what it lists, what it prints, and what each ending looks like."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest
import typer

from visualdub import __version__, cli
from visualdub.actor.record import Consent
from visualdub.cli import entry_points as find
from visualdub.errors import BadInput, InternalError, Interrupted, OutputError
from visualdub.log import FIRST_LINE
from visualdub.services import AdaptClip, AdaptRequest
from visualdub.stages import Progress
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
    "cache",
    "doctor",
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which the run takes for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Every command raises `error`."""

    def failing(*args: object, **kwargs: object) -> NoReturn:
        raise error

    monkeypatch.setattr(typer.main, "get_command", lambda app: failing)


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
    "args", [["frobnicate"], ["dub"], ["track", "x.mp4", "--no-such-option"], ["demo", "--steps", "many"]]
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
    fail(monkeypatch, error)
    assert cli.run(["track", "x.mp4"]) == status
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
        (InternalError("3 crops"), "report it: 3 crops"),
    ],
)
def test_a_fault_of_ours_is_status_70_and_keeps_the_log(
    error: Exception,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    temporary: Path,
) -> None:
    fail(monkeypatch, error)
    assert cli.run(["track", "x.mp4"]) == 70
    (log,) = temporary.iterdir()
    line = capsys.readouterr().err
    assert (
        line.startswith("vdub: this is a fault of Visual Dub, please report it: ") and line.count("\n") == 1
    )
    assert says in line and f"the log is {log}, and --traceback shows" in line
    text = log.read_text()
    assert "vdub track x.mp4" not in line and "track x.mp4" in text
    assert "Traceback" in text and "in failing" in text and str(error) in text


def test_the_log_of_a_run_without_a_fault_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], temporary: Path
) -> None:
    assert cli.run(["--version"]) == 0
    fail(monkeypatch, BadInput("x.mp4 is a poem"))
    assert cli.run(["track", "x.mp4"]) == 2
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("options", [["--traceback", "track", "x.mp4"], ["track", "x.mp4", "--traceback"]])
@pytest.mark.parametrize("error", [BadInput("x.mp4 is a poem"), KeyError("a bug")])
def test_traceback_shows_the_place(
    options: list[str],
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    temporary: Path,
) -> None:
    fail(monkeypatch, error)
    assert cli.run(options) == (2 if isinstance(error, BadInput) else 70)
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):") and "in failing" in said
    assert said.splitlines()[-1].startswith("vdub: ") and "--traceback" not in said.splitlines()[-1]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("form", [["--log-file", "FILE"], ["--log-file=FILE"]])
def test_log_file_stands_anywhere_and_is_appended_to(
    place: int, form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vdub.log"
    args = ["track", str(tmp_path / "missing.mp4")]
    args[place:place] = [part.replace("FILE", str(file)) for part in form]
    for _ in range(2):
        assert cli.run(args) == 2
    text = file.read_text()
    assert text.startswith(FIRST_LINE) and text.count(FIRST_LINE) == 1
    assert text.count("the command failed\nTraceback") == text.count("exit status 2") == 2
    assert re.search(r"MediaError: .*missing\.mp4", text)
    assert "Traceback" not in capsys.readouterr().err


def test_log_options_leave_everything_else_alone() -> None:
    args = ["dub", "a.mp4", "--actor", "x", "--", "--traceback", "--log-file"]
    assert cli.log_options(args) == (args, False, None)
    with pytest.raises(BadInput, match="--log-file names no file"):
        cli.log_options(["track", "a.mp4", "--log-file"])


def test_a_clip_is_not_taken_for_a_log(
    tmp_path: Path, talking: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.mkv"
    clip.write_bytes(talking.read_bytes())
    assert cli.run(["track", str(clip), "--log-file", str(clip)]) == 2
    assert "clip.mkv is not a log of vdub" in capsys.readouterr().err
    assert clip.read_bytes() == talking.read_bytes()
    assert cli.run(["track", str(clip), "--log-file", str(tmp_path / "nowhere" / "x.log")]) == 2
    assert re.fullmatch(r"vdub: .*x.log cannot be written: .*\n", capsys.readouterr().err)


# ---- what stands on stdout ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252"])
def test_json_is_json_whatever_stdout_can_hold(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "é日本🎬.actor").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "visualdub.cli", "actor", "list", "--json", str(tmp_path)],
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr.decode()
    (actor,) = json.loads(done.stdout.decode(encoding))["actors"]
    assert Path(actor["path"]).name == "é日本🎬.actor"
    assert ("日本" in done.stdout.decode(encoding)) is (encoding == "utf-8")


def test_text_is_no_failure_where_stdout_cannot_hold_it(tmp_path: Path) -> None:
    (tmp_path / "日本").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "visualdub.cli", "actor", "list", str(tmp_path / "日本")],
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u65e5\u672c" in done.stdout


# ---- commands of other packages ----------------------------------------------------------------------------


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

    requests: list[AdaptRequest] = []

    def adapt(request: AdaptRequest, progress: Progress, note: object) -> NoReturn:
        requests.append(request)
        raise Interrupted("far enough for this test")

    monkeypatch.setattr("visualdub.services.adapt_service", lambda: adapt)
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
    assert requests == [
        AdaptRequest(
            (AdaptClip(talking),),
            "talking",
            tmp_path / "talking.actor",
            Consent("a", "b", "c"),
            minutes=3,
        )
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


@pytest.mark.slow
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
