"""The commands, each in a process of its own, against a service that runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from daemon_helpers import short_folder
from helpers import write_wav
from otio_text import clip, media, timeline, track, write

ROOT = Path(__file__).resolve().parents[2]
VDUB = """
import sys
from visualdub.cli import entry_points
import daemon.commands
entry_points.find_command = lambda name: entry_points.as_click(name, getattr(daemon.commands, name))
entry_points.offered = lambda: dict.fromkeys(["serve", "submit", "jobs", "keys", "bridge"])
from visualdub.cli import main
sys.argv[0] = "vdub"
main()
"""  # the entry points of this tree, whatever is installed


@dataclass
class Shell:
    """Runs `vdub` with a state of its own."""

    environment: dict[str, str]
    folder: Path

    def run(self, *args: object, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", VDUB, *map(str, args)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("shell")
    write_wav(folder / "new.wav", 1.6)
    with short_folder() as short:
        names = {"VISUALDUB_DAEMON": "run", "VISUALDUB_STATE": "state", "VISUALDUB_CACHE": "cache"}
        places = {name: str(short / place) for name, place in names.items()}
        path = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
        yield Shell({**os.environ, **places, "PYTHONPATH": path}, folder)


@pytest.fixture(scope="module")
def served(shell: Shell, talking: Path, flat_actor: Path) -> Iterator[subprocess.Popen[bytes]]:
    roots = [a for r in (shell.folder, talking.parent, flat_actor.parent) for a in ("--root", str(r))]
    command = [sys.executable, "-c", VDUB, "serve", *roots]
    process = subprocess.Popen(command, env=shell.environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (Path(shell.environment["VISUALDUB_DAEMON"]) / "address.json").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait(30)


def test_without_a_service_one_line_says_how_to_start_it(shell: Shell) -> None:
    said = shell.run("jobs", status=2)
    assert "vdub serve" in said and len(said.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_clip_is_dubbed_through_the_service(
    shell: Shell, served: subprocess.Popen[bytes], talking: Path, flat_actor: Path
) -> None:
    given = [talking, "--dialogue", "new.wav", "--actor", flat_actor]
    said = json.loads(shell.run("submit", *given, "-o", "one.mkv", "--wait", "--json"))
    assert said["state"] == "done" and (shell.folder / "one.mkv").is_file()
    shell.run("dub", *given, "-o", "two.mkv", "--daemon")
    assert (shell.folder / "two.mkv").is_file()
    jobs = json.loads(shell.run("jobs", "--json"))["jobs"]
    assert [(j["job"], j["state"]) for j in jobs] == [(2, "done"), (1, "done")]
    assert "two.mkv" in shell.run("jobs")
    assert "one.mkv" in shell.run("jobs", "watch", 1)
    assert "is done already" in shell.run("jobs", "cancel", 1, status=2)
    assert "--check-sync does not go with --daemon" in shell.run(
        "dub", *given, "-o", "x.mkv", "--daemon", "--check-sync", status=2
    )
    assert "lies outside" in shell.run("submit", "/etc/passwd", *given[1:], "-o", "x.mkv", status=2)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_an_actor_the_draft_comes_first(
    shell: Shell, served: subprocess.Popen[bytes], talking: Path
) -> None:
    pytest.importorskip("torch", reason="torch is not installed (the extra `training`)")
    given = [talking, "--dialogue", "new.wav", "--frames", "0:6", "-o", "own.mkv", "--daemon"]
    assert "needs consent" in shell.run("dub", *given, status=2)
    shell.run("dub", *given, "--consent", "Ada, today, tests", "--minutes", "0.05")
    rows = json.loads(shell.run("jobs", "--json"))["jobs"]
    assert [(j["kind"], j["quality"], j["state"]) for j in rows[:3]] == [
        ("dub", "final", "done"),
        ("adapt", "final", "done"),
        ("dub", "draft", "done"),
    ]
    assert (shell.folder / "own.mkv").is_file() and (shell.folder / "own-draft.mkv").is_file()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_edit_is_dubbed_through_the_service(
    shell: Shell, served: subprocess.Popen[bytes], talking: Path, flat_actor: Path
) -> None:
    pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
    reference = media(str(talking), 0, 40, 25)
    words = media(str(shell.folder / "new.wav"), 0, 40, 25)
    shot = clip("a", 5, 8, 25, reference=reference), clip("lost", 0, 8, 25, reference=media("/none.mov"))
    sound = track(clip("new", 0, 16, 25, reference=words), kind="Audio", name="new")
    write(shell.folder / "cut.otio", timeline(track(*shot), sound))
    given = ["cut.otio", "--dialogue-track", "new", "--actor", flat_actor]
    row = json.loads(shell.run("submit", *given, "-o", "one", "--wait", "--json"))
    assert row["kind"] == "edit" and [bool(s["movie"]) for s in row["result"]["shots"]] == [True, False]
    said = shell.run("dub", *given, "-o", "two", "--daemon")
    assert "left alone: 2 lost" in said and "2 clips, 1 dubbed, 1 left alone" in said
    assert (shell.folder / "two" / "cut.otio").is_file()
    for words in (("submit", *given, "--wait"), ("dub", *given, "--daemon")):
        row = json.loads(shell.run(*words, "-o", "rough", "--quality", "draft", "--json"))
        assert (row["kind"], row["quality"]) == ("edit", "draft")
    assert "which --frames is not for" in shell.run("submit", *given, "-o", "x", "--frames", "0:3", status=2)
    needs = "needs both --dialogue and --actor"
    assert needs in shell.run("submit", talking, "--dialogue", "new.wav", "-o", "x.mkv", status=2)


def test_ctrl_c_ends_the_service_in_order(shell: Shell, served: subprocess.Popen[bytes]) -> None:
    served.send_signal(signal.SIGTERM)
    assert served.wait(60) == 0
    assert not (Path(shell.environment["VISUALDUB_DAEMON"]) / "address.json").exists()


def test_keys_are_made_allowed_listed_and_revoked(shell: Shell) -> None:
    public = shell.run("keys", "new", "-o", "suite.key").strip()
    assert json.loads((shell.folder / "suite.key").read_text())["public_key"] == public
    assert "is there already" in shell.run("keys", "new", "-o", "suite.key", status=2)
    shell.run("keys", "allow", "suite", "--", public)
    assert json.loads(shell.run("keys", "list", "--json"))["keys"] == {"suite": public}
    shell.run("keys", "revoke", "suite")
    assert json.loads(shell.run("keys", "list", "--json"))["keys"] == {}


def test_the_unit_file_is_one_that_systemd_understands(tmp_path: Path) -> None:
    """Unknown keys do not change the status of `systemd-analyze`: what it prints counts."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    unit = ROOT / "daemon" / "deploy" / "visualdub.service"
    wrong = tmp_path / "wrong.service"
    wrong.write_text(unit.read_text().replace("KillMode=", "KilMode="))
    said = []
    for path in (unit, wrong):
        done = subprocess.run(
            [program, "verify", "--user", "--man=no", str(path)],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said.append(done.stdout + done.stderr)
    assert said[0] == "" and "KilMode" in said[1]
