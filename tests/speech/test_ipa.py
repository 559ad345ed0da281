"""Classes of phones against the phonetic alphabet."""

from __future__ import annotations

import pytest

from training.speech.articulation import _SYMBOLS, articulations, is_bilabial
from visualdub.speech.ipa import BILABIALS, CLASSES, SILENCE, VOWELS, classes_of


@pytest.mark.parametrize(
    ("ipa", "classes"),
    [
        ("œ̃", ("ø",)),  # French "un"
        ("ɔ̃", ("ɔ",)),
        ("aɪ", ("a", "ɪ")),
        ("tʃ", ("t", "ʃ")),
        ("ˈɜː", ("ə",)),
        ("pʲ", ("p",)),
        ("ç", ("x",)),
        ("ʔ", ()),
        ("", ()),
    ],
)
def test_classes(ipa: str, classes: tuple[str, ...]) -> None:
    assert classes_of(ipa) == classes


def test_every_sound_of_the_chart_has_a_class_of_its_lips() -> None:
    """Vowels stay vowels, and lips touch in the same sounds."""
    for symbol in set(_SYMBOLS) - {"ʔ"}:
        (name,) = classes_of(symbol)
        assert articulations(symbol)[0].vowel == (name in VOWELS), symbol
        assert is_bilabial(symbol) == (name in BILABIALS), symbol


def test_classes_are_named_once() -> None:
    assert CLASSES[0] == SILENCE and len(set(CLASSES)) == len(CLASSES) == 43
    assert set(VOWELS) < set(CLASSES) and all(classes_of(c) == (c,) for c in CLASSES[1:])
