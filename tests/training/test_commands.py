"""`vdub train`: what it refuses, in one line."""

from pathlib import Path

import pytest

from training.commands import train
from visualdub.errors import BadInput


def test_train_knows_speech_alone(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="this version trains speech only"):
        train("mouths", tmp_path)


def test_train_speech_names_the_folder_without_a_list_of_clips(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no clips") as e:
        train("speech", tmp_path, tmp_path / "model.onnx")
    assert str(tmp_path) in str(e.value) and not list(tmp_path.iterdir())
