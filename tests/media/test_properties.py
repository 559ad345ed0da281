"""docs/properties.md says what the code does with small clips that each have one property."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.properties import PAGE, PROPERTIES, Property, row, sentences, try_property

TEXT = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.is_file() else []


@pytest.mark.slow
@pytest.mark.parametrize("given", PROPERTIES, ids=lambda p: p.name)
def test_a_property_fares_as_the_page_says(given: Property, tmp_path: Path) -> None:
    fates = try_property(given, tmp_path)
    assert row(given.name, fates) in TEXT, "run make properties"
    assert sentences(given.name, fates) == [line for line in TEXT if line.startswith(f"- {given.name}: ")]
    assert "LOST" not in {fate.word for fate in fates.values()}, "a note has to name what a viewer loses"


def test_the_page_has_a_line_for_each_property_and_no_other() -> None:
    rows = [line.split(" | ")[0].removeprefix("| ") for line in TEXT if line.startswith("| ")]
    assert rows == ["property", *(p.name for p in PROPERTIES)]
