"""Forced alignment: when a script's words and phones are spoken in a recording, and how well they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.speech import features
from visualdub.speech.ipa import CLASSES, SILENCE
from visualdub.speech.phones import PhoneSpan, edge_s, phone_scores
from visualdub.speech.script import Script, ScriptWord, readable

SLACK_S = 0.5  # seconds by which speech may begin before its subtitle, and end after it
UNSCRIPTED = 2.5  # nepers a step that sound costs which is in no word; the script's own sounds cost less
UNLIKELY = -7.0  # nepers; a step costs no more than this, so that one strange sound decides nothing
BEAM = 400.0  # nepers by which a place in the script may be worse than the best one and is still followed
STAY, NEXT, OVER_PAUSE = (
    0,
    1,
    2,
)  # how a state was entered: from itself, the one before, the one before a pause
SILENT = CLASSES.index(SILENCE)
Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class AlignedWord:
    """A word of the script and its time in the recording."""

    text: str
    start: float  # seconds from the recording's first sample
    end: float  # seconds, not included
    # 0..1: how likely its phones are beside those that sound most likely, the geometric mean over its time
    confidence: float
    phones: tuple[PhoneSpan, ...]
    line: int  # of the script


@dataclass(frozen=True)
class Alignment:
    """The words of a script in a recording, in their order."""

    words: tuple[AlignedWord, ...]
    seconds: float  # of the recording
    unscripted: tuple[tuple[float, float], ...] = ()  # from, to in seconds: speech that is in no word
    notes: tuple[str, ...] = ()  # on the places where script and recording differ

    @property
    def confidence(self) -> float:
        """The mean of the words' confidences, each weighted by its time."""
        weights = [w.end - w.start for w in self.words]
        return float(np.average([w.confidence for w in self.words], weights=weights))

    def moved(self, later_s: float) -> Alignment:
        """The same words `later_s` seconds later."""

        def later(phones: tuple[PhoneSpan, ...]) -> tuple[PhoneSpan, ...]:
            return tuple(PhoneSpan(p.phone, p.start + later_s, p.end + later_s) for p in phones)

        words = [
            replace(w, start=w.start + later_s, end=w.end + later_s, phones=later(w.phones))
            for w in self.words
        ]
        stretches = tuple((a + later_s, b + later_s) for a, b in self.unscripted)
        return replace(self, words=tuple(words), seconds=self.seconds + later_s, unscripted=stretches)

    def phones(self) -> list[PhoneSpan]:
        """The phones with the pauses between them, from 0 to the recording's end without a gap."""
        spans, at = list[PhoneSpan](), 0.0
        for phone in (p for w in self.words for p in w.phones):
            if phone.start > at + 1e-9:
                spans.append(PhoneSpan(SILENCE, at, phone.start))
            spans.append(phone)
            at = phone.end
        if self.seconds > at + 1e-9:
            spans.append(PhoneSpan(SILENCE, at, self.seconds))
        return spans


# ---- the best path -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _States:
    """The states that a recording passes in their order: the phones, and a pause before, between and after
    words, which may be left out.
    """

    classes: NDArray[np.int64]  # (S,)
    words: NDArray[np.int64]  # (S,) index of the word; -1 in pauses
    first: NDArray[np.int64]  # (S,) the first step in which it may be
    last: NDArray[np.int64]  # (S,) the last


def _states(words: Sequence[ScriptWord], steps: int) -> _States:
    rows = [(SILENT, -1, 0, steps)]
    for i, word in enumerate(words):
        low = 0 if word.start_s is None else _step(word.start_s - SLACK_S)
        high = steps if word.end_s is None else _step(word.end_s + SLACK_S)
        rows += [(CLASSES.index(c), i, low, high) for c in word.classes]
        if word.classes:
            rows.append((SILENT, -1, 0, steps))
    columns = np.array(rows, np.int64).T
    return _States(*columns)


def _step(seconds: float) -> int:
    return round(seconds * features.RATE / features.HOP)


def _costs(scores: Array) -> tuple[Array, NDArray[np.bool_]]:
    """(T, C) what each step scores in each state, and (T,) True where a pause is sound that is in no word."""
    limited = np.maximum(scores, UNLIKELY)
    loudest = np.delete(limited, SILENT, 1).max(1) - UNSCRIPTED
    other = np.asarray(loudest > limited[:, SILENT])
    limited[:, SILENT] = np.maximum(limited[:, SILENT], loudest)
    return limited, other


