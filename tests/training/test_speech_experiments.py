"""The speech experiments' own arithmetic: known words, noise of a known level, who closes, and the rows of a
table.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import itertools

from training.experiments.noise import mixed
from training.experiments.noise import run as run_noise
from training.experiments.speakers import ADAPTED, GENERIC, SpeakerRow, summary, write
from training.speech.measure import ClosureCounts, count_closures
from training.speech.train import VALIDATION
from training.speech.words import BILABIALS, grid_words, spoken_phones
from visualdub.demo import __file__ as demo
from visualdub.errors import BadInput
from visualdub.media.audio import read_audio
from visualdub.speech.phones import PhoneSpan
from visualdub.speech.predict import MODEL

COUNTING = Path(demo).parent / "data" / "counting_en.wav"
ROW = SpeakerRow("a.mp4", "a", 0, GENERIC, 8.0, 0.5, 0.8, 0.9, 10, 8, 16, 9, 200, 30, 14, 5, 6, 6, 12)


def test_the_words_of_a_grid_clip_are_in_its_name() -> None:
    assert grid_words("grid_brbk7n.mpg") == "bin red by k. seven now"
    assert grid_words("hdtf_hill.mp4") is None


def test_phones_of_known_words_come_in_their_order() -> None:
    phones = [p for p in spoken_phones(read_audio(COUNTING), "one two three four five") if p.phone != "SIL"]
    assert [p.phone for p in phones][:5] == ["W", "AH", "N", "T", "UW"] and phones[-1].phone == "V"
    assert all(a.end <= b.start + 1e-9 for a, b in itertools.pairwise(phones))
    assert not {p.phone for p in phones} & BILABIALS


def test_silence_and_words_nobody_knows_have_no_phones() -> None:
    assert spoken_phones(np.zeros(16000, np.float32)) == []
    assert spoken_phones(read_audio(COUNTING), "xqzzkw") == []


def test_noise_lies_as_far_below_the_speech_as_asked() -> None:
    clean = read_audio(COUNTING)
    added = mixed(clean, np.random.default_rng(0).normal(size=4000).astype(np.float32), 10.0) - clean
    assert 20 * np.log10(clean.std() / added.std()) == pytest.approx(10.0, abs=0.01)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no recordings"):
        run_noise(tmp_path, MODEL)


def test_means_are_over_clips_and_closures_over_all(tmp_path: Path) -> None:
    rows = [
        ROW,
        replace(
            ROW, file="b.mp4", speaker="b", correlation=0.7, bilabials=30, closed=30, closures=34, right=31
        ),
        replace(ROW, style=ADAPTED, correlation=0.6),
        replace(ROW, file="c.mp4", speaker=VALIDATION[0], correlation=-1.0),  # not among the means
    ]
    generic, adapted = summary(rows[:3])
    assert generic[:3] == [GENERIC, "2", "0.600"] and generic[5:10] == ["40", "95.0", "80.0", "86.9", "15.0"]
    assert generic[10] == "25.0 / 100.0 / 40.0 / 6.0"
    assert adapted[:3] == [ADAPTED, "1", "0.600"]
    write(rows, tmp_path)
    page = (tmp_path / "speakers.md").read_text()
    assert "| b.mp4 | b | 0 | generic |" in page and "| generic | 2 | 0.600 |" in page
    assert "which fill 7.0 % of these frames" in page


def test_closures_count_both_ways() -> None:
    """25 frames a second. Lips touch in a b, beside an m by one frame, and where nobody speaks one; a second
    b passes without a closure, a third lies past the end.
    """
    times = np.arange(50) / 25
    opening = np.full(50, 1.0)
    opening[[10, 11, 22, 30, 45]] = 0.0
    bilabials = [
        PhoneSpan(n, a / 25, b / 25) for n, a, b in (("B", 9.8, 11.2), ("M", 23.0, 24.5), ("B", 34, 36))
    ]
    bilabials.append(PhoneSpan("B", 48.5 / 25, 50.5 / 25))
    speech = [PhoneSpan("AA", 0.0, 40 / 25), *bilabials]
    counts = count_closures(opening, 0.2, times, speech, bilabials)
    assert (counts.bilabials, counts.closed) == (3, 1)
    assert (counts.closures, counts.right) == (3, 2)  # at the b, near the m, in the a; frame 45 is silent
    assert (counts.frames, counts.touching, counts.spoken) == (42, 4, 8)
    assert counts.recall == pytest.approx(1 / 3) and counts.precision == pytest.approx(2 / 3)
    assert counts.f1 == pytest.approx(4 / 9)
    assert (counts + counts).closures == 6 and np.isnan(ClosureCounts().recall)
