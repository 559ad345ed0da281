"""Phones of a recording in any language: the phone head on the speech model's input features, and the best
path through its scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.speech import features
from visualdub.speech.activity import drop_bursts
from visualdub.speech.ipa import BILABIALS, CLASSES, SILENCE
from visualdub.speech.session import open_network

HEAD = Path(__file__).parent / "data" / "phones.onnx"
STEP_SECONDS = features.HOP / features.RATE  # 20 ms; step k is centred on k * STEP_SECONDS
SHORTEST = 2  # steps: a recognised phone lasts at least 40 ms
SWITCH = 0.5  # nepers that a change of phone costs
FLOOR = -9.0  # nepers; a less likely phone counts as this likely
PAUSE = 6  # steps: a shorter stretch without audible sound is a closure of p, t or k, not a pause
BLOCK = 1200  # steps scored at once, 24 s, whole windows of the features
CONTEXT = 16  # steps on either side of a block, more than one score depends on
Array = NDArray[np.float32]


@dataclass(frozen=True)
class PhoneSpan:
    """One phone and its time in the recording."""

    phone: str  # one of `ipa.CLASSES`, or SILENCE; in training any IPA
    start: float  # seconds from the recording's first sample; a plosive starts with its closure
    end: float  # seconds, not included
    # of a plosive or nasal, where that is known: seconds at which its closure opens, start..end; None: at its
    # end
    release: float | None = None


# ---- scores ------------------------------------------------------------------------------------------------


@cache
def head_session(path: Path = HEAD) -> onnxruntime.InferenceSession:
    """The phone head in a file, on one core. Raises `BadInput` for another file, and for a head whose classes
    or input features are not this version's.
    """
    session = open_network(path, "a phone head")
    facts = session.get_modelmeta().custom_metadata_map
    if facts.get("features") != features.WHISPER.name or facts.get("classes") != " ".join(CLASSES):
        raise BadInput(
            f"{path} takes the features {facts.get('features')!r}; expected {features.WHISPER.name} and the"
            f" {len(CLASSES)} classes of this version's phone head"
        )
    return session


def head_scores(rows: Array) -> Array:
    """(T, C) log probabilities of the `ipa.CLASSES`, at least FLOOR, of input features `rows` (T, width)."""
    (scores,) = head_session().run(["scores"], {"features": rows[None]})
    return np.asarray(np.maximum(scores[0], FLOOR), np.float32)


def silenced(scores: Array, pause: NDArray[np.bool_]) -> Array:
    """The scores (T, C), silence where `pause` (T,) is true."""
    scores[pause] = FLOOR
    scores[pause, CLASSES.index(SILENCE)] = 0.0
    return scores


def score_blocks(audio: Array, level: features.Level) -> Iterator[Array]:
    """Log probabilities (BLOCK or fewer, C) of one block of steps of a recording (n,) after another.

    Stretches of at least PAUSE steps without audible sound are silence.
    """
    kind, steps = features.WHISPER, features.feature_count(len(audio))
    for first in range(0, steps, BLOCK):
        count = min(BLOCK, steps - first)
        rows = kind.features(audio, level, first - CONTEXT, count + 2 * CONTEXT)
        scores = head_scores(rows)[CONTEXT:-CONTEXT]
        audible = kind.audible(audio, level, first - PAUSE, count + 2 * PAUSE)
        yield silenced(scores, drop_bursts(~audible, PAUSE)[PAUSE:-PAUSE])


def phone_scores(audio: Array) -> Array:
    """(T, C) log probabilities of the `ipa.CLASSES` at each step of a recording (n,) at 16 kHz.

    A recording that is too quiet for speech is silence. Raises `BadInput` for audio that is not one row of
    finite numbers.
    """
    samples = features.check_audio(audio)
    level = features.recording_level(samples) if len(samples) else None
    if level is None:
        steps = features.feature_count(len(samples))
        return silenced(np.zeros((steps, len(CLASSES)), np.float32), np.ones(steps, bool))
    return np.concatenate(list(score_blocks(samples, level)))


# ---- phones ------------------------------------------------------------------------------------------------


def phone_labels(audio: Array) -> list[PhoneSpan]:
    """The phones of a recording in their order, without gaps, from 0 to its end; neighbours differ.

    audio: (n,) mono at 16 kHz, -1..1, in any language. The phones are recognised, not known. A recording that
    is too quiet for speech is one silence; an empty one has no spans. Beside the audio, memory grows by less
    than 200 bytes for each 10 ms. Raises `BadInput` for audio that is not one row of finite numbers.
    """
    samples = features.check_audio(audio)
    steps = features.feature_count(len(samples))
    if steps == 0:
        return []
    level = features.recording_level(samples)
    end_s = len(samples) / features.RATE
    if level is None:
        return [PhoneSpan(SILENCE, 0.0, end_s)]
    return phones_of(score_blocks(samples, level), steps, end_s)


def phones_of(blocks: Iterable[Array], steps: int, end_s: float) -> list[PhoneSpan]:
    """The phones on the best path through scores (k, C), one block after another, of `steps` >= 1 in all that
    belong to a recording of `end_s` seconds.
    """
    path = best_path(blocks, steps, SWITCH, SHORTEST)
    edges = [0, *(np.flatnonzero(path[1:] != path[:-1]) + 1).tolist(), steps]
    times = [edge_s(e, steps, end_s) for e in edges]
    return [PhoneSpan(CLASSES[path[e]], a, b) for e, a, b in zip(edges, times, times[1:], strict=False)]


def edge_s(step: int, steps: int, end_s: float) -> float:
    """The second at which step `step` begins, half a step before its centre; 0 for the first, `end_s`, the
    recording's end, after the last of `steps`.
    """
    if step == 0:
        return 0.0
    return end_s if step == steps else min((step - 0.5) * STEP_SECONDS, end_s)


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


# ---- lips --------------------------------------------------------------------------------------------------

CLOSED_SHARE = 2 / 3  # of a plosive's time that its closure lasts; the rest is its burst
EASE_SECONDS = 0.03  # in which lips close before a closure and part after it


def lips_of(
    phones: Sequence[PhoneSpan], times: NDArray[np.float64], rate: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the lips are closed, and parted, (n,) each in 0..1, at `times` (n,) in seconds of frames at
    `rate` a second.

    In every p, b and m there is a frame in which they are closed, the one nearest to the closure's middle, if
    no other. Where another phone is spoken, and they neither close nor open for one of these, they are
    parted. Pauses leave both to the predicted mouth.
    """
    closure, spoken = np.zeros(len(times)), np.zeros(len(times), bool)
    for phone in phones:
        if phone.phone == SILENCE:
            continue
        spoken |= (times >= phone.start) & (times < phone.end)
        if phone.phone in BILABIALS:
            share = 1.0 if phone.phone == "m" else CLOSED_SHARE
            end = phone.start + share * (phone.end - phone.start)
            outside = np.maximum(np.maximum(phone.start - times, times - end), 0.0) / EASE_SECONDS
            closure = np.maximum(closure, (1 + np.cos(np.pi * np.minimum(outside, 1.0))) / 2)
            middle = (phone.start + end) / 2
            if len(times) and times[0] - 0.5 / rate <= middle <= times[-1] + 0.5 / rate:
                closure[np.abs(times - middle).argmin()] = 1.0
    return closure, (spoken & (closure == 0)).astype(np.float64)
