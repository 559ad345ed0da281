"""Phones of recorded English, by PocketSphinx: it recognises the words, and then aligns their phones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visualdub.speech.features import check_audio, recording_level
from visualdub.speech.phones import PhoneSpan

HOP_SECONDS = 0.01  # of the recogniser
BILABIALS = frozenset({"P", "B", "M"})
PAUSES = frozenset({"SIL", "NSN", "SPN", "+NSN+", "+SPN+", "(NULL)"})


def spoken_phones(audio: NDArray[np.float32], text: str | None = None) -> list[PhoneSpan]:
    """Phones (ARPABET) of a recording; none where no words are recognised.

    audio: (n,) mono at 16 kHz, -1..1. text: the words that are spoken; None: those that the recogniser finds.
    Raises `BadInput` for audio that is not one row of finite numbers.
    """
    level = recording_level(check_audio(audio))
    if level is None:
        return []
    samples = (np.clip(audio * level.gain, -1, 1) * 32767).astype("<i2").tobytes()
    words = _recognised(samples) if text is None else text
    return _aligned(samples, words) if words else []


def _recognised(samples: bytes) -> str:
    """The words that the recogniser finds with its own language model; "" where it finds none."""
    from pocketsphinx import Decoder

    decoder = Decoder(loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return "" if hypothesis is None else str(hypothesis.hypstr)


def _aligned(samples: bytes, words: str) -> list[PhoneSpan]:
    """The phones of `words`, aligned with the recording; none where that fails."""
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, bestpath=False, loglevel="FATAL")
    try:
        decoder.set_align_text(words)
        _decode(decoder, samples)
        if decoder.hyp() is None:
            return []
        decoder.set_alignment()
        _decode(decoder, samples)
    except RuntimeError:  # a word that its dictionary does not have
        return []
    alignment = decoder.get_alignment()
    return (
        []
        if alignment is None
        else [
            PhoneSpan(phone.name, phone.start * HOP_SECONDS, (phone.start + phone.duration) * HOP_SECONDS)
            for word in alignment
            for phone in word
        ]
    )


def _decode(decoder: object, samples: bytes) -> None:
    decoder.start_utt()  # type: ignore[attr-defined]
    decoder.process_raw(samples, full_utt=True)  # type: ignore[attr-defined]
    decoder.end_utt()  # type: ignore[attr-defined]


GRID: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},
    {
        "z": "zero",
        "1": "one",
        "2": "two",
        "3": "three",
        "4": "four",
        "5": "five",
        "6": "six",
        "7": "seven",
        "8": "eight",
        "9": "nine",
    },
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)


def grid_words(name: str) -> str | None:
    """The sentence of a clip of the GRID corpus, from its name ("grid_brbk7n.mpg": bin red by k seven now);
    None for other names.

    Cooke, Barker, Cunningham and Shao, "An audio-visual corpus for speech perception and automatic speech
    recognition", 2006.
    """
    code = name.removeprefix("grid_").split(".")[0]
    if not name.startswith("grid_") or len(code) != len(GRID):
        return None
    return " ".join(f"{c}." if not table else table[c] for c, table in zip(code, GRID, strict=True))
