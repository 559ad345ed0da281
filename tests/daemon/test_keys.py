"""Clients of other machines: only with a key that is in the list, and only as long as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from daemon_helpers import client_of, running, short_folder

from daemon.access import AllowList, new_pair, server_pair, write_secret
from daemon.config import Config
from daemon.service import Service
from visualdub.errors import BadInput
from visualdub.wire import BadRequest, Client, Refused, Unreachable


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with short_folder() as short:
        config = Config((tmp_path,), short / "run", short / "state", tcp="tcp://127.0.0.1:*", workers=0)
        with running(config) as made:
            yield made


@pytest.fixture
def connect(service: Service, tmp_path: Path) -> Callable[..., Client]:
    """A client over TCP with a new key, which is allowed under `name`, unless that is None."""
    allowed = AllowList(service.config.keys)

    def make(name: str | None, server_key: str | None = None, timeout_s: float = 10.0) -> Client:
        pair, path = new_pair(), tmp_path / f"{name}.json"
        write_secret(
            path, {**pair, "server_key": server_key or server_pair(service.config.keys)["public_key"]}
        )
        if name is not None:
            allowed.allow(name, pair["public_key"])
            service.front.allowed.reload()  # the service does so itself every few seconds
        return Client(service.front.endpoints[1], key=path, timeout_s=timeout_s)

    return make


def test_an_allowed_key_is_served_and_named(
    service: Service, connect: Callable[..., Client], tmp_path: Path
) -> None:
    with connect("suite") as client:
        assert client.hello()["local"] is False
        (tmp_path / "a.mkv").write_bytes(b"x")
        job = client.track(str(tmp_path / "a.mkv"), str(tmp_path / "t.npz"))
        assert client.job(job)["client"] == "suite"
        with pytest.raises(Refused, match="only a local client may end the service"):
            client.shutdown()


def test_a_remote_client_sees_and_changes_its_own_jobs_alone(
    service: Service, connect: Callable[..., Client], tmp_path: Path
) -> None:
    (tmp_path / "a.mkv").write_bytes(b"x")
    with connect("suite") as mine, connect("rival") as other, client_of(service) as local:
        job = mine.track(str(tmp_path / "a.mkv"), str(tmp_path / "t.npz"))
        for change in (other.job, other.cancel, other.retry):
            with pytest.raises(BadRequest, match=f"there is no job {job} of client rival"):
                change(job)
        with pytest.raises(BadRequest, match=r"writes .*t\.npz, too"):  # nor does it join it
            other.track(str(tmp_path / "a.mkv"), str(tmp_path / "t.npz"))
        assert other.jobs() == [] and [j["job"] for j in mine.jobs()] == [job]
        assert local.cancel(job)["state"] == "cancelled"


def test_a_key_that_is_not_in_the_list_gets_nothing(connect: Callable[..., Client]) -> None:
    with connect(None, timeout_s=1.0) as client, pytest.raises(Unreachable):
        client.hello()


def test_no_key_gets_nothing(service: Service) -> None:
    with Client(service.front.endpoints[1], timeout_s=1.0) as client, pytest.raises(Unreachable):
        client.hello()


def test_a_client_that_expects_another_service_sends_nothing(connect: Callable[..., Client]) -> None:
    foreign = new_pair()["public_key"]
    with connect("suite", server_key=foreign, timeout_s=1.0) as client, pytest.raises(Unreachable):
        client.hello()


def test_a_revoked_key_is_refused_on_a_connection_that_lives(
    service: Service, connect: Callable[..., Client]
) -> None:
    with connect("suite") as client:
        client.hello()
        AllowList(service.config.keys).revoke("suite")
        service.front.allowed.reload()
        before = service.status()["counts"]["requests"]
        with pytest.raises(Refused, match="not allowed any more"):
            client.hello()
        assert service.status()["counts"]["requests"] == before + 1  # it came, and was not served


def test_the_list_is_read_again_while_the_service_runs(
    service: Service, connect: Callable[..., Client]
) -> None:
    with connect("suite") as client:
        client.hello()
        AllowList(service.config.keys).revoke("suite")
        begun, refused = time.monotonic(), False
        while not refused and time.monotonic() < begun + 30:
            time.sleep(0.1)
            try:
                client.status()
            except Refused:
                refused = True
        assert refused


def test_tcp_without_curve_is_never_bound(service: Service) -> None:
    assert service.front.tcp is not None
    assert service.front.tcp.getsockopt(zmq.CURVE_SERVER) == 1
    assert service.front.tcp.getsockopt(zmq.MAXMSGSIZE) == 32 << 20


def test_the_list_of_keys(tmp_path: Path) -> None:
    allowed, key = AllowList(tmp_path), new_pair()["public_key"]
    allowed.allow("ada", key)
    assert AllowList(tmp_path).reload() and allowed.name_of(key) == "ada"
    with pytest.raises(BadInput, match="ada has another key"):
        allowed.allow("ada", new_pair()["public_key"])
    with pytest.raises(BadInput, match="is no public key"):
        allowed.allow("bob", "short")
    with pytest.raises(BadInput, match="bob is no client of"):
        allowed.revoke("bob")
    allowed.revoke("ada")
    assert allowed.name_of(key) is None


def test_secrets_are_their_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_secret(path, new_pair())
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadInput, match="is there already"):
        write_secret(path, new_pair())
    server_pair(tmp_path / "keys")
    assert (tmp_path / "keys" / "server.json").stat().st_mode & 0o777 == 0o600
    assert server_pair(tmp_path / "keys") == server_pair(tmp_path / "keys")


def test_folders_are_their_owners_alone(service: Service) -> None:
    config = service.config
    for folder in (config.run, config.state, config.keys, config.cache, config.actors):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert (config.run / "address.json").stat().st_mode & 0o777 == 0o600
