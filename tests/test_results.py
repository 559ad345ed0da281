"""docs/results.md holds what its JSON files hold, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from visualdub.measure.result import FORMAT, Finding, write_result

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "results.py"


def results(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script as `make results` does."""
    command = [sys.executable, str(SCRIPT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_page_is_what_its_files_give() -> None:
    done = results("--check")
    assert done.returncode == 0, (
        f"docs/results.md is not what docs/results gives; run make results\n{done.stdout}"
    )


def test_every_committed_result_is_of_this_format_and_names_its_command() -> None:
    files = sorted((ROOT / "docs" / "results").glob("*.json"))
    assert files
    for file in files:
        values = json.loads(file.read_text(encoding="utf-8"))
        assert values["format"] == FORMAT, file
        module = values["command"].split()[2]
        assert values["command"].startswith("python -m ") and module.startswith(("benchmarks.", "training."))
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), f"{file}: {module} is gone"


def test_a_result_becomes_a_section(tmp_path: Path) -> None:
    finding = Finding("speed of light", "fast", "299792458 m/s")
    write_result(tmp_path / "light.json", "Light", ["It is fast.", "## How"], [finding])
    page = tmp_path / "page.md"
    assert results("--folder", tmp_path, "-o", page).returncode == 0
    text = page.read_text()
    assert "\n## Light\n" in text and "\nIt is fast.\n" in text and "\n### How\n" in text
    values = json.loads((tmp_path / "light.json").read_text())
    assert f"`{values['command']}`" in text and f"{values['date']}, version {values['tree']}." in text
    assert f"{values['machine']['processor']}, {values['machine']['cores']} cores" in text
    assert results("--folder", tmp_path, "-o", page, "--check").returncode == 0
    page.write_text(text.replace("fast", "slow"))
    changed = results("--folder", tmp_path, "-o", page, "--check")
    assert changed.returncode == 1 and "-It is slow." in changed.stdout
    rows = results("--folder", tmp_path, "--table").stdout.splitlines()
    assert rows[2].startswith("| speed of light | `python ") and "| fast | 299792458 m/s |" in rows[2]


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("[1]")
    done = results("--folder", tmp_path, "-o", tmp_path / "page.md")
    assert done.returncode == 1 and "notes.json is not a result" in done.stderr
    assert not (tmp_path / "page.md").exists()
