"""From audio to the motion of the mouth: the speech model, run by ONNX Runtime block by block."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.speech import features
from visualdub.speech.activity import STEP_RATE, drop_bursts, speech_activity_envelope
from visualdub.speech.features.whisper import KEPT
from visualdub.speech.ipa import CLASSES
from visualdub.speech.phones import PAUSE, head_scores, lips_of, phones_of, silenced
from visualdub.speech.session import open_network

MODEL = Path(__file__).parent / "data" / "speech.onnx"
RECORD = MODEL.with_suffix(".json")
Array = NDArray[np.floating[Any]]
# What the network gives, and the name of that output in the ONNX file. The names in the file are older; an
# actor's adapter is tied to the hash of the file, so they stay.
ONNX_OUTPUTS = {"motion": "motion", "speech_activity": "voice", "closure": "contact", "hidden": "hidden"}
PHONES = "phones"  # beside ONNX_OUTPUTS: what the phone head makes of the same features
BLOCK = 3 * KEPT  # steps the model is run on at once, 24 s, whole windows of the features
CONTEXT = 64  # steps of audio on either side of a block, more than the network's receptive field


@dataclass(frozen=True)
class SpeechMotion:
    """The motion of a mouth that speaks a recording, in n frames, relative to the actor.

    0 is the actor's mean while speaking and 1 is one standard deviation of the actor's own; `SpeechStyle`
    turns it into radians and expression components.
    """

    jaw: NDArray[np.float64]  # (n,) positive opens
    expression: NDArray[np.float64]  # (n, n_speech)
    speech_activity: NDArray[np.float64]  # (n,) 1 in speech, 0 in silence, soft edges between
    closure: NDArray[np.float64]  # (n,) 1 where the lips touch (p, b, m), 0 where jaw and expression decide
    # (n,) 1 in sounds in which lips do not touch; None: not known, as with a filmed driver
    parted: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.jaw)


@cache
def model_record() -> dict[str, Any]:
    """The record of the shipped model: its training, figures on held-out speakers, face model, generic
    style.
    """
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record


@cache
def model_hash(path: Path) -> str:
    """The first sixteen hex digits of the SHA-256 of a model file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def _session(path: Path) -> tuple[onnxruntime.InferenceSession, features.FeatureKind]:
    """The model in a file and its kind of input features.

    Raises `BadInput` for a file that is no speech model, and for features that cannot be made.
    """
    session = open_network(path, "a speech model")
    name = session.get_modelmeta().custom_metadata_map.get("features")
    if name is None:
        raise BadInput(f"{path} does not name its input features; expected a speech model")
    try:
        kind = features.feature_kind(name)
    except BadInput as e:
        raise BadInput(f"{path} cannot be used: {e}") from e
    width = session.get_inputs()[0].shape[-1]
    if width != kind.width:
        raise BadInput(
            f"{path} takes input features of {width} numbers; expected {kind.width}, the width of {kind.name}"
        )
    if missing := set(ONNX_OUTPUTS.values()) - {o.name for o in session.get_outputs()}:
        raise BadInput(
            f"{path} does not give {', '.join(sorted(missing))}; it was made by an earlier version, train it"
            " again"
        )
    return session, kind


def encode_blocks(
    audio: NDArray[np.float32], steps: int, model: Path, wanted: Sequence[str]
) -> Iterator[list[Array]]:
    """Run the network on `audio` and yield its outputs `wanted`, one block of BLOCK steps after another.

    audio: (n,) mono at 16 kHz, -1..1. steps: how many steps to cover; the last block may reach beyond them.
    wanted: keys of `ONNX_OUTPUTS`: `motion` (BLOCK, 1 + n_speech), `speech_activity` and `closure` (BLOCK,)
    in 0..1, `hidden` (BLOCK, H), the input of an actor's adapter. In a silent recording all are zeros: the
    mean mouth, without speech. Another one is PHONES: (BLOCK, C) log probabilities of `ipa.CLASSES`.
    """
    session, kind = _session(model)
    level = kind.level(audio)
    named = [w for w in wanted if w != PHONES]
    names = [ONNX_OUTPUTS[w] for w in named]
    shapes = {o.name: (BLOCK, *o.shape[2:]) for o in session.get_outputs()}
    inner = slice(CONTEXT, CONTEXT + BLOCK)
    rows, ready = np.zeros((CONTEXT, kind.width), np.float32), 0  # features before the recording are zeros
    for first in range(0, steps, BLOCK):
        if level is None:
            block = {w: np.zeros(shapes[name], np.float32) for w, name in zip(named, names, strict=True)}
            block[PHONES] = silenced(np.zeros((BLOCK, len(CLASSES)), np.float32), np.ones(BLOCK, bool))
            yield [block[w] for w in wanted]
            continue
        while len(rows) < BLOCK + 2 * CONTEXT:
            rows = np.concatenate([rows, kind.features(audio, level, ready, BLOCK)])
            ready += BLOCK
        inputs = rows[: BLOCK + 2 * CONTEXT]
        outputs = session.run(names, {"features": inputs[None]})
        audible = kind.audible(audio, level, first - CONTEXT, BLOCK + 2 * CONTEXT)
        block = {
            w: (o[0] * audible if w in ("speech_activity", "closure") else o[0])[inner]
            for w, o in zip(named, outputs, strict=True)
        }
        if PHONES in wanted:
            block[PHONES] = silenced(head_scores(inputs), drop_bursts(~audible, PAUSE))[inner]
        rows = rows[BLOCK:]
        yield [block[w] for w in wanted]


