"""The phone head's training: labels, windows, a short training and its export."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.speech.phone_data import (
    LANGUAGES,
    TEST_VARIANTS,
    UNKNOWN,
    UNSEEN_LANGUAGES,
    PhoneExample,
    class_spans,
    example_of,
    shuffled,
    step_classes,
    texts_of,
)
from training.speech.phone_head import (
    HeadConfig,
    export_head,
    frame_accuracy,
    train_head,
    train_on,
    window_of,
)
from training.speech.synthetic import VARIANTS, speak
from visualdub.speech.features import WHISPER
from visualdub.speech.ipa import CLASSES, SILENCE
from visualdub.speech.phones import PhoneSpan, head_session

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
FAST = HeadConfig(channels=16, kernels=(3,), steps=150, batch=8, length=32, dropout=0.0, jitter=0.0)


def example(seed: int, steps: int = 50) -> PhoneExample:
    """A sentence whose features are the one-hot code of its classes, in noise."""
    random = np.random.default_rng(seed)
    classes = np.repeat(random.integers(8, size=-(-steps // 5)), 5)[:steps]
    features: NDArray[np.float32] = random.normal(0, 0.1, (steps, WHISPER.width)).astype(np.float32)
    features[np.arange(steps), classes] += 1
    return PhoneExample("fr", "m1", "", features.astype(np.float16), classes, ())


def test_phones_become_single_classes() -> None:
    spans = class_spans([PhoneSpan("", 0.0, 0.1), PhoneSpan("aɪ", 0.1, 0.3), PhoneSpan("ʔ", 0.3, 0.4)])
    assert [(s.phone, round(s.start, 3), round(s.end, 3)) for s in spans] == [
        (SILENCE, 0.0, 0.1),
        ("a", 0.1, 0.2),
        ("ɪ", 0.2, 0.3),
    ]


def test_steps_have_the_class_at_their_centre() -> None:
    """A glottal stop is a gap that is not trained on; after the last phone there is silence."""
    spans = [PhoneSpan(SILENCE, 0.0, 0.03), PhoneSpan("p", 0.03, 0.06), PhoneSpan("a", 0.1, 0.12)]
    names = [CLASSES[c] if c != UNKNOWN else "?" for c in step_classes(spans, 8)]
    assert names == [SILENCE, SILENCE, "p", "?", "?", "a", SILENCE, SILENCE]


def test_a_window_is_padded_with_what_is_not_trained_on() -> None:
    inputs, classes = window_of(example(0, 20), 32, np.random.default_rng(0))
    assert inputs.shape == (32, WHISPER.width) and not inputs[20:].any() and (classes[20:] == UNKNOWN).all()
    assert (inputs[:20, :43].argmax(1) == classes[:20]).all()


def test_it_learns_and_its_export_is_the_same(tmp_path: Path) -> None:
    examples = [example(i) for i in range(20)]
    record = train_on(examples, [("code", example(99))], FAST, tmp_path / "head.onnx", lambda _: None)
    assert record["frame_accuracy"]["code"] > 0.8
    assert record["size_bytes"] == (tmp_path / "head.onnx").stat().st_size
    untrained = train_head(examples, HeadConfig(channels=16, kernels=(3,), steps=1, batch=1), lambda _: None)
    assert frame_accuracy(untrained, [("code", example(99))])["code"] < 0.3


def test_the_export_gives_the_networks_scores(tmp_path: Path) -> None:
    head = train_head([example(0)], FAST, lambda _: None)
    export_head(head, tmp_path / "head.onnx")
    inputs = example(1).features.astype(np.float32)[None]
    (scores,) = head_session(tmp_path / "head.onnx").run(["scores"], {"features": inputs})
    with torch.no_grad():
        assert np.abs(scores - head(torch.from_numpy(inputs)).numpy()).max() < 1e-4
    assert np.abs(np.exp(scores).sum(-1) - 1).max() < 1e-4


def test_nothing_tested_is_trained_on() -> None:
    assert set(TEST_VARIANTS) < set(VARIANTS) and not set(LANGUAGES) & set(UNSEEN_LANGUAGES)
    for language in LANGUAGES:
        learned, tested = texts_of("train", language), texts_of("test", language)
        assert len(tested) >= 5 and not set(learned) & set(tested)


def test_words_meet_new_neighbours() -> None:
    rows = shuffled(["a b c", "d e f"], 5, np.random.default_rng(1), words=4)
    assert len(rows) == 5 and all(len(r.split()) == 4 and set(r.split()) <= set("abcdef") for r in rows)


@needs_espeak
def test_a_spoken_sentence_is_an_example() -> None:
    spoken = speak("Papa", "fr")
    found = example_of(spoken)
    assert found is not None and found.features.shape == (len(found.classes), WHISPER.width)
    assert [CLASSES[c] for c in dict.fromkeys(found.classes.tolist())][:3] == ["p", "a", SILENCE]
