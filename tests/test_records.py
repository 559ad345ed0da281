"""The record beside a dub."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from visualdub.errors import BadInput, OutputError
from visualdub.face.track import Performance
from visualdub.face.tracker import track_clip
from visualdub.records import (
    FrameKey,
    PassedThrough,
    Provenance,
    WatermarkRecord,
    digest,
    make_report,
    passed_runs,
    read_provenance,
    sidecar_path,
    write_provenance,
)
from visualdub.stages import StageClock
from visualdub.timing import FrameRange


def record(mark: WatermarkRecord) -> Provenance:
    return Provenance(
        "clip.mov",
        "ab12",
        "10:20",
        "hill",
        {"who": "A. Person", "when": "2026-01-02", "scope": "this test"},
        None,
        "french.wav",
        "cd34",
        7,
        passed_runs(10, ["no face", "no face", None, "silent"] + [None] * 6),
        mark,
    )


def test_runs_of_one_reason_are_joined() -> None:
    assert passed_runs(10, ["no face", "no face", None, "silent", "no face"]) == (
        PassedThrough("10:12", "no face"),
        PassedThrough("13:14", "silent"),
        PassedThrough("14:15", "no face"),
    )
    assert passed_runs(0, [None, None]) == ()


@pytest.mark.parametrize(
    "mark", [WatermarkRecord(False), WatermarkRecord(True, "e3b0c442", "dwt-dct-svd", (8, 16, 240, 320))]
)
def test_written_and_read(tmp_path: Path, mark: WatermarkRecord) -> None:
    output = tmp_path / "out.mkv"
    made = record(mark)
    assert write_provenance(output, made) == tmp_path / "out.mkv.provenance.json" == sidecar_path(output)
    assert read_provenance(output) == made
    raw = json.loads(sidecar_path(output).read_text())
    assert raw["watermark"]["on"] is mark.on and raw["tool"] == "Visual Dub" and raw["synthetic"] is True
    assert raw["consent"]["who"] == "A. Person" and raw["created"].endswith("+00:00")
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv.provenance.json"]


def test_key_names_the_job_and_the_frame() -> None:
    key = FrameKey("s", "a", "p", "o", 7)
    assert key.of_frame(8) == FrameKey("s", "a", "p", "o", 8) and key.of_frame(8).job == key.job == "s|a|p|o"
    assert key.job_hashes == {"shot": "s", "actor": "a", "performance": "p", "options": "o"}


def test_digest_tells_texts_arrays_shapes_and_types_apart() -> None:
    row = np.arange(6.0)
    parts = [("ab",), ("a", "b"), (row,), (row.reshape(2, 3),), (row.astype(np.float32),), (row, "")]
    assert len({digest(*p) for p in parts}) == len(parts)
    assert digest(row[::-1][::-1]) == digest(row)


def test_no_folder_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_provenance(tmp_path / "none" / "out.mkv", record(WatermarkRecord(False)))
    output = tmp_path / "out.mkv"
    with pytest.raises(BadInput, match="not a provenance record"):
        read_provenance(output)
    for text in ("{}", "[]", "nonsense", '{"format": 99}'):
        sidecar_path(output).write_text(text)
        with pytest.raises(BadInput, match="provenance record"):
            read_provenance(output)


def test_frames_that_fade_count_as_drawn(talking: Path) -> None:
    track = track_clip(talking, FrameRange(0, 6))
    draw = np.array([0, 0.5, 1, 1, 0.1, 0])
    performance = Performance(track.jaw, track.expression, draw)
    report = make_report(talking, talking.with_name("out.mkv"), track, performance, StageClock(), False)
    assert report.frames == 6 and report.drawn == 4
    assert [p.frames for p in report.passed] == ["0:1", "5:6"]
