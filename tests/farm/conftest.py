"""One edit and what `vdub dub` makes of it, for all tests of the farm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from farm_helpers import Suite, bundle_of, edit_request, two_shots

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")


@pytest.fixture(scope="session")
def suite(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    from visualdub.edit.request import EditWritten, dub_plans, plan_request

    folder = tmp_path_factory.mktemp("farm")
    edit = two_shots(folder, talking)
    request = replace(edit_request(edit, flat_actor), written=EditWritten(folder / "local"))
    dub_plans(request, plan_request(request))
    return Suite(edit, flat_actor, folder / "local", talking)


@pytest.fixture(scope="session")
def read_only(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the edit with chunks of 7 frames, that tests copy and do not change."""
    return bundle_of(suite.edit, suite.actor, tmp_path_factory.mktemp("bundle") / "cut", chunk=7).folder
