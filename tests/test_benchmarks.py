"""The benchmarks start, and each can write its result."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

import visualdub.demo
from visualdub.measure.result import FORMAT

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(
    p.stem
    for p in (ROOT / "benchmarks").glob("*.py")
    if p.stem not in ("__init__", "results", "render_modes", "host_ways", "kills")
)


@pytest.fixture(autouse=True)
def from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are no installed package; some set the number of threads when they are imported."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))


def call(name: str, args: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a benchmark."""
    monkeypatch.setattr(sys, "argv", [name, *args])
    try:
        importlib.import_module(f"benchmarks.{name}").main()
    except SystemExit as e:
        return int(e.code or 0)
    return 0


@pytest.mark.parametrize("name", NAMES)
def test_each_explains_itself_and_writes_json(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(name, ["--help"], monkeypatch) == 0
    assert "--json FILE" in capsys.readouterr().out


def test_the_speech_benchmark_writes_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Path(visualdub.demo.__file__).parent / "data" / "counting_en.wav"
    monkeypatch.setattr("benchmarks.speech.SECONDS", 5)
    assert call("speech", [str(recording), "--json", str(tmp_path / "speech.json")], monkeypatch) == 0
    values = json.loads((tmp_path / "speech.json").read_text())
    assert values["format"] == FORMAT and values["figures"]["whole_times_real_time"] > 0
    assert values["text"][0].startswith("5 s of speech") and values["findings"][0]["asked"] == "50"
