"""Synthetic speech: the phones' times against the sound itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.speech import espeak_speaker
from training.speech.articulation import articulations
from training.speech.synthetic import (
    MISSING,
    SENTENCES,
    VARIANTS,
    Synthetic,
    Voice,
    _run,
    missing,
    phone_spans,
    random_voice,
    sentences,
    speak,
    synthetic_set,
)
from visualdub.errors import BadInput, VisualDubError
from visualdub.speech.features import RATE
from visualdub.speech.phones import PhoneSpan

espeak = pytest.mark.skipif(missing() is not None, reason=str(missing()))
SAID = {
    "en-us": "Papa and Mama keep a map, a sack and a set.",
    "ru": "Мама мыла раму. Пять белых птиц.",
    "ko": "아빠는 밥을 먹어요",
}


def rms(audio: np.ndarray, start: float, end: float, rate: int = RATE) -> float:
    piece = audio[round(start * rate) : round(end * rate)].astype(np.float64)
    return float(np.sqrt((piece**2).mean()))


# ---- times, without espeak ---------------------------------------------------------------------------------


def tone(seconds: float, amplitude: float, hertz: float) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 22050)) / 22050)).astype(
        np.float32
    )


def test_a_closure_belongs_to_its_plosive_and_opens_at_the_marker() -> None:
    audio = np.concatenate(
        [tone(0.2, 0.3, 1000), np.zeros(882, np.float32), tone(0.03, 0.1, 4000), tone(0.2, 0.3, 1000)]
    )
    a, p, b = phone_spans([("a", 0), ("p", 5292), ("a", 5954)], audio, 22050)
    assert (a.phone, p.phone, b.phone) == ("a", "p", "a")
    assert a.end == p.start == pytest.approx(0.2, abs=0.001) and p.release == pytest.approx(0.24, abs=1e-4)
    assert p.end == pytest.approx(0.27, abs=1e-4) and a.release is None


def test_a_vowel_begins_where_the_nasal_opens_not_where_espeak_says() -> None:
    audio = np.concatenate([tone(0.08, 0.1, 150), tone(0.2, 0.3, 1500)])
    m, a = phone_spans([("m", 0), ("a", round(0.105 * 22050))], audio, 22050)
    assert m.end == a.start == pytest.approx(0.08, abs=0.003)


def test_a_murmured_plosive_opens_at_its_rise() -> None:
    audio = np.concatenate(
        [tone(0.1, 0.3, 1500), tone(0.05, 0.05, 150), tone(0.03, 0.2, 2500), tone(0.1, 0.3, 1500)]
    )
    _, b, _ = phone_spans([("a", 0), ("b", 2205), ("a", 3969)], audio, 22050)
    assert b.start == pytest.approx(0.1, abs=1e-4) and b.release == pytest.approx(0.15, abs=0.003)


def test_nameless_sound_joins_the_next_phone_and_nameless_silence_is_a_pause() -> None:
    audio = np.concatenate(
        [tone(0.1, 0.3, 1500), tone(0.02, 0.1, 800), tone(0.1, 0.2, 900), np.zeros(4410, np.float32)]
    )
    markers = [("a", 0), ("", 2205), ("(en)", 2400), ("r", 2646), ("", 4851), ("", 8000)]
    assert phone_spans(markers, audio, 22050) == (
        PhoneSpan("a", 0, 0.1),
        PhoneSpan("r", 0.1, 0.22),
        PhoneSpan("", 0.22, len(audio) / 22050),
    )


# ---- times, as espeak speaks -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said() -> dict[str, Synthetic]:
    return {voice: speak(text, voice) for voice, text in SAID.items()}


@espeak
@pytest.mark.parametrize("voice", SAID)
def test_closures_are_silent_until_their_burst(said: dict[str, Synthetic], voice: str) -> None:
    spoken = said[voice]
    plosives = [p for p in spoken.phones if p.phone and p.phone[0] in "ptkq" and p.release is not None]
    assert len(plosives) >= 4
    for p in plosives:
        assert p.start + 0.015 < p.release <= p.end
        assert rms(spoken.audio, p.start + 0.003, p.release - 0.003) < 0.002
        assert rms(spoken.audio, p.release, p.release + 0.005) > 0.004  # the burst is there within 5 ms


@espeak
def test_vowels_are_loud_and_nasals_are_not_up_to_their_border(said: dict[str, Synthetic]) -> None:
    spoken = said["ru"]
    pairs = [
        (m, a)
        for m, a in zip(spoken.phones, spoken.phones[1:], strict=False)
        if m.phone == "m" and a.phone in "ɑa"
    ]
    assert len(pairs) >= 2
    for m, a in pairs:
        before, after = (
            rms(np.diff(spoken.audio), *t)
            for t in ((m.end - 0.014, m.end - 0.002), (m.end + 0.002, m.end + 0.014))
        )
        assert after > 2 * before
        assert rms(spoken.audio, a.start, a.end) > 1.5 * rms(spoken.audio, m.start, m.end)


@espeak
def test_fricatives_hiss_between_their_borders(said: dict[str, Synthetic]) -> None:
    spoken, found = said["en-us"], 0
    for before, s in zip(spoken.phones, spoken.phones[1:], strict=False):
        if s.phone == "s" and articulations(before.phone)[0].vowel:
            found += 1
            for edge, sign in ((s.start, 1), (s.start - 0.03, -1)):
                piece = (
                    np.abs(
                        np.fft.rfft(spoken.audio[round((edge + 0.005) * RATE) : round((edge + 0.025) * RATE)])
                    )
                    ** 2
                )
                centroid = float((piece * np.linspace(0, RATE / 2, len(piece))).sum() / piece.sum())
                assert sign * (centroid - 3000) > 0
    assert found >= 2


@espeak
@pytest.mark.parametrize("voice", SAID)
def test_phones_fill_the_recording(said: dict[str, Synthetic], voice: str) -> None:
    spoken = said[voice]
    assert spoken.audio.dtype == np.float32 and 0.1 < np.abs(spoken.audio).max() <= 1
    assert spoken.phones[0].start == 0 and spoken.phones[-1].end == pytest.approx(
        len(spoken.audio) / RATE, abs=2e-4
    )
    assert all(a.end == b.start for a, b in zip(spoken.phones, spoken.phones[1:], strict=False))
    assert all(
        p.end > p.start and (p.release is None or p.start <= p.release <= p.end) for p in spoken.phones
    )


@espeak
def test_the_same_words_sound_the_same_and_another_speaker_does_not(said: dict[str, Synthetic]) -> None:
    again = speak(SAID["ko"], "ko")
    assert np.array_equal(again.audio, said["ko"].audio) and again.phones == said["ko"].phones
    for other in (
        speak(SAID["ko"], "ko", variant="f2"),
        speak(SAID["ko"], "ko", pitch=80),
        speak(SAID["ko"], "ko", rate=120),
    ):
        assert len(other.audio) != len(again.audio) or np.abs(other.audio - again.audio).max() > 0.05
    assert len(speak(SAID["ko"], "ko", rate=120).audio) > 1.2 * len(again.audio)


# ---- what cannot be spoken ---------------------------------------------------------------------------------


@espeak
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"voice": "xx"}, "no voice 'xx'"),
        ({"variant": "nobody"}, "no variant 'nobody'"),
        ({"voice": "mb-de1"}, "MBROLA"),
        ({"text": " "}, "expected words"),
        ({"text": "a\0b"}, "expected words"),
        ({"text": "..."}, "speaks nothing"),
        ({"pitch": 101}, "0..100"),
        ({"rate": 40}, "80..450"),
    ],
)
def test_what_cannot_be_spoken_is_refused_in_one_line(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint) as found:
        speak(**{"text": "Papa", "voice": "en", **options})  # type: ignore[arg-type]
    assert "\n" not in str(found.value)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak_speaker, "LIBRARY", "libespeak-that-is-not-here.so")
    assert espeak_speaker.synthesise({}) == ({"error": espeak_speaker.NO_LIBRARY}, b"")
    assert "apt-get install espeak-ng" in MISSING and "\n" not in MISSING


@espeak
def test_a_speaker_that_dies_leaves_the_caller_alive() -> None:
    with pytest.raises(VisualDubError, match=r"ended with status 1 at 5: .*Error"):
        _run({"text": 5, "voice": "en", "variant": "", "pitch": 50, "rate": "fast"})


# ---- sets --------------------------------------------------------------------------------------------------


def test_sentences_are_enough_and_none_is_both_learned_and_tested() -> None:
    every = json.loads(SENTENCES.read_text(encoding="utf-8"))
    for language in ("fr", "de", "es", "it", "ja", "ru", "ko"):
        tested, learned = set(sentences("test", language)), set(sentences("train", language))
        assert len(tested) == len(learned) == 20 and not tested & learned
    assert len(set(sentences("train", "en"))) == 60
    assert set(every) == {"test", "train"}
    with pytest.raises(BadInput, match="no test sentences in 'en'"):
        sentences("test", "en")


@pytest.mark.slow
@espeak
def test_every_phone_of_every_sentence_has_an_articulation() -> None:
    for use, languages in json.loads(SENTENCES.read_text(encoding="utf-8")).items():
        for language, lines in languages.items():
            markers, audio, rate = _run(
                {"text": "\n".join(lines), "voice": language, "variant": "", "pitch": 50, "rate": 300}
            )
            phones = phone_spans(markers, audio, rate)
            lips = [a for p in phones for a in articulations(p.phone)]  # raises for an unknown one
            assert sum(a.bilabial for a in lips) >= 50 and sum(a.open_vowel for a in lips) >= 80, (
                use,
                language,
            )


@espeak
def test_a_set_is_every_sentence_by_every_voice_and_is_kept(tmp_path: Path) -> None:
    voices, lines = [Voice("it"), Voice("it", "f3", 60, 150)], ["La mamma parla.", "Papà beve."]
    made = synthetic_set(voices, lines, tmp_path)
    assert [(s.text, s.variant) for s in made] == [(t, v.variant) for v in voices for t in lines]
    assert len(list(tmp_path.iterdir())) == 4
    changed = {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    for a, b in zip(made, synthetic_set(voices, lines, tmp_path), strict=True):
        assert np.array_equal(a.audio, b.audio)
        assert (a.text, a.voice, a.variant, a.phones) == (b.text, b.voice, b.variant, b.phones)
    assert {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()} == changed


def test_random_speakers_differ_and_come_again() -> None:
    drawn = [random_voice("fr", seed) for seed in range(40)]
    assert drawn == [random_voice("fr", seed) for seed in range(40)] and len(set(drawn)) == 40
    assert {v.variant for v in drawn} <= set(VARIANTS) and len({v.variant for v in drawn}) > 6
    assert all(25 <= v.pitch <= 75 and 130 <= v.rate <= 210 for v in drawn)
