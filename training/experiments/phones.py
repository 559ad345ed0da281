"""The phone head and forced alignment on synthetic sentences and voices that nothing was trained on."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.experiments.study import run_main
from training.speech.phone_data import class_spans, step_classes, tested_speech
from training.speech.synthetic import Synthetic
from visualdub.errors import BadInput
from visualdub.measure.result import Finding, table, write_result
from visualdub.speech.alignment import LEAST_CONFIDENCE, Alignment, align
from visualdub.speech.features import RATE
from visualdub.speech.ipa import BILABIALS, CLASSES, SILENCE, VOWELS
from visualdub.speech.phones import phone_scores
from visualdub.speech.script import ScriptWord, read_script

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sentence:
    """A tested sentence with the head's scores (T, C)."""

    name: str  # of what is tested
    spoken: Synthetic
    scores: NDArray[np.float32]


# ---- phones ------------------------------------------------------------------------------------------------


def accuracy(sentences: Sequence[Sentence]) -> dict[str, float]:
    """Shares over the steps of phones: the right class is the likeliest; a bilabial is known as one; what is
    called a bilabial is one; a vowel or consonant is known as such.
    """
    closing = np.array([c in BILABIALS for c in CLASSES])
    vowel = np.array([c in VOWELS for c in CLASSES])
    truth, found = (np.concatenate(x) for x in zip(*map(_steps, sentences), strict=True))
    spoken = truth > 0
    return {
        "steps": int(spoken.sum()),
        "right": float((truth == found)[spoken].mean()),
        "bilabial_recall": float(closing[found][closing[truth] & spoken].mean()),
        "bilabial_precision": float((closing[truth] & spoken)[closing[found] & (truth >= 0)].mean()),
        "kind": float((vowel[truth] == vowel[found])[spoken & (found > 0)].mean()),
        "silence": float((found == CLASSES.index(SILENCE))[truth == 0].mean()),
    }


def _steps(sentence: Sentence) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    truth = step_classes(class_spans(sentence.spoken.phones), len(sentence.scores))
    return truth, sentence.scores.argmax(1)


def border_errors(sentence: Sentence) -> Array:
    """Seconds, not negative, by which each phone's begin is off when its phones are aligned as one word."""
    spans = [s for s in class_spans(sentence.spoken.phones) if s.phone != SILENCE]
    words = _phrases(sentence.spoken)
    alignment = align(sentence.scores, words, len(sentence.spoken.audio) / RATE)
    if alignment is None:
        raise BadInput(f"{sentence.spoken.text!r} cannot be aligned with its own phones")
    found = [p for w in alignment.words for p in w.phones]
    return np.array([abs(a.start - b.start) for a, b in zip(spans, found, strict=True)])


def _phrases(spoken: Synthetic) -> list[ScriptWord]:
    """The phones between two pauses as one word each."""
    words: list[ScriptWord] = []
    classes: list[str] = []
    for span in (*class_spans(spoken.phones), None):
        if span is None or span.phone == SILENCE:
            if classes:
                words.append(ScriptWord(" ".join(classes), tuple(classes), 1))
            classes = []
        else:
            classes.append(span.phone)
    return words


# ---- scripts -----------------------------------------------------------------------------------------------


