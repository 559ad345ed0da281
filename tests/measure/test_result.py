"""A measurement as a file: which command, tree and machine it belongs to."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from visualdub.errors import OutputError
from visualdub.measure import result
from visualdub.measure.result import Finding, command_line, table, this_machine, tree_version, write_result


def test_a_result_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["/opt/venv/bin/python3", "-m", "benchmarks.memory", "--actor", "/home/ada/x.actor"]
    monkeypatch.setattr(sys, "orig_argv", given)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    findings = [Finding("peak memory", "< 3 GB", "1210 MiB")]
    write_result(tmp_path / "a.json", "Memory", ["One line."], findings, {"peak_mib": 1210.0})
    values = json.loads((tmp_path / "a.json").read_text())
    assert values["command"] == "python -m benchmarks.memory --actor x.actor"
    assert values["date"] == datetime.now(UTC).date().isoformat()
    assert values["tree"] == tree_version() and values["text"] == ["One line."]
    assert values["findings"] == [{"what": "peak memory", "asked": "< 3 GB", "measured": "1210 MiB"}]
    assert values["figures"] == {"peak_mib": 1210.0}
    machine = values["machine"]
    assert machine["threads"] == "1" and machine["cores"] >= 1 and machine["memory_gib"] > 0
    with pytest.raises(OutputError, match=r"b\.json cannot be written"):
        write_result(tmp_path / "none" / "b.json", "Memory", [])


def test_a_command_is_written_as_one_types_it() -> None:
    assert (
        command_line(["/usr/bin/python3.11", "-m", "a.b", "c d.wav", "-n", "3"])
        == "python -m a.b 'c d.wav' -n 3"
    )
    assert command_line(["python", "benchmarks/watermark.py", "/tmp/out/dub.mkv"]) == (
        "python benchmarks/watermark.py dub.mkv"
    )


def test_the_processor_is_read_from_its_facts(tmp_path: Path) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512f amx_tile\n")
    name, flags = result._processor(facts)
    assert name == "Some CPU" and flags == {"fpu", "avx2", "avx512f", "amx_tile"}
    assert result._processor(tmp_path / "none")[1] == set()
    assert set(this_machine().vector) <= {"AVX2", "AVX-512", "AMX"}


def test_a_checkout_names_its_commit() -> None:
    version = tree_version()
    if (Path(result.__file__).parents[2] / ".git").exists():
        assert ", commit " in version
    assert version.startswith(result.tool_version())


def test_a_table_is_markdown() -> None:
    assert table(("clip", "frames"), [("a.mp4", 25)]) == "| clip | frames |\n|---|---:|\n| a.mp4 | 25 |"
