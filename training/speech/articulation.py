"""Articulation of the lips in each phone of the International Phonetic Alphabet, and the curves that a
sequence of phones gives.

Openings follow the vowel chart: seven heights, spaced evenly from close to open; rounding makes them smaller.
The figures of a consonant follow from its place of articulation. All are targets for weak supervision, not
measurements.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.speech.phones import PhoneSpan

Curve = NDArray[np.float64]
PAUSE = ""  # the phone of a pause
RATE = 50.0  # values of a curve per second

# ---- phones ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Articulation:
    """The lips in one sound."""

    opening: float  # of the inner lips, 0 closed .. 1 an open vowel
    width: float  # -1 rounded .. 0 neutral .. 1 spread
    weight: float  # dominance of the sound over its neighbours, 0..1
    vowel: bool = False
    # of a vowel: 0 close, 1/6 near-close, 2/6 close-mid, 3/6 mid, 4/6 open-mid, 5/6 near-open, 1 open
    height: float = -1.0
    bilabial: bool = False  # the lips touch: plosives and nasals, not the fricatives and approximants ɸ β
    labiodental: bool = False

    @property
    def rounded(self) -> bool:
        """Whether the corners of the lips are drawn together."""
        return self.width <= -0.3 + 1e-9

    @property
    def spread(self) -> bool:
        """Whether the corners of the lips are drawn apart."""
        return self.width >= 0.5

    @property
    def open_vowel(self) -> bool:
        """Whether it is an open or near-open vowel: a ä ɑ ɒ ɶ æ ɐ."""
        return self.height >= 5 / 6 - 1e-9

    @property
    def close_vowel(self) -> bool:
        """Whether it is a close or near-close vowel: i y ɨ ʉ ɯ u ɪ ʏ ʊ."""
        return 0 <= self.height <= 1 / 6 + 1e-9


CLOSE_OPENING, OPEN_OPENING = 0.25, 1.0  # of unrounded vowels at the ends of the chart
ROUNDED_SHARE = 0.6  # factor on the opening of rounded vowels

# by height in sixths: unrounded, then rounded vowels
_VOWELS = {
    0: ("iɨɯ", "yʉu"),
    1: ("ɪᵻ", "ʏʊᵿ"),
    2: ("eɘɤ", "øɵo"),
    3: ("əɚ", ""),
    4: ("ɛɜʌɝ", "œɞɔ"),
    5: ("æɐ", ""),
    6: ("aɑ", "ɶɒ"),
}
_FRONT = "iɪeɛyʏøœ"  # front vowels; the unrounded ones are spread

# symbols: opening, width, weight
_CONSONANTS = {
    "pbmʙɓ": (0.0, 0.0, 1.0),
    "fvʋɱⱱ": (0.1, 0.0, 1.0),
    "ɸβ": (0.08, 0.0, 1.0),
    "wʍɥ": (0.12, -0.9, 0.9),
    "sz": (0.2, 0.3, 0.7),
    "ɕʑ": (0.2, 0.2, 0.7),
    "ʃʒʂʐ": (0.22, -0.4, 0.8),
    "tdnɗ": (0.25, 0.1, 0.4),
    "ʈɖɳɽɻ": (0.28, -0.1, 0.4),
    "θð": (0.25, 0.1, 0.6),
    "lɬɮɭɺ": (0.35, 0.1, 0.4),
    "ɫ": (0.35, -0.1, 0.4),
    "rɾ": (0.3, 0.0, 0.3),
    "ɹ": (0.28, -0.3, 0.5),
    "jʝç": (0.25, 0.5, 0.5),
    "cɟɲʎ": (0.27, 0.3, 0.4),
    "kɡgŋɠ": (0.35, 0.0, 0.2),
    "xɣɰ": (0.35, 0.0, 0.2),
    "qɢɴχʁʀ": (0.4, 0.0, 0.2),
    "hɦħʕʔ": (0.4, 0.0, 0.05),  # made in the throat: the neighbours decide the lips
}
_PALATAL_GLIDE, _LABIAL_GLIDE, _COMPRESSED = "ʲ", "ʷ", "ᵝ"
_IGNORED = set(
    "ˈˌːˑ.-‿ʰʱˠˤʼˀ˞ⁿˡ̩' _|^*;~0123456789"
)  # stress, length, aspiration, tenseness (espeak's Korean p-), syllables


def _table() -> dict[str, Articulation]:
    table = {}
    for sixths, kinds in _VOWELS.items():
        for symbols, rounded in zip(kinds, (False, True), strict=True):
            for symbol in symbols:
                opening = CLOSE_OPENING + (OPEN_OPENING - CLOSE_OPENING) * sixths / 6
                spread = 0.8 - 0.1 * sixths if symbol in _FRONT else 0.1
                width = -0.9 + 0.1 * sixths if rounded else spread
                weight = 0.5 if sixths == 3 else 0.9  # schwa gives way to its neighbours
                table[symbol] = Articulation(
                    opening * (ROUNDED_SHARE if rounded else 1), width, weight, True, sixths / 6
                )
    for symbols, (opening, width, weight) in _CONSONANTS.items():
        for symbol in symbols:
            table[symbol] = Articulation(
                opening, width, weight, bilabial=symbol in "pbmʙɓ", labiodental=symbol in "fvʋɱⱱ"
            )
    return table


_SYMBOLS = _table()
_CLOSED = Articulation(0.0, 0.0, 0.5)


@cache
def articulations(ipa: str) -> tuple[Articulation, ...]:
    """One articulation for each sound of a phone: one, or two in a diphthong or affricate; a closed mouth for
    a pause.

    Stress, length, ties, tones and secondary articulations that do not involve the lips are ignored; ʲ
    spreads the lips, ʷ and ᵝ round them. Raises `BadInput` for a symbol that is not in the chart.
    """
    lips: list[Articulation] = []
    for symbol in unicodedata.normalize("NFD", ipa).replace("c\u0327", "ç"):
        if symbol in _SYMBOLS:
            lips.append(_SYMBOLS[symbol])
        elif symbol in (_LABIAL_GLIDE, _COMPRESSED) and lips:
            narrow = lips[-1].opening * (0.7 if symbol == _LABIAL_GLIDE else 0.9)
            lips[-1] = replace(lips[-1], opening=narrow, width=-0.8 if symbol == _LABIAL_GLIDE else -0.3)
        elif symbol == _PALATAL_GLIDE and lips:
            lips[-1] = replace(lips[-1], width=0.5)
        elif symbol == _PALATAL_GLIDE:  # espeak times it as a sound of its own
            lips.append(_SYMBOLS["j"])
        elif symbol not in _IGNORED and unicodedata.category(symbol) != "Mn":
            raise BadInput(
                f"phone {ipa!r}: the symbol {symbol!r} (U+{ord(symbol):04X}) has no articulation;"
                " expected IPA"
            )
    return tuple(lips) or (_CLOSED,)


def is_bilabial(ipa: str) -> bool:
    """Whether the lips touch in this phone."""
    return any(a.bilabial for a in articulations(ipa))


def is_open_vowel(ipa: str) -> bool:
    """Whether the phone is, or begins with, an open or near-open vowel."""
    vowels = [a for a in articulations(ipa) if a.vowel]
    return bool(vowels) and vowels[0].open_vowel


@dataclass(frozen=True)
class ArticulationSpan:
    """One articulation in time, in seconds; a phone of two sounds gives half of its time to each."""

    lips: Articulation
    start: float
    end: float
    release: float  # where lips that touch part


def articulation_spans(phones: Iterable[PhoneSpan]) -> Iterator[ArticulationSpan]:
    """Phones (in IPA) divided into single articulations."""
    for phone in phones:
        parts = articulations(phone.phone)
        step = (phone.end - phone.start) / len(parts)
        for i, lips in enumerate(parts):
            start, end = phone.start + i * step, phone.start + (i + 1) * step
            release = end if phone.release is None or len(parts) > 1 else phone.release
            yield ArticulationSpan(lips, start, end, release)


# ---- curves ------------------------------------------------------------------------------------------------

DOMINANCE_SECONDS = 0.04  # time in which a sound's dominance falls by a factor of e outside the sound
PAUSE_SECONDS = 0.3  # a pause of this length closes the mouth as surely as a sound moves it
CLOSING_SECONDS, PARTING_SECONDS = 0.03, 0.03  # in which the lips close before a closure and part after it
SHORTEST_CLOSURE = 0.04  # seconds; a shorter closure is taken to begin earlier


def _times(phones: Sequence[PhoneSpan], rate: float, count: int | None) -> Curve:
    length = max((p.end for p in phones), default=0.0)
    return np.arange(int(np.ceil(length * rate)) if count is None else count) / rate


def contact_curve(phones: Sequence[PhoneSpan], rate: float = RATE, count: int | None = None) -> Curve:
    """(T,) bilabial closure: 1 while the lips touch, 0 elsewhere, with raised-cosine edges outside the
    closure.

    Value k is at k / rate seconds. count: T; None: up to the end of the last phone. Consecutive bilabials are
    one closure.
    """
    times = _times(phones, rate, count)
    contact, spans = np.zeros(len(times)), list(articulation_spans(phones))
    for i, span in enumerate(spans):
        if span.lips.bilabial:
            followed = i + 1 < len(spans) and spans[i + 1].lips.bilabial
            parted = span.end if followed else span.release
            shut = min(span.start, parted - max(SHORTEST_CLOSURE, 1 / rate))
            before, after = (shut - times) / CLOSING_SECONDS, (times - parted) / PARTING_SECONDS
            distance = np.clip(np.maximum(np.maximum(before, after), 0.0), 0.0, 1.0)
            contact = np.maximum(contact, (1 + np.cos(np.pi * distance)) / 2)
    return contact


def _blend(phones: Sequence[PhoneSpan], times: Curve, quantity: str) -> Curve:
    """(T,) the targets of a quantity, blended by dominance functions: a sound dominates most within itself,
    and exponentially less outside.

    M. M. Cohen and D. W. Massaro, "Modeling coarticulation in synthetic visual speech", Models and Techniques
    in Computer Animation, 1993: the mean of the targets, weighted by their dominances.
    """
    weighted, total = np.zeros(len(times)), np.full(len(times), 1e-9)
    for span in articulation_spans(phones):
        middle, half = (span.start + span.end) / 2, (span.end - span.start) / 2
        outside = np.maximum(np.abs(times - middle) - half / 2, 0.0)  # 0 in the inner half of the sound
        weight = span.lips.weight * (min(1.0, 2 * half / PAUSE_SECONDS) if span.lips is _CLOSED else 1.0)
        dominance = weight * np.exp(-outside / DOMINANCE_SECONDS)
        weighted += dominance * float(getattr(span.lips, quantity))
        total += dominance
    return np.asarray(weighted / total)


def opening_curve(phones: Sequence[PhoneSpan], rate: float = RATE, count: int | None = None) -> Curve:
    """(T,) lip opening in 0..1 of a sequence of phones, 0 where a bilabial closes the lips. Arguments as in
    `contact_curve`.
    """
    return _blend(phones, _times(phones, rate, count), "opening") * (1 - contact_curve(phones, rate, count))


def width_curve(phones: Sequence[PhoneSpan], rate: float = RATE, count: int | None = None) -> Curve:
    """(T,) lip width, -1 rounded .. 1 spread. Arguments as in `contact_curve`."""
    return _blend(phones, _times(phones, rate, count), "width")
