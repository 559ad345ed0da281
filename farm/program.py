"""A task that is another program of this Python: its output goes on, and its last word says why it failed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from visualdub.errors import BadInput, Interrupted
from visualdub.stages import Progress

ERROR = "vdub: "  # how the line begins in which vdub says why it failed
POLL_S = 0.2


def run_python(words: Sequence[str], progress: Progress) -> str:
    """Run this Python with `words`; one line of what was run. Once `progress` is cancelled the program is
    asked to end (SIGTERM). Raises `BadInput` with the program's own reason where it fails, `Interrupted`
    where it was stopped.
    """
    process = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, errors="replace", encoding="utf-8"
    )
    assert process.stderr is not None
    reason = _Reason(process.stderr)
    stopped = False
    while process.poll() is None:
        if progress.cancelled and not stopped:
            stopped = True
            process.terminate()
        reason.join(POLL_S)
    reason.join()
    said = " ".join(words)
    if stopped:
        raise Interrupted(f"{said}: stopped")
    if process.returncode != 0:
        raise BadInput(f"{said}: {reason.text or f'ended with status {process.returncode}'}")
    return f"{said}: done"


class _Reason(threading.Thread):
    """Copies a program's errors to this one's and keeps the line that says why it failed."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self.text, self._stream, self._named = "", stream, False
        self.start()

    def run(self) -> None:
        for line in self._stream:
            sys.stderr.write(line)
            sys.stderr.flush()
            text = line.strip()
            if text.startswith(ERROR) and not self._named:
                self.text, self._named = text.removeprefix(ERROR), True
            elif text and not self._named:
                self.text = text
