"""Forced alignment against every possible path, by hand, and on recordings with known words."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from speech_scene import counting

from visualdub.errors import BadInput
from visualdub.speech import alignment
from visualdub.speech.alignment import UNLIKELY, align, align_script, best_states
from visualdub.speech.ipa import CLASSES, SILENCE
from visualdub.speech.phones import PhoneSpan, lips_of
from visualdub.speech.script import ScriptWord, read_script

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs the program espeak-ng")


def spoken(text: str) -> np.ndarray:
    """(T, C) scores of one class a letter, "." a pause."""
    scores = np.full((len(text), len(CLASSES)), -9.0, np.float32)
    for t, letter in enumerate(text):
        scores[t, CLASSES.index(SILENCE if letter == "." else letter)] = -0.01
    return scores


def words(*texts: str) -> list[ScriptWord]:
    return [ScriptWord(t, tuple(t), i + 1) for i, t in enumerate(texts)]


def test_words_and_pauses_are_found() -> None:
    """Ten steps of 20 ms; the border between steps k - 1 and k lies at (k - 1/2) * 20 ms."""
    found = align(spoken("..paa..mi."), words("pa", "mi"), 0.2)
    assert found is not None
    assert [(w.text, round(w.start, 3), round(w.end, 3)) for w in found.words] == [
        ("pa", 0.03, 0.09),
        ("mi", 0.13, 0.17),
    ]
    assert [p.phone for p in found.phones()] == [SILENCE, "p", "a", SILENCE, "m", "i", SILENCE]
    spans = found.phones()
    assert spans[0].start == 0 and spans[-1].end == 0.2
    assert all(a.end == b.start for a, b in itertools.pairwise(spans))
    assert found.confidence == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_best_of_all_paths(seed: int) -> None:
    """Two words, seven steps: every sequence of states that the rules allow, by trying all."""
    scores = np.random.default_rng(seed).normal(0, 2, (7, len(CLASSES)))
    states = alignment._states(words("pa", "m"), 7)
    pauses = [s for s, w in enumerate(states.words) if w < 0]

    def allowed(path: tuple[int, ...]) -> bool:
        starts, ends = path[0] in (0, 1), path[-1] in (len(states.words) - 1, len(states.words) - 2)
        moves = all(b - a in (0, 1) or (b - a == 2 and a + 1 in pauses) for a, b in itertools.pairwise(path))
        return starts and ends and moves

    paths = [p for p in itertools.combinations_with_replacement(range(len(states.words)), 7) if allowed(p)]
    sums = [sum(scores[t, states.classes[s]] for t, s in enumerate(p)) for p in paths]
    found = best_states(scores, states)
    assert found is not None and found.tolist() == list(paths[int(np.argmax(sums))])


def test_a_subtitle_holds_its_words_to_its_time() -> None:
    """The same word is heard twice, and the script has it once, in the second half."""
    text = "pa" + "." * 60 + "pa"
    assert align(spoken(text), words("pa"), 1.28).words[0].start < 0.1  # type: ignore[union-attr]
    timed = [ScriptWord("pa", ("p", "a"), 1, 1.0, 1.28)]
    assert align(spoken(text), timed, 1.28).words[0].start == pytest.approx(1.23)  # type: ignore[union-attr]


def test_more_words_than_time() -> None:
    assert align(spoken("pa"), words("pa", "mi"), 0.04) is None


def test_speech_outside_the_script_is_found() -> None:
    found = align(spoken("pa" + "sk" * 20 + ".mi"), words("pa", "mi"), 0.9)
    assert found is not None
    ((start, end),) = found.unscripted
    assert (start, end) == (pytest.approx(0.03), pytest.approx(0.83))
    assert found.words[1].start == pytest.approx(0.85)


def test_a_word_that_is_not_said_fits_badly() -> None:
    found = align(spoken(".ppaattaa.mi."), words("pasa", "mi"), 0.26)
    assert found is not None
    wrong, right = found.words
    assert right.confidence > 0.95 and wrong.confidence < np.exp((UNLIKELY * 2 / 8) * 0.9)


def test_lips_close_in_bilabials_and_part_elsewhere() -> None:
    phones = [
        PhoneSpan(SILENCE, 0.0, 0.1),
        PhoneSpan("a", 0.1, 0.3),
        PhoneSpan("b", 0.3, 0.39),
        PhoneSpan("a", 0.39, 0.6),
        PhoneSpan(SILENCE, 0.6, 0.8),
    ]
    times = np.arange(80) / 100
    closure, parted = lips_of(phones, times, 100.0)
    assert np.flatnonzero(closure == 1).tolist() == list(range(30, 37))  # two thirds of the b
    assert np.flatnonzero(parted).tolist() == [*range(10, 28), *range(39, 60)]
    assert not closure[:27].any() and not closure[40:].any()
    assert closure[28] == pytest.approx(0.25)


def test_a_bilabial_between_two_frames_closes_the_nearest() -> None:
    closure, parted = lips_of(
        [PhoneSpan("p", 0.105, 0.125), PhoneSpan("a", 0.125, 0.2)], np.arange(6) / 25, 25.0
    )
    assert closure[3] == 1.0 and parted[3] == 0.0 and parted[4] == 1.0


def test_later() -> None:
    found = align(spoken("..paa..mi."), words("pa", "mi"), 0.2)
    assert found is not None
    moved = found.moved(1.0)
    assert moved.words[0].start == pytest.approx(1.03) and moved.words[0].phones[0].start == pytest.approx(
        1.03
    )
    assert moved.seconds == pytest.approx(1.2) and moved.words[1].confidence == found.words[1].confidence


@needs_espeak
def test_numbers_that_are_counted(tmp_path: Path) -> None:
    """One, two, three, four, five: the words of the recording, and when they are said."""
    path = tmp_path / "count.txt"
    path.write_text("One, two, three, four, five.")
    found = align_script(counting(), read_script(path, "en-us"))
    assert [w.text for w in found.words] == ["One,", "two,", "three,", "four,", "five."]
    for word, middle in zip(found.words, (0.45, 1.2, 2.05, 2.9, 3.8), strict=True):
        assert word.start < middle < word.end
    assert not found.notes


@needs_espeak
def test_another_script_is_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("My uncle grows pumpkins and purple cabbage.")
    with pytest.raises(BadInput, match=r"other\.txt is not what the recording says.*line 1"):
        align_script(counting(), read_script(path, "en-us"))


@needs_espeak
def test_a_wrong_word_is_named(tmp_path: Path) -> None:
    path = tmp_path / "count.txt"
    path.write_text("One, two, three,\nmuseum, five.")
    found = align_script(counting(), read_script(path, "en-us"))
    assert any("museum" in note and "line 2" in note for note in found.notes)
