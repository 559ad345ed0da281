"""What trainings are tested with."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def few_people(common_folder: Path, common_cache: Path) -> Path:
    """A packed dataset of two people to train on (the second a mirror of the first, darker) and a third to
    validate, in the folder of their clips.
    """
    import numpy as np
    from common_files import made_once
    from helpers import portrait_pictures, write_movie

    from training.data.prepare import Settings, prepare_dataset

    def make(folder: Path) -> None:
        pictures = portrait_pictures(70)
        write_movie(folder / "anna_1.mkv", pictures[:30])
        write_movie(folder / "ben_1.mkv", [np.ascontiguousarray(p[:, ::-1] // 2) for p in pictures[:30]])
        write_movie(folder / "carl_1.mkv", pictures)
        prepare_dataset([folder], folder / "set", Settings(70, 90, ("carl",), 1))

    return made_once(common_folder / "few_people", make) / "set"
