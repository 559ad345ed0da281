"""Whoever is killed in the middle of a dub in Nuke leaves the script and the cache as they were, or
finished.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from daemon_helpers import short_folder, start_process
from host_helpers import bridge_words
from nuke_kills import VICTIMS, dub_once

from daemon.config import Config
from visualdub.wire.places import read_address

POINTS = {
    "host": (0.1, 0.6),
    "bridge": (0.1, 0.6),
    "service": (0.3,),
}  # seconds


@pytest.mark.slow
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_dub_that_is_cut_off_is_whole_or_not_there(
    victim: str, talking: Path, flat_actor: Path, hum: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "clip": str(talking),
        "length": 40,
        "dialogue": str(hum),
        "actor": str(flat_actor),
        "range": "5-10",
        "cache": str(tmp_path / "cache"),
        "script": str(tmp_path / "a.nk"),
    }
    with short_folder() as folder:
        roots = (talking.parents[1],)
        config = Config(roots=roots, run=folder / "run", state=folder / "state", workers=1)
        service = start_process(config)
        try:
            asked["service"] = read_address(config.run)["endpoint"]
            whole = dub_once(asked, bridge_words())
            assert whole.outcome == "after" and whole.keys
            for point in POINTS[victim]:
                shutil.rmtree(asked["cache"])
                left = dub_once(asked, bridge_words(), victim, point, service.pid)
                assert left.outcome in ("before", "after"), left
                if victim == "service":
                    service.wait()
                    service = start_process(config)
                again = dub_once(asked, bridge_words())
                assert (again.outcome, again.keys) == ("after", whole.keys)
        finally:
            service.kill()
            service.wait()
