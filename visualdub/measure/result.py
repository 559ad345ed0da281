"""A measurement as a JSON file: what was found, by which command, when, of which tree and on what machine.

`benchmarks/results.py` writes docs/results.md from such files, so that no figure stands there without them.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from visualdub.records import tool_version
from visualdub.storage import write_json

FORMAT = "visualdub result 1"
VECTORS = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX"}  # flags of a processor and their names


def _load_average() -> float | None:
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


LOAD_AT_START = _load_average()  # when this module was imported, before the work


@dataclass(frozen=True)
class Finding:
    """One row of the README's table. All text; `asked` is empty where nothing was asked for."""

    what: str
    asked: str
    measured: str


@dataclass(frozen=True)
class Machine:
    """What a figure of speed depends on."""

    processor: str
    cores: int  # logical ones
    vector: list[str]  # of AVX2, AVX-512 and AMX, those that the processor has; empty where that is not known
    memory_gib: float
    system: str
    python: str
    threads: str | None  # $OMP_NUM_THREADS; None where it is not set
    load_at_start: float | None  # mean number of running processes in the minute before; None on Windows


# ---- writing -----------------------------------------------------------------------------------------------


def write_result(
    path: Path,
    title: str,
    text: Sequence[str],
    findings: Iterable[Finding] = (),
    figures: Mapping[str, float | int | str] | None = None,
) -> None:
    """Write what a command measured as JSON to `path`, whole or not at all.

    title: of its section on the page. text: paragraphs and tables in Markdown (see `table`). findings: rows
    of the README's table. figures: numbers by name, their unit in the name, for scripts. Raises `OutputError`
    where the file cannot be written.
    """
    values = {
        "format": FORMAT,
        "title": title,
        "command": command_line(sys.orig_argv),
        "date": datetime.now(UTC).date().isoformat(),
        "tree": tree_version(),
        "machine": asdict(this_machine()),
        "text": list(text),
        "findings": [asdict(f) for f in findings],
        "figures": dict(figures or {}),
    }
    write_json(path, values)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, its first column flush left, the others flush right."""
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


# ---- where a figure comes from -----------------------------------------------------------------------------


def command_line(given: Sequence[str]) -> str:
    """The command as one types it: `python` for the interpreter, and of absolute paths the name alone."""
    shown = [Path(a).name if Path(a).is_absolute() else a for a in given[1:]]
    return shlex.join(["python", *shown])


def tree_version() -> str:
    """The version of the project and, in a checkout, its commit; `changed` where files differ from it.

    The results themselves and their page do not count as changes.
    """
    root = Path(__file__).resolve().parents[2]
    changes = ["status", "--porcelain", "--", ".", ":!docs/results", ":!docs/results.md"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        if (root / ".git").exists():
            commit, changed = _git(root, "rev-parse", "--short", "HEAD"), _git(root, *changes)
            return f"{tool_version()}, commit {commit}{', changed' if changed else ''}"
    return tool_version()


def _git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def this_machine() -> Machine:
    """The machine that this runs on."""
    import psutil  # loads a POSIX-only module on Linux

    name, flags = _processor(Path("/proc/cpuinfo"))
    return Machine(
        processor=name,
        cores=os.cpu_count() or 1,
        vector=[v for k, v in VECTORS.items() if k in flags],
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=platform.system(),
        python=platform.python_version(),
        threads=os.environ.get("OMP_NUM_THREADS"),
        load_at_start=LOAD_AT_START,
    )


def _processor(facts: Path) -> tuple[str, set[str]]:
    """The name and the flags of the processor, from Linux's file of facts where there is one."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    if facts.is_file():
        for line in facts.read_text(errors="replace").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                name = value
            elif key == "flags":
                flags = set(value.split())
    return name, flags
