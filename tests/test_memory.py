"""What is done with the memory of arrays that were freed, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 2**20
START = f"""
import resource, time, numpy as np, psutil
from visualdub import memory
from visualdub.memory import memory_kept, return_free_memory, reuse_memory

memory.EVERY = 0.5

def resident():
    return psutil.Process().memory_info().rss // {MIB}

def frames():  # pictures that come and go, with landmarks that stay among them
    pictures = [np.ones(6 * {MIB}, np.uint8) for _ in range(100)]
    landmarks.append([np.ones(5736, np.uint8) for _ in range(2000)])

landmarks = []
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is asked")


def printed(code: str) -> list[str]:
    """The words that a program prints after `START`."""
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_what_piles_up_is_returned_though_something_small_lies_behind_it() -> None:
    code = """
asked = %s
before = resident()
frames()
frames()
kept = resident() - before
time.sleep(2.5)
print(asked, kept, resident() - before)
"""
    _, kept, still = printed("np.ones(6 << 20, np.uint8)\n" + code % "False")
    assert int(kept) > 400 and int(still) > 400, "glibc no longer keeps them: the module can go"
    asked, kept, still = printed(code % "reuse_memory()")
    assert asked == "True" and int(kept) > 400 and int(still) < 100


def test_a_freed_array_s_memory_is_the_next_one_s() -> None:
    """Pages that the system gave and cleared while 50 arrays of 6 MiB came and went, in thousands."""
    code = f"""
def given():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(6 * {MIB}, np.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 1000

reuse_memory()
print(given())
"""
    assert int(*printed(code)) < 5  # 76 where each is returned


def test_training_keeps_all_until_it_ends() -> None:
    code = """
reuse_memory()
before = resident()
with memory_kept():
    frames()
    time.sleep(2.5)
    kept = resident() - before
print(kept, resident() - before)
"""
    kept, returned = map(int, printed(code))
    assert kept > 400 and returned < 100


def test_the_memory_of_small_arrays_is_returned_when_asked_for() -> None:
    code = """
before = resident()
found = [np.ones(5736, np.uint8) for _ in range(20000)]
last = np.ones(5736, np.uint8)
del found
kept = resident() - before
asked = return_free_memory()
print(kept, resident() - before, asked)
"""
    kept, returned, asked = printed(code)
    assert int(kept) > 60 and int(returned) < 20 and asked == "True"
