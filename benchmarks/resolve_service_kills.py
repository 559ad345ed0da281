"""The service or the bridge ended at random points of a dub in Resolve: is the timeline ever left between?

The plug-in runs in this process, against the double of Resolve, with a service and a bridge that are
processes of their own. One of them is killed by SIGKILL after a random time; the plug-in goes on as it does
for an artist. Afterwards the project is compared with what it was and with what a whole dub makes of it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "hosts")]

from benchmarks.kills import kills_parser, report_kills  # noqa: E402
from benchmarks.nuke_kills import COMMAND, START_S  # noqa: E402

VICTIMS = ("bridge", "service")
DIALOGUE = "Dialogue FR"
LENGTH = 6  # frames of each of the two clips


@dataclass(frozen=True)
class Material:
    """What is dubbed, and where everything lies."""

    clip: Path
    dialogue: Path
    actor: Path
    folder: Path

    @property
    def address(self) -> Path:
        """The file in which a service says how it is reached."""
        return self.folder / "run" / "address.json"


def service_pid(material: Material) -> int:
    """The number of the service's process; 0 where none answers."""
    from visualdub.wire import WireError
    from visualdub.wire.client import Client

    try:
        with Client(timeout_s=30.0) as client:
            return int(client.status()["pid"])
    except (OSError, WireError):
        return 0


def dub(material: Material, kill: Callable[[Any], None] | None) -> tuple[Any, Any, list[str], float]:
    """One use of the menu entry: the project before and after, what was said, and how long it took.

    kill: is given the plug-in's connections, the newest last, once it has one.
    """
    from resolve_double import studio
    from resolve_editing import add_clip, add_line
    from resolve_plain import without_uids
    from resolve_scene import DUB, Answers

    from plugin_resolve import service as plugin_service
    from plugin_resolve.session import run
    from visualdub.wire import BridgeClient

    program = studio()
    add_line(program)
    add_clip(program, material.clip, 0, 5, LENGTH)
    add_clip(program, material.clip, 10, 20, LENGTH, speed=-1.0)
    add_clip(program, material.dialogue, 0, 0, 40)
    program.line.of_kind("audio")[0].name = DIALOGUE
    before = without_uids(program.project.as_bytes())
    shutil.rmtree(material.folder / "dubs", ignore_errors=True)
    plugin = material.folder / "plugin"
    plugin.mkdir(exist_ok=True)
    window = Answers(material.folder / "dubs", [(DUB, {"dialogue_track": DIALOGUE})], str(material.actor))
    bridges: list[BridgeClient] = []

    def connect(*given: Any, **more: Any) -> BridgeClient:
        bridges.append(BridgeClient(*given, **more))
        if len(bridges) == 1 and kill is not None:
            kill(bridges)
        return bridges[-1]

    started = time.monotonic()
    with patch.object(plugin_service, "BridgeClient", connect):
        run(program.scripting(), window, plugin, COMMAND)
    seconds = time.monotonic() - started
    if list((plugin / "journals").glob("*.json")):
        return before, "a journal is left", window.said + window.problems, seconds
    return before, without_uids(program.project.as_bytes()), window.said + window.problems, seconds


def cut_off(material: Material, victim: str, after_s: float, whole: Any) -> str:
    """Dub, and end the victim at some point; what became of the timeline."""
    pid = service_pid(material)
    killed: list[int] = []

    def end(bridges: list[Any]) -> None:
        number = pid if victim == "service" else bridges[-1]._process.pid
        try:
            os.kill(number, signal.SIGKILL)
            killed.append(number)
        except ProcessLookupError:
            pass

    timers: list[threading.Timer] = []

    def start(bridges: list[Any]) -> None:
        timers.append(threading.Timer(after_s, end, (bridges,)))
        timers[-1].start()

    before, after, said, _ = dub(material, start)
    for timer in timers:
        timer.join()
    outcome = "before" if after == before else "after" if after == whole else f"between: {said}"
    return outcome if killed else f"{outcome} (it was over)"


def measure(args: argparse.Namespace, material: Material) -> Counter[tuple[str, str]]:
    """How often each victim left each outcome."""
    os.environ.update(VISUALDUB_DAEMON=str(material.folder / "run"))
    os.environ.update(VISUALDUB_STATE=str(material.folder / "state"))
    chance, counts = random.Random(args.seed), Counter[tuple[str, str]]()
    dub(material, None)  # starts the service, and tracks
    before, whole, said, seconds = dub(material, None)
    assert whole != before, said
    print(f"a whole dub: {said}, {seconds:.1f} s", flush=True)
    for number in range(args.points):
        victim = VICTIMS[number % len(VICTIMS)]
        outcome = cut_off(material, victim, chance.uniform(0.0, seconds), whole)
        counts[victim, outcome] += 1
        print(f"{number + 1} {victim}: {outcome}", flush=True)
    return counts


def main() -> None:
    """Measure and write the result."""
    args = kills_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="vd-") as folder:
        paths = (p.absolute() for p in (args.clip, args.dialogue, args.actor, Path(folder)))
        material = Material(*paths)
        try:
            counts = measure(args, material)
        finally:
            if pid := service_pid(material):
                os.kill(pid, signal.SIGKILL)
                end = time.monotonic() + START_S
                while service_pid(material) and time.monotonic() < end:
                    time.sleep(0.2)
    text = (
        f"The service or the bridge was killed {args.points} times at a random moment of a dub from the menu"
        " entry in the double of Resolve, of two clips, one of them reversed; the plug-in starts again what"
        " ended and goes on. *before*: the project is as it was; *after*: it is as a whole dub leaves it; *it"
        " was over*: the dub was faster than the kill."
    )
    title = "Resolve: service and bridge killed in the middle"
    report_kills(counts, VICTIMS, title, text, args.json)


if __name__ == "__main__":
    main()
