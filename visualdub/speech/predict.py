"""Audio to the motion of the mouth: the speech model run by ONNX Runtime, in blocks, for recordings of any
length.
"""

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
from visualdub.speech.activity import STEP_RATE, contact_envelope, voice_envelope

MODEL = Path(__file__).parent / "data" / "speech.onnx"
RECORD = MODEL.with_suffix(".json")
Array = NDArray[np.floating[Any]]
OUTPUTS = ("motion", "voice", "contact", "hidden")  # of the network
BLOCK = 1000  # steps the model is run on at once, 20 s
CONTEXT = 64  # steps of sound on either side of a block, more than the network sees


@dataclass(frozen=True)
class SpeechMotion:
    """The mouth that speaks a recording, frame by frame, in units of the actor: 0 is the actor's mean while
    speaking, 1 one standard deviation of the actor's own (`SpeechStyle` turns it into radians and expression
    numbers).
    """

    jaw: NDArray[np.float64]  # (n,) positive opens
    expression: NDArray[np.float64]  # (n, n_speech)
    voice: NDArray[np.float64]  # (n,) 1 in speech, 0 in silence, soft edges between
    contact: NDArray[
        np.float64
    ]  # (n,) 1 where the lips touch (p, b, m), 0 where the rest says how far they are apart

    def __len__(self) -> int:
        return len(self.jaw)


@cache
def model_record() -> dict[str, Any]:
    """What is known of the shipped model: training, figures on held-out speakers, face model, generic
    style.
    """
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record


@cache
def model_hash(path: Path) -> str:
    """Sixteen hex digits that tell one model from another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def _session(path: Path) -> tuple[onnxruntime.InferenceSession, features.FeatureKind]:
    """The model and the features it listens to. Raises `BadInput` for any other file, and for features that
    cannot be made.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime has no common base for its errors
        raise BadInput(f"{path} is not a speech model: {str(e).splitlines()[0]}") from e
    name = session.get_modelmeta().custom_metadata_map.get("features")
    if name is None:
        raise BadInput(f"{path} does not say which features it listens to; expected a speech model")
    try:
        kind = features.feature_kind(name)
    except BadInput as e:
        raise BadInput(f"{path} cannot be used: {e}") from e
    width = session.get_inputs()[0].shape[-1]
    if width != kind.width:
        raise BadInput(
            f"{path} listens to {width} numbers at a time; expected {kind.width}, as {kind.name} has them"
        )
    if missing := set(OUTPUTS) - {o.name for o in session.get_outputs()}:
        raise BadInput(
            f"{path} does not give {', '.join(sorted(missing))}; it was made by an earlier version, train it"
            " again"
        )
    return session, kind


def heard_blocks(
    audio: NDArray[np.float32], steps: int, model: Path, wanted: Sequence[str]
) -> Iterator[list[Array]]:
    """The outputs `wanted` of the network, (BLOCK,) or (BLOCK, k) each, for one block of steps after another;
    zeros where nothing can be heard: the mean mouth, not spoken with.

    Outputs: `motion` (1 + n_speech), `voice` and `contact` in 0..1, `hidden` (H), what an actor's own layer
    reads.
    """
    session, kind = _session(model)
    level = kind.level(audio)
    shapes = {o.name: (BLOCK, *o.shape[2:]) for o in session.get_outputs()}
    inner = slice(CONTEXT, CONTEXT + BLOCK)
    for first in range(0, steps, BLOCK):
        if level is None:
            yield [np.zeros(shapes[w], np.float32) for w in wanted]
            continue
        span = first - CONTEXT, BLOCK + 2 * CONTEXT
        found = session.run(list(wanted), {"features": kind.features(audio, level, *span)[None]})
        audible = kind.audible(audio, level, *span)
        yield [
            (f[0] * audible if w in ("voice", "contact") else f[0])[inner]
            for w, f in zip(wanted, found, strict=True)
        ]


@cache
def last_layer(model: Path) -> Array:
    """(H + 1, 1 + n_speech) the model's own last layer: motion = [hidden, 1] @ layer. Found by asking the
    network: the two are linear in each other, so random features give it to rounding.
    """
    session, kind = _session(model)
    heard = np.random.default_rng(0).normal(0, 0.5, (1, 4 * BLOCK, kind.width)).astype(np.float32)
    motion, hidden = session.run(["motion", "hidden"], {"features": heard})
    return np.asarray(
        np.linalg.lstsq(
            np.column_stack([hidden[0], np.ones(len(hidden[0]))]).astype(np.float64),
            motion[0].astype(np.float64),
            rcond=None,
        )[0]
    )


def _width(session: onnxruntime.InferenceSession) -> int:
    return int(session.get_outputs()[0].shape[-1])


def predict_motion(
    audio: NDArray[np.float32],
    rate: Fraction,
    frame_count: int,
    model: Path = MODEL,
    layer: Array | None = None,
) -> SpeechMotion:
    """The motion of the mouth over `frame_count` frames at `rate` frames per second; frame i is at i / rate
    seconds.

    audio: (n,) mono at 16 kHz, -1..1, sample 0 at frame 0. A shorter recording is followed by silence (voice
    0); the rest of a longer one is cut. Works in blocks of 20 s: beside the audio and the result, memory does
    not grow with length. layer: (H + 1, 1 + n_speech), an actor's own, added to the generic motion: what each
    number of `hidden`, and 1, adds to it. Raises `BadInput` for audio that is not one row of finite numbers.
    """
    heard = features.check_audio(audio)
    if frame_count < 0 or rate <= 0:
        raise BadInput(
            f"{frame_count} frames at {rate} frames/s were asked for; expected a positive rate, no negative"
            " count"
        )
    length = int(frame_count / rate * features.RATE)
    times = np.array([float(i * STEP_RATE / rate) for i in range(frame_count)])  # in steps
    steps = int(times[-1]) + 2 if frame_count else 0
    wanted = ["motion", "voice", "contact", *(["hidden"] if layer is not None else [])]
    blocks = [_with_layer(block, layer) for block in heard_blocks(heard[:length], steps, model, wanted)]
    if not blocks:
        width = _width(_session(model)[0])
        return SpeechMotion(np.zeros(0), np.zeros((0, width - 1)), np.zeros(0), np.zeros(0))
    motion, voice, contact = (
        np.concatenate(parts)[:steps].astype(np.float64) for parts in zip(*blocks, strict=True)
    )
    at_frames = _interpolate(
        np.column_stack([motion, voice_envelope(voice), contact_envelope(contact)]), times
    )
    return SpeechMotion(at_frames[:, 0], at_frames[:, 1:-2], at_frames[:, -2], at_frames[:, -1])


def _with_layer(block: list[Array], layer: Array | None) -> tuple[Array, Array, Array]:
    """Motion, voice and contact of a block, the motion by the actor's own layer. Raises `BadInput` for
    another model's layer.
    """
    motion, voice, contact, *hidden = block
    if layer is None:
        return motion, voice, contact
    if layer.shape != (hidden[0].shape[1] + 1, motion.shape[1]):
        expected = (hidden[0].shape[1] + 1, motion.shape[1])
        raise BadInput(
            f"the actor's speech layer has the shape {layer.shape}; this speech model needs {expected}; adapt"
            " again"
        )
    return motion + hidden[0] @ layer[:-1] + layer[-1], voice, contact


def _interpolate(values: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of `values` (n, C) at fractional `positions` (m,) in 0..n-1, linearly. Returns (m, C)."""
    low = np.minimum(positions.astype(int), len(values) - 2)
    weight = (positions - low)[:, None]
    return np.asarray(values[low] * (1 - weight) + values[low + 1] * weight)
