"""What is a message of the schema, and what is refused."""

from __future__ import annotations

import math
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visualdub.wire import requests, schema
from visualdub.wire.schema import Unreadable, decode_reply, decode_request, encode

DUB = {"clip": "/a.mkv", "actor": "ada", "output": "/o.mkv", "dialogue": "/d.wav"}


def packed(**values: Any) -> bytes:
    return bytes(msgpack.packb({"v": 1, "id": 1, **values}))


def test_a_request_is_read() -> None:
    request = decode_request(packed(op="submit", dub=DUB, quality="draft"))
    assert isinstance(request, schema.Submit)
    assert (request.id, request.quality, request.dub.clip, request.dub.crf) == (1, "draft", "/a.mkv", 16)


def test_every_request_and_reply_has_a_tag_of_its_own() -> None:
    for union in (schema.AnyRequest, schema.AnyReply):
        tags = [c.__struct_config__.tag for c in get_args(union)]
        assert len(set(tags)) == len(tags) > 9


def test_the_client_speaks_the_version_of_the_schema() -> None:
    assert (requests.VERSION, requests.EDITION) == (schema.VERSION, schema.EDITION)
    assert {requests.FINAL, requests.DRAFT} == set(get_args(schema.Quality))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"op": "jobs", "colour": 1}, "unknown field"),
        ({"op": "dance"}, "Invalid value 'dance'"),
        ({"op": "frame", "job": 0, "number": 1}, ">= 1"),
        ({"op": "frame", "job": 1, "number": -1}, ">= 0"),
        ({"op": "frame", "job": 1, "number": 2**31 + 1}, "<= 2147483648"),
        ({"op": "frame", "job": 1, "number": "1"}, "Expected `int`"),
        ({"op": "frame", "job": 1, "number": True}, "Expected `int`"),
        ({"op": "frame", "job": 1, "number": 1, "kind": "gold"}, "Invalid enum value"),
        ({"op": "submit", "dub": {**DUB, "crf": 52}}, "<= 51"),
        ({"op": "submit", "dub": {**DUB, "mouth_gain": 4.0}}, "<= 3"),
        ({"op": "submit", "dub": {**DUB, "skip": ["1:2"] * 1001}}, "length <= 1000"),
        ({"op": "submit", "dub": {**DUB, "frames": "1-2"}}, "matching regex"),
        ({"op": "submit", "dub": {**DUB, "clip": ""}}, "length >= 1"),
        ({"op": "submit", "dub": {**DUB, "clip": "x" * 5000}}, "length <= 4096"),
        ({"op": "jobs", "v": 2}, "Invalid enum value 2"),
        ({"op": "hello", "edition": 1, "client": "two\nlines"}, "matching regex"),
        ({"op": "adapt", "clips": [], "name": "a", "consent": "x"}, "length >= 1"),
        ({"op": "adapt", "clips": ["/a"], "name": "../a", "consent": "x"}, "matching regex"),
    ],
)
def test_fields_out_of_bounds_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        decode_request(packed(**values))


def twice() -> bytes:
    """A map with the key `op` twice."""
    body = msgpack.packb({"v": 1, "id": 1, "op": "jobs"})
    assert body[0] == 0x83
    return b"\x84" + body[1:] + msgpack.packb("op") + msgpack.packb("status")


def deep(levels: int) -> bytes:
    """A map with so many lists inside each other."""
    head = packed(op="jobs")
    return b"\x84" + head[1:] + bytes(msgpack.packb("job")) + b"\x91" * levels + b"\x01"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (twice(), "the key 'op' twice"),
        (packed(op="jobs", job=msgpack.ExtType(7, b"x")), "extension type 7"),
        (packed(op="jobs", job=msgpack.Timestamp(1)), "extension type -1"),
        (packed(op="adapt", minutes=math.nan), "holds the number nan"),
        (packed(op="adapt", minutes=math.inf), "holds the number inf"),
        (deep(9), "more than 8 levels"),
        (deep(5000), "no msgpack|levels"),
        (packed(op="jobs") + b"\x01", "no msgpack"),
        (packed(op="jobs")[:-1], "no msgpack"),
        (b"", "no msgpack"),
        (b"\xc1", "no msgpack"),
        (msgpack.packb([1, 2]), "a list; expected a map"),
        (msgpack.packb({1: 2}), "no msgpack|a key that is a int"),
        (packed(op="jobs", job=b"bytes"), "no msgpack"),
        (b"\xdf\xff\xff\xff\xff", "no msgpack"),  # announces 4 billion entries
        (b"\xc6\xff\xff\xff\xff", "no msgpack"),  # announces 4 GB
        (packed(op="jobs", job="x" * (65 << 10)), "expected at most 65536"),
    ],
)
def test_what_is_no_plain_map_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        decode_request(data)


def test_the_number_of_a_refused_request_is_found_for_the_answer() -> None:
    assert schema.number_in(packed(op="dance", id=7)) == 7
    assert schema.number_in(packed(op="dance", id=True)) == 0
    assert schema.number_in(b"\xc1") == 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_read_or_refused(data: bytes) -> None:
    try:
        request = decode_request(data)
    except Unreadable:
        return
    assert decode_request(encode(request)) == request


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({f for c in get_args(schema.AnyRequest) for f in c.__struct_fields__})
OPS = [c.__struct_config__.tag for c in get_args(schema.AnyRequest)]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(OPS), st.dictionaries(st.sampled_from(FIELDS), plain, max_size=5))
def test_no_value_of_any_field_does_anything_but_be_read_or_refused(op: str, fields: dict[str, Any]) -> None:
    try:
        request = decode_request(msgpack.packb({"v": 1, "id": 1, "op": op, **fields}))
    except Unreadable:
        return
    assert decode_request(encode(request)) == request


def test_a_reply_comes_back_as_it_was_sent() -> None:
    row = schema.JobRow(
        job=1,
        kind="dub",
        state="running",
        client="local",
        priority=0,
        quality="final",
        title="/o.mkv",
        stage="rendering",
        done=1,
        total=2,
        rate=0.5,
        reason="",
        attempts=1,
        created=1.0,
        started=2.0,
        ended=0.0,
        result={"notes": ["a"]},
    )
    reply = schema.JobTable(v=1, id=3, jobs=(row,), waiting=2)
    assert decode_reply(encode(reply)) == reply
