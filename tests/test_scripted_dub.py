"""`vdub dub --script`: options that go together, and lips that a script closes and parts."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import visualdub.demo
from visualdub.cli import run
from visualdub.dub import dialogue_motion
from visualdub.media.audio import read_audio
from visualdub.media.source import probe
from visualdub.speech.alignment import AlignedWord, Alignment
from visualdub.speech.performance import PerformanceAdjustments
from visualdub.speech.phones import PhoneSpan, lips_of

SPOKEN = Path(visualdub.demo.__file__).parent / "data" / "counting_en.wav"
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs the program espeak-ng")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "count.txt"
    path.write_text("One, two, three, four, five.")
    return path


def dub(clip: Path, actor: Path, out: Path, *options: str | Path) -> int:
    return run([str(a) for a in ["dub", clip, "--dialogue", SPOKEN, "--actor", actor, "-o", out, *options]])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--language", "fr"], "--language fr is that of a --script, which is not given"),
        (["--script", "S"], "1 --script and 0 --language are given; expected 1 of each"),
        (["--script", "S", "--script", "S", "--language", "en"], "2 --script and 1 --language"),
        (["--script", "S", "--language", "qq"], "--language qq is none of"),
        (["--script", "missing.txt", "--language", "en"], "missing.txt cannot be read as a script"),
    ],
)
@needs_espeak
def test_options_that_do_not_go_together(
    options: list[str],
    said: str,
    talking: Path,
    flat_actor: Path,
    script: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(script) if o == "S" else o for o in options]
    assert dub(talking, flat_actor, tmp_path / "out.mkv", *given) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.mkv").exists()


def test_a_script_decides_where_lips_touch(talking: Path) -> None:
    """A word "pa" at 0.4 s: closed in its p and parted in its a; before and after it the sound decides
    neither.
    """
    phones = (PhoneSpan("p", 0.4, 0.52), PhoneSpan("a", 0.52, 0.8))
    script = Alignment((AlignedWord("pa", 0.4, 0.8, 1.0, phones, 1),), 1.6)
    info = probe(talking)
    motion = dialogue_motion(read_audio(SPOKEN), info, script=script)
    assert motion.parted is not None and info.rate == Fraction(25)
    assert np.flatnonzero(motion.closure == 1).tolist() == [10, 11, 12]
    assert np.flatnonzero(motion.parted).tolist() == list(range(13, 20))
    later = dialogue_motion(read_audio(SPOKEN), info, PerformanceAdjustments(offset_ms=80), script=script)
    assert np.flatnonzero(later.closure == 1).tolist() == [12, 13, 14]
    plain = dialogue_motion(read_audio(SPOKEN), info)
    assert (plain.closure != motion.closure).any() and (plain.jaw == motion.jaw).all()


def test_every_bilabial_closes_at_any_rate() -> None:
    phones = [PhoneSpan("b", 0.1 * k, 0.1 * k + 0.03) for k in range(1, 9)]
    for rate in (24.0, 25.0, 29.97, 60.0):
        times = np.arange(int(rate)) / rate
        closure, _ = lips_of(phones, times, rate)
        for p in phones:
            near = (times > p.start - 1 / rate) & (times < p.end + 1 / rate)
            assert closure[near].max() == 1.0


@needs_espeak
def test_words_stand_in_the_performance_and_the_report(
    talking: Path, flat_actor: Path, script: Path, tmp_path: Path
) -> None:
    out, take = tmp_path / "out.mkv", tmp_path / "take.json"
    assert dub(talking, flat_actor, out, "--script", script, "--language", "en", "--performance", take) == 0
    values = json.loads(take.read_text(encoding="utf-8"))
    assert [w["word"] for w in values["words"]] == ["One,", "two,", "three,", "four,", "five."]
    assert values["words"][0]["phones"][0][0] == "w"
    first = values["words"][0]
    frame = round((first["start"] + first["end"]) / 2 * 25)
    assert values["curves"][frame]["phone"] in [p[0] for p in first["phones"]]
    notes = json.loads((tmp_path / "out.mkv.report.json").read_text(encoding="utf-8"))["notes"]
    assert any(n.startswith("script: 5 words, which fit by") for n in notes)
