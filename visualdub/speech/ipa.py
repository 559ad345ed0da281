"""Phones of the International Phonetic Alphabet and the classes of them that are recognised."""

from __future__ import annotations

import unicodedata
from functools import cache

SILENCE = "SIL"
# A class, named by its most frequent sound, and the sounds that count as it. Sounds are one class where lips
# and jaw do the same and ears confuse them; voicing counts, because it tells where a phone begins.
_SOUNDS = {
    "i": "i",
    "ɪ": "ɪᵻɨ",
    "y": "yʏ",
    "u": "uʉ",
    "ʊ": "ʊᵿ",
    "ɯ": "ɯɤ",
    "e": "eɘ",
    "ɛ": "ɛ",
    "æ": "æ",
    "ø": "øœɵɶɞ",
    "ə": "əɜ",
    "ɝ": "ɝɚ",
    "ʌ": "ʌɐ",
    "a": "a",
    "ɑ": "ɑ",
    "o": "o",
    "ɔ": "ɔɒ",
    "p": "p",
    "b": "bɓʙ",
    "m": "m",
    "f": "fɸ",
    "v": "vʋⱱβɱ",
    "w": "wʍɥ",
    "t": "tʈ",
    "d": "dɖɗ",
    "n": "nɳɲ",
    "l": "lɫɭʎɬɮɺ",
    "s": "s",
    "z": "z",
    "ʃ": "ʃɕʂ",
    "ʒ": "ʒʑʐ",
    "θ": "θ",
    "ð": "ð",
    "k": "kcq",
    "ɡ": "ɡgɟɢɠ",
    "ŋ": "ŋɴ",
    "x": "xχçħ",
    "ʁ": "ʁʀɣɰ",
    "r": "rɾɽ",
    "ɹ": "ɹɻ",
    "j": "jʝ",
    "h": "hɦʕ",
}
CLASSES = (SILENCE, *_SOUNDS)  # in the order of the head's outputs
BILABIALS = ("p", "b", "m")  # lips touch in these
VOWELS = tuple("iɪyuʊɯeɛæøəɝʌaɑoɔ")
_CLASS_OF = {symbol: name for name, symbols in _SOUNDS.items() for symbol in symbols}


@cache
def classes_of(ipa: str) -> tuple[str, ...]:
    """The classes of a phone in their order: one, or two of a diphthong or affricate.

    Stress, length, tones, nasality and secondary articulations do not count; a glottal stop, which lips and
    ears do not show, and what is not IPA have none.
    """
    letters = unicodedata.normalize("NFD", ipa).replace("c\u0327", "ç")
    return tuple(_CLASS_OF[s] for s in letters if s in _CLASS_OF)
