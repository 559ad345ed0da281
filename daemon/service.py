"""The process that talks to clients: it never waits for a disk, a model or a client, and reads no media.

What needs the disk runs in a few threads, what needs pixels in workers. Whoever is answered later hears a
`Beat` every second until then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket as sockets
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import zmq

from daemon import disk, messages
from daemon.access import OutsideRoots, Roots
from daemon.config import MIB, Config
from daemon.crew import Crew, see_dead
from daemon.dispatch import Dispatch
from daemon.frame_cache import FrameCache
from daemon.front import Asker, Front
from daemon.library import Library, drafted_consent
from daemon.schedule import QueueFull, Schedule
from daemon.store import Job, Store
from daemon.views import row
from visualdub import __version__
from visualdub.actor.record import Consent
from visualdub.errors import BadInput, VisualDubError
from visualdub.records import digest
from visualdub.wire import schema

MOST_AT_ONCE = 64  # messages of one socket before the others have their turn
TICK_S, BEAT_S, HOUSE_S = 0.1, 1.0, 10.0
EVENT_S = 0.2  # between two events of one job
MOST_WATCHERS = 256  # of one job
MOST_HOSTS = 1000  # local connections whose names are known
DAY_S = 86400.0
QUIT_S = 10.0  # that workers get to end in
log = logging.getLogger(__name__)
Then = Callable[[Any], object]


class Service:
    """The service. `run` in the main thread; `stop` from anywhere."""

    def __init__(self, config: Config) -> None:
        self.config = config
        for folder in (config.run, config.state, config.actors, config.cache, config.keys):
            folder.mkdir(parents=True, exist_ok=True)
            os.chmod(folder, 0o700)
        self._let_go = disk.only_service(config.state)
        self.store = Store(config.jobs_file)
        see_dead(self.store)
        self.roots = Roots.of(list(config.roots))
        self.schedule = Schedule(self.store, config.queue, config.crashes)
        self.cache = FrameCache(config.cache, config.cache_mib * MIB)
        self.library = Library(config.actors, self.roots)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.max_sockets = 4096
        self.front = Front(self._context, config)
        setting = {
            "roots": [str(r) for r in self.roots.folders],
            "actors": str(config.actors),
            "cache": str(config.cache),
            "limit": config.cache_mib * MIB,
        }
        self.crew = Crew(self._context, config.run, setting, self.store)
        self._pool = ThreadPoolExecutor(4, "disk")
        self._wake_out, self._wake_in = sockets.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._ready: deque[tuple[Asker | None, Future[Any], Then]] = deque()
        self._disk: dict[int, Asker] = {}  # who waits for the disk
        self._watchers: dict[int, list[Asker]] = {}  # by job
        self._told: dict[int, float] = {}  # when a job's watchers heard last
        self.dispatch = Dispatch(
            config,
            self.crew,
            self.schedule,
            tell=self._tell,
            answered=self._answered,
            given_up=self._given_up,
        )
        self._questions = self.dispatch.questions
        self._stopping = False
        self._hosts: dict[bytes, str] = {}  # what local connections say they are
        self._begun = time.time()
        self._cache_bytes = 0
        self._counts = {"requests": 0, "refused": 0, "frames": 0}

    def stop(self) -> None:
        """End `run` soon. From any thread, and from a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")

    # ---- the loop ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `stop`."""
        poller = zmq.Poller()
        for readable in (*self.front.sockets, self.front.zap, self.crew.socket):
            poller.register(readable, zmq.POLLIN)
        poller.register(self._wake_in.fileno(), zmq.POLLIN)
        beat = house = 0.0
        try:
            while not self._stopping:
                come = dict(poller.poll(int(TICK_S * 1000)))
                self._take_all(come)
                now = time.monotonic()
                self.dispatch.tend()
                self.dispatch.give_work()
                if now - beat >= BEAT_S:
                    beat = now
                    self._beat()
                    self._later(None, self.front.allowed.reload, lambda changed: None)
                if now - house >= HOUSE_S:
                    house = now
                    self._later(None, self._keep_house, self._house_kept)
        finally:
            self._close()

    def _take_all(self, come: dict[Any, int]) -> None:
        if self.front.zap in come:
            self.front.answer_zap()
        if self._wake_in.fileno() in come:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(4096)
        while self._ready:
            self._deliver(*self._ready.popleft())
        if self.crew.socket in come:
            for worker, packet in self.crew.receive(MOST_AT_ONCE * 4):
                self.dispatch.hear(worker, packet)
        for socket in self.front.sockets:
            if socket in come:
                for identity, name, parts in self.front.receive(socket, MOST_AT_ONCE):
                    self._take(socket, identity, name, parts)

    def _close(self) -> None:
        log.info("the service ends; %d jobs go on when it is started again", len(self.schedule.jobs))
        self.crew.close(QUIT_S)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.front.close()
        self._context.term()
        self.store.close()
        self._wake_in.close()
        self._wake_out.close()
        self._let_go()

    # ---- requests ------------------------------------------------------------------------------------------

    def _take(self, socket: zmq.Socket[bytes], identity: bytes, name: str | None, parts: list[bytes]) -> None:
        """One message of a client. Whatever is in it, it is answered in one way or another."""
        self._counts["requests"] += 1
        local = socket is self.front.local
        if local and name is not None:
            name = self._hosts.get(identity, name)
        nobody = Asker(socket, identity, 0, name or "", local)
        if name is None:
            log.warning("a request is refused: its key is not allowed any more")
            self._refuse(nobody, "refused", "this key is not allowed any more; ask whoever runs the service")
            return
        try:
            request = schema.decode_request(parts[0] if parts else b"")
        except schema.Unreadable as e:
            number = schema.number_in(parts[0] if parts else b"")
            self._refuse(Asker(socket, identity, number, name, local), "bad_request", str(e))
            return
        asker = Asker(socket, identity, request.id, name, local)
        bulk = parts[1:]
        if len(bulk) != isinstance(request, schema.PerformancePut):
            self._refuse(asker, "bad_request", f"the request has {len(bulk)} frames of bulk data")
            return
        try:
            handler = getattr(self, _HANDLERS[type(request)])
            handler(asker, request, bulk)
        except Exception as e:
            self._failed(asker, e)

    def _failed(self, asker: Asker, error: BaseException) -> None:
        """Tell what became of a request."""
        if isinstance(error, QueueFull):
            self._refuse(asker, "busy", str(error), error.waiting)
        elif isinstance(error, OutsideRoots):
            log.warning("client %s is refused: %s", asker.name, " ".join(str(error).split()))
            self._refuse(asker, "refused", str(error))
        elif isinstance(error, VisualDubError):
            self._refuse(asker, "bad_request", str(error))
        else:
            log.error("a request of client %s failed", asker.name, exc_info=error)
            self._refuse(asker, "fault", f"{type(error).__name__}: {error}"[:1000])

    def _refuse(self, asker: Asker, kind: Any, message: str, waiting: int = 0) -> None:
        self._counts["refused"] += 1
        text = " ".join(message.split())[:2000]
        self.front.reply(
            asker, schema.Refusal(v=1, id=asker.number, kind=kind, message=text, waiting=waiting)
        )

    def _hello(self, asker: Asker, request: schema.Hello, bulk: list[bytes]) -> None:
        if asker.local:  # names of other clients are those of their keys
            self._hosts[asker.identity] = request.client
            while len(self._hosts) > MOST_HOSTS:
                del self._hosts[next(iter(self._hosts))]
        names = tuple(sorted(str(cls.__struct_config__.tag) for cls in _HANDLERS))
        self.front.reply(
            asker,
            schema.Welcome(
                v=1,
                id=asker.number,
                version=__version__,
                edition=schema.EDITION,
                capabilities=names,
                local=asker.local,
            ),
        )

    def _status(self, asker: Asker, request: schema.Status, bulk: list[bytes]) -> None:
        self.front.reply(asker, schema.Report(v=1, id=asker.number, values=self.status()))

    def _shutdown(self, asker: Asker, request: schema.Shutdown, bulk: list[bytes]) -> None:
        if not asker.local:
            raise OutsideRoots("only a local client may end the service")
        self._done(asker)
        self.stop()

    def _done(self, asker: Asker, bulk: tuple[bytes, ...] = ()) -> None:
        self.front.reply(asker, schema.Done(v=1, id=asker.number), bulk)

    def status(self) -> dict[str, Any]:
        """How the service is: what a page or a monitor shows."""
        states: dict[str, int] = {}
        for job in self.schedule.jobs.values():
            states[job.state] = states.get(job.state, 0) + 1
        return {
            "version": __version__,
            "pid": os.getpid(),
            "since": self._begun,
            "roots": [str(folder) for folder in self.roots.folders],
            "jobs": states,
            "frames_waiting": len(self._questions),
            "cache_bytes": self._cache_bytes,
            "cache_limit": self.cache.limit,
            "workers": [
                {"pid": w.pid, "ready": w.ready, "job": w.lease.job if w.lease else 0, "dying": w.dying}
                for w in self.crew.workers.values()
            ],
            "endpoints": list(self.front.endpoints),
            "counts": {**self._counts, "restarts": self.dispatch.restarts},
        }

    # ---- requests about jobs -------------------------------------------------------------------------------

    def _submit(self, asker: Asker, request: schema.Submit, bulk: list[bytes]) -> None:
        asked = msgspec.to_builtins(request.dub)
        if not asked.get("actor"):
            drafted_consent(asked, request.quality)
        self._accept(asker, "dub", asked, request.quality, request.priority)

    def _submit_edit(self, asker: Asker, request: schema.SubmitEdit, bulk: list[bytes]) -> None:
        if request.edit.consent is not None:
            Consent.parse(request.edit.consent)
        self._accept(asker, "edit", msgspec.to_builtins(request.edit), request.quality, request.priority)

    def _speech(self, asker: Asker, request: schema.Speech, bulk: list[bytes]) -> None:
        asked = msgspec.to_builtins(request.dub)
        if not asked.get("actor"):
            drafted_consent(asked, "final")
        self._accept(asker, "speech", asked, "final", request.priority)

    def _adapt_or_track(self, asker: Asker, request: schema.Adapt | schema.Track, bulk: list[bytes]) -> None:
        values = msgspec.to_builtins(request)
        for name in ("v", "id", "op", "priority"):
            values.pop(name, None)
        kind = "adapt" if isinstance(request, schema.Adapt) else "track"
        self._accept(asker, kind, values, "final", request.priority)

    def _accept(self, asker: Asker, kind: str, asked: dict[str, Any], quality: str, priority: int) -> None:
        """Check the paths of a request, on the disk's own time, then queue it."""

        def then(_: Any) -> None:
            whose = "" if asker.local else asker.name
            same = digest(kind, quality, whose, msgspec.json.encode(asked, order="sorted").decode())
            more = {"quality": quality, "priority": priority}
            job, joined = self.schedule.add(kind, asker.name, same, asked, **more)
            if not joined:
                log.info("job %d: %s for client %s: %s", job.id, kind, asker.name, job.title)
            self.front.reply(asker, schema.Accepted(v=1, id=asker.number, job=job.id, joined=joined))

        self._later(asker, lambda: disk.check_paths(asked, self.roots), then)

    def _jobs(self, asker: Asker, request: schema.Jobs, bulk: list[bytes]) -> None:
        if request.job is not None:
            self._table(asker, self._find(asker, request.job), result=True)
            return
        found = self.store.newest(request.limit, None if asker.local else asker.name)
        jobs = [self.schedule.jobs.get(j.id, j) for j in found]
        table = tuple(row(j) for j in jobs)
        self.front.reply(
            asker, schema.JobTable(v=1, id=asker.number, jobs=table, waiting=self.schedule.waiting)
        )

    def _table(self, asker: Asker, job: Job, result: bool = False) -> None:
        self.front.reply(asker, schema.JobTable(v=1, id=asker.number, jobs=(row(job, result),)))

    def _watch(self, asker: Asker, request: schema.Watch, bulk: list[bytes]) -> None:
        job = self._find(asker, request.job)
        if job.id not in self.schedule.jobs:
            self._table(asker, job, result=True)
            return
        watchers = self._watchers.setdefault(job.id, [])
        if len(watchers) >= MOST_WATCHERS:
            raise QueueFull(len(watchers), "clients watch this job")
        watchers.append(asker)
        self.front.reply(asker, schema.Event(v=1, id=asker.number, job=row(job)))

    def _cancel(self, asker: Asker, request: schema.Cancel, bulk: list[bytes]) -> None:
        job = self._find(asker, request.job)
        lease = self.schedule.cancel(job)
        if lease is not None:
            for worker in self.crew.workers.values():
                if worker.lease is lease:
                    self.dispatch.stop_work(worker, lease)
        self._tell(job)
        self._table(asker, job)

    def _again(self, asker: Asker, request: schema.Retry | schema.Final, bulk: list[bytes]) -> None:
        job = self._find(asker, request.job)
        if isinstance(request, schema.Final):
            if job.quality != "draft":
                raise BadInput(f"job {job.id} is no draft")
            if job.kind == "dub" and not job.request.get("actor"):  # an edit's cast may name actors
                raise BadInput(f"job {job.id} has no actor; adapt one (vdub adapt) and submit it with that")
            self.schedule.again(job, quality="final", mark=None)
        else:
            self.schedule.again(job)
        self._table(asker, job)

    def _priority(self, asker: Asker, request: schema.SetPriority, bulk: list[bytes]) -> None:
        job = self._find(asker, request.job)
        job.priority = request.priority
        self.store.save(job)
        self._table(asker, job)

    # ---- requests about frames and performances ------------------------------------------------------------

    def _frame(self, asker: Asker, request: schema.Frame, bulk: list[bytes]) -> None:
        job = self._dub(asker, request.job)
        boxed = not asker.local if request.box is None else request.box
        kind, pixels = request.kind, request.pixels
        key = ("frame", job.id, job.quality, job.performance, request.number, kind, pixels, boxed)
        ask = messages.Ask(
            number=0,
            work=self.dispatch.work(job, 0),
            what="frame",
            frame=request.number,
            kind=kind,
            pixels=pixels,
            box=boxed,
        )
        self._questions.add(asker, key, ask)

    def _performance_get(self, asker: Asker, request: schema.PerformanceGet, bulk: list[bytes]) -> None:
        job = self._dub(asker, request.job)
        ask = messages.Ask(number=0, work=self.dispatch.work(job, 0), what="performance")
        self._questions.add(asker, ("performance", job.id, job.performance), ask)

    def _performance_put(self, asker: Asker, request: schema.PerformancePut, bulk: list[bytes]) -> None:
        job = self._dub(asker, request.job)
        if job.state in ("queued", "running"):
            raise BadInput(f"job {job.id} is {job.state}; expected one that is at its end, or paused")
        target = self.config.job_folder(job.id)

        def then(path: str) -> None:
            if request.run:
                self.schedule.again(job, performance=path)
            else:
                job.performance = path
                self.store.save(job)
            self._table(asker, job)

        self._later(asker, lambda: disk.keep_performance(target, bulk[0]), then)

    def _find(self, asker: Asker, number: int) -> Job:
        """A job that a client may see and change: a remote one only its own."""
        job = self.schedule.find(number)
        if not asker.local and job.client != asker.name:
            raise BadInput(f"there is no job {number} of client {asker.name}")
        return job

    def _dub(self, asker: Asker, number: int) -> Job:
        job = self._find(asker, number)
        if job.kind not in ("dub", "speech"):
            raise BadInput(f"job {number} ({job.kind}) is no dub of a clip; expected one")
        return job

    def _answered(self, askers: list[Asker], answer: messages.Answer) -> None:
        self._counts["frames"] += 1
        for asker in askers:
            if answer.error is not None:
                kind = "bad_request" if answer.kind == "bad" else "fault"
                self._refuse(asker, kind, answer.error)
            elif answer.picture is None:
                self._send_file(asker, answer.path or "")
            else:
                self._show(asker, answer)

    def _given_up(self, askers: list[Asker]) -> None:
        for asker in askers:
            self._refuse(asker, "fault", "too many workers ended in this request")

    def _send_file(self, asker: Asker, path: str) -> None:
        self._later(asker, lambda: disk.read_whole(path), lambda data: self._done(asker, (data,)))

    def _show(self, asker: Asker, answer: messages.Answer) -> None:
        """Send a picture: the name of its file to local clients, to others what is in it."""
        fields = dict(answer.picture or {})

        def picture(**more: Any) -> schema.Picture:
            return msgspec.convert(
                {**fields, "re": "picture", "v": 1, "id": asker.number, **more}, schema.Picture
            )

        if asker.local:
            self.front.reply(asker, picture(path=answer.path, offset=answer.offset))
            return
        path, offset = answer.path or "", answer.offset
        self._later(
            asker,
            lambda: disk.packed_planes(path, offset),
            lambda data: self.front.reply(asker, picture(), (data,)),
        )

    # ---- requests about actors -----------------------------------------------------------------------------

    def _actor(self, asker: Asker, request: Any, bulk: list[bytes]) -> None:
        """All of them are work of the disk."""
        library = self.library

        def then(found: list[dict[str, Any]] | None) -> None:
            if found is None:
                self._done(asker)
            else:
                self.front.reply(asker, schema.Actors(v=1, id=asker.number, actors=tuple(found)))

        self._later(asker, lambda: library.handle(request), then)

    # ---- the disk ------------------------------------------------------------------------------------------

    def _later(self, asker: Asker | None, work: Callable[[], Any], then: Then) -> None:
        """Do `work` in a thread, and `then` with its result here; errors are told to `asker`."""
        if asker is not None:
            if len(self._disk) >= self.config.queue:
                raise QueueFull(len(self._disk), "requests wait for the disk")
            self._disk[id(asker)] = asker

        def done(future: Future[Any]) -> None:
            self._ready.append((asker, future, then))
            with contextlib.suppress(OSError):  # as many wakes wait already as fit
                self._wake_out.send(b"x")

        self._pool.submit(work).add_done_callback(done)

    def _deliver(self, asker: Asker | None, future: Future[Any], then: Then) -> None:
        if asker is not None:
            self._disk.pop(id(asker), None)
        if future.cancelled():
            return
        try:
            then(future.result())
        except Exception as e:
            if asker is None:
                log.error("what was to be done on the disk failed", exc_info=e)
            else:
                self._failed(asker, e)

    def _keep_house(self) -> int:
        self.cache.evict()
        return self.cache.size()

    def _house_kept(self, size: int) -> None:
        self._cache_bytes = size
        self.store.flush()
        old = self.store.prune(time.time() - self.config.keep_days * DAY_S)
        if old:
            folders = [self.config.job_folder(job) for job in old]
            self._later(None, lambda: disk.remove_folders(folders), lambda done: None)

    # ---- who waits -----------------------------------------------------------------------------------------

    def _tell(self, job: Job, often: bool = False) -> None:
        """Tell a job's watchers how far it is; at its end for the last time."""
        watchers = self._watchers.get(job.id)
        if not watchers:
            return
        now = time.monotonic()
        if often and now - self._told.get(job.id, 0.0) < EVENT_S:
            return
        self._told[job.id] = now
        if job.id in self.schedule.jobs:
            seen = row(job)
            left = [a for a in watchers if self.front.reply(a, schema.Event(v=1, id=a.number, job=seen))]
            self._watchers[job.id] = left
            return
        for asker in watchers:
            self._table(asker, job, result=True)
        self._watchers.pop(job.id, None)
        self._told.pop(job.id, None)

    def _beat(self) -> None:
        for number, watchers in list(self._watchers.items()):
            self._watchers[number] = [a for a in watchers if self._lives(a)]
            if not self._watchers[number]:
                del self._watchers[number]
                self._told.pop(number, None)
        for asker in (*self._questions.askers(), *self._disk.values()):
            self._lives(asker)

    def _lives(self, asker: Asker) -> bool:
        return self.front.reply(asker, schema.Beat(v=1, id=asker.number))


_HANDLERS: dict[type[Any], str] = {
    schema.Hello: "_hello",
    schema.ActorList: "_actor",
    schema.ActorShow: "_actor",
    schema.ActorAdd: "_actor",
    schema.ActorRemove: "_actor",
    schema.ActorWithdraw: "_actor",
    schema.Submit: "_submit",
    schema.SubmitEdit: "_submit_edit",
    schema.Adapt: "_adapt_or_track",
    schema.Track: "_adapt_or_track",
    schema.Speech: "_speech",
    schema.Jobs: "_jobs",
    schema.Watch: "_watch",
    schema.Cancel: "_cancel",
    schema.Retry: "_again",
    schema.Final: "_again",
    schema.SetPriority: "_priority",
    schema.Frame: "_frame",
    schema.PerformanceGet: "_performance_get",
    schema.PerformancePut: "_performance_put",
    schema.Status: "_status",
    schema.Shutdown: "_shutdown",
}
