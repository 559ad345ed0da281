"""Small inputs that broke things, and the actor that their commands name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"


@pytest.fixture
def case(tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies the inputs of the case NAME into a folder of the test and returns it; skips
    where shared/cases is not beside the checkout.
    """

    def copied(name: str) -> Path:
        if not CASES.is_dir():
            pytest.skip("shared/cases is not beside the checkout; it holds inputs that broke things")
        return Path(shutil.copytree(CASES / name, tmp_path / name, copy_function=shutil.copyfile))

    return copied


@pytest.fixture(scope="session")
def demo_actor(demo_clip: Path, common_folder: Path, common_cache: Path) -> Path:
    """The actor of the demo's portrait, whom most cases show, with a renderer that paints flat skin."""
    from common_files import made_once
    from helpers import write_flat_actor

    from visualdub.face.tracker import cached_track

    def make(folder: Path) -> None:
        write_flat_actor(folder / "portrait.actor", cached_track(demo_clip)[0])

    return made_once(common_folder / "demo_actor", make) / "portrait.actor"
