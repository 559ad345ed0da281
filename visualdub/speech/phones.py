"""Which phone sounds when: the best path through the phone scores, for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.speech import features
from visualdub.speech.activity import drop_bursts
from visualdub.speech.features import pocketsphinx as phones

SILENCE = "SIL"
NOISE = ("NSN", "SPN")  # breath, cough and the like; given as SILENCE
STEP_SECONDS = phones.HOP / features.RATE  # 10 ms
SHORTEST = 3  # steps that a phone lasts at least, 30 ms
SWITCH = 7.0  # nepers that a change of phone costs: as many phones as were spoken; at 3 two fifths more
CERTAIN = 20.0  # nepers by which silence wins where nothing can be heard
PAUSE = 12  # steps that nothing is heard for at least: shorter ones are closures of p, t, k
BLOCK = 1000  # steps scored at once, 10 s
AROUND = 8  # steps of sound on either side of a block, more than one score looks at


@dataclass(frozen=True)
class PhoneSpan:
    """One phone and when it sounds."""

    # ARPABET without stress (AA, B, SH, ...), as PocketSphinx's English model names it, or SILENCE; in
    # training IPA
    phone: str
    start: float  # seconds from the recording's first sample; a plosive starts with its closure
    end: float  # seconds, not included
    # of a plosive or nasal, where that is known: seconds at which its closure opens, start..end; None: at its
    # end
    release: float | None = None


def phone_labels(audio: NDArray[np.float32]) -> list[PhoneSpan]:
    """The phones of a recording one after another, without gaps, from 0 to its end; neighbours differ.

    audio: (n,) mono at 16 kHz, -1..1. A recognised phone, not a known one: on eight sentences aligned with
    their text, 55 % of the spoken time carries the very phone and 65 % one of the same shape of the mouth.
    Phones are English whatever is spoken. A recording too quiet for speech is one silence; an empty one has
    no spans. Works in blocks: beside the audio, memory grows by less than 200 bytes each 10 ms. Raises
    `BadInput` for audio that is not one row of finite numbers.
    """
    heard = features.check_audio(audio)
    steps = -(-len(heard) // phones.HOP)
    if steps == 0:
        return []
    level = features.recording_level(heard)
    if level is None:
        return [PhoneSpan(SILENCE, 0.0, len(heard) / features.RATE)]
    names = [SILENCE if n in NOISE else n for n in phones.acoustic_model().phones]
    path = np.array(names)[best_path(_scores(heard, level, steps), steps, SWITCH, SHORTEST)]
    edges = [0, *(np.flatnonzero(path[1:] != path[:-1]) + 1).tolist(), steps]
    times = [min(e * STEP_SECONDS, len(heard) / features.RATE) for e in edges]
    return [PhoneSpan(str(path[e]), a, b) for e, a, b in zip(edges, times, times[1:], strict=False)]


def labels_at(spans: list[PhoneSpan], times: NDArray[np.floating[Any]]) -> list[str]:
    """The phone of `spans` (as `phone_labels` gives them) at each of `times` in seconds; SILENCE outside the
    recording.
    """
    if not spans:
        return [SILENCE] * len(times)
    index = np.searchsorted([s.start for s in spans], times, side="right") - 1
    return [
        spans[i].phone if i >= 0 and t < spans[i].end else SILENCE for i, t in zip(index, times, strict=True)
    ]


def _scores(audio: NDArray[np.float32], level: features.Level, steps: int) -> Iterator[NDArray[np.float32]]:
    """Phone scores (BLOCK or fewer, P) of one block of steps after another."""
    quiet, silence = _quiet(audio, level, steps), phones.acoustic_model().phones.index(SILENCE)
    for first in range(0, steps, BLOCK):
        count = min(BLOCK, steps - first)
        start = max(first - AROUND, 0)
        piece = audio[start * phones.HOP : (first + count + AROUND) * phones.HOP] * np.float32(level.gain)
        scores = phones.phone_scores(
            piece, first - start, count, level.cepstra, phones.acoustic_model(), every=1
        )
        here = quiet[first : first + count]
        scores[here] = -CERTAIN
        scores[here, silence] = 0.0
        yield scores


def _quiet(audio: NDArray[np.float32], level: features.Level, steps: int) -> NDArray[np.bool_]:
    """(steps,) True in pauses in which nothing can be heard: the recogniser never met digital silence, and
    calls it a ZH.
    """
    every = features.HOP // phones.HOP
    heard = [
        features.KINDS["mel"].audible(audio, level, first, BLOCK)
        for first in range(0, -(-steps // every), BLOCK)
    ]
    return drop_bursts(~np.repeat(np.concatenate(heard), every)[:steps], PAUSE)


def best_path(
    blocks: Iterable[NDArray[np.floating[Any]]], steps: int, switch: float, shortest: int
) -> NDArray[np.int64]:
    """The phone (steps,) at each step whose scores add up to most, less `switch` for every change of phone.

    blocks: scores (k, P), k >= 1, one after another, `steps` >= 1 in all. Every phone lasts `shortest` steps
    or more, or all of them where they are fewer.
    """
    shortest = min(shortest, steps)
    best = np.concatenate([[0.0], np.full(steps, -np.inf)])  # of the first t steps' paths the largest sum
    last = np.zeros(steps + 1, np.int64)  # the phone that path ends in
    t = 0
    for block in blocks:
        if t == 0:
            count = block.shape[1]
            total, recent = np.full(count, -np.inf), np.zeros((shortest, count))
            entered = np.zeros(
                (steps, count), bool
            )  # the best path to this phone came from another `shortest` steps ago
        for score in block:
            recent[t % shortest] = score
            t += 1
            total = total + score
            if t >= shortest:
                change = best[t - shortest] - switch + recent.sum(0)
                entered[t - 1] = change > total
                total = np.maximum(total, change)
            last[t] = total.argmax()
            best[t] = total[last[t]]
    path = np.empty(steps, np.int64)
    phone = last[t]
    while t > 0:
        if entered[t - 1, phone]:
            path[t - shortest : t] = phone
            t -= shortest
            phone = last[t]
        else:
            path[t - 1] = phone
            t -= 1
    return path
