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


def printed(code: str, *args: str) -> list[str]:
    """The words that a program prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps freed pictures")
def test_the_memory_of_freed_pictures_is_returned_though_something_small_lies_behind_them() -> None:
    code = (
        "import sys, psutil, numpy as np\n"
        "from visualdub.stages import return_large_blocks\n"
        "asked = sys.argv[1] == 'asked' and return_large_blocks()\n"
        f"np.ones(6 * {MIB}, np.uint8)\n"  # freed: from now on glibc would keep blocks of this size
        "before = psutil.Process().memory_info().rss\n"
        f"pictures = [np.ones(6 * {MIB}, np.uint8) for _ in range(30)]\n"
        "landmarks = [np.ones(5736, np.uint8) for _ in range(2000)]\n"
        "del pictures\n"
        f"print((psutil.Process().memory_info().rss - before) // {MIB}, asked)"
    )
    (kept, _), (returned, asked) = printed(code, "never"), printed(code, "asked")
    assert int(kept) > 100, "glibc no longer keeps them: the function can go"
    assert asked == "True" and int(returned) < 40


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be asked to keep it")
def test_training_keeps_the_memory_of_its_arrays_and_all_else_returns_it() -> None:
    """Pages that the system gave and cleared while 50 arrays of 6 MiB came and went, in thousands."""
    code = (
        "import resource, numpy as np\n"
        "from visualdub.stages import large_blocks_kept, return_large_blocks\n"
        "def given():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(50):\n"
        f"        np.ones(6 * {MIB}, np.uint8)\n"
        "    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 1000\n"
        "return_large_blocks()\n"
        "before = given()\n"
        "with large_blocks_kept():\n"
        "    within = given()\n"
        "print(before, within, given())"
    )
    before, within, after = map(int, printed(code))
    assert min(before, after) > 20 and within < 5


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps small arrays' memory")
def test_the_memory_of_small_arrays_is_returned_when_asked_for() -> None:
    code = (
        "import psutil, numpy as np\n"
        "from visualdub.stages import return_free_memory\n"
        "rss = lambda: psutil.Process().memory_info().rss\n"
        "before = rss()\n"
        "found = [np.ones(5736, np.uint8) for _ in range(20000)]\n"
        "last = np.ones(5736, np.uint8)\n"
        "del found\n"
        "kept = rss() - before\n"
        "asked = return_free_memory()\n"
        f"print(kept // {MIB}, (rss() - before) // {MIB}, asked)"
    )
    kept, returned, asked = printed(code)
    assert int(kept) > 60 and int(returned) < 20 and asked == "True"


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
