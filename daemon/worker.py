"""A worker: a process that owns models, does one job at a time, and answers questions about frames in
between, also in the middle of a job.

`python -m daemon.worker SETTING` with a JSON object, as `crew.start` writes it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import zmq

from daemon import messages
from daemon.access import Roots
from daemon.frame_cache import FrameCache
from daemon.messages import (
    BEAT_S,
    Alive,
    Answer,
    Ask,
    Chunk,
    Failed,
    Finished,
    Marked,
    Moved,
    Quit,
    Ready,
    Stop,
    Work,
)
from daemon.shot_frames import CHUNK
from daemon.structured_log import to_stream
from visualdub.errors import Interrupted, VisualDubError
from visualdub.stages import Progress

DRAWING = ("rendering", "a chunk")  # stages in which no lock of the cache is held
MOVED_S = 0.1  # between two reports of progress
FULL = (errno.ENOSPC, errno.EDQUOT)
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends
log = logging.getLogger(__name__)


class Worker:
    """One worker and its connection to the service."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._context = zmq.Context()
        self._socket = self._connect(values["identity"])
        self._waiting: deque[Work] = deque()
        self._put_off: list[Ask] = []  # questions about shots that cannot be prepared at this moment
        self._quit = self._attending = False
        self._progress: Progress | None = None  # of the work at hand
        self._token = self._reported = 0
        self._moved_at, self._stage = 0.0, ""
        self._main = threading.current_thread()

    def _connect(self, identity: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 1000
        socket.setsockopt(zmq.IDENTITY, identity.encode())
        socket.connect(self._values["endpoint"])
        return socket

    def run(self) -> None:
        """Work until told to quit."""
        threading.Thread(target=self._beat, daemon=True).start()
        from daemon.prepared import Preparer, Setting  # loads what decodes and renders, which takes seconds

        values = self._values
        roots = Roots(tuple(Path(r) for r in values["roots"]))
        cache = FrameCache(Path(values["cache"]), values["limit"])
        self._preparer = Preparer(Setting(roots, Path(values["actors"]), cache))
        self._send(Ready(pid=os.getpid()))
        more = False  # that could be done while nobody asks for anything
        while not self._quit:
            asked = self._attend(timeout_ms=0 if more else 1000)
            more = not self._waiting and self._preparer.fill()
            if self._waiting or not (asked or more):
                self._preparer.rest()
            if self._waiting and not self._quit:
                self._do(self._waiting.popleft())
        self._socket.close()

    def _send(self, packet: messages.Packet) -> None:
        self._socket.send(messages.encode(packet))

    # ---- in a thread of its own ----------------------------------------------------------------------------

    def _beat(self) -> None:
        """Tell that the process runs, and end it with the service: another one starts workers of its own."""
        parent, pid = os.getppid(), os.getpid()
        socket = self._connect(self._values["identity"] + "-beat")
        while os.getppid() == parent:
            socket.send(messages.encode(Alive(pid=pid)))
            time.sleep(BEAT_S)
        os._exit(1)

    # ---- questions -----------------------------------------------------------------------------------------

    def _attend(self, timeout_ms: int = 0) -> bool:
        """Do what the service asks for meanwhile; never inside itself. Whether there was anything."""
        if self._attending or threading.current_thread() is not self._main:
            return False
        self._attending, asked = True, False
        try:
            while self._socket.poll(timeout_ms):
                timeout_ms, asked = 0, True
                self._take(messages.to_worker(self._socket.recv()))
            asks, self._put_off = self._put_off, []
            for ask in asks:
                self._consider(ask)
        finally:
            self._attending = False
        return asked

    def _take(self, packet: messages.ToWorker) -> None:
        if isinstance(packet, Work):
            self._waiting.append(packet)
        elif isinstance(packet, Ask):
            self._consider(packet)
        elif isinstance(packet, Stop):
            if packet.token == self._token and self._progress is not None:
                self._progress.cancel()
            for work in [w for w in self._waiting if w.token == packet.token]:
                self._waiting.remove(work)  # and say so: until then the service takes this worker for busy
                self._send(Failed(token=work.token, kind="stopped", message="stopped before it began"))
        elif isinstance(packet, Quit):
            self._quit = True
            if self._progress is not None:
                self._progress.cancel()

    def _consider(self, ask: Ask) -> None:
        """Answer now, or later: the work at hand may hold the lock of the very track that the question's shot
        needs, unless the shot is ready or the work draws by now.
        """
        at_hand = self._progress is not None and not self._stage.endswith(DRAWING)
        if at_hand and not self._preparer.is_ready(ask.work):
            self._put_off.append(ask)
        else:
            self._send(self._answer(ask))

    def _answer(self, ask: Ask) -> Answer:
        try:
            ready = self._preparer.asked(ask.work)
            if ask.what == "performance":
                from daemon.prepared import PERFORMANCE

                return Answer(number=ask.number, path=str(Path(ask.work.folder) / PERFORMANCE))
            picture, entry = ready.frames.picture(ask.frame, ask.kind, ask.pixels, ask.box)
            return Answer(number=ask.number, picture=picture, path=str(entry.path), offset=entry.offset)
        except VisualDubError as e:
            return Answer(number=ask.number, error=str(e))
        except Exception as e:
            log.exception("job %d, frame %d: the question failed", ask.work.job, ask.frame)
            return Answer(number=ask.number, error=f"{type(e).__name__}: {e}", kind="fault")

    # ---- work ----------------------------------------------------------------------------------------------

    def _do(self, work: Work) -> None:
        from daemon.work import KINDS

        self._token, self._reported, self._stage = work.token, 0, ""
        self._progress = Progress(self._show)
        log.info("job %d: %s begins under lease %d", work.job, work.kind, work.token)
        try:
            if work.kind in ("dub", "speech"):
                self._prepare(work, self._progress)
            result = KINDS[work.kind](work, self._preparer, self._progress)
            packet: messages.Packet = Finished(token=work.token, result=result)
        except BaseException as e:
            packet = _failure(work.token, e)
            if packet.kind == "fault":
                log.exception("job %d: a fault", work.job)
        finally:
            self._progress, self._token = None, 0
        self._send(packet)

    def _prepare(self, work: Work, progress: Progress) -> None:
        if work.fresh:
            self._preparer.forget(work.job)
        mark = self._preparer.prepared(work, progress).render.renderer.watermark
        if mark is not None:
            self._send(Marked(token=work.token, job=work.job, mark="".join(str(int(b)) for b in mark.bits)))

    def _show(self, stage: str, done: int, total: int) -> None:
        if threading.current_thread() is not self._main:
            return
        now = time.monotonic()
        if now - self._moved_at > MOVED_S or stage != self._stage or done == total:
            self._send(Moved(token=self._token, stage=stage, done=done, total=total))
            self._moved_at, self._stage = now, stage
        if stage == "rendering":
            whole = -(-total // CHUNK) if done == total else done // CHUNK
            for number in range(self._reported, whole):
                self._send(Chunk(token=self._token, number=number))
            self._reported = max(self._reported, whole)
        self._attend()


def _failure(token: int, error: BaseException) -> Failed:
    if isinstance(error, Interrupted):
        return Failed(token=token, kind="stopped", message=str(error))
    if _disk_is_full(error):
        return Failed(token=token, kind="full", message=" ".join(str(error).split()))
    if isinstance(error, VisualDubError):
        return Failed(token=token, kind="bad", message=" ".join(str(error).split()))
    return Failed(token=token, kind="fault", message=f"{type(error).__name__}: {error}"[:1000])


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether `error` comes of a full disk, however many layers turned it into their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


# ---- the process -------------------------------------------------------------------------------------------


def _end_with_parent() -> None:
    """On Linux the system kills this process when the one that started it ends, also while it is frozen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(text: str) -> None:
    """Run a worker."""
    values = json.loads(text)
    _end_with_parent()
    if os.getppid() != values["parent"]:  # it ended before the line above
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's, which says when to quit
    to_stream(sys.stderr)
    from visualdub.memory import reuse_memory

    reuse_memory()
    Worker(values).run()


if __name__ == "__main__":
    main(sys.argv[1])
