"""A disk that fills up in the middle of a job: it pauses, says why, and goes on when there is room."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from daemon_helpers import client_of, running, short_folder, small_disk
from helpers import write_wav

from daemon.config import Config
from visualdub.media.source import probe


@pytest.mark.timeout(300)
def test_a_job_pauses_and_goes_on(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "new.wav", 1.6)
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", "size=1m"))
        short = stack.enter_context(short_folder())
        filler = disk / "filler"
        filler.write_bytes(bytes(900 << 10))
        roots = (tmp_path, talking.parent, flat_actor.parent)
        service = stack.enter_context(running(Config(roots, short / "run", short / "state")))
        client = stack.enter_context(client_of(service))
        job = client.submit(
            clip=str(talking),
            actor=str(flat_actor),
            dialogue=str(tmp_path / "new.wav"),
            output=str(disk / "out.mkv"),
        )
        for row in client.watch(job):
            if row["state"] == "paused":
                break
        assert row["state"] == "paused" and "No space left on device" in row["reason"], row
        assert sorted(p.name for p in disk.iterdir()) == ["filler"]
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        row = client.wait(job)
        assert row["state"] == "done" and row["attempts"] >= 2, row
        assert row["result"]["rendered"] < 40  # what was rendered before is not again
        assert probe(disk / "out.mkv").frame_count == 40
