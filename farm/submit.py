"""Hands a bundle to a scheduler."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from farm.bundle import TEMPLATE, parameter_values
from visualdub.errors import BadInput

DEADLINE = "deadline"  # the program of AWS Deadline Cloud


def command_of(bundle: Path, program: str | None = None) -> list[str]:
    """The command that submits a bundle: Deadline Cloud where it is installed, else OpenJD on this machine.

    program: the vdub that tasks run; None: as the bundle says. Raises `BadInput` where neither is installed.
    """
    deadline = shutil.which(DEADLINE)
    if deadline is not None:
        return [deadline, "bundle", "submit", str(bundle)]
    if importlib.util.find_spec("openjd.cli") is None:
        raise BadInput("neither deadline nor openjd is installed; pip install 'visualdub[farm]'")
    values = parameter_values(bundle)
    if program is not None:
        values["Program"] = program
    parameters = [word for name, value in values.items() for word in ("-p", f"{name}={value}")]
    code = "import sys; from openjd.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, "run", str(bundle / TEMPLATE), *parameters]


def submit_bundle(bundle: Path) -> None:
    """Submit a bundle, its output shown. Raises `BadInput` where the scheduler does not take it or, on this
    machine, a task fails.
    """
    run = None if shutil.which("vdub") else shutil.which(sys.argv[0])
    _run(command_of(bundle, run))


def run_program(name: str, *arguments: str) -> None:
    """Run another program, its output shown. Raises `BadInput` where it is not installed, or fails."""
    found = shutil.which(name)
    if found is None:
        raise BadInput(f"{name} is not installed; expected it on the path, to submit {' '.join(arguments)}")
    _run([found, *arguments])


def _run(command: list[str]) -> None:
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        raise BadInput(f"{Path(command[0]).name} ended with status {status}; its output says why")
