"""What several tests of rendering share."""

from __future__ import annotations

from pathlib import Path

import pytest

from visualdub.actor.footage import DetailClip, detail_of
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.render.detail_frames import DetailFrames


@pytest.fixture(scope="session")
def tracked(talking: Path) -> TrackedShot:
    """A clip of 40 frames, tracked."""
    return track_shot(plan_shot(talking))


@pytest.fixture(scope="session")
def footage(tracked: TrackedShot) -> DetailFrames:
    """All of its frames, as a package keeps them."""
    found = detail_of([DetailClip(tracked.shot.source, tracked.track)])
    assert found is not None and len(found) == 40
    return found
