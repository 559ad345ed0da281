"""Adapting as a job: into the library, cancelled and gone on with, and ready for a dub by its name."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from daemon_helpers import client_of, running, short_folder
from helpers import write_wav

from daemon.config import Config
from visualdub.wire import Client

pytest.importorskip("torch", reason="torch is not installed (the extra `training`)")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CONSENT = "Anna Example, 2026-11-01, tests"


def test_an_actor_is_made_and_dubs(talking: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "new.wav", 1.6)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("VISUALDUB_CACHE", str(tmp_path / "cache"))
        short = stack.enter_context(short_folder())
        config = Config((tmp_path, talking.parent), short / "run", short / "state")
        client = stack.enter_context(client_of(stack.enter_context(running(config))))
        job = client.adapt([str(talking)], "anna", CONSENT, steps=200)
        watcher = stack.enter_context(Client(client.endpoint, timeout_s=30.0))
        for row in watcher.watch(job):
            if row["stage"] == "training":
                client.cancel(job)
                break
        row = client.wait(job)
        assert (row["state"], row["result"]) == ("cancelled", {}), row["reason"]
        assert client.actors() == []
        again = client.adapt([str(talking)], "anna", CONSENT, steps=1)
        row = client.wait(again)
        assert row["state"] == "done", row["reason"]
        assert row["result"]["steps"] >= 1 and row["result"]["actor"] == "anna"
        assert [a["name"] for a in client.actors()] == ["anna"]
        dub = {"clip": str(talking), "dialogue": str(tmp_path / "new.wav"), "actor": "anna"}
        row = client.wait(client.submit(**dub, frames="0:6", output=str(tmp_path / "new.mkv")))
        assert row["state"] == "done" and row["result"]["drawn"] == 6, row["reason"]
        twice = client.wait(client.adapt([str(talking)], "anna", CONSENT, steps=2))
        assert twice["state"] == "failed" and "an actor of the library already" in twice["reason"]
        client.withdraw_actor("anna")
        row = client.wait(client.submit(**dub, frames="6:9", output=str(tmp_path / "more.mkv")))
        assert row["state"] == "failed" and "withdrew consent" in row["reason"]
        client.remove_actor("anna")
        assert client.actors() == [] and not (config.actors / "anna.actor").exists()
