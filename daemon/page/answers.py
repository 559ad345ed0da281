"""What a request of the page may end with: errors become one line and a status."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from visualdub.errors import BadInput, VisualDubError
from visualdub.media.sound_decoder import AudioMissing
from visualdub.wire.errors import BadRequest, Busy, Refused, ServiceFault, Unreachable

log = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Response]]


class Missing(BadInput):
    """What a request names does not exist."""


class NotYet(BadInput):
    """What a request names is being made; ask again."""


STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotYet, 202),
    (Missing, 404),
    (AudioMissing, 404),
    (Busy, 503),
    (Refused, 403),
    (BadRequest, 400),
    (BadInput, 400),
    (Unreachable, 502),
    (ServiceFault, 502),
    (VisualDubError, 500),
)


def guarded(handler: Handler) -> Handler:
    """The handler, whose errors become one line and a status: 202 with `waiting`, for what is being made and
    may be asked for again, 404 for what does not exist, 400 for what cannot be used, 502 and 503 for a
    service that does not answer and one that has too much to do. What is nobody's mistake is logged.
    """

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except VisualDubError as e:
            status = next(code for kind, code in STATUS if isinstance(e, kind))
            said = " ".join(str(e).split())
            if status >= 500:
                log.error("%s %s is answered %d: %s", request.method, request.url.path, status, said)
            return JSONResponse({"waiting" if status == 202 else "error": said}, status)
        except Exception as e:
            log.exception("%s %s is answered 500", request.method, request.url.path)
            return JSONResponse({"error": f"{type(e).__name__}: {e}"}, 500)

    return answer
