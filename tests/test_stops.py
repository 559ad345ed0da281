"""Signals: what they cancel, what they may not cut short, that threads end before the interpreter does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from visualdub import locks, stages, stops, storage, temporaries
from visualdub.errors import Interrupted, OutputError
from visualdub.stages import Progress, prefetch
from visualdub.stops import cancel_on_signals, held
from visualdub.storage import Together, atomic_path, write_text


@pytest.fixture(autouse=True)
def program() -> Iterator[None]:
    """Signals are handled as in a program, and as before afterwards."""
    before, hook = {n: signal.getsignal(n) for n in stops.SIGNALS}, sys.excepthook
    for number in stops.SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # a test run in the background ignores SIGINT
    stops.install()
    yield
    sys.excepthook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_cancels_and_the_second_interrupts(number: signal.Signals, status: int) -> None:
    progress = Progress()
    with pytest.raises(KeyboardInterrupt), cancel_on_signals(progress):
        signal.raise_signal(number)
        assert progress.cancelled
        signal.raise_signal(signal.SIGTERM)
    assert stops.received() and stops.status() == status


def test_a_signal_that_came_before_stops_the_next_piece_of_work() -> None:
    with cancel_on_signals(Progress()):
        signal.raise_signal(signal.SIGINT)  # after the last check of this work
    with pytest.raises(Interrupted), cancel_on_signals(Progress()):
        raise AssertionError("the work was begun")


def test_nothing_is_raised_where_work_is_held_until_its_end() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        with held():
            signal.raise_signal(signal.SIGTERM)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]


def test_an_application_keeps_its_own_handlers() -> None:
    def own(number: int, frame: object) -> None:
        pass

    signal.signal(signal.SIGINT, own)
    signal.signal(signal.SIGTERM, own)
    progress = Progress()
    with cancel_on_signals(progress):
        signal.raise_signal(signal.SIGINT)
    assert progress.cancelled and signal.getsignal(signal.SIGINT) is own
    with cancel_on_signals(Progress()):  # it went on: what came before is its own affair
        pass


def test_the_third_signal_ends_the_process_without_temporary_files(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from visualdub import stops; from visualdub.storage import atomic_path\n"
        "for n in stops.SIGNALS: signal.signal(n, signal.SIG_DFL)\n"
        "stops.install()\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM); print('never')\n"
        "    except KeyboardInterrupt: print('raised')\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('never')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (143, b"raised\n"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_an_extension_module_prints_of_a_signal_is_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = KeyboardInterrupt()
    sys.excepthook(KeyboardInterrupt, error, None)
    assert "KeyboardInterrupt" in capsys.readouterr().err  # no signal came: somebody raised it
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    sys.excepthook(KeyboardInterrupt, error, None)
    assert capsys.readouterr().err == ""
    sys.excepthook(ValueError, ValueError("a fault"), None)
    assert "a fault" in capsys.readouterr().err


# ---- threads -----------------------------------------------------------------------------------------------


def test_closing_ends_every_thread_of_a_chain() -> None:
    ended = []

    def endless(name: str, items: Iterator[int]) -> Iterator[int]:
        try:
            yield from items
        finally:
            ended.append(name)

    first = prefetch(endless("first", iter(int, 1)), 2)
    second = prefetch(endless("second", first), 2)
    assert next(second) == 0
    second.close()
    assert ended == ["first", "second"] or ended == ["second", "first"]
    assert not stages._working


def test_threads_that_nobody_closed_end_with_the_program() -> None:
    """In a program of its own: threads of other tests are threads too."""
    program = """
import threading, time
from visualdub.stages import _working, end_threads, prefetch

items = prefetch(iter(int, 1), 2)
assert next(items) == 0 and _working
assert end_threads(30.0) and not _working
stuck = threading.Event()

def slow():
    yield 0
    stuck.wait(60)

items = prefetch(slow(), 2)
assert next(items) == 0
begun = time.monotonic()
assert not end_threads(0.2) and time.monotonic() - begun < 15
stuck.set()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


# ---- files -------------------------------------------------------------------------------------------------


def test_what_is_temporary_is_removed_at_the_end_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(KeyError), atomic_path(tmp_path / "a"):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_text("x")
        temporaries.register(tmp_path / "folder")
        raise KeyError
    write_text(tmp_path / "whole", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "whole"]
    temporaries.remove_all()
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]


def test_a_group_inside_another_is_named_with_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Together():
        with Together() as inner:
            write_text(tmp_path / "a", "new", inner)
        assert not (tmp_path / "a").exists()
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with Together() as outer:
        write_text(tmp_path / "b", "new", outer)
        with Together() as inner:
            write_text(tmp_path / "a", "new", inner)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_signal_while_files_are_named_waits_for_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage._rename

    def stopped(temporary: Path, path: Path) -> None:
        real(temporary, path)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(storage, "_rename", stopped)
    with pytest.raises(KeyboardInterrupt), Together() as files:
        for name in "ab":
            write_text(tmp_path / name, "new", files)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "new", "b": "new"}


def test_groups_of_two_processes_in_one_folder_wait_for_each_other(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from visualdub.locks import alone_in\n"
        "with alone_in([Path(sys.argv[1])]): print('held', flush=True); time.sleep(1)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    begun = time.monotonic()
    with Together() as files:
        write_text(tmp_path / "a", "new", files)
    assert time.monotonic() - begun > 0.3
    other.wait(30)
    other.stdout.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_second_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "REFUSE_SECONDS", 0.0)
    path = tmp_path / "new" / "a.actor"
    refused = pytest.raises(OutputError, match=r"a\.actor is being written by another run")
    with locks.only_writer(path), refused, locks.only_writer(path):
        pass
    assert list(tmp_path.iterdir()) == []
    with locks.only_writer(path):
        path.mkdir()
    assert [p.name for p in path.parent.iterdir()] == ["a.actor"]


def test_a_file_under_a_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xe9")
    odd.write_bytes(b"model")
    assert storage.name_or_bytes(odd) == b"model"
    assert storage.name_or_bytes(tmp_path / "é") == str(tmp_path / "é")
