"""Services that tests ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from daemon_helpers import client_of, running, short_folder
from page_helpers import Browser, opened

from daemon.config import Config
from daemon.service import Service
from visualdub.wire.client import Client


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts a service whose root is `tmp_path`, without workers unless they are asked for."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())

        def start(**options: Any) -> Service:
            values = {"roots": (tmp_path,), "run": folder / "run", "state": folder / "state", "workers": 0}
            return stack.enter_context(running(Config(**{**values, **options})))

        yield start


@pytest.fixture
def client(serve: Callable[..., Service]) -> Iterator[Client]:
    """A client of a service without workers."""
    with client_of(serve()) as made:
        yield made


@pytest.fixture
def service(serve: Callable[..., Service]) -> Service:
    """A service without workers."""
    return serve()


@pytest.fixture
def page(service: Service) -> Iterator[Browser]:
    """The page of `service`, in this process."""
    with opened(service) as shown:
        yield Browser(shown.address)
