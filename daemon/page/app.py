"""The requests of the browser, each a thin layer over `shots` and the service's own requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from daemon.page.answers import Missing, guarded
from daemon.page.guard import MOST_JSON
from daemon.page.metrics import CONTENT_TYPE, exposition, with_memory
from daemon.page.shots import Shots
from visualdub.errors import BadInput, VisualDubError

STATIC = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **{
        f"{n}.js": "text/javascript; charset=utf-8"
        for n in ("page", "jobs", "viewer", "curves", "sound", "model")
    },
}
EVENT_S = 0.5  # between two looks at the service, for all browsers together
SILENCE_S = 10.0  # after which a comment keeps the connection alive
REVIEWS_S = 5.0  # between two looks at the files of decisions
MOST_LISTENERS = 16
NEWEST = 100  # jobs that are shown
log = logging.getLogger(__name__)


class Page:
    """The application. Call `app` from an ASGI server; `closing` ends streams of events."""

    def __init__(self, shots: Shots) -> None:
        self.shots = shots
        self.closing = False
        self._lock = threading.Lock()
        self._seen: tuple[float, dict[str, Any]] = (0.0, {})
        self._listeners = 0
        self._looked = 0.0
        self._reviews: dict[int, dict[str, Any] | None] = {}  # by job; files that are read now and then
        job = "/api/jobs/{job:int}"
        self.app = Starlette(
            routes=[
                Route("/", self._static),
                Route("/static/{name}", self._static),
                Route("/metrics", guarded(self._metrics)),
                Route("/api/events", self._events),
                Route(f"{job}/shot", guarded(self._shot)),
                Route(f"{job}/frames/{{number:int}}", guarded(self._frame)),
                Route(f"{job}/sound", guarded(self._sound)),
                Route(f"{job}/peaks", guarded(self._peaks)),
                Route(f"{job}/performance", guarded(self._performance), methods=["POST"]),
                Route(f"{job}/review", guarded(self._review), methods=["POST"]),
                Route(f"{job}/{{change}}", guarded(self._change), methods=["POST"]),
            ]
        )

    # ---- files ---------------------------------------------------------------------------------------------

    async def _static(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in STATIC:
            return JSONResponse({"error": f"there is no {name}"}, 404)
        content = files("daemon.page").joinpath("static", name).read_bytes()
        return Response(content, media_type=STATIC[name], headers={"cache-control": "no-cache"})

    # ---- the service ---------------------------------------------------------------------------------------

    def overview(self) -> dict[str, Any]:
        """Jobs and status, at most EVENT_S old."""
        with self._lock:
            at, seen = self._seen
            if time.monotonic() - at > EVENT_S * 0.8:
                with self.shots.clients.one() as client:
                    jobs, status = client.jobs(NEWEST), client.status()
                if time.monotonic() - self._looked > REVIEWS_S:
                    self._looked, self._reviews = time.monotonic(), {}
                for row in jobs:
                    row["review"] = self._decision(row)
                seen = {"jobs": jobs, "status": with_memory(status)}
                self._seen = (time.monotonic(), seen)
            return seen

    def _decision(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """What was decided about a job, in short."""
        if row["kind"] != "dub":
            return None
        if row["job"] not in self._reviews:
            found = None
            with contextlib.suppress(VisualDubError):
                found = self.shots.review(row)
            self._reviews[row["job"]] = found and {k: found[k] for k in ("decision", "outdated")}
        return self._reviews[row["job"]]

    async def _events(self, request: Request) -> Response:
        if self._listeners >= MOST_LISTENERS:
            return JSONResponse({"error": f"{self._listeners} pages are open already"}, 503)
        return StreamingResponse(
            self._stream(request), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    async def _stream(self, request: Request) -> AsyncIterator[bytes]:
        self._listeners += 1
        last, said = "", time.monotonic()
        try:
            while not self.closing:
                try:
                    text = json.dumps(await run_in_threadpool(self.overview))
                except VisualDubError as e:
                    text = json.dumps({"error": str(e)})
                now = time.monotonic()
                if text != last:
                    yield f"data: {text}\n\n".encode()
                    last, said = text, now
                elif now - said > SILENCE_S:
                    yield b": alive\n\n"
                    said = now
                await asyncio.sleep(EVENT_S)
        finally:
            self._listeners -= 1

    async def _metrics(self, request: Request) -> Response:
        seen = await run_in_threadpool(self.overview)
        return Response(exposition(seen["status"], seen["jobs"]), headers={"content-type": CONTENT_TYPE})

    async def _change(self, request: Request) -> Response:
        job, change = request.path_params["job"], request.path_params["change"]
        values = await _body(request)
        level = _whole(values, "priority", -10, 10) if change == "priority" else 0

        def work() -> dict[str, Any]:
            self.shots.row(job)
            with self.shots.clients.one() as client:
                if change == "priority":
                    return client.priority(job, level)
                if change not in ("cancel", "retry", "final"):
                    raise Missing(f"{change!r} is no change of a job")
                return {"cancel": client.cancel, "retry": client.retry, "final": client.final}[change](job)

        row = await run_in_threadpool(work)
        log.info("job %d: %s, asked for on the page", job, change)
        return JSONResponse({"job": row})

    # ---- shots ---------------------------------------------------------------------------------------------

    async def _shot(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self.shots.shot, request.path_params["job"]))

    async def _frame(self, request: Request) -> Response:
        view = request.query_params.get("view", "mouth")
        if view not in ("mouth", "whole"):
            raise BadInput(f"{view!r} is no view; expected mouth or whole")
        params = request.path_params
        data, kind = await run_in_threadpool(self.shots.picture, params["job"], params["number"], view)
        named = "v" in request.query_params  # the address changes with the picture
        keep = {"cache-control": "private, max-age=3600, immutable"} if named else {}
        return Response(data, media_type=kind, headers=keep)

    async def _sound(self, request: Request) -> Response:
        query = request.query_params
        try:
            start, length = float(query.get("start", "0")), float(query.get("length", "10"))
        except ValueError:
            raise BadInput("start and length are seconds") from None
        if not (-1e6 < start < 1e6 and 0 < length < 1e6):
            raise BadInput("start and length are seconds")
        of_plate = query.get("of") == "plate"
        data = await run_in_threadpool(self.shots.sound, request.path_params["job"], start, length, of_plate)
        return Response(data, media_type="audio/wav")

    async def _peaks(self, request: Request) -> Response:
        return JSONResponse({"peaks": await run_in_threadpool(self.shots.peaks, request.path_params["job"])})

    async def _performance(self, request: Request) -> Response:
        job, values = request.path_params["job"], await _body(request)
        run, reset = values.get("run") is True, values.get("reset") is True
        done = await run_in_threadpool(self.shots.edit, job, values.get("edits", []), run, reset)
        self._looked = 0.0
        log.info("job %d: its performance is edited on the page", job)
        return JSONResponse(done)

    async def _review(self, request: Request) -> Response:
        job, values = request.path_params["job"], await _body(request)
        decision, note = str(values.get("decision", "")), str(values.get("note", ""))
        done = await run_in_threadpool(self.shots.decide, job, decision, note)
        self._looked = 0.0
        log.info("job %d: %s on the page", job, decision)
        return JSONResponse({"review": done})


# ---- what comes with a request ----------------------------------------------------------------------------


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that came with a request. Raises `BadInput` for anything else and for one too long."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MOST_JSON:
            raise BadInput(f"the request has more than {MOST_JSON} bytes")
    if not content:
        return {}

    def no_number(text: str) -> float:
        raise ValueError(text)

    try:
        values = json.loads(content, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise BadInput("the request is no JSON") from None
    if not isinstance(values, dict):
        raise BadInput("the request is no JSON object")
    return values


def _whole(values: dict[str, Any], name: str, low: int, high: int) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadInput(f"{name} is {value!r}; expected a whole number from {low} to {high}")
    return value
