"""The service is started where none runs, and whatever ends in the middle leaves the timeline whole."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers import write_wav
from resolve_double import Program, studio
from resolve_editing import add_clip, add_line
from resolve_scene import DIALOGUE, DUB, Answers, short_folder

from plugin_resolve.session import run
from visualdub.cli import run as vdub
from visualdub.wire import Client

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """An artist's account with Visual Dub installed into Resolve, and no service yet."""

    def __init__(self, folder: Path, clip: Path, actor: Path) -> None:
        self.folder, self.clip, self.actor = folder, clip, actor
        self.plugin = folder / "hosts" / "resolve"
        self.voice = write_wav(folder / "new words.wav", 1.6)

    def program(self, length: int = 6) -> Program:
        made = studio()
        add_line(made)
        add_clip(made, self.clip, 0, 5, length)
        add_clip(made, self.voice, 0, 0, 40)
        made.line.of_kind("audio")[0].name = DIALOGUE
        made.project.name = f"Show {next(NUMBERS)}"
        return made

    def use(self, program: Program, **more: Any) -> Answers:
        window = Answers(self.folder / "dubs", [(DUB, {})], str(self.actor), **more)
        run(program.scripting(), window, self.plugin)
        return window


NUMBERS = itertools.count(1)


@pytest.fixture
def machine(
    talking: Path, flat_actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    with short_folder() as short:
        for name, value in (
            ("HOME", tmp_path),
            ("VISUALDUB_HOSTS", tmp_path / "hosts"),
            ("VISUALDUB_DAEMON", short / "run"),
            ("VISUALDUB_STATE", short / "state"),
            ("VISUALDUB_CACHE", tmp_path / "cache"),
            ("PYTHONPATH", ROOT),
        ):
            monkeypatch.setenv(name, str(value))
        assert vdub(["install", "resolve"]) == 0
        try:
            yield Machine(tmp_path, talking, flat_actor)
        finally:
            end_service(short / "run" / "address.json")


def end_service(address: Path) -> None:
    """End the service that left its address, and wait until it is gone."""
    if not address.is_file():
        return
    with Client(json.loads(address.read_text())["endpoint"]) as client:
        number = client.status()["pid"]
        client.shutdown()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(number).wait(30)


def bridges_and_services(folder: Path) -> list[psutil.Process]:
    """The processes of Visual Dub that this test process started or left."""
    found = []
    for process in psutil.process_iter(["environ", "cmdline"]):
        environment = process.info["environ"] or {}
        if environment.get("VISUALDUB_HOSTS") == str(folder / "hosts") and process.pid != os.getpid():
            found.append(process)
    return found


def test_the_service_is_started_and_goes_on_without_the_host(machine: Machine) -> None:
    program = machine.program()
    window = machine.use(program, wants_page=True)
    page, said = window.said
    assert page.startswith("http://127.0.0.1:") and said == "1 dubbed. ", (window.said, window.problems)
    assert window.stages[0] == "starting the service"
    alive = [" ".join(p.info["cmdline"] or ()) for p in bridges_and_services(machine.folder)]
    assert not any(line.endswith("bridge --client DaVinci Resolve") for line in alive)
    assert vdub(["doctor", "resolve"]) == 0


def test_a_service_touches_the_folders_that_it_needs_and_is_started_again_for_more(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    window = machine.use(machine.program())
    assert window.said == ["1 dubbed. "], (window.said, window.problems)
    needed = {os.path.realpath(p) for p in (machine.folder, machine.clip.parent, machine.actor)}
    number, roots = status_of()
    assert roots == needed
    assert "starting the service again, with more folders" in window.stages  # the actor lies elsewhere
    window = machine.use(machine.program())
    assert window.said == ["1 dubbed. "] and status_of() == (number, roots)
    other = Path(shutil.copy(machine.clip, tmp_path_factory.mktemp("other")))
    machine.clip = other
    window = machine.use(machine.program())
    assert window.said == ["1 dubbed. "], (window.said, window.problems)
    assert status_of()[0] != number and status_of()[1] == {*needed, os.path.realpath(other.parent)}


def status_of() -> tuple[int, set[str]]:
    """The number of the service's process, and the folders that it may touch."""
    with Client(timeout_s=30.0) as client:
        status = client.status()
        return status["pid"], set(status["roots"])


@pytest.mark.parametrize("victim", ["bridge", "service", "service that stays away"])
def test_a_bridge_or_service_that_is_killed_leaves_the_timeline_as_it_was_or_finished(
    machine: Machine, victim: str
) -> None:
    program = machine.program()
    before = program.project.as_bytes()
    killed: list[int] = []
    workers: list[psutil.Process] = []  # of the service that is killed, not of one that is started later

    def kill(said: str) -> None:
        if killed or not said.startswith("shot"):
            return
        word = "bridge" if victim == "bridge" else "serve"
        workers.extend(
            p for p in bridges_and_services(machine.folder) if "daemon.worker" in (p.info["cmdline"] or ())
        )
        for process in bridges_and_services(machine.folder):
            if word in (process.info["cmdline"] or ()):
                process.send_signal(signal.SIGKILL)
                killed.append(process.pid)
        assert program.project.as_bytes() == before

    monkey = pytest.MonkeyPatch()
    if victim == "service that stays away":
        monkey.setattr("plugin_resolve.service.AGAIN_S", 2.0)  # given up before it is started again
    try:
        window = machine.use(program, on_progress=kill)
    finally:
        monkey.undo()
    assert killed
    if victim != "service that stays away":
        assert window.said == ["1 dubbed. "], (window.said, window.problems)
        return
    assert "did not succeed within 2 s" in window.problems[0] and program.project.as_bytes() == before
    assert workers
    assert psutil.wait_procs(workers, timeout=30)[1] == [], "a worker outlives its service"
    window = machine.use(program)
    assert window.said == ["1 dubbed. "], (window.said, window.problems)
