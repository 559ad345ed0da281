"""Phone labels: the best path against every possible path, and the labels of recordings with known words."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from speech_scene import counting

import visualdub.demo
from visualdub.errors import BadInput
from visualdub.media.audio import read_audio
from visualdub.speech import phones as labels
from visualdub.speech.ipa import SILENCE, VOWELS
from visualdub.speech.phones import PhoneSpan, best_path, head_session, labels_at, phone_labels

# bin red by k seven now, aligned with its words by PocketSphinx; seconds
BRBK7N = [
    *(("b", 0.45), ("ɪ", 0.53), ("n", 0.63), ("ɹ", 0.70), ("ɛ", 0.77), ("d", 0.86), ("b", 0.94), ("a", 1.00)),
    *(("ɪ", 1.05), ("k", 1.11), ("e", 1.21), ("ɪ", 1.28), ("s", 1.36), ("ɛ", 1.47), ("v", 1.56), ("ə", 1.62)),
    *(("n", 1.66), ("n", 1.71), ("a", 1.79), ("ʊ", 1.95), (SILENCE, 2.12)),
]


def runs(path: list[int]) -> list[int]:
    return [len(list(g)) for _, g in itertools.groupby(path)]


@pytest.mark.parametrize("shortest", [1, 2, 3, 9])
@pytest.mark.parametrize("switch", [0.0, 1.0, 3.0])
def test_best_of_all_paths(shortest: int, switch: float) -> None:
    scores = np.random.default_rng(round(10 * switch) + shortest).normal(0, 2, (7, 3))
    allowed = [p for p in itertools.product(range(3), repeat=7) if min(runs(list(p))) >= min(shortest, 7)]
    sums = [
        sum(s[q] for s, q in zip(scores, p, strict=True)) - switch * (len(runs(list(p))) - 1) for p in allowed
    ]
    path = best_path([scores[:1], scores[1:5], scores[5:]], 7, switch, shortest)
    assert path.tolist() == list(allowed[int(np.argmax(sums))])


def test_phones_follow_each_other_without_gaps() -> None:
    audio = counting()
    spans = phone_labels(audio)
    assert spans[0].start == 0 and spans[-1].end == len(audio) / 16000
    for a, b in itertools.pairwise(spans):
        assert a.end == b.start and a.phone != b.phone
    assert min(s.end - s.start for s in spans) >= 0.03 - 1e-9
    assert 3 < len(spans) / (len(audio) / 16000) < 15  # a second of speech


def test_labels_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = phone_labels(counting())
    monkeypatch.setattr(labels, "BLOCK", 80)
    assert phone_labels(counting()) == whole


def test_silence_is_one_span() -> None:
    assert phone_labels(np.zeros(8000, np.float32)) == [PhoneSpan(SILENCE, 0.0, 0.5)]
    assert phone_labels(np.zeros(0, np.float32)) == []


def test_shorter_than_a_phone() -> None:
    (span,) = phone_labels(counting()[16000:16200])
    assert (span.start, span.end) == (0.0, 200 / 16000)


def test_what_is_not_audio() -> None:
    for audio in (np.full(8000, np.nan, np.float32), np.zeros((2, 8000), np.float32)):
        with pytest.raises(BadInput, match="dialogue"):
            phone_labels(audio)


def test_labels_at_frames() -> None:
    spans = [PhoneSpan("B", 0.0, 0.04), PhoneSpan("AA", 0.04, 0.1)]
    names = labels_at(spans, np.array([-0.04, 0.0, 0.039, 0.04, 0.08, 0.1, 9.0]))
    assert names == [SILENCE, "B", "B", "AA", "AA", SILENCE, SILENCE]
    assert labels_at([], np.array([0.0, 0.04])) == [SILENCE, SILENCE]


def test_known_words(clips: Path) -> None:
    """Real speech, of which the head heard none."""
    spans = phone_labels(read_audio(clips / "grid_brbk7n.mpg"))
    times = np.arange(0.45, 2.12, 0.01) + 0.005
    truth = [BRBK7N[int(np.searchsorted([t for _, t in BRBK7N], t, side="right")) - 1][0] for t in times]
    assert np.mean([a == b for a, b in zip(labels_at(spans, times), truth, strict=True)]) > 0.5
    for middle, phone in ((0.48, "b"), (0.97, "b"), (1.18, "k"), (0.2, SILENCE), (2.5, SILENCE)):
        assert phone in labels_at(spans, middle + np.arange(-4, 5) / 100)


def test_known_words_of_a_synthetic_voice() -> None:
    """One, two, three, four, five: what the voice says and when is known from the text it was made from. Its
    u is hardly rounded.
    """
    spans = phone_labels(counting())
    said = [(0.26, "w"), (0.6, "n"), (1.1, "t"), (1.3, "ɯ"), (2.15, "i"), (2.9, "ɔ"), (3.75, "a")]
    for middle, phone in (*said, *((t, SILENCE) for t in (0.05, 0.9, 1.7, 2.45, 3.35, 4.5))):
        assert phone in labels_at(spans, middle + np.arange(-6, 7) / 100), (middle, phone)


def test_french_un_is_a_vowel() -> None:
    """Un, deux, trois, quatre, cinq: the first word is a nasal vowel and no pause."""
    audio = counting("fr")
    start = int(np.flatnonzero(np.abs(audio) > 0.05)[0]) / 16000
    heard = labels_at(phone_labels(audio), start + np.arange(4, 16) / 100)
    assert np.mean([h in VOWELS for h in heard]) > 0.7 and SILENCE not in heard[2:]


def test_another_file_is_no_head(tmp_path: Path) -> None:
    (tmp_path / "head.onnx").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"head\.onnx is not a phone head"):
        head_session(tmp_path / "head.onnx")
    with pytest.raises(BadInput, match=r"speech\.onnx takes the features.*classes"):
        head_session(labels.HEAD.with_name("speech.onnx"))


def test_digital_silence_is_silence() -> None:
    """The demo's counting has pauses of zeros, which another recogniser called ZH; a closure of p, t, k stays
    what it is.
    """
    audio = read_audio(Path(visualdub.demo.__file__).parent / "data" / "counting_en.wav")
    spans = phone_labels(audio)
    middles = [audio[round(s.start * 16000) : round(s.end * 16000)] for s in spans]
    assert all((m != 0).mean() > 0.5 for s, m in zip(spans, middles, strict=True) if s.phone != SILENCE)
    assert spans[0].phone == spans[-1].phone == SILENCE and "ʒ" not in {s.phone for s in spans}
