"""`vdub dub` with a performance written, edited and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import planes_of, write_wav

import visualdub.demo
from visualdub.cli import run
from visualdub.media.audio import read_audio
from visualdub.media.source import probe
from visualdub.records import read_provenance
from visualdub.speech.phones import labels_at, phone_labels
from visualdub.storage import content_hash

SPOKEN = Path(visualdub.demo.__file__).parent / "data" / "counting_en.wav"


def changed(a: list[list[np.ndarray]], b: list[list[np.ndarray]]) -> list[int]:
    """The frames that are not the same in every sample."""
    return [
        i
        for i, (x, y) in enumerate(zip(a, b, strict=True))
        if any((p != q).any() for p, q in zip(x, y, strict=True))
    ]


@pytest.fixture(scope="module")
def take(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shaped dub and its performance."""
    folder = tmp_path_factory.mktemp("take")
    shaping = ["--mouth-gain", "1.2", "--smooth", "20", "--offset-ms", "-30"]
    assert dub(talking, flat_actor, folder / "out.mkv", "--performance", folder / "take.json", *shaping) == 0
    return folder


def dub(clip: Path, actor: Path, out: Path, *options: str | Path) -> int:
    return run([str(a) for a in ["dub", clip, "--dialogue", SPOKEN, "--actor", actor, "-o", out, *options]])


def test_the_performance_is_the_shots(take: Path, talking: Path) -> None:
    values = json.loads((take / "take.json").read_text())
    assert (
        values["clip"] == talking.name
        and values["dialogue"] == "counting_en.wav"
        and values["actor"] == "flat"
    )
    assert values["mouth"] == "gain 1.2, smoothed over 20 ms, 30 ms earlier than predicted"
    assert [r["frame"] for r in values["curves"]] == list(range(40))
    assert len({r["jaw"] for r in values["curves"]}) > 20
    heard = labels_at(
        phone_labels(read_audio(SPOKEN)[: round(2.56 * 16000)]), np.arange(40) / 25
    )  # a second more than the clip
    assert [r["phone"] for r in values["curves"]] == heard and len(set(heard)) > 3
    report = json.loads((take / "out.mkv.report.json").read_text())
    assert (
        report["notes"][0] == f"mouth: {values['mouth']}"
        and read_provenance(take / "out.mkv").performance is None
    )


@pytest.mark.slow
def test_read_back_it_is_the_same_dub(take: Path, talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    assert dub(talking, flat_actor, tmp_path / "again.mkv", "--use-performance", take / "take.json") == 0
    assert changed(planes_of(take / "out.mkv"), planes_of(tmp_path / "again.mkv")) == []
    assert probe(tmp_path / "again.mkv").has_audio
    record = read_provenance(tmp_path / "again.mkv")
    assert (record.performance, record.performance_hash) == ("take.json", content_hash(take / "take.json"))
    assert (
        json.loads((tmp_path / "again.mkv.report.json").read_text())["notes"][0]
        == "mouth: as take.json has it"
    )


@pytest.mark.slow
def test_an_edited_frame_is_seen(take: Path, talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    values = json.loads((take / "take.json").read_text())
    values["curves"][20]["jaw"] += 0.1
    (tmp_path / "wider.json").write_text(json.dumps(values))
    plain = []
    for name, source in (("as_it_is.mkv", take / "take.json"), ("wider.mkv", tmp_path / "wider.json")):
        args = ("--use-performance", source, "--no-watermark")  # the mark names the performance
        assert dub(talking, flat_actor, tmp_path / name, *args) == 0
        plain.append(planes_of(tmp_path / name))
    found = changed(*plain)
    assert 20 in found and set(found) <= set(range(18, 23))  # colour and light are matched over a few frames


@pytest.mark.slow
def test_each_language_has_its_performance(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    wavs = [write_wav(tmp_path / f"{name}.wav", 0.5) for name in ("fr", "ja")]
    frames = [
        "--frames",
        "10:16",
        "-o",
        str(tmp_path / "out.mp4"),
        "--performance",
        str(tmp_path / "mouth.json"),
    ]
    dialogues = [x for w in wavs for x in ("--dialogue", str(w))]
    assert run(["dub", str(talking), *dialogues, "--actor", str(flat_actor), *frames]) == 0
    for name in ("fr", "ja"):
        values = json.loads((tmp_path / f"mouth-{name}.json").read_text())
        assert values["dialogue"] == f"{name}.wav" and [r["frame"] for r in values["curves"]] == list(
            range(10, 16)
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--use-performance", "TAKE", "--mouth-gain", "1.1"], "shape the prediction"),
        (["--use-performance", "TAKE", "--performance", "TAKE"], "never written to"),
        (["--use-performance", "TAKE", "--dialogue", "more.wav"], "2 are given; expected one"),
        (["--use-performance", "TAKE", "--frames", "0:20"], "frames 0:40; expected 0:20"),
        (["--use-performance", "gone.json"], "gone.json cannot be read"),
        (["--mouth-gain", "4"], "--mouth-gain 4 was asked for"),
        (["--smooth", "nan"], "--smooth nan was asked for"),
        (["--offset-ms", "-2000"], "--offset-ms -2000 was asked for"),
        (["--performance", "OUT"], "which is written too"),
        (["--performance", "CLIP"], "a source is never written to"),
        (["--performance", "nowhere/take.json"], "is not a folder"),
    ],
)
def test_what_does_not_go_together(
    options: list[str],
    said: str,
    take: Path,
    talking: Path,
    flat_actor: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (take / "take.json").read_bytes()
    given = {"TAKE": take / "take.json", "OUT": tmp_path / "out.mkv", "CLIP": talking}
    capsys.readouterr()
    assert dub(talking, flat_actor, tmp_path / "out.mkv", *(given.get(o, o) for o in options)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vdub: ")]
    assert len(lines) == 1 and said in lines[0]
    assert list(tmp_path.iterdir()) == [] and (take / "take.json").read_bytes() == before
