"""Hosts that tests drive, and the service that the plug-ins ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "daemon"))  # for daemon_helpers

from helpers import write_wav

from daemon.config import Config
from daemon.service import Service

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = (
    "import sys; sys.path[:0] = [{root!r}]; from daemon.commands import bridge;"
    " given = dict(zip(sys.argv[2::2], sys.argv[3::2]));"  # as `vdub bridge` has them: name and value
    " bridge(given['--client'], given.get('--endpoint'))"
)


@pytest.fixture(scope="session")
def live_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a worker, which may read and write wherever tests do."""
    from daemon_helpers import running, short_folder

    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISUALDUB_CACHE", str(tmp_path_factory.mktemp("tracks")))
        roots = (tmp_path_factory.getbasetemp(),)
        with running(Config(roots=roots, run=folder / "run", state=folder / "state", workers=1)) as service:
            yield service


@pytest.fixture(scope="session")
def hum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogue as long as the clip `talking`."""
    return write_wav(tmp_path_factory.mktemp("dialogue") / "hum.wav", 1.6)


def bridge_words() -> list[str]:
    """How the bridge of this checkout is started, in place of `vdub`."""
    return [sys.executable, "-c", BRIDGE.format(root=str(ROOT))]


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plug-ins start the bridge of this checkout."""
    monkeypatch.setenv("VISUALDUB_COMMAND", json.dumps(bridge_words()))
    return bridge_words()
