"""Hosts that tests drive, and the service that the plug-ins ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "daemon"))  # for daemon_helpers

from helpers import write_wav
from host_helpers import bridge_words

from daemon.config import Config
from daemon.service import Service


@pytest.fixture(scope="session")
def live_service(common_folder: Path) -> Iterator[Service]:
    """A service with a worker, which may read and write wherever tests do."""
    from daemon_helpers import running, short_folder

    with short_folder() as folder:
        places = {"run": folder / "run", "state": folder / "state"}
        with running(Config(roots=(common_folder,), **places, workers=1)) as service:
            yield service


@pytest.fixture(scope="session")
def hum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogue as long as the clip `talking`."""
    return write_wav(tmp_path_factory.mktemp("dialogue") / "hum.wav", 1.6)


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plug-ins start the bridge of this checkout."""
    monkeypatch.setenv("VISUALDUB_COMMAND", json.dumps(bridge_words()))
    return bridge_words()
