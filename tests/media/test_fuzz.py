"""Ten damaged movies: a whole result or one line each. `python -m benchmarks.fuzz` is the long form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz import ROOT, WORKER
from benchmarks.samples.damage import BASES, WAYS, cut, damaged, flip, shuffle, write_bases


@pytest.fixture(scope="module")
def bases(talking: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_bases(talking, tmp_path_factory.mktemp("bases"), count=12, height=96)


def worked(files: list[Path]) -> list[dict[str, object]]:
    """What a process of its own says of each file; a crash in a library ends that process, not the tests."""
    command = [sys.executable, "-m", "benchmarks.fuzz", WORKER, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_damage_is_a_whole_result_or_one_line(bases: list[Path], tmp_path: Path) -> None:
    files = []
    for number, base in enumerate(bases):
        files.append(tmp_path / f"{base.stem}{base.suffix}")
        files[-1].write_bytes(damaged(base, WAYS[number % len(WAYS)], seed=number))
    found = worked([*files, bases[0]])
    assert [f["file"] for f in found] == [*(b.name for b in bases), bases[0].name]
    for one in found:
        assert (one["frames"] == 0) == bool(one["line"]), one
        assert "\n" not in str(one["line"]) and float(str(one["seconds"])) < 30, one
    assert found[-1]["frames"] == 12  # the undamaged one
    assert any(f["line"] for f in found)


def test_equal_seeds_damage_alike(bases: list[Path]) -> None:
    assert len(bases) == len(BASES) == 10
    for way in (cut, flip, shuffle):
        first, again, other = (damaged(bases[4], way, seed) for seed in (3, 3, 4))
        assert first == again and first != other
