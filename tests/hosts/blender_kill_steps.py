"""Runs inside Blender: a strip is dubbed again and again while the bridge or the service is killed.

    python blender_kill_steps.py '{"clip": ..., "dialogue": ..., "actor": ..., "folder": ..., "points": 100,
    "seed": 1, "command": [...], "roots": [...]}'

Says of every kill in JSON what it left: "before", the timeline is as it was; "after", it is as a whole dub
leaves it and its movie is whole; else what is wrong.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import bpy

from plugin_blender import dubbing, host
from visualdub.wire import BridgeClient, Unreachable

ASKED = json.loads(sys.argv[1])
FRAMES = 6
VICTIMS = ("bridge", "service")
START_S = 300.0


def start_service() -> subprocess.Popen[bytes]:
    """A service, once it answers."""
    roots = [word for root in ASKED["roots"] for word in ("--root", root)]
    process = subprocess.Popen([*ASKED["command"], "serve", *roots], stderr=subprocess.DEVNULL)
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with BridgeClient([*ASKED["command"], "bridge"], name="Blender") as client:
            try:
                if client.status()["pid"] == process.pid:
                    return process
            except Unreachable:
                time.sleep(0.2)
    raise SystemExit("the service does not start")


def state() -> list[Any]:
    """Everything that the sequencer holds, as plain values."""
    strips = sorted(bpy.context.scene.sequence_editor.strips_all, key=lambda s: s.name)
    return [
        {p.identifier: repr(getattr(s, p.identifier)) for p in s.bl_rna.properties if is_plain(p)}
        for s in strips
    ]


def is_plain(prop: Any) -> bool:
    return prop.type not in ("POINTER", "COLLECTION") and prop.identifier != "select"


def dub(kill: Any = None) -> str:
    """Dub the strip; what was said where it is refused."""
    plain = dubbing.connect

    def connect(endpoint: str = "") -> Any:
        bridge = plain(endpoint)
        if kill is not None:
            kill(bridge)
        return bridge

    dubbing.connect = connect
    try:
        options = {name: ASKED[name] for name in ("actor", "dialogue", "folder")}
        bpy.ops.sequencer.visual_dub("EXEC_DEFAULT", **options)
        return ""
    except RuntimeError as e:
        return str(e).strip()
    finally:
        dubbing.connect = plain


def take_away() -> None:
    """As it was: no dub, and no movie on disk."""
    editor = bpy.context.scene.sequence_editor
    editor.active_strip = editor.strips["plate"]
    if bpy.ops.sequencer.visual_dub_remove.poll():
        bpy.ops.sequencer.visual_dub_remove("EXEC_DEFAULT")
    shutil.rmtree(ASKED["folder"], ignore_errors=True)


def point(victim: str, after_s: float, service: int, before: list[Any], whole: list[Any]) -> str:
    """One dub that is cut off; what it left."""
    timers: list[threading.Timer] = []
    killed: list[int] = []

    def end(bridge: Any) -> None:
        number = service if victim == "service" else bridge._process.pid
        try:
            os.kill(number, signal.SIGKILL)
            killed.append(number)
        except ProcessLookupError:
            pass

    def kill(bridge: Any) -> None:
        timers.append(threading.Timer(after_s, end, (bridge,)))
        timers[-1].start()

    said = dub(kill)
    for timer in timers:
        timer.join()
    now = state()
    movies = list(Path(ASKED["folder"]).glob("*.dub-*.mkv"))
    if now == before:
        outcome = "before" if said else "no error and no change"
    elif now == whole:
        outcome = "after" if not said and len(movies) == 1 else f"an error and a change: {said}"
    else:
        outcome = f"between: {said}"
    return outcome if killed else f"{outcome} (it was over)"


def main() -> None:
    """Dub, kill and compare."""
    host.register()
    editor = bpy.context.scene.sequence_editor_create()
    strip = editor.strips.new_movie("plate", ASKED["clip"], 1, 1, fit_method="ORIGINAL")
    strip.frame_final_start, strip.frame_final_end = 5, 5 + FRAMES
    editor.active_strip = strip
    before, chance = state(), random.Random(ASKED["seed"])
    service = start_service()
    try:
        dub()
        take_away()
        started = time.monotonic()
        said = dub()
        seconds = time.monotonic() - started
        whole = state()
        assert whole != before and not said, said
        take_away()
        assert state() == before
        for number in range(ASKED["points"]):
            victim = VICTIMS[number % len(VICTIMS)]
            outcome = point(victim, chance.uniform(0.0, seconds * 1.1), service.pid, before, whole)
            print("SAID " + json.dumps([victim, outcome]), flush=True)
            take_away()
            if victim == "service":
                service.kill()
                service.wait()
                service = start_service()
    finally:
        service.kill()
        service.wait()


main()
