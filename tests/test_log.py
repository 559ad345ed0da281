"""The log: what goes into it, what stays out of the way of it, and that everything is put back."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from visualdub.console import Notes
from visualdub.log import FIRST_LINE, setup

ROOT = Path(__file__).resolve().parents[1]


def in_a_process(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, cwd=ROOT
    )


def test_our_words_go_to_the_file_and_warnings_to_stderr_as_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.log"
    with setup(file, Notes()):
        logging.getLogger("visualdub.some.module").debug("a detail")
        logging.getLogger("training.some.module").warning("[two]\nlines")
        logging.getLogger("somebody.else").warning("their warning")
        logging.getLogger("somebody.else").debug("their detail")
        warnings.warn("of a library", stacklevel=1)
    assert capsys.readouterr().err == "note: [two] lines\n"
    text = file.read_text()
    for line in (
        "DEBUG visualdub.some.module: a detail",
        "WARNING training.some.module: [two]",
        "WARNING somebody.else: their warning",
        "UserWarning: of a library",
    ):
        assert line in text
    assert "their detail" not in text


def test_logging_is_put_back_as_it_was(tmp_path: Path) -> None:
    def state() -> tuple[object, ...]:
        loggers = [logging.getLogger(n) for n in (None, "visualdub", "training")]
        hooks = threading.excepthook, sys.unraisablehook, warnings.showwarning
        return *((x.level, tuple(x.handlers)) for x in loggers), *hooks

    before = state()
    with setup(tmp_path / "x.log", Notes()):
        assert state() != before
    assert state() == before


def test_an_error_in_a_thread_is_one_line_and_its_place_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.log"
    with setup(file, Notes()):
        thread = threading.Thread(target=lambda: [][0], name="reader")
        thread.start()
        thread.join()
    assert capsys.readouterr().err == "note: the thread reader ended: IndexError: list index out of range\n"
    assert "Traceback" in file.read_text()


def test_descriptor_2_is_in_the_log_and_python_keeps_its_stderr(tmp_path: Path) -> None:
    """Ten megabytes at once, which would fill any pipe, and noise of a child process."""
    file = tmp_path / "x.log"
    code = (
        "import os, subprocess, sys; from pathlib import Path; from visualdub.log import setup\n"
        "setup(Path(sys.argv[1]), native=True)\n"
        "os.write(2, b'noise\\n' + b'-' * 10_000_000 + b'\\n')\n"
        "subprocess.run([sys.executable, '-c', 'import os; os.write(2, b\"child\\\\n\")'])\n"
        "sys.stderr.write('kept')"
    )
    done = in_a_process(code, str(file))
    assert (done.returncode, done.stderr, done.stdout) == (0, "kept", "")
    lines = file.read_text().splitlines()
    assert [lines[0], lines[1], len(lines[2]), lines[3]] == [FIRST_LINE.strip(), "noise", 10_000_000, "child"]


def test_without_a_file_the_noise_goes_to_one_that_is_deleted(tmp_path: Path) -> None:
    code = (
        "import os, sys, tempfile; tempfile.tempdir = sys.argv[1]; from visualdub.log import setup\n"
        "log = setup(native=True)\n"
        "os.write(2, b'noise\\n')\n"
        "print(log.path.read_text().splitlines()[1])\n"
        "log.close()\n"
        "os.write(2, b'late noise\\n')\n"
        "sys.stderr.write('kept')"
    )
    done = in_a_process(code, str(tmp_path))
    assert (done.returncode, done.stderr, done.stdout) == (0, "kept", "noise\n")
    assert list(tmp_path.iterdir()) == []
    done = in_a_process(code.replace("log.close()", "pass"), str(tmp_path))
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "kept", [])


def test_a_crash_of_a_native_library_leaves_its_place_in_the_log(tmp_path: Path) -> None:
    code = (
        "import ctypes, sys, tempfile; tempfile.tempdir = sys.argv[1]; from visualdub.log import setup\n"
        "def crash():\n    ctypes.string_at(0)\n"
        "setup(native=True)\n"
        "crash()"
    )
    done = in_a_process(code, str(tmp_path))
    assert done.returncode != 0 and done.stderr == ""
    (log,) = tmp_path.iterdir()
    assert "in crash" in log.read_text()


def test_no_folder_for_temporary_files_is_no_failure(tmp_path: Path) -> None:
    code = (
        "import os, sys, tempfile; tempfile.tempdir = sys.argv[1]; from visualdub.log import setup\n"
        "with setup(native=True) as log:\n    os.write(2, b'noise'); print(log.path)"
    )
    done = in_a_process(code, str(tmp_path / "missing"))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "None\n")


# ---- how modules speak -------------------------------------------------------------------------------------


def calls(folder: str, name: str) -> list[str]:
    """`file:line` of every call of a function or method called `name`, in order."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    ]


def test_an_application_without_logging_sees_nothing() -> None:
    code = "import logging, visualdub; logging.getLogger('visualdub.some.module').warning('a warning')"
    done = in_a_process(code)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_the_core_never_prints() -> None:
    """But for the commands, and what they share."""
    found = [place for place in calls("visualdub", "print") if not place.startswith("visualdub/cli/")]
    assert found and all(place.startswith("visualdub/console.py") for place in found), found
    assert calls("visualdub", "warn") == []


@pytest.mark.parametrize("folder", ["visualdub", "training", "exporters"])
def test_one_logger_a_module_named_for_it(folder: str) -> None:
    sets_up = (ROOT / "visualdub" / "__init__.py", ROOT / "visualdub" / "log.py")
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "getLogger" in text and path not in sets_up:
            assert text.count("getLogger") == 1, path
            assert "\nlog = logging.getLogger(__name__)\n" in text, path
