"""The peak of memory: the system's own figure, or the most that was seen where it keeps none; and threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from visualdub import stages
from visualdub.stages import mapped

MIB = 2**20


def test_the_peak_outlives_the_memory_it_came_from() -> None:
    code = (
        "from visualdub.stages import peak_memory_mib\n"
        "import numpy as np\n"
        "before = peak_memory_mib()\n"
        f"held = np.ones(256 * {MIB}, np.uint8)\n"
        "del held\n"
        "print(peak_memory_mib() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert 200 < float(done.stdout) < 300


def test_without_a_figure_of_the_system_every_stage_is_a_sample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on macOS: no /proc, no peak_wset."""
    monkeypatch.setattr(stages, "PROCESS_STATUS", tmp_path / "missing")
    monkeypatch.setattr(stages, "_highest_seen", 0)
    stages._peak_is_sampled.cache_clear()
    try:
        before = stages.peak_memory_mib()
        clock = stages.StageClock()
        with clock.stage("large"):
            held = np.ones(256 * MIB, np.uint8)
        del held
        assert stages.peak_memory_mib() > before + 200
    finally:
        stages._peak_is_sampled.cache_clear()


def test_two_are_worked_out_at_the_same_time_and_come_in_order() -> None:
    """Either of two waits for the other; one at a time would wait for ever."""
    both = threading.Barrier(2, timeout=5)

    def doubled(n: int) -> int:
        both.wait()
        return 2 * n

    assert list(mapped(doubled, range(6), 2)) == [(n, 2 * n) for n in range(6)]


def test_an_error_comes_after_the_results_before_it_and_ends_the_threads() -> None:
    def inverse(n: int) -> float:
        return 1 / (3 - n)

    for at_once in (1, 2):
        came = []
        with pytest.raises(ZeroDivisionError):
            for item, _ in mapped(inverse, range(9), at_once):
                came.append(item)
        assert came == [0, 1, 2]
    before = threading.active_count()
    left_early = mapped(inverse, range(9), 2)
    next(left_early)
    left_early.close()
    assert threading.active_count() == before
