"""No command writes over what it reads, and a file is whole or as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from protection_table import ROWS, Row, contents, lay_out

from visualdub.cli import run


@pytest.fixture(scope="session")
def material(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of every input. What is refused is not read, so that content only matters where it is looked at
    first.
    """
    folder = tmp_path_factory.mktemp("material")
    for name in ("clip", "voice", "second"):
        shutil.copy(talking, folder / name)
    shutil.copytree(flat_actor, folder / "actor")
    for name in ("curves", "prior", "vgg"):
        (folder / name).write_bytes(b"content")
    for name, index in (("dataset", "dataset.json"), ("clips", "clips.json")):
        (folder / name).mkdir()
        (folder / name / index).write_text("[]")
    shutil.copy(talking, folder / "clips" / "anna.mkv")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_output_is_written_over_an_input(
    row: Row, material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = lay_out(row, material, tmp_path)
    before = contents(tmp_path)
    assert run(args) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("vdub: ")
    expected = "is not a log of vdub" if row.option == "--log-file" else "a source is never written to"
    assert expected in said[0]
    assert contents(tmp_path) == before
