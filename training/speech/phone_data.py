"""Sentences for the phone head: synthetic speech whose phones have known times, as features and classes.

Nothing that is tested is trained on, neither a sentence nor a voice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.speech import flite
from training.speech.clips import degraded
from training.speech.synthetic import VARIANTS, Synthetic, Voice, sentences, speak
from visualdub.speech.features import HOP, RATE, WHISPER, feature_count
from visualdub.speech.ipa import CLASSES, SILENCE, classes_of
from visualdub.speech.phones import PhoneSpan

SENTENCES = Path(__file__).parent / "phone_sentences.json"
# As espeak-ng names them. The sentences of the first eight are those of the speech model.
LANGUAGES = ("en-us", "fr", "de", "es", "it", "ja", "ru", "ko", "en", "pt", "nl", "pl", "tr")
UNSEEN_LANGUAGES = ("sv", "fi")  # tested alone
TEST_VARIANTS = ("m3", "m7", "f2", "f5")  # of espeak-ng's speakers
TEST_FLITE = "awb"
UNKNOWN = -1  # the class of a step that is not trained on, such as a glottal stop
Array = NDArray[np.float32]


@dataclass(frozen=True)
class PhoneExample:
    """A spoken sentence, T steps of 20 ms."""

    language: str
    voice: str
    text: str
    features: NDArray[np.float16]  # (T, width) of `WHISPER`
    classes: NDArray[np.int64]  # (T,) indices into CLASSES, or UNKNOWN
    phones: tuple[PhoneSpan, ...]  # single classes with their times


def class_spans(phones: Sequence[PhoneSpan]) -> tuple[PhoneSpan, ...]:
    """Phones in IPA as classes; one of two classes is cut in its middle, pauses are SILENCE."""
    spans = []
    for p in phones:
        names = classes_of(p.phone) if p.phone else (SILENCE,)
        edges = np.linspace(p.start, p.end, len(names) + 1)
        spans += [PhoneSpan(n, a, b) for n, a, b in zip(names, edges, edges[1:], strict=False)]
    return tuple(spans)


def step_classes(spans: Sequence[PhoneSpan], steps: int) -> NDArray[np.int64]:
    """(steps,) the class at each step's centre, SILENCE after the last phone, UNKNOWN in a gap."""
    found = np.full(steps, UNKNOWN, np.int64)
    times = np.arange(steps) * HOP / RATE
    for s in spans:
        found[(times >= s.start) & (times < s.end)] = CLASSES.index(s.phone)
    found[times >= max((s.end for s in spans), default=0.0)] = CLASSES.index(SILENCE)
    return found


def example_of(spoken: Synthetic, audio: Array | None = None) -> PhoneExample | None:
    """A sentence as an example; None where it is silent. audio: the recording where it was changed."""
    sound = spoken.audio if audio is None else audio
    level, steps = WHISPER.level(sound), feature_count(len(sound))
    if level is None:
        return None
    spans = class_spans(spoken.phones)
    inputs = WHISPER.features(sound, level, 0, steps).astype(np.float16)
    return PhoneExample(spoken.voice, spoken.variant, spoken.text, inputs, step_classes(spans, steps), spans)


# ---- what is spoken ----------------------------------------------------------------------------------------


@cache
def _own_sentences() -> dict[str, dict[str, list[str]]]:
    texts: dict[str, dict[str, list[str]]] = json.loads(SENTENCES.read_text(encoding="utf-8"))
    return texts


def texts_of(use: str, language: str) -> list[str]:
    """The sentences of a language, "train" or "test"."""
    short = language.split("-")[0]
    own = _own_sentences()[use].get(short)
    return own if own is not None else sentences(use, short)


def shuffled(texts: Sequence[str], rows: int, random: np.random.Generator, words: int = 7) -> list[str]:
    """`rows` rows of words drawn from all the texts, so that words meet new neighbours."""
    every = [w for text in texts for w in text.split()]
    return [" ".join(random.choice(every, words)) for _ in range(rows)]


def trained_speech(seed: int, turns: int = 4, rows: int = 40) -> Iterator[Synthetic]:
    """What the head is trained on: every sentence by `turns` speakers and `rows` rows of words, in every
    language; English by flite's voices, too.
    """
    random = np.random.default_rng(seed)
    variants = [v for v in VARIANTS if v not in TEST_VARIANTS]
    for language in LANGUAGES:
        texts = texts_of("train", language)
        mixed = shuffled(texts, rows, random)
        if language.startswith("en"):
            mixed = flite.texts(rows, seed + len(language) + (language == "en"))[-rows:]
            texts = texts[:30] if language == "en-us" else texts[30:]
        for text in [*(t for t in texts for _ in range(turns)), *mixed]:
            variant = str(random.choice(variants))
            yield speak(text, language, int(random.integers(25, 76)), int(random.integers(120, 220)), variant)
    for voice in (v for v in flite.VOICES if v != TEST_FLITE):
        for text in flite.texts(rows, seed):
            yield flite.speak(text, voice, float(random.uniform(0.75, 1.2)))


def tested_speech() -> Iterator[tuple[str, Synthetic]]:
    """Unseen sentences by unseen voices, each with the name of what it tests; nothing in it is random."""
    for language in (*LANGUAGES, *UNSEEN_LANGUAGES):
        for i, text in enumerate(texts_of("test", language)):
            voice = Voice(
                language, TEST_VARIANTS[i % len(TEST_VARIANTS)], 40 + 5 * (i % 5), 150 + 10 * (i % 5)
            )
            yield language, speak(text, language, voice.pitch, voice.rate, voice.variant)
    for text in texts_of("test", "en"):
        yield "en (flite)", flite.speak(text, TEST_FLITE)


# ---- sets --------------------------------------------------------------------------------------------------


def training_set(seed: int, turns: int = 4, rows: int = 40) -> list[PhoneExample]:
    """The examples to train on, one in four clean, the others degraded.

    Raises `BadInput` where espeak-ng or flite is not installed.
    """
    random = np.random.default_rng(seed)
    examples = (example_of(s, degraded(s.audio, random)) for s in trained_speech(seed, turns, rows))
    return [e for e in examples if e is not None]


def test_set() -> list[tuple[str, PhoneExample]]:
    """The examples to test on, clean, each with the name of what it tests."""
    return [(name, e) for name, s in tested_speech() if (e := example_of(s)) is not None]
