"""Synthetic English by flite: the phones' times against the sound itself."""

from __future__ import annotations

import numpy as np
import pytest

from training.speech import flite
from training.speech.articulation import articulations
from visualdub.errors import BadInput, VisualDubError
from visualdub.speech.features import RATE
from visualdub.speech.phones import PhoneSpan

installed = pytest.mark.skipif(flite.missing() is not None, reason=str(flite.missing()))


def test_segments_are_phones_in_a_row() -> None:
    said = flite.phones_of("pau:0.2 b:0.26 aa:0.4 m:0.5 pau:0.7 ")
    assert [p.phone for p in said] == ["", "b", "ɑ", "m", ""]
    assert said[1] == PhoneSpan("b", 0.2, 0.26, pytest.approx(0.24)) and said[3].release is None
    assert flite.phones_of("") == ()
    with pytest.raises(VisualDubError, match="'qq'"):
        flite.phones_of("pau:0.1 qq:0.2")


def test_every_phone_has_an_articulation() -> None:
    for ipa in flite.PHONES.values():
        assert articulations(ipa)


def test_texts_are_the_same_for_a_seed_and_hold_words() -> None:
    rows = flite.texts(3, 0)
    assert rows == flite.texts(3, 0) and rows[-3:] != flite.texts(3, 1)[-3:]
    assert (
        all(len(r.split()) == flite.WORDS for r in rows[-3:])
        and "My mother parked the car behind the market." in rows
    )


@installed
@pytest.mark.parametrize("voice", flite.VOICES)
def test_vowels_are_loud_and_closures_quiet_where_it_says(voice: str) -> None:
    said = flite.speak("Papa kept a big map.", voice)
    assert said.audio.dtype == np.float32
    # kal16 cuts its last pause
    assert len(said.audio) / RATE == pytest.approx(said.phones[-1].end, abs=0.15)
    assert sum(p.phone in ("p", "b", "m") for p in said.phones) == 6

    def level(p: PhoneSpan) -> float:
        middle, half = (p.start + (p.release or p.end)) / 2, 0.01
        return float(
            np.square(said.audio[round((middle - half) * RATE) : round((middle + half) * RATE)]).mean()
        )

    vowels, closures = (
        [level(p) for p in said.phones if want(p.phone)]
        for want in (lambda ipa: any(a.vowel for a in articulations(ipa)) and ipa, lambda ipa: ipa == "p")
    )
    assert np.median(vowels) > 10 * np.median(closures)
    slow = flite.speak("Papa kept a big map.", voice, 1.5)
    assert len(slow.audio) > 1.2 * len(said.audio)


@installed
def test_what_cannot_be_spoken_is_said_in_one_line() -> None:
    with pytest.raises(BadInput, match="no voice 'x'"):
        flite.speak("Papa.", "x")
    with pytest.raises(BadInput, match="expected words"):
        flite.speak(" ... ", "slt")


def test_without_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flite, "PROGRAM", "no-such-program")
    flite.missing.cache_clear()
    try:
        with pytest.raises(BadInput, match="apt-get install flite"):
            flite.speak("Papa.", "slt")
    finally:
        flite.missing.cache_clear()
