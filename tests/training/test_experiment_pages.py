"""What an experiment writes for docs/results."""

from __future__ import annotations

import json
from pathlib import Path

from training.experiments.tables import markdown, write_page
from visualdub.measure.result import FORMAT


def test_a_page_has_its_result_beside_it(tmp_path: Path) -> None:
    rows = markdown(["clip", "dB"], [("a", 30)])
    write_page(tmp_path / "speed.md", "Iterations", ["Few are enough.", "## Runs", rows])
    page = (tmp_path / "speed.md").read_text()
    assert page.startswith("# Iterations\n\nFew are enough.\n\n## Runs\n\n| clip | dB |\n")
    values = json.loads((tmp_path / "speed.json").read_text())
    assert (values["format"], values["title"]) == (FORMAT, "Iterations")
    assert values["text"] == ["Few are enough.", "## Runs", rows.rstrip()]