def best_states(scores: Array, states: _States) -> NDArray[np.int64] | None:
    """(T,) the state in each step on the path with the highest sum of `scores` (T, C); None where no path
    leads to the script's end.

    Only states within BEAM of the best one are followed. For each step, memory grows by a byte for each of
    them.
    """
    count = len(states.classes)
    pause = states.words < 0
    total = np.full(count, -np.inf)
    total[0] = 0.0
    if count > 1:
        total[1] = 0.0  # the first pause may be left out
    total[2:] = -np.inf
    low, high = 0, min(2, count)
    entered: list[tuple[int, NDArray[np.uint8]]] = []
    for t, row in enumerate(scores):
        if t == 0:
            how = np.zeros(high, np.uint8)
        else:
            high = min(high + 2, count)
            options = np.full((3, high - low), -np.inf)
            options[STAY] = total[low:high]
            options[NEXT, 1:] = total[low : high - 1]
            skips = np.flatnonzero(pause[low + 1 : high - 1]) + 2  # the state after a pause
            options[OVER_PAUSE, skips] = total[low + skips - 2]
            how = options.argmax(0).astype(np.uint8)
            total[low:high] = np.take_along_axis(options, how[None].astype(np.int64), 0)[0]
        inside = slice(low, high)
        total[inside] += row[states.classes[inside]]
        total[inside][(t < states.first[inside]) | (t > states.last[inside])] = -np.inf
        entered.append((low, how))
        best = total[inside].max()
        if not np.isfinite(best):
            return None
        kept = np.flatnonzero(total[inside] > best - BEAM)
        total[low : low + kept[0]] = -np.inf
        total[low + kept[-1] + 1 : high] = -np.inf
        low, high = low + int(kept[0]), low + int(kept[-1]) + 1
    ends = [s for s in (count - 1, count - 2) if s >= 0 and np.isfinite(total[s])]
    if not ends:
        return None
    return _traced(entered, max(ends, key=lambda s: float(total[s])))


def _traced(entered: Sequence[tuple[int, NDArray[np.uint8]]], state: int) -> NDArray[np.int64]:
    path = np.empty(len(entered), np.int64)
    for t in range(len(entered) - 1, -1, -1):
        path[t] = state
        low, how = entered[t]
        state -= int(how[state - low])
    return path


# ---- words -------------------------------------------------------------------------------------------------

LONGEST_UNSCRIPTED_S = 0.5  # a shorter sound that is in no word is a breath or a laugh


def align(scores: Array, words: Sequence[ScriptWord], seconds: float) -> Alignment | None:
    """The times of `words` in a recording of `seconds` with the phones' log probabilities `scores` (T, C), as
    `phone_scores` gives them; None where the words do not fit into it.
    """
    states = _states(words, len(scores))
    costs, other = _costs(scores)
    path = best_states(costs, states) if len(scores) else None
    if path is None:
        return None
    steps = len(scores)
    ratio = np.take_along_axis(costs, states.classes[path][:, None], 1)[:, 0] - costs.max(1)
    spans: dict[int, list[PhoneSpan]] = {}
    at = 0
    for state, run in groupby(path.tolist()):
        end = at + len(list(run))
        if (word := int(states.words[state])) >= 0:
            name = CLASSES[states.classes[state]]
            spans.setdefault(word, []).append(
                PhoneSpan(name, edge_s(at, steps, seconds), edge_s(end, steps, seconds))
            )
        at = end
    in_word = states.words[path]
    aligned = [
        AlignedWord(
            words[i].text,
            phones[0].start,
            phones[-1].end,
            float(np.exp(ratio[in_word == i].mean())),
            tuple(phones),
            words[i].line,
        )
        for i, phones in spans.items()
    ]
    foreign = np.concatenate([[0], ((in_word < 0) & other).astype(int), [0]])
    edges = np.flatnonzero(np.diff(foreign))
    stretches = [(edge_s(a, steps, seconds), edge_s(b, steps, seconds)) for a, b in edges.reshape(-1, 2)]
    return Alignment(
        tuple(aligned), seconds, tuple(s for s in stretches if s[1] - s[0] >= LONGEST_UNSCRIPTED_S)
    )


# ---- does it fit? ------------------------------------------------------------------------------------------

LEAST_CONFIDENCE = 0.4  # of a whole script; below it the recording says something else
DOUBTFUL = 0.25  # of a word; below it the word is named in a note
MOST_NAMED = 5  # doubtful places that are named


def align_script(audio: NDArray[np.float32], script: Script) -> Alignment:
    """The script's words in a recording (n,) at 16 kHz, with notes on the places where they do not fit.

    Raises `BadInput` where the recording does not say what the script says: with the words that fit worst.
    """
    scores = phone_scores(audio)
    alignment = align(scores, script.words, len(audio) / features.RATE)
    if alignment is None:
        raise BadInput(
            f"{script.path} does not fit into the recording of {len(audio) / features.RATE:.1f} s:"
            f" {len(script.words)} words, {readable(script.words)!r}; expected what is said in it"
        )
    places = doubtful_places(alignment)
    if alignment.confidence < LEAST_CONFIDENCE:
        raise BadInput(
            f"{script.path} is not what the recording says: its words fit by {alignment.confidence:.2f},"
            f" expected {LEAST_CONFIDENCE:g} or more; worst: {places[0] if places else 'everywhere'}"
        )
    notes = [f"{script.path.name}: what is heard differs from {place}" for place in places[:MOST_NAMED]]
    if len(places) > MOST_NAMED:
        notes.append(f"{script.path.name}: and {len(places) - MOST_NAMED} more places")
    notes += [
        f"{script.path.name}: at {a:.2f} to {b:.2f} s something is said that is not in the script"
        for a, b in alignment.unscripted
    ]
    return replace(alignment, notes=tuple(notes))


def doubtful_places(alignment: Alignment) -> list[str]:
    """Neighbouring words that fit badly, each with line and time, in the order of the script."""
    places = []
    for bad, group in groupby(alignment.words, lambda w: w.confidence < DOUBTFUL):
        words = list(group)
        if bad:
            text = " ".join(w.text for w in words)
            places.append(f"{text!r} (line {words[0].line}, {words[0].start:.2f} to {words[-1].end:.2f} s)")
    return places
