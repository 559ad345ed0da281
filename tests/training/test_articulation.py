"""What lips do in phones, against the chart and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.speech.articulation import (
    PAUSE,
    articulation_spans,
    articulations,
    contact_curve,
    is_bilabial,
    is_open_vowel,
    opening_curve,
    width_curve,
)
from visualdub.errors import BadInput
from visualdub.speech.phones import PhoneSpan


def row(*phones: tuple[str, float]) -> tuple[PhoneSpan, ...]:
    """Phones (name, seconds) one after the other."""
    spans, at = [], 0.0
    for ipa, seconds in phones:
        spans.append(PhoneSpan(ipa, at, at + seconds))
        at += seconds
    return tuple(spans)


@pytest.mark.parametrize(
    "ipa", ["p", "b", "m", "pː", "mʲ", "pʰ", "p-", "ˈm", "bʷ", "pf", "p͡f", "m̥", "b̥", "pp"]
)
def test_lips_touch_in_bilabials_however_they_are_written(ipa: str) -> None:
    assert is_bilabial(ipa)


@pytest.mark.parametrize("ipa", ["f", "v", "β", "β̞", "ɸ", "w", "n", "t", "a", "u", PAUSE, "ʲ"])
def test_lips_do_not_touch_in_other_phones(ipa: str) -> None:
    assert not is_bilabial(ipa)


@pytest.mark.parametrize(
    ("ipa", "is_open"),
    [
        ("a", True),
        ("ɑː", True),
        ("ä", True),
        ("ɑ̃", True),
        ("æ", True),
        ("ɐ", True),
        ("ɒ", True),
        ("aɪ", True),
        ("aʊ", True),
        ("a-", True),
        ("ja", True),
        ("ʌ", False),
        ("ɛ", False),
        ("eɪ", False),
        ("ə", False),
        ("i", False),
        ("p", False),
    ],
)
def test_open_vowels_are_the_two_lowest_heights_of_the_chart(ipa: str, is_open: bool) -> None:
    assert is_open_vowel(ipa) is is_open


def test_openings_rise_with_the_chart_and_rounding_narrows_them() -> None:
    heights = [articulations(v)[0].opening for v in "iɪeəɛæa"]
    assert heights == sorted(heights) and len(set(heights)) == 7
    assert (heights[0], heights[-1]) == (0.25, 1.0)
    for unrounded, rounded in zip("iɪeɛaɯɤʌɑ", "yʏøœɶuoɔɒ", strict=True):
        a, b = articulations(unrounded)[0], articulations(rounded)[0]
        assert a.height == b.height and b.opening < a.opening
        assert b.rounded and not a.rounded and b.width < a.width
    assert (
        articulations("m")[0].opening == 0
        and 0 < articulations("v")[0].opening < articulations("s")[0].opening
    )
    assert articulations("f")[0].labiodental and articulations("i")[0].spread and articulations("e")[0].spread
    assert (
        articulations("ʊ")[0].close_vowel
        and not articulations("o")[0].close_vowel
        and not articulations("s")[0].close_vowel
    )


def test_secondary_articulations_move_the_lips() -> None:
    plain, labial, compressed, palatal = (articulations(x)[0] for x in ("k", "kʷ", "ɯᵝ", "tʲ"))
    assert not plain.rounded and labial.rounded and labial.opening < plain.opening
    assert compressed.rounded and palatal.spread
    assert articulations("ʲ") == articulations("j")  # on its own it is a sound
    assert articulations("ç") != articulations("c")  # not a c with something below
    assert len(articulations("tʃ")) == 2 and len(articulations("aɪ")) == 2 and len(articulations("ɔ̃ː")) == 1


def test_a_symbol_that_is_not_in_the_chart_is_named() -> None:
    with pytest.raises(BadInput, match=r"'p\$': the symbol '\$' \(U\+0024\)"):
        articulations("p$")


def test_a_diphthong_is_two_sounds_of_half_its_time() -> None:
    first, second = articulation_spans([PhoneSpan("aɪ", 1.0, 1.2)])
    assert (first.start, first.end, second.end) == (1.0, 1.1, 1.2)
    assert first.lips.open_vowel and second.lips.close_vowel


def test_contact_is_whole_within_the_closure_and_fades_outside() -> None:
    phones = (*row(("a", 0.2)), PhoneSpan("p", 0.2, 0.32, 0.28), PhoneSpan("a", 0.32, 0.6))
    contact = contact_curve(phones, 100.0)
    assert len(contact) == 60
    assert (contact[20:29] == 1).all()
    assert contact[:18].max() == 0 and contact[31:].max() == 0  # 30 ms either side
    assert 0 < contact[18] < contact[19] < 1 and 1 > contact[29] > contact[30] > 0
    assert contact[19] == pytest.approx((1 + np.cos(np.pi / 3)) / 2)
    assert len(contact_curve(phones, 50.0, 7)) == 7


def test_bilabials_in_a_row_are_one_closure_and_short_ones_are_seen() -> None:
    double = (
        *row(("a", 0.2)),
        PhoneSpan("p", 0.2, 0.3, 0.23),
        PhoneSpan("p", 0.3, 0.4, 0.36),
        PhoneSpan("a", 0.4, 0.6),
    )
    assert (contact_curve(double, 100.0)[20:37] == 1).all()
    for start in np.arange(0.2, 0.22, 0.002):
        assert contact_curve([PhoneSpan("b", start, start + 0.03, start + 0.012)], 25.0).max() == 1


def test_opening_reaches_zero_in_bilabials_and_its_target_in_a_long_vowel() -> None:
    phones = row(
        (PAUSE, 0.4), ("m", 0.1), ("a", 0.4), ("f", 0.1), ("i", 0.4), ("b", 0.1), ("u", 0.4), (PAUSE, 0.4)
    )
    opening, width = opening_curve(phones), width_curve(phones)
    assert len(opening) == len(width) == 115 and opening.min() == 0 and opening.max() <= 1
    assert (opening[20:25] == 0).all() and (opening[70:75] == 0).all()
    assert (
        opening[35] > 0.97
        and opening[60] == pytest.approx(0.25, abs=0.02)
        and opening[85] == pytest.approx(0.15, abs=0.02)
    )
    assert opening[47] < 0.3 and opening[5] < 0.01 and opening[110] < 0.01
    assert width[60] > 0.7 and width[85] < -0.8


def test_neighbours_pull_a_short_sound() -> None:
    between_open, between_close = (
        opening_curve(row((v, 0.2), ("t", 0.06), (v, 0.2)), 100.0)[23] for v in "ai"
    )
    assert between_open > 0.45 and between_close == pytest.approx(0.25, abs=0.01)
    throat = opening_curve(row(("a", 0.2), ("h", 0.06), ("a", 0.2)), 100.0)[23]
    assert throat > 0.85  # h is made behind the lips
    smooth = np.abs(np.diff(opening_curve(row(("a", 0.2), ("s", 0.1), ("a", 0.2)), 100.0)))
    assert smooth.max() < 0.2  # no step


def test_no_phones_make_no_curve() -> None:
    assert len(opening_curve(())) == len(contact_curve(())) == 0
