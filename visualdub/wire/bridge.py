"""The bridge: requests of the service as JSON lines over a pipe, for hosts whose Python has no ZeroMQ.

One line in is one request, `{"op": "frame", "job": 3, "number": 17}`; one line out is one reply of it, as
`schema` has them. Bulk data goes as base64 under `bulk`. Requests are answered one after another; the replies
`event` and `beat` are followed by more, any other is the last.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import IO, Any

from visualdub.errors import VisualDubError
from visualdub.wire.client import Client
from visualdub.wire.errors import BadRequest, WireError, kind_of

MOST_LINE = 64 << 20  # bytes of one request with its bulk data


def serve_pipe(client: Client, requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer every line of `requests` until it ends. A request that fails is answered with its error."""
    while True:
        line = requests.readline(MOST_LINE + 1)
        if not line:
            return
        for reply in _answers(client, line):
            replies.write(json.dumps(reply, allow_nan=False).encode() + b"\n")
            replies.flush()
        if len(line) > MOST_LINE:  # the rest of the line would be read as another request
            return


def _answers(client: Client, line: bytes) -> Iterator[dict[str, Any]]:
    try:
        op, bulk, fields = _request(line)
        for reply, data in client.request(op, bulk, **fields):
            yield {**reply, "bulk": [base64.b64encode(d).decode() for d in data]} if data else reply
    except WireError as e:
        yield {"re": "error", "kind": kind_of(e), "message": str(e), "waiting": getattr(e, "waiting", 0)}
    except VisualDubError as e:
        yield {"re": "error", "kind": "fault", "message": str(e), "waiting": 0}


def _no_number(text: str) -> Any:
    raise BadRequest(f"the request holds {text}; expected numbers")


def _request(line: bytes) -> tuple[str, list[bytes], dict[str, Any]]:
    """The name, bulk data and fields of one request. Raises `BadRequest`."""
    if len(line) > MOST_LINE:
        raise BadRequest(f"the request has more than {MOST_LINE} bytes")
    try:
        values = json.loads(line, parse_constant=_no_number)
        bulk = [base64.b64decode(text, validate=True) for text in values.pop("bulk", ())]
        op = values.pop("op")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as e:
        raise BadRequest(f'the request is no JSON object with "op": {type(e).__name__} {e}'[:200]) from e
    if not isinstance(op, str) or not {"v", "id", "self"}.isdisjoint(values):
        raise BadRequest('the request has a field of its own; expected "op" and the fields of the request')
    return op, bulk, values
