"""The bridge and its client: requests over a pipe are those over a socket."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_helpers import client_of

from daemon.service import Service
from visualdub.wire import BadRequest, BridgeClient, Client, Refused, Unreachable, schema
from visualdub.wire.bridge import serve_pipe

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = "import sys; from daemon.commands import bridge; bridge(sys.argv[3], sys.argv[1])"


def command(client: Client) -> list[str]:
    return [sys.executable, "-c", BRIDGE, client.endpoint]


def answers(client: Client, *lines: bytes) -> list[dict[str, object]]:
    out = io.BytesIO()
    serve_pipe(client, io.BytesIO(b"\n".join(lines)), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_in_is_a_reply_out(client: Client) -> None:
    hello, status = answers(client, b'{"op": "hello", "client": "x", "edition": 1}', b'{"op": "status"}')
    assert (hello["re"], status["re"]) == ("welcome", "report")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[1]",
        b'{"op": 1}',
        b'{"op": "status", "v": 2}',
        b'{"op": "status", "self": 2}',
        b'{"op": "performance_put", "job": 1, "bulk": ["!"]}',
        b"[" * 100_000,
        b'{"op": "frame", "job": NaN}',
        b'{"op": "frame", "job": 123456789012345678901234567890}',
        b"\xff\xfe",
    ],
)
def test_a_line_that_is_no_request_is_answered_and_the_next_is_served(client: Client, line: bytes) -> None:
    first, second = answers(client, line, b'{"op": "status"}')
    assert (first["re"], first["kind"], second["re"]) == ("error", "bad_request", "report")


def test_the_client_of_a_bridge(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"x")
    with BridgeClient(command(client), name="a host") as bridged:
        assert bridged.hello()["edition"] == schema.EDITION
        job = bridged.track(str(tmp_path / "a.mkv"), str(tmp_path / "t.npz"))
        assert client.job(job)["client"] == "a host"
        assert bridged.job(job) == client.job(job)
        with pytest.raises(BadRequest, match="there is no job 99"):
            bridged.cancel(99)
        with pytest.raises(Refused):
            bridged.track("/etc/passwd", str(tmp_path / "u.npz"))
        watch = bridged.watch(job)
        assert next(watch)["state"] == "queued"
        client.cancel(job)
        assert [row["state"] for row in watch] == ["cancelled"]
        assert bridged.status()["jobs"] == {}


def test_a_bridge_that_cannot_start_or_reach_the_service(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="cannot be started"):
        BridgeClient([str(tmp_path / "missing")])
    with BridgeClient([sys.executable, "-c", "pass"]) as bridged, pytest.raises(Unreachable):
        bridged.status()


def older_python(name: str) -> str:
    """The path of another Python, where there is one that runs."""
    path = shutil.which(name)
    if (
        path is not None
        and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0
    ):
        return path
    found = sorted(Path.home().glob(f".pyenv/versions/{name.removeprefix('python')}*/bin/{name}"))
    if not found:
        pytest.skip(f"there is no {name} here")
    return str(found[0])


@pytest.mark.parametrize("name", ["python3.7", "python3.9", "python3.13"])
def test_a_host_of_another_python_uses_the_bridge(serve: Callable[..., Service], name: str) -> None:
    python = older_python(name)
    with client_of(serve()) as client:
        script = (
            "import sys, json\n"
            "from visualdub.wire import BridgeClient\n"
            "with BridgeClient(json.loads(sys.argv[1])) as service:\n"
            "    print(service.hello()['edition'], service.jobs())\n"
        )
        # the bridge runs in Visual Dub's own environment, the host in its own
        bridge = ["env", f"PYTHONPATH={os.pathsep.join(p for p in sys.path if p)}", *command(client)]
        done = subprocess.run(
            [
                python,
                "-I",
                "-c",
                f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}",
                json.dumps(bridge),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.stdout, done.returncode) == (f"{schema.EDITION} []\n", 0), done.stderr
