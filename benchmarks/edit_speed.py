"""How long 2,000 clips take to be planned, and how much memory.

    python -m benchmarks.edit_speed [--json FILE]

Two edits are made: plain clips (a few MB), and clips with records such as Resolve writes (some 85 MB). Each
is planned in a process of its own; the memory is the peak of that process and of the reader it starts.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from visualdub.measure.result import Finding, table, write_result

CLIPS, LENGTH = 2000, 48
LIMITS = {"plain": (2.0, 100.0), "resolve": (8.0, 400.0)}  # seconds, MB


def clip(number: int, records: int) -> dict[str, Any]:
    """A clip, with `records` of an effect's key frames beside it."""
    time_ = {"OTIO_SCHEMA": "RationalTime.1", "rate": 24.0}
    span = {
        "OTIO_SCHEMA": "TimeRange.1",
        "duration": {**time_, "value": float(LENGTH)},
        "start_time": {**time_, "value": 86400.0},
    }
    media: dict[str, Any] = {
        "OTIO_SCHEMA": "ExternalReference.1",
        "metadata": {},
        "name": f"A{number:04d}.mov",
    }
    media |= {"available_range": {**span, "duration": {**time_, "value": 1000.0}}}
    media |= {"available_image_bounds": None, "target_url": f"/media/A{number:04d}.mov"}
    parameter = {
        "Default Parameter Value": 1.0,
        "Key Frames": {str(k): {"Value": k * 0.001953125, "Variant Type": "Double"} for k in range(8)},
        "Parameter ID": "transformationZoomX",
        "Parameter Value": 1.1899998188018799,
        "Variant Type": "Double",
        "maxValue": 100.0,
        "minValue": 0.0,
    }
    record = {"Effect Name": "Transform", "Enabled": True, "Name": "Transform", "Type": 2}
    record |= {"Parameters": [parameter] * 4}
    effect = {"OTIO_SCHEMA": "Effect.1", "metadata": {"Resolve_OTIO": record}, "name": ""}
    return {
        "OTIO_SCHEMA": "Clip.2",
        "metadata": {},
        "name": f"A{number:04d}",
        "source_range": span,
        "effects": [{**effect, "effect_name": "Resolve Effect"}] * records,
        "markers": [],
        "enabled": True,
        "media_references": {"DEFAULT_MEDIA": media},
        "active_media_reference_key": "DEFAULT_MEDIA",
    }


def write_edit(path: Path, records: int) -> None:
    """Write an edit of CLIPS clips."""
    items = [clip(i, records) for i in range(CLIPS)]
    usual: dict[str, Any] = {
        "metadata": {},
        "source_range": None,
        "effects": [],
        "markers": [],
        "enabled": True,
    }
    track = {"OTIO_SCHEMA": "Track.1", "name": "V1", "children": items, "kind": "Video", **usual}
    stack = {"OTIO_SCHEMA": "Stack.1", "name": "tracks", "children": [track], **usual}
    timeline: dict[str, Any] = {
        "OTIO_SCHEMA": "Timeline.1",
        "metadata": {},
        "name": "many",
        "global_start_time": None,
    }
    path.write_text(json.dumps({**timeline, "tracks": stack}, indent=4))


def plan(path: Path) -> dict[str, float]:
    """Plan an edit in this process; seconds and MB."""
    from visualdub.edit.cast import Cast
    from visualdub.edit.media import MediaFinder
    from visualdub.edit.plan import PlanOptions, plan_edit
    from visualdub.edit.reading import read_edit

    start = time.perf_counter()
    edit = read_edit(path)
    planned = plan_edit(edit, MediaFinder(path), [], PlanOptions(Cast(actor="a")))
    seconds = time.perf_counter() - start
    assert len(planned.shots) == CLIPS
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(u.ru_utime + u.ru_stime for u in used)
    own = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "own_mb": round(int(own.group(1)) / 1000 if own else 0.0),
        "reader_mb": round(used[1].ru_maxrss / 1000),  # a child's peak starts with its parent's, the smaller
    }


def main() -> None:
    """Make both edits, plan them, print and write what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        write_edit(Path(options.write[0]), int(options.write[1]))
        return
    if options.plan is not None:
        print(json.dumps(plan(options.plan)))
        return
    result: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, records in (("plain", 0), ("resolve", 3)):
            path = Path(folder) / f"{name}.otio"
            write = [sys.executable, "-m", "benchmarks.edit_speed", "--write", str(path), str(records)]
            subprocess.run(write, check=True)  # in a process of its own: a child's peak starts with ours
            size = path.stat().st_size
            command = [sys.executable, "-m", "benchmarks.edit_speed", "--plan", str(path)]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            seconds, megabytes = LIMITS[name]
            limits = {"limit_seconds": seconds, "limit_mb": megabytes}
            result[name] = {"megabytes": round(size / 1e6, 1), **json.loads(done.stdout), **limits}
    print(json.dumps(result, indent=1))
    if options.json is not None:
        save(options.json, result)


def save(path: Path, result: dict[str, dict[str, Any]]) -> None:
    """Write the result as JSON."""
    columns = ("clips", "file, MB", "seconds", "processor, s", "memory, MB", "of its reader, MB")
    names = ("megabytes", "seconds", "cpu_seconds", "own_mb", "reader_mb")
    rows = [(f"{CLIPS} {name}", *(str(found[n]) for n in names)) for name, found in result.items()]
    explained = (
        "An edit is read and planned in a process of its own: seconds by the clock and of the processor,"
        " the start of Python included, and the largest resident memory of the command and of its reader."
    )
    findings = [
        Finding(
            f"{CLIPS} {name} clips planned: seconds, memory",
            f"{found['limit_seconds']} s, {found['limit_mb']} MB",
            f"{found['seconds']} s, {max(found['own_mb'], found['reader_mb']):.0f} MB",
        )
        for name, found in result.items()
    ]
    figures = {f"{name}_{n}": found[n] for name, found in result.items() for n in names}
    write_result(path, "Planning an edit", [explained, table(columns, rows)], findings, figures)


if __name__ == "__main__":
    main()
