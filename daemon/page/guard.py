"""Who may talk to the page: a browser of this machine that has the token, on behalf of the page itself."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import os
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from visualdub.errors import BadInput

TOKEN_FILE = "page-token"  # in the service's folder of keys
MOST_JSON = 4 << 20  # bytes of a request's body
SAFE = ("GET", "HEAD")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


def page_token(keys: Path) -> str:
    """The token of this user's page, made when it is first asked for; whoever can read the file may use the
    page. Raises `BadInput` for a file that holds something else.
    """
    path = keys / TOKEN_FILE
    with contextlib.suppress(FileExistsError):
        keys.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{32,}", token):
        raise BadInput(f"{path} holds no token; remove it to have a new one made")
    return token


class Guard:
    """Passes on to `app` what comes of the page itself, without the token in its path; refuses the rest.

    The token is the first part of every path, or of `/metrics` the bearer of its Authorization header. A
    cookie would be shown to whatever else listens on this machine: cookies know no ports. Host must be the
    address that is listened at, against names that are made to point here; Origin and Sec-Fetch-Site must be
    the page's, against pages of other sites. port: that is listened at.
    """

    def __init__(self, app: App, token: str, port: int) -> None:
        self._app, self._token = app, token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                cache = () if b"cache-control" in names else ((b"cache-control", b"no-store"),)
                message = {**message, "headers": [*given, *HEADERS, *cache]}
            await send(message)

        path, fault = self._judged(scope)
        if fault is not None:
            client = (scope.get("client") or ("?",))[0]
            log.warning("a request of the page from %s is refused: %s", client, fault)
            await _refuse(with_headers, fault)
            return
        inner = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        with contextlib.suppress(asyncio.CancelledError):  # the page ends, and with it whoever waits
            await self._app(inner, receive, with_headers)

    def _judged(self, scope: Scope) -> tuple[str, str | None]:
        """The path without the token, and why the request is refused; None where it is not."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("host", "") not in self._hosts:
            return "", "it names another host"
        origin = headers.get("origin")
        if origin is not None and (urlsplit(origin).scheme, urlsplit(origin).netloc) not in {
            ("http", host) for host in self._hosts
        }:
            return "", "it comes from another origin"
        if origin is None and scope["method"] not in SAFE:
            return "", "it changes something and says not where it comes from"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "", "it comes from another site"
        _, _, rest = scope["path"].partition("/")
        given, slash, path = rest.partition("/")
        if scope["path"] == "/metrics":
            given, slash, path = headers.get("authorization", "").removeprefix("Bearer "), "/", "metrics"
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return "", "its token is not this page's"
        return slash + path or "/", None


async def _refuse(send: Send, why: str) -> None:
    body = json.dumps({"error": f"refused: {why}"}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": head})
    await send({"type": "http.response.body", "body": body})
