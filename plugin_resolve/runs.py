"""The folders that dubs lie in: one for each project, timeline and run; old ones that nothing shows go."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plugin_resolve.values import Choices

REQUEST, PLACED, KEEP = "request.json", "placed.json", "keep"  # in the folder of a run
NEWEST = 3  # runs of a timeline that stay, whatever is in them
UNPLACED_S = 86400.0  # how long a run stays whose movies never got into a timeline
UNUSED_S = 90 * 86400.0  # and one whose movies the project had once and has no longer


def timeline_folder(base: Path, project: str, timeline: str) -> Path:
    """Where the runs of a timeline lie."""
    return base / safe_name(project) / safe_name(timeline)


def safe_name(name: str) -> str:
    """A name as that of a folder."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:60] or "timeline"


def next_run(folder: Path, exported: bytes, choices: Choices) -> Path:
    """The folder of this run: the last one, where it asked for the same and its dub is not in a timeline yet;
    then shots that are done are not dubbed again. Movies that a timeline shows are never written again.
    """
    asked = {"edit": hashlib.sha256(exported).hexdigest(), "choices": asdict(choices)}
    runs = runs_of(folder)
    if runs and read_json(runs[-1] / REQUEST) == asked:
        return runs[-1]
    number = int(runs[-1].name[4:]) + 1 if runs else 1
    made = folder / f"run-{number:04d}"
    made.mkdir()
    (made / REQUEST).write_text(json.dumps(asked, indent=1), encoding="utf-8")
    return made


def runs_of(folder: Path) -> list[Path]:
    """The folders of the runs of a timeline, the oldest first."""
    return sorted(p for p in folder.glob("run-*") if p.name[4:].isdigit())


def mark_placed(run: Path, project: str) -> None:
    """Say that movies of this run get into a timeline of a project; by its identifier."""
    known = read_json(run / PLACED).get("projects", [])
    projects = sorted({*known, project} if isinstance(known, list) else {project})
    (run / PLACED).write_text(json.dumps({"projects": projects}), encoding="utf-8")


def drop_old_runs(folder: Path, project: str, shown: Collection[str], now: float | None = None) -> list[Path]:
    """Delete old runs of a timeline and say which. project: the open one, by its identifier. shown: the
    movies that it has in a timeline, as a take or in the media pool.

    What stays: the newest `NEWEST`; what the open project has, however old; what another project had once,
    because it cannot be asked; and a run in whose folder somebody put a file `KEEP`.
    """
    now = time.time() if now is None else now
    used = {os.path.realpath(path) for path in shown}
    gone = []
    for run in runs_of(folder)[:-NEWEST]:
        if (run / KEEP).exists() or not (run / REQUEST).is_file():
            continue
        placed = run / PLACED
        if any(path.startswith(os.path.realpath(run) + os.sep) for path in used):
            with contextlib.suppress(OSError):
                os.utime(placed, (now, now))  # seen in use now
            continue
        age = now - _stamp(placed if placed.exists() else run / REQUEST)
        if placed.exists() and (read_json(placed).get("projects") != [project] or age < UNUSED_S):
            continue
        if age >= UNPLACED_S:
            shutil.rmtree(run, ignore_errors=True)
            gone.append(run)
    return gone


def _stamp(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def read_json(path: Path) -> dict[str, Any]:
    """The values of a file; none where it is missing or holds something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
