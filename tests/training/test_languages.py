"""Lips in other languages: counted by hand, and with the shipped model on real synthetic speech."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from training.experiments import languages
from training.experiments.languages import (
    LanguageRow,
    generic_style,
    languages_table,
    measure_language,
    mouth_opening,
)
from training.experiments.subjects import read_records
from training.speech.articulation import articulation_spans, opening_curve
from training.speech.synthetic import Synthetic, missing
from visualdub.errors import BadInput
from visualdub.face.landmarks import lip_opening
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model, posed_openings
from visualdub.speech.features import RATE
from visualdub.speech.phones import PhoneSpan
from visualdub.speech.predict import MODEL, SpeechMotion

espeak = pytest.mark.skipif(missing() is not None, reason=str(missing()))
PHONES = (
    PhoneSpan("a", 0.0, 0.2),
    PhoneSpan("p", 0.2, 0.28),
    PhoneSpan("i", 0.28, 0.48),
    PhoneSpan("m", 0.48, 0.52),
    PhoneSpan("a", 0.52, 0.72),
    PhoneSpan("", 0.72, 1.0),
)
SPOKEN = Synthetic("apima", "it", "", np.zeros(RATE, np.float32), PHONES)


def test_closed_and_open_are_counted_as_worked_by_hand() -> None:
    opening = np.full(26, 0.10)
    opening[:5] = 0.3  # frames of 40 ms: the first a
    opening[6] = 0.01  # within p, 0.2..0.28
    opening[12] = 0.05  # within m, 0.48..0.52: not under 20 % of 0.1
    opening[14:18] = [
        0.08,
        0.08,
        0.11,
        0.08,
    ]  # the second a: below the median at its middle 0.62, above it once
    opening[18:] = 0.0  # a pause; does not count
    found = measure_language("it", [SPOKEN], [opening], Fraction(25))
    assert replace(found, lag_ms=0) == LanguageRow("it", 1, 0.1, 2, 50.0, 0.3, 2, 50.0, 100.0, 0)


def test_half_a_frame_outside_the_phone_still_counts_and_more_does_not() -> None:
    lips = next(s for s in articulation_spans([PhoneSpan("p", 0.205, 0.215)]))
    opening = np.arange(26.0)
    assert list(languages.within(lips, opening, Fraction(25))) == [5.0]  # 0.20 s
    wide = next(s for s in articulation_spans([PhoneSpan("p", 0.22, 0.30)]))
    assert list(languages.within(wide, opening, Fraction(25))) == [5.0, 6.0, 7.0, 8.0]  # 0.20..0.32 s


def test_a_mouth_that_follows_the_phones_passes_and_a_still_one_fails() -> None:
    right = measure_language("it", [SPOKEN], [opening_curve(PHONES, 25.0, 26)], Fraction(25))
    assert (right.closed, right.above, right.lag_ms) == (100.0, 100.0, 0.0)
    late = measure_language("it", [SPOKEN], [np.roll(opening_curve(PHONES, 25.0, 26), 2)], Fraction(25))
    assert late.lag_ms == 80.0 and late.closed < 100
    still = measure_language("it", [SPOKEN], [np.full(26, 0.1)], Fraction(25))
    assert (still.closed, still.above, still.above_widest, still.smallest) == (0.0, 0.0, 0.0, 1.0)
    assert np.isnan(still.lag_ms)


def test_nothing_to_count_is_said() -> None:
    mute = Synthetic("iii", "it", "", np.zeros(RATE, np.float32), (PhoneSpan("i", 0.0, 1.0),))
    with pytest.raises(BadInput, match="0 bilabials and 0 open vowels"):
        measure_language("it", [mute], [np.ones(26)], Fraction(25))


def test_the_mouth_rests_in_silence_and_is_the_style_s_in_speech() -> None:
    face, style = face_model(DEFAULT_FACE_MODEL), generic_style(MODEL)
    n = face.n_speech
    motion = SpeechMotion(np.array([0.0, 3.0, 3.0]), np.zeros((3, n)), np.array([1.0, 1.0, 0.0]), np.zeros(3))
    mean, wide, silent = mouth_opening(motion, style)
    assert silent == pytest.approx(float(lip_opening(face.landmarks(face.template)))) and wide > mean + 0.02
    expression = np.zeros((1, face.n_expression))
    expression[0, :n] = style.mean[1:]
    assert mean == pytest.approx(
        float(posed_openings(face, face.template, np.array(style.mean[:1]), expression)[0])
    )


def test_a_model_without_its_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"speech\.json cannot be read as the record"):
        generic_style(tmp_path / "speech.onnx")
    (tmp_path / "speech.json").write_text('{"generic": 5}')
    with pytest.raises(BadInput, match=r"expected it beside speech\.onnx"):
        generic_style(tmp_path / "speech.onnx")


def test_the_table_weighs_languages_by_what_was_counted() -> None:
    rows = [
        LanguageRow("fr", 20, 0.1, 30, 90.0, 0.1, 10, 50.0, 70.0, -20.0),
        LanguageRow("de", 20, 0.1, 10, 50.0, 0.3, 30, 90.0, 90.0, 0.0),
    ]
    lines = languages_table(rows).splitlines()
    assert lines[2] == "| French | 30 | 90.0 | 0.10 | 10 | 50.0 | 70.0 | -20 |"
    assert lines[4] == "| **all** | 40 | 80.0 | – | 40 | 80.0 | 85.0 | – |"


@espeak
def test_the_experiment_writes_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        languages, "sentences", lambda use, language: ["La mamma prepara la pasta per pranzo.", "Papà beve."]
    )
    status = languages.main(["-o", str(tmp_path), "--languages", "it"])
    (row,) = read_records(LanguageRow, tmp_path / "languages.csv")
    assert (
        (row.language, row.sentences) == ("it", 2)
        and row.bilabials >= 7
        and row.open_vowels >= 8
        and 0.03 < row.median < 0.3
    )
    assert status == int(row.closed < 85 or row.above < 80)
    page = (tmp_path / "languages.md").read_text()
    assert "| Italian |" in page and "`python -m training.experiments.languages -o" in page


@espeak
def test_a_language_without_sentences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no test sentences in 'nl'"):
        languages.main(["-o", str(tmp_path / "new"), "--languages", "nl"])