@cache
def last_layer(model: Path) -> Array:
    """(H + 1, 1 + n_speech) the generic last layer of a model: motion = [hidden, 1] @ layer.

    The file does not hold it as one matrix. The two outputs are linear in each other, so least squares on
    random input features gives it, exact to rounding.
    """
    session, kind = _session(model)
    inputs = np.random.default_rng(0).normal(0, 0.5, (1, 4 * BLOCK, kind.width)).astype(np.float32)
    motion, hidden = session.run([ONNX_OUTPUTS[k] for k in ("motion", "hidden")], {"features": inputs})
    design = np.column_stack([hidden[0], np.ones(len(hidden[0]))]).astype(np.float64)
    return np.asarray(np.linalg.lstsq(design, motion[0].astype(np.float64), rcond=None)[0])


def _width(session: onnxruntime.InferenceSession) -> int:
    return int(session.get_outputs()[0].shape[-1])


def predict_motion(
    audio: NDArray[np.float32],
    rate: Fraction,
    frame_count: int,
    model: Path = MODEL,
    adapter: Array | None = None,
) -> SpeechMotion:
    """The motion of the mouth over `frame_count` frames at `rate` frames/s; frame i is at i / rate seconds.

    audio: (n,) mono at 16 kHz, -1..1, sample 0 at frame 0. A recording that is shorter than the frames is
    followed by silence (speech activity 0); of a longer one the end is cut. Blocks of 20 s are processed one
    at a time: beside the audio and the result, memory does not grow with the length. adapter: (H + 1,
    1 + n_speech), the actor's linear adapter; [hidden, 1] @ adapter is added to the generic motion. Raises
    `BadInput` for audio that is not one row of finite numbers, and for an adapter of another model.
    """
    samples = features.check_audio(audio)
    if frame_count < 0 or rate <= 0:
        raise BadInput(
            f"{frame_count} frames at {rate} frames/s were asked for; expected a positive rate, no negative"
            " count"
        )
    length = int(frame_count / rate * features.RATE)
    frame_steps = np.array([float(i * STEP_RATE / rate) for i in range(frame_count)])
    steps = int(frame_steps[-1]) + 2 if frame_count else 0
    wanted = ["motion", "speech_activity", PHONES, *(["hidden"] if adapter is not None else [])]
    blocks = [_adapted(block, adapter) for block in encode_blocks(samples[:length], steps, model, wanted)]
    if not blocks:
        width = _width(_session(model)[0])
        return SpeechMotion(np.zeros(0), np.zeros((0, width - 1)), np.zeros(0), np.zeros(0), np.zeros(0))
    motion, activity, scores = (np.concatenate(parts)[:steps] for parts in zip(*blocks, strict=True))
    series = np.column_stack([motion.astype(np.float64), speech_activity_envelope(activity)])
    at_frames = _interpolate(series, frame_steps)
    spoken = phones_of([scores], steps, steps / STEP_RATE)
    closure, parted = lips_of(spoken, frame_steps / STEP_RATE, float(rate))
    active = at_frames[:, -1] > 0
    return SpeechMotion(
        at_frames[:, 0], at_frames[:, 1:-1], at_frames[:, -1], closure * active, parted * active
    )


def _adapted(block: list[Array], adapter: Array | None) -> tuple[Array, Array, Array]:
    """Motion, speech activity and phones of a block, the motion with the actor's adapter added.

    Raises `BadInput` for the adapter of another model.
    """
    motion, activity, phones, *hidden = block
    if adapter is None:
        return motion, activity, phones
    expected = (hidden[0].shape[1] + 1, motion.shape[1])
    if adapter.shape != expected:
        raise BadInput(
            f"the actor's speech adapter has the shape {adapter.shape}; this speech model needs {expected};"
            " adapt again"
        )
    return motion + hidden[0] @ adapter[:-1] + adapter[-1], activity, phones


def _interpolate(values: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of `values` (n, C) at fractional `positions` (m,) in 0..n-1, linearly. Returns (m, C)."""
    low = np.minimum(positions.astype(int), len(values) - 2)
    weight = (positions - low)[:, None]
    return np.asarray(values[low] * (1 - weight) + values[low + 1] * weight)
