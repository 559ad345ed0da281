"""The service behind the plug-in: found, or started, and asked through a bridge."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from visualdub.wire import BridgeClient, Unreachable, WireError

LAUNCH = "launch.json"  # beside the package, written by `vdub install`
START_S = 90.0  # for a service to start and to answer
PAGE_S = 20.0  # for its page
AGAIN_S = 90.0  # for a bridge or a service that ended to answer again
RESTART_S = 3.0  # after which a service that ended is started again
GONE_S = 30.0  # for a service that is ended to be gone
POLL_S = 0.4
STARTED = "service.json"  # in the plug-in's folder: which service was started from here
NAME = "DaVinci Resolve"
ENDED = ("done", "failed", "cancelled")
Row = dict[str, Any]
Tick = Callable[[str, Row], bool]  # what is happening, and the job's row; False to stop


class Stopped(Exception):
    """The artist stopped it."""


def launch_command(folder: Path) -> list[str]:
    """How `vdub` is started. Raises `Unreachable` where the plug-in is not installed whole."""
    try:
        command = json.loads((folder / LAUNCH).read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise Unreachable(f"{folder / LAUNCH} cannot be read ({e}); run vdub install resolve again") from e
    return [str(part) for part in command]


class Service:
    """Requests to the service of this user, through a bridge that is started again where it ended.

    command: how `vdub` is started. folder: the plug-in's own. said: a file for what a service says that is
    started here; with one it also serves its page. Such a service may touch the folders that `touches` names
    and no others; one that somebody else started is left as it is.
    """

    def __init__(self, command: Sequence[str], folder: Path, tick: Tick, said: Path | None = None) -> None:
        self._command, self._folder, self._tick, self._said = list(command), folder, tick, said
        self._roots: list[str] = []
        self._client: BridgeClient | None = None
        self._started = False  # whether the service was started here

    def close(self) -> None:
        """End the bridge. The service and its jobs go on."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def connect(self) -> None:
        """Reach the service; start it where none runs. Raises `Unreachable`, `Stopped`."""
        try:
            self._reach()
        except Unreachable:
            self._start()
            self._wait("starting the service", START_S, start_after_s=START_S)

    def touches(self, paths: Iterable[str]) -> None:
        """Let the service read and write where these files and folders lie. One that was started from here
        with other folders is started again with these, too; its jobs go on. Raises `Unreachable`, `Stopped`.
        """
        wanted = folders_of(paths)
        if self._client is None:
            self._roots = folders_of([*self._roots, *wanted])
            return
        status = self.requests.status()
        there = [str(r) for r in status.get("roots", ())]
        if all(_inside(folder, there) for folder in wanted) or not self._is_ours(status):
            return
        self._roots = folders_of([*there, *self._roots, *wanted])
        self.requests.shutdown()
        end = time.monotonic() + GONE_S
        while time.monotonic() < end and self._answers():
            time.sleep(POLL_S)
        self._start()
        self._wait("starting the service again, with more folders", START_S, RESTART_S)

    def _answers(self) -> bool:
        try:
            self._reach()
        except Unreachable:
            return False
        return True

    def _is_ours(self, status: dict[str, Any]) -> bool:
        """Whether this service was started from here."""
        try:
            kept = json.loads((self._folder / STARTED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(kept == [status["pid"], status["since"]])

    def _keep_in_mind(self) -> None:
        """Remember which service was started here, for the next time that Visual Dub is used."""
        status = self.requests.status()
        text = json.dumps([status["pid"], status["since"]])
        with contextlib.suppress(OSError):
            (self._folder / STARTED).write_text(text, encoding="utf-8")

    def _reach(self) -> None:
        self.close()
        self._client = BridgeClient([*self._command, "bridge"], name=NAME)
        try:
            self._client.hello()
        except WireError:
            self.close()
            raise

    def _start(self) -> None:
        """Start a service of its own process, which outlives the host."""
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": 0x00000008 | 0x00000200}  # detached, in a process group of its own
        roots = [option for root in self._roots for option in ("--root", root)]
        command = [*self._command, "serve", *roots, *(["--page"] if self._said else [])]
        nowhere = subprocess.DEVNULL
        try:
            with open(self._said or os.devnull, "wb") as errors:
                subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=errors, **apart)
            self._started = True
        except OSError as e:
            raise Unreachable(f"the service cannot be started: {e}; run vdub doctor resolve") from e

    def _wait(self, said: str, seconds: float, start_after_s: float) -> None:
        """Try again and again. A service that stays away for `start_after_s` seconds is started, once."""
        end = time.monotonic() + seconds
        start = time.monotonic() + start_after_s
        while True:
            if not self._tick(said, {}):
                raise Stopped
            try:
                self._reach()
                if self._started:
                    self._keep_in_mind()
                return
            except Unreachable as e:
                if start_after_s < seconds and time.monotonic() > start:
                    self._start()
                    start = end
                if time.monotonic() > end:
                    raise Unreachable(
                        f"{said} did not succeed within {seconds:.0f} s ({e}); run vdub doctor resolve"
                    ) from e
            time.sleep(POLL_S)

    def page(self) -> str:
        """The address of the page, where the service was started here with one; empty otherwise. The page
        is up a moment after the service.
        """
        end = time.monotonic() + PAGE_S
        while self._said is not None and self._started and time.monotonic() < end:
            text = self._said.read_text(encoding="utf-8", errors="replace")
            found = re.search(r"page at (\S+)\s", text)
            if found is not None:
                return found.group(1)
            time.sleep(POLL_S)
        return ""

    @property
    def requests(self) -> BridgeClient:
        """The connection. Raises `Unreachable` before `connect`."""
        if self._client is None:
            raise Unreachable("there is no connection to the service")
        return self._client

    def follow(self, job: int, before: str = "") -> Row:
        """The job's row once it has ended; cancelled where the artist stops it. A bridge or service that ends
        is waited for and started again. Raises `Unreachable` where it stays away.

        before: what is said before each stage.
        """
        stopped = False
        while True:
            try:
                row = self.requests.job(job)
                if row["state"] in ENDED:
                    return row
                waits = f"{row['state']} {row['reason']}".strip()
                said = row["stage"] or "starting" if row["state"] == "running" else waits
                if not self._tick(before + said, row) and not stopped:
                    self.requests.cancel(job)
                    stopped = True
            except Unreachable:
                if stopped:
                    raise Stopped from None
                self._wait("the service has ended, waiting for it", AGAIN_S, RESTART_S)
            time.sleep(POLL_S)


# ---- folders -----------------------------------------------------------------------------------------------


def folders_of(paths: Iterable[str]) -> list[str]:
    """The folders that files lie in, and folders themselves; what is missing, has no whole path or lies in
    another of them is left out.
    """
    found: list[str] = []
    for path in filter(os.path.isabs, paths):
        real = os.path.realpath(path)
        folder = real if os.path.isdir(real) else os.path.dirname(real)
        if os.path.isdir(folder):
            found.append(folder)
    found.sort(key=len)
    kept: list[str] = []
    for folder in found:
        if not _inside(folder, kept):
            kept.append(folder)
    return kept


def _inside(folder: str, roots: Iterable[str]) -> bool:
    """Whether a folder is one of the roots or lies in one."""
    return any(folder == root or folder.startswith(os.path.join(root, "")) for root in roots)
