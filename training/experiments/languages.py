"""Whether the lips close and open in languages that the speech model was not trained on, measured with
synthetic sentences, whose phone times are known.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.experiments.study import names, run_main
from training.experiments.subjects import append_rows
from training.experiments.tables import NONE, markdown, number, write_page
from training.speech.articulation import ArticulationSpan, articulation_spans, opening_curve
from training.speech.measure import best_lag
from training.speech.synthetic import Synthetic, Voice, missing, sentences, synthetic_set
from visualdub.errors import BadInput
from visualdub.face.models import face_model, posed_openings
from visualdub.speech.closure import close_lips, part_lips
from visualdub.speech.features import RATE
from visualdub.speech.performance import PARTED
from visualdub.speech.predict import MODEL, SpeechMotion, predict_motion
from visualdub.speech.style import SpeechStyle

Array = NDArray[np.float64]
CLOSED_SHARE = 0.2  # of the language's median opening while speaking: below it a mouth counts as closed
LANGUAGES = {
    "fr": "French",
    "de": "German",
    "es": "Spanish",
    "it": "Italian",
    "ja": "Japanese",
    "ru": "Russian",
    "ko": "Korean",
}
WANTED_CLOSED, WANTED_OPEN = 85.0, 80.0  # per cent


@dataclass(frozen=True)
class LanguageRow:
    """The measures of one language; openings in distances between the outer eye corners."""

    language: str
    sentences: int
    median: float  # opening over the frames with speech
    bilabials: int
    closed: float  # per cent whose smallest opening is under CLOSED_SHARE of the median
    smallest: float  # median over bilabials of their smallest opening, as a share of the median opening
    open_vowels: int
    above: float  # per cent whose opening at their middle is above the median
    above_widest: float  # per cent whose widest opening is above it, a less strict measure
    lag_ms: float  # by which the mouth follows `opening_curve` of the phones, median over sentences


# ---- one sentence ------------------------------------------------------------------------------------------


def generic_style(model: Path) -> SpeechStyle:
    """The generic style of a speech model over the neutral face, from the record beside the model.

    Raises `BadInput` where the record cannot be read.
    """
    file = model.with_suffix(".json")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        generic = record["generic"]
        return SpeechStyle(
            tuple(generic["offset_from_rest"]), tuple(generic["scale"]), 0.0, str(record["face_model"])
        )
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise BadInput(
            f"{file} cannot be read as the record of a speech model ({e!r}); expected it beside {model.name}"
        ) from e


def mouth_opening(motion: SpeechMotion, style: SpeechStyle) -> Array:
    """(n,) lip opening of the neutral face that speaks `motion`, put together as
    `visualdub.speech.performance` does.
    """
    face, spoken = face_model(style.face_model), style.apply(motion)
    values = motion.speech_activity[:, None] * spoken  # the neutral face rests at zeros
    scale = np.asarray(style.scale)
    values = close_lips(face, face.template, values, motion.closure, scale)
    if motion.parted is not None:
        values = part_lips(face, face.template, values, motion.parted, PARTED, scale)
    expression = np.zeros((len(values), face.n_expression))
    expression[:, : face.n_speech] = values[:, 1:]
    return posed_openings(face, face.template, values[:, 0], expression)


def opening_of(spoken: Synthetic, model: Path, style: SpeechStyle, rate: Fraction) -> Array:
    """(n,) lip opening at `rate` frames/s of the neutral face that speaks a sentence; frame i is at i / rate
    seconds.
    """
    count = int(np.ceil(len(spoken.audio) / RATE * rate)) + 1
    return mouth_opening(predict_motion(spoken.audio, rate, count, model), style)


def within(span: ArticulationSpan, opening: Array, rate: Fraction) -> Array:
    """The openings (n,) of the frames in a sound and at most half a frame outside it; at least one."""
    times = np.arange(len(opening)) / float(rate)
    half = 0.5 / float(rate) + 1e-9
    return opening[(times >= span.start - half) & (times <= span.end + half)]


def spoken_frames(spoken: Synthetic, count: int, rate: Fraction) -> NDArray[np.bool_]:
    """(count,) whether a frame is in a phone and not in a pause."""
    times, in_phone = np.arange(count) / float(rate), np.zeros(count, bool)
    for phone in spoken.phones:
        if phone.phone:
            in_phone |= (times >= phone.start) & (times < phone.end)
    return in_phone


def lag_of(spoken: Synthetic, opening: Array, rate: Fraction) -> float:
    """Seconds, at most 0.2, by which the mouth follows the phones' `opening_curve`; NaN for a still mouth."""
    if np.ptp(opening) == 0:
        return float("nan")
    return best_lag(opening, opening_curve(spoken.phones, float(rate), len(opening)), float(rate))[0]


# ---- one language ------------------------------------------------------------------------------------------