def script_words(text: str, language: str) -> tuple[ScriptWord, ...]:
    """The words of a script that holds `text`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "script.txt"
        path.write_text(text, encoding="utf-8")
        return read_script(path, language).words


def confidences(sentences: Sequence[Sentence]) -> tuple[list[float], list[float]]:
    """How well each sentence fits its own text, and another of its language; 0 where it does not at all."""
    own, other = [], []
    names = list(dict.fromkeys(s.name for s in sentences))
    for name in names:
        group = [s for s in sentences if s.name == name]
        language = group[0].spoken.voice
        words = [script_words(s.spoken.text, language) for s in group]
        for i, s in enumerate(group):
            seconds = len(s.spoken.audio) / RATE
            own.append(_confidence(align(s.scores, words[i], seconds)))
            other.append(_confidence(align(s.scores, words[(i + 1) % len(group)], seconds)))
    return own, other


def _confidence(alignment: Alignment | None) -> float:
    return 0.0 if alignment is None else alignment.confidence


# ---- command line ------------------------------------------------------------------------------------------


def run(count: int | None = None) -> list[Sentence]:
    """The tested sentences with their scores. count: of each language; None: all."""
    found: list[Sentence] = []
    done: dict[str, int] = {}
    for name, spoken in tested_speech():
        done[name] = done.get(name, 0) + 1
        if count is None or done[name] <= count:
            found.append(Sentence(name, spoken, phone_scores(spoken.audio)))
    return found


def save(path: Path, sentences: Sequence[Sentence]) -> None:
    """Measure, print and write the result as JSON."""
    rows, figures = [], dict[str, float]()
    groups = {n: [s for s in sentences if s.name == n] for n in dict.fromkeys(s.name for s in sentences)}
    for name, group in [*groups.items(), ("all", list(sentences))]:
        rates = accuracy(group)
        errors = 1000 * np.concatenate([border_errors(s) for s in group])
        median, most = np.percentile(errors, [50, 90])
        key = name.replace(" ", "_").replace("(", "").replace(")", "").replace("-", "_")
        figures[f"{key}_frame_accuracy"] = round(rates["right"], 4)
        figures[f"{key}_border_median_ms"] = round(float(median), 1)
        figures[f"{key}_border_p90_ms"] = round(float(most), 1)
        shares = [f"{100 * rates[k]:.0f}" for k in ("right", "kind", "bilabial_recall", "bilabial_precision")]
        rows.append((name, rates["steps"], *shares, f"{median:.0f}", f"{most:.0f}"))
    own, other = confidences(sentences)
    refused = float(np.mean([c < LEAST_CONFIDENCE for c in own]))
    accepted = float(np.mean([c >= LEAST_CONFIDENCE for c in other]))
    figures |= {"true_scripts_refused": round(refused, 4), "wrong_scripts_accepted": round(accepted, 4)}
    for name, values in (("true", own), ("wrong", other)):
        for q in (1, 5, 50, 95, 99):
            figures[f"{name}_script_confidence_p{q}"] = round(float(np.percentile(values, q)), 4)
    columns = ("voice", "steps", "right, %", "vowel or consonant, %", "p b m found, %", "p b m right, %")
    text = table((*columns, "border, median ms", "90th percentile"), rows)
    print(text, figures, sep="\n", flush=True)
    explained = (
        "Sentences and voices that nothing was trained on, by espeak-ng (Swedish and Finnish: languages that"
        " nothing was trained on) and flite. Shares of the 20 ms steps in phones, without any smoothing, of"
        f" {len(CLASSES) - 1} phone classes. Borders: begins of phones that are known and aligned."
    )
    scripts = (
        f"Scripts: {len(own)} sentences with their own text and with the next sentence's. With a least"
        f" confidence of {LEAST_CONFIDENCE:g}, {100 * refused:.1f} % of the true ones are refused and"
        f" {100 * accepted:.1f} % of the wrong ones are not."
    )
    finding = Finding(
        "phones of unseen sentences and voices: right 20 ms steps; borders of a forced alignment",
        "",
        f"{100 * figures['all_frame_accuracy']:.0f} %; median {figures['all_border_median_ms']:.0f} ms,"
        f" 90th percentile {figures['all_border_p90_ms']:.0f} ms",
    )
    write_result(path, "Phones in any language", [explained, text, scripts], [finding], figures)


def main(given: Sequence[str]) -> int:
    """`python -m training.experiments.phones --json FILE`: accuracy, borders and scripts by language."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the result")
    parser.add_argument("--count", type=int, help="sentences of each language; default: all")
    options = parser.parse_args(given)
    save(options.json, run(options.count))
    return 0


if __name__ == "__main__":
    run_main(main)
