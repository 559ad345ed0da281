"""`vdub train`: what it offers and what it refuses, in one line."""

from pathlib import Path

import pytest

from training.commands import prepare, speech
from visualdub.cli import run
from visualdub.errors import BadInput


def test_train_names_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "mouths"]) == 2
    assert "No such command 'mouths'" in capsys.readouterr().err


def test_train_speech_names_the_folder_without_a_list_of_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match="holds no clips") as e:
        speech(tmp_path, tmp_path / "model.onnx")
    assert str(tmp_path) in str(e.value) and not list(tmp_path.iterdir())
    assert run(["train", "speech", str(tmp_path), "-o", str(tmp_path / "model.onnx")]) == 2
    assert capsys.readouterr().err.strip() == f"vdub: {e.value}"


def test_train_prepare_names_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="--jobs 0 is out of range"):
        prepare([tmp_path], tmp_path / "set", jobs=0)
    assert run(["train", "prepare", str(tmp_path), "-o", str(tmp_path / "set")]) == 2
    assert (
        capsys.readouterr().err.strip()
        == f"vdub: {tmp_path} holds no clips; expected files such as .mp4, .mov or .mkv"
    )
    assert not list(tmp_path.iterdir())