def measure_language(
    language: str, spoken: Sequence[Synthetic], openings: Sequence[Array], rate: Fraction
) -> LanguageRow:
    """The measures over sentences `spoken` with the openings (n,) of each. Raises `BadInput` where there are
    no bilabials or no open vowels.
    """
    pairs = list(zip(spoken, openings, strict=True))
    median = float(np.median(np.concatenate([o[spoken_frames(s, len(o), rate)] for s, o in pairs])))
    smallest, middle, widest = [], [], []
    for sentence, opening in pairs:
        times = np.arange(len(opening)) / float(rate)
        for span in articulation_spans(sentence.phones):
            if span.lips.bilabial:
                smallest.append(float(within(span, opening, rate).min()))
            elif span.lips.open_vowel:
                middle.append(float(np.interp((span.start + span.end) / 2, times, opening)))
                widest.append(float(within(span, opening, rate).max()))
    if not smallest or not middle:
        counts = f"{len(smallest)} bilabials and {len(middle)} open vowels"
        raise BadInput(f"the sentences in {language!r} have {counts}; expected some of each")
    closed = np.array(smallest) < CLOSED_SHARE * median
    return LanguageRow(
        language,
        len(pairs),
        round(median, 4),
        len(smallest),
        _per_cent(closed),
        round(float(np.median(smallest)) / median, 3),
        len(middle),
        _per_cent(np.array(middle) > median),
        _per_cent(np.array(widest) > median),
        round(1000 * float(np.median([lag_of(s, o, rate) for s, o in pairs])), 1),
    )


def _per_cent(fulfilled: NDArray[np.bool_]) -> float:
    return round(100 * float(fulfilled.mean()), 1)


def languages_table(rows: Sequence[LanguageRow]) -> str:
    """A Markdown table of the rows, with all languages together in the last line."""

    def all_of(share: str, count: str) -> str:
        return number(
            float(np.average([getattr(r, share) for r in rows], weights=[getattr(r, count) for r in rows])), 1
        )

    lines: list[list[object]] = [
        [
            LANGUAGES.get(r.language, r.language),
            r.bilabials,
            number(r.closed, 1),
            number(r.smallest),
            r.open_vowels,
            number(r.above, 1),
            number(r.above_widest, 1),
            number(r.lag_ms, 0),
        ]
        for r in rows
    ]
    lines.append(
        [
            "**all**",
            sum(r.bilabials for r in rows),
            all_of("closed", "bilabials"),
            NONE,
            sum(r.open_vowels for r in rows),
            all_of("above", "open_vowels"),
            all_of("above_widest", "open_vowels"),
            NONE,
        ]
    )
    return markdown(
        [
            "language",
            "bilabials",
            "closed, %",
            "smallest / median",
            "open vowels",
            "above the median at their middle, %",
            "at their widest, %",
            "lag of the mouth, ms",
        ],
        lines,
    )


def run(model: Path, languages: Sequence[str], rate: Fraction, count: int | None = None) -> list[LanguageRow]:
    """The row of every language. count: of sentences of each; None: all. Raises `BadInput` where espeak-ng or
    the sentences are missing.
    """
    style, rows = generic_style(model), list[LanguageRow]()
    if reason := missing():
        raise BadInput(reason)
    for language in languages:
        spoken = synthetic_set([Voice(language)], sentences("test", language)[:count])
        openings = [opening_of(s, model, style, rate) for s in spoken]
        rows.append(measure_language(language, spoken, openings, rate))
        print(rows[-1], flush=True)
    return rows


# ---- command line ------------------------------------------------------------------------------------------


def main(given: Sequence[str]) -> int:
    """`python -m training.experiments.languages -o DIR`: lips in seven languages; the exit status is 1 where
    they close or open too seldom.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of languages.csv and languages.md",
    )
    parser.add_argument(
        "--model", type=Path, default=MODEL, metavar="ONNX", help="with its record; default: the shipped one"
    )
    parser.add_argument(
        "--languages",
        type=names,
        default=list(LANGUAGES),
        metavar="A,B",
        help=f"default {','.join(LANGUAGES)}",
    )
    parser.add_argument("--rate", type=Fraction, default=Fraction(25), help="frames per second, default 25")
    options = parser.parse_args(given)
    rows = run(options.model, options.languages, options.rate)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "languages.csv").unlink(missing_ok=True)
    append_rows(options.output / "languages.csv", rows)
    command = shlex.join(
        ["python", "-m", "training.experiments.languages", *(Path(g).name if "/" in g else g for g in given)]
    )
    explained = (
        f"Closed: smallest opening within the phone, half a frame either side, under {100 * CLOSED_SHARE:.0f}"
        f" % of the language's median opening while speaking, at {options.rate} frames/s. Wanted:"
        f" {WANTED_CLOSED:.0f} % of bilabials closed, {WANTED_OPEN:.0f} % of open vowels above the median."
    )
    write_page(
        options.output / "languages.md",
        "Lips in other languages",
        [explained, languages_table(rows), f"`{command}`"],
    )
    print(options.output / "languages.md")
    return int(any(r.closed < WANTED_CLOSED or r.above < WANTED_OPEN for r in rows))


if __name__ == "__main__":
    run_main(main)
