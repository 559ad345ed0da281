"""Requests that need no worker: what is answered, what is refused, and that nothing stops the service."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgpack
import pytest
import zmq
from daemon_helpers import client_of, short_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.service import _HANDLERS, Service
from visualdub.wire import BadRequest, Busy, Client, Refused, Unreachable, schema
from visualdub.wire.client import LOOK_S

Serve = Callable[..., Service]


def files(folder: Path, *names: str) -> dict[str, str]:
    """Options of a dub whose files exist."""
    for name in ("clip.mkv", "new.wav"):
        (folder / name).write_bytes(b"not media; no service reads it")
    asked = {"clip": "clip.mkv", "dialogue": "new.wav", "output": names[0] if names else "out.mkv"}
    return {"actor": "ada", **{k: str(folder / v) for k, v in asked.items()}}


def test_every_request_has_a_handler() -> None:
    assert set(_HANDLERS) == set(get_args(schema.AnyRequest))


def test_hello(client: Client) -> None:
    welcome = client.hello()
    assert welcome["edition"] == schema.EDITION and welcome["local"] is True
    assert "performance_put" in welcome["capabilities"]


def test_a_job_is_queued_and_shown(client: Client, tmp_path: Path) -> None:
    job = client.submit(priority=3, **files(tmp_path))
    row = client.job(job)
    assert (row["state"], row["priority"], row["kind"], row["client"]) == ("queued", 3, "dub", "python")
    assert row["title"] == str(tmp_path / "out.mkv")
    assert [r["job"] for r in client.jobs()] == [job]


def test_the_same_request_twice_is_one_job(client: Client, tmp_path: Path) -> None:
    assert client.submit(**files(tmp_path)) == client.submit(**files(tmp_path))


def test_two_jobs_do_not_write_one_file(client: Client, tmp_path: Path) -> None:
    client.submit(**files(tmp_path))
    with pytest.raises(BadRequest, match=r"job 1 writes .*out.mkv, too"):
        client.submit(crf=20, **files(tmp_path))


def test_a_full_queue_says_busy_and_how_many_wait(serve: Serve, tmp_path: Path) -> None:
    with client_of(serve(queue=2)) as client:
        for name in ("a.mkv", "b.mkv"):
            client.submit(**files(tmp_path, name))
        with pytest.raises(Busy) as busy:
            client.submit(**files(tmp_path, "c.mkv"))
        assert busy.value.waiting == 2


def test_frames_that_nobody_can_render_yet_are_bounded(serve: Serve, tmp_path: Path) -> None:
    with client_of(serve(frames=1)) as client:
        job = client.submit(**files(tmp_path))
        with pytest.raises(Unreachable):  # there is no worker: it waits, and hears beats meanwhile
            client.frame(job, 1, timeout_s=0.3)
        with pytest.raises(Busy, match="1 frames are waited for"):
            client.frame(job, 2, timeout_s=1.0)


def test_one_frame_is_waited_for_by_so_many_at_most(
    client: Client, socket: zmq.Socket[bytes], tmp_path: Path
) -> None:
    job = client.submit(**files(tmp_path))
    for number in range(1, 66):
        socket.send(msgpack.packb({"v": 1, "id": number, "op": "frame", "job": job, "number": 1}))
    while True:  # beats of those that wait come first
        assert socket.poll(10_000)
        reply = msgpack.unpackb(socket.recv_multipart()[0])
        if reply["re"] == "error":
            break
    assert (reply["id"], reply["kind"], reply["waiting"]) == (65, "busy", 64)


def test_cancel_and_retry(client: Client, tmp_path: Path) -> None:
    job = client.submit(**files(tmp_path))
    assert client.cancel(job)["state"] == "cancelled"
    with pytest.raises(BadRequest, match="is cancelled already"):
        client.cancel(job)
    assert client.retry(job)["state"] == "queued"
    with pytest.raises(BadRequest, match="there is no job 77"):
        client.job(77)


def test_a_watched_job_tells_its_end(client: Client, serve: Serve, tmp_path: Path) -> None:
    job = client.submit(**files(tmp_path))
    watch = client.watch(job)
    assert next(watch)["state"] == "queued"
    with Client(client.endpoint) as other:
        other.cancel(job)
    assert [row["state"] for row in watch] == ["cancelled"]


def test_jobs_outlive_the_service(serve: Serve, tmp_path: Path) -> None:
    service = serve()
    with client_of(service) as client:
        job = client.submit(**files(tmp_path))
        client.shutdown()
    deadline = time.monotonic() + 20
    while (service.config.run / "address.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with client_of(serve()) as client:
        assert client.job(job)["state"] == "queued"


def test_only_one_service_uses_a_folder(serve: Serve) -> None:
    from visualdub.errors import BadInput

    serve()
    with pytest.raises(BadInput, match="another service uses"):
        serve()


# ---- paths -------------------------------------------------------------------------------------------------


def outside(tmp_path: Path) -> Path:
    folder = tmp_path.parent / f"{tmp_path.name}-outside"
    folder.mkdir(exist_ok=True)
    (folder / "clip.mkv").write_bytes(b"somebody else's")
    return folder


@pytest.mark.parametrize("field", ["clip", "dialogue", "output", "matte", "performance", "use_performance"])
def test_a_path_outside_the_roots_is_refused(client: Client, tmp_path: Path, field: str) -> None:
    with pytest.raises(Refused, match="lies outside the folders of the service"):
        client.submit(**{**files(tmp_path), field: str(outside(tmp_path) / "clip.mkv")})


def test_links_and_dots_do_not_lead_out_of_the_roots(client: Client, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(outside(tmp_path))
    for text in (link / "clip.mkv", f"{tmp_path}/../{outside(tmp_path).name}/clip.mkv"):
        with pytest.raises(Refused, match="lies outside"):
            client.submit(**{**files(tmp_path), "clip": str(text)})
    target = tmp_path / "out.mkv"
    target.symlink_to(outside(tmp_path) / "clip.mkv")
    with pytest.raises(Refused, match="lies outside"):
        client.submit(**files(tmp_path))


def test_relative_paths_names_with_zeros_and_devices_are_refused(client: Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for text, error, says in (
        ("clip.mkv", Refused, "no absolute path"),
        (f"{tmp_path}/a\0b", Refused, "no absolute path"),
        ("http://example.org/a.mkv", Refused, "no absolute path"),
        (str(tmp_path / "pipe"), BadRequest, "a device or a pipe"),
        (str(tmp_path / "missing.mkv"), BadRequest, "cannot be read"),
    ):
        with pytest.raises(error, match=says):
            client.submit(**{**files(tmp_path), "clip": text})


@pytest.mark.parametrize("name", ["../ada", "a/b", "..", "/etc"])
def test_names_of_actors_are_no_paths(client: Client, name: str) -> None:
    with pytest.raises((BadRequest, Refused)):
        client.actor(name)


# ---- messages ----------------------------------------------------------------------------------------------


def raw_reply(socket: zmq.Socket[bytes], *parts: bytes) -> dict[str, Any]:
    socket.send_multipart(parts)
    assert socket.poll(10_000), "no answer"
    reply = msgpack.unpackb(socket.recv_multipart()[0])
    assert isinstance(reply, dict)
    return reply


@pytest.fixture
def socket(client: Client) -> Any:
    context = zmq.Context()
    made = context.socket(zmq.DEALER)
    made.linger = 0
    made.connect(client.endpoint)
    yield made
    made.close()
    context.term()


def test_a_refused_message_is_answered_with_its_number(socket: zmq.Socket[bytes]) -> None:
    reply = raw_reply(socket, msgpack.packb({"v": 1, "id": 9, "op": "dance"}))
    assert (reply["re"], reply["kind"], reply["id"]) == ("error", "bad_request", 9)


def test_bulk_data_where_there_is_none_is_refused(socket: zmq.Socket[bytes]) -> None:
    head = msgpack.packb({"v": 1, "id": 9, "op": "status"})
    assert "2 frames of bulk data" in raw_reply(socket, head, b"x", b"y")["message"]
    head = msgpack.packb({"v": 1, "id": 9, "op": "performance_put", "job": 1})
    assert "0 frames of bulk data" in raw_reply(socket, head)["message"]


def test_no_message_stops_the_service(socket: zmq.Socket[bytes], client: Client) -> None:
    """Every request with wild fields, and wild bytes, is answered; afterwards the service works as before."""
    values = st.none() | st.booleans() | st.integers(-5, 2**64 - 1) | st.floats() | st.text(max_size=6)
    fields = st.sampled_from(["job", "number", "dub", "actor", "path", "limit", "client", "clips", "name"])
    ops = st.sampled_from([str(c.__struct_config__.tag) for c in _HANDLERS if c is not schema.Shutdown])
    heads = st.builds(
        lambda op, more: msgpack.packb({"v": 1, "id": 5, "op": op, **more}),
        ops,
        st.dictionaries(fields, values, max_size=4),
    )

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.lists(heads | st.binary(max_size=40), min_size=1, max_size=3))
    def send(parts: list[bytes]) -> None:
        assert raw_reply(socket, *parts)["re"] in {c.__struct_config__.tag for c in get_args(schema.AnyReply)}

    send()
    assert client.status()["counts"]["requests"] > 200


def test_connections_that_stop_midway_leave_nothing(client: Client) -> None:
    import socket as sockets

    import psutil

    before = psutil.Process().num_fds()
    path = client.endpoint.removeprefix("ipc://")
    for head in (
        b"",
        b"\xff",
        b"\xff\0\0\0\0\0\0\0\x01\x7f",
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL" + bytes(48),
    ):
        for _ in range(25):
            with sockets.socket(sockets.AF_UNIX) as half:
                half.connect(path)
                half.sendall(head)
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL" + bytes(16) + bytes(32)
    with sockets.socket(sockets.AF_UNIX) as half:  # a frame that announces 10 GB
        half.connect(path)
        half.sendall(greeting + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER")
        half.sendall(b"\x02" + (10 << 30).to_bytes(8, "big") + bytes(1000))
        half.settimeout(10)
        while half.recv(4096):
            pass  # until the service closes the connection
    assert client.status()["version"]
    deadline = time.monotonic() + 10
    while psutil.Process().num_fds() > before + 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert psutil.Process().num_fds() <= before + 3


def test_a_client_that_does_not_read_is_let_go(client: Client, tmp_path: Path) -> None:
    context = zmq.Context()
    silent = context.socket(zmq.DEALER)
    silent.linger, silent.rcvhwm = 0, 1
    silent.connect(client.endpoint)
    for number in range(2000):
        silent.send(msgpack.packb({"v": 1, "id": number, "op": "status"}))
    begun = time.monotonic()
    assert client.status()["version"]
    assert time.monotonic() - begun < 10
    silent.close()
    context.term()


@pytest.fixture
def slow() -> Iterator[tuple[zmq.Socket[bytes], str]]:
    """A service of a busy machine: its socket and its address."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.linger = 0
    with short_folder() as folder:
        socket.bind(f"ipc://{folder}/slow")
        yield socket, f"ipc://{folder}/slow"
        socket.close(0)
        context.term()


def test_an_answer_is_waited_for_while_the_service_is_there_and_no_longer(
    slow: tuple[zmq.Socket[bytes], str],
) -> None:
    socket, address = slow

    def answer() -> None:
        socket.recv_multipart()  # hello
        identity, head = socket.recv_multipart()
        time.sleep(1.3 * LOOK_S)
        reply = {"re": "report", "v": 1, "id": msgpack.unpackb(head)["id"], "values": {"pid": 7}}
        socket.send_multipart([identity, msgpack.packb(reply)])
        socket.recv_multipart()
        socket.close(0)

    thread = threading.Thread(target=answer)
    thread.start()
    with Client(address, timeout_s=30.0) as client:
        assert client.status() == {"pid": 7}
        begun = time.monotonic()
        with pytest.raises(Unreachable, match=f"the service at {address} has ended"):
            client.status()
        assert time.monotonic() - begun < 10
    thread.join()


def test_nobody_at_the_address(tmp_path: Path) -> None:
    with Client(f"ipc://{tmp_path}/nobody", timeout_s=0.2) as client, pytest.raises(Unreachable):
        client.hello()
