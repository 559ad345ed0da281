"""Phone labels of a recording, for people to read: the best path through the phone scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.speech import features
from visualdub.speech.activity import drop_bursts
from visualdub.speech.features import pocketsphinx as phones
from visualdub.speech.features.mel import CONTEXT as AROUND
from visualdub.speech.features.mel import measured_seconds, scaled_piece
from visualdub.speech.features.typical import CEPSTRA

SILENCE = "SIL"
NOISE = ("NSN", "SPN")  # breath, cough and the like; they are labelled SILENCE
STEP_SECONDS = phones.HOP / features.RATE  # 10 ms
SHORTEST = 3  # steps: a phone lasts at least 30 ms
SWITCH = 7.0  # nepers that a change of phone costs: gives as many phones as were spoken; 3 gives 40 % more
CERTAIN = 20.0  # nepers by which silence wins where nothing is audible
PAUSE = 12  # steps: a shorter stretch without audible sound is a closure of p, t or k, not a pause
BLOCK = 1000  # steps scored at once, 10 s
CONTEXT = 8  # steps of audio on either side of a block, more than one score depends on


@dataclass(frozen=True)
class PhoneSpan:
    """One phone and its time in the recording."""

    # ARPABET without stress (AA, B, SH, ...), as PocketSphinx's English model names it, or SILENCE; in
    # training IPA
    phone: str
    start: float  # seconds from the recording's first sample; a plosive starts with its closure
    end: float  # seconds, not included
    # of a plosive or nasal, where that is known: seconds at which its closure opens, start..end; None: at its
    # end
    release: float | None = None


def phone_labels(audio: NDArray[np.float32]) -> list[PhoneSpan]:
    """The phones of a recording in their order, without gaps, from 0 to its end; neighbours differ.

    audio: (n,) mono at 16 kHz, -1..1. The phones are recognised, not known: on eight sentences that were
    aligned with their text, 55 % of the spoken time has the right phone and 65 % one of the same mouth shape.
    They are English whatever language is spoken. A recording that is too quiet for speech is one silence; an
    empty one has no spans. The recording is scored in blocks: beside the audio, memory grows by less than 200
    bytes for each 10 ms. Raises `BadInput` for audio that is not one row of finite numbers.
    """
    samples = features.check_audio(audio)
    steps = -(-len(samples) // phones.HOP)
    if steps == 0:
        return []
    level = features.recording_level(samples)
    if level is None:
        return [PhoneSpan(SILENCE, 0.0, len(samples) / features.RATE)]
    names = [SILENCE if n in NOISE else n for n in phones.acoustic_model().phones]
    path = np.array(names)[best_path(_scores(samples, level, steps), steps, SWITCH, SHORTEST)]
    edges = [0, *(np.flatnonzero(path[1:] != path[:-1]) + 1).tolist(), steps]
    times = [min(e * STEP_SECONDS, len(samples) / features.RATE) for e in edges]
    return [PhoneSpan(str(path[e]), a, b) for e, a, b in zip(edges, times, times[1:], strict=False)]


def labels_at(spans: list[PhoneSpan], times: NDArray[np.floating[Any]]) -> list[str]:
    """The phone at each of `times` (m,) in seconds; SILENCE outside the recording.

    spans: of the recording, as `phone_labels` returns them.
    """
    if not spans:
        return [SILENCE] * len(times)
    index = np.searchsorted([s.start for s in spans], times, side="right") - 1
    return [
        spans[i].phone if i >= 0 and t < spans[i].end else SILENCE for i, t in zip(index, times, strict=True)
    ]


def _scores(audio: NDArray[np.float32], level: features.Level, steps: int) -> Iterator[NDArray[np.float32]]:
    """Phone scores (BLOCK or fewer, P) of one block of steps after another."""
    pause, silence = _pauses(audio, level, steps), phones.acoustic_model().phones.index(SILENCE)
    mean = mean_cepstra(audio, level)
    for first in range(0, steps, BLOCK):
        count = min(BLOCK, steps - first)
        start = max(first - CONTEXT, 0)
        piece = audio[start * phones.HOP : (first + count + CONTEXT) * phones.HOP] * np.float32(level.gain)
        scores = phones.phone_scores(piece, first - start, count, mean, phones.acoustic_model(), every=1)
        in_pause = pause[first : first + count]
        scores[in_pause] = -CERTAIN
        scores[in_pause, silence] = 0.0
        yield scores


def mean_cepstra(audio: NDArray[np.float32], level: features.Level) -> NDArray[np.float32]:
    """(13,) mean cepstra of a recording at its level, without digital silence; drawn toward typical ones
    where it holds little speech.
    """
    steps = features.RATE // phones.HOP  # of a second
    end = -(-len(audio) // phones.HOP)
    spectra = [
        phones.cepstra(scaled_piece(audio, level.gain, first, steps // 2), AROUND * 2, steps)
        for first in measured_seconds(audio)
        if first < features.feature_count(len(audio))
    ]
    rows = np.concatenate(spectra)[:end]
    mean = rows[rows[:, 0] > 0].mean(0)
    return np.asarray(mean + np.float32(level.typical) * (CEPSTRA - mean), np.float32)


def _pauses(audio: NDArray[np.float32], level: features.Level, steps: int) -> NDArray[np.bool_]:
    """(steps,) True in pauses without audible sound.

    The acoustic model was not trained on digital silence and takes it for a ZH.
    """
    steps_of_feature = features.HOP // phones.HOP
    audible = [
        features.WHISPER.audible(audio, level, first, BLOCK)
        for first in range(0, -(-steps // steps_of_feature), BLOCK)
    ]
    return drop_bursts(~np.repeat(np.concatenate(audible), steps_of_feature)[:steps], PAUSE)


def best_path(
    blocks: Iterable[NDArray[np.floating[Any]]], steps: int, switch: float, shortest: int
) -> NDArray[np.int64]:
    """(steps,) the path of phones with the highest sum of scores, less `switch` for every change of phone.

    blocks: scores (k, P), k >= 1, one block after another, `steps` >= 1 in all. Every phone lasts `shortest`
    steps or more, or all of them where there are fewer.
    """
    shortest = min(shortest, steps)
    best = np.concatenate([[0.0], np.full(steps, -np.inf)])  # [t]: the highest sum over the first t steps
    last = np.zeros(steps + 1, np.int64)  # [t]: the phone in which the path with that sum ends
    t = 0
    for block in blocks:
        if t == 0:
            count = block.shape[1]
            total, recent = np.full(count, -np.inf), np.zeros((shortest, count))
            entered = np.zeros(
                (steps, count), bool
            )  # the best path changed to this phone `shortest` steps ago
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
