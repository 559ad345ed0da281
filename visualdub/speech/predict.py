"""Audio to the motion of the mouth: the speech model run by ONNX Runtime, in blocks, for recordings of any length."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from visualdub.speech.voice import STEP_RATE, voice_envelope

MODEL = Path(__file__).parent / "data" / "speech.onnx"
RECORD = MODEL.with_suffix(".json")
BLOCK = 1000  # steps the model is run on at once, 20 s
CONTEXT = 64  # steps of sound on either side of a block, more than the network sees


@dataclass(frozen=True)
class SpeechMotion:
    """The mouth that speaks a recording, frame by frame, in units of the actor: 0 is the actor's mean while speaking, 1 one
    standard deviation of the actor's own (`SpeechStyle` turns it into radians and expression numbers)."""

    jaw: NDArray[np.float64]  # (n,) positive opens
    expression: NDArray[np.float64]  # (n, n_speech)
    voice: NDArray[np.float64]  # (n,) 1 in speech, 0 in silence, soft edges between
    unheard_seconds: float = 0.0  # length of the recording that lies beyond the last frame and was cut

    def __len__(self) -> int:
        return len(self.jaw)


@cache
def model_record() -> dict[str, Any]:
    """What is known of the shipped model: training, figures on held-out speakers, face model, generic style."""
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record


@cache
def _session(path: Path) -> tuple[onnxruntime.InferenceSession, features.FeatureKind]:
    """The model and the features it listens to. Raises `BadInput` for any other file, and for features that cannot be made."""
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
        raise BadInput(f"{path} listens to {width} numbers at a time; expected {kind.width}, as {kind.name} has them")
    return session, kind


def _blocks(audio: NDArray[np.float32], steps: int, model: Path) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The model's motion (BLOCK, 1 + n_speech) and voice (BLOCK,) for one block of steps after another."""
    session, kind = _session(model)
    level = kind.level(audio)
    for first in range(0, steps, BLOCK):
        if level is None:  # nothing to hear: the mean mouth, not spoken with
            yield np.zeros((BLOCK, _width(session)), np.float32), np.zeros(BLOCK, np.float32)
            continue
        span = first - CONTEXT, BLOCK + 2 * CONTEXT
        heard = kind.features(audio, level, *span)
        motion, voice = session.run(["motion", "voice"], {"features": heard[None]})
        inner = slice(CONTEXT, CONTEXT + BLOCK)
        yield motion[0, inner], (voice[0] * kind.audible(audio, level, *span))[inner]


def _width(session: onnxruntime.InferenceSession) -> int:
    return int(session.get_outputs()[0].shape[-1])


def predict_motion(audio: NDArray[np.float32], rate: Fraction, frame_count: int, model: Path = MODEL) -> SpeechMotion:
    """The motion of the mouth over `frame_count` frames at `rate` frames per second; frame i is at i / rate seconds.

    audio: (n,) mono at 16 kHz, -1..1, sample 0 at frame 0. A shorter recording is followed by silence (voice 0); the rest of
    a longer one is cut and its length given as `unheard_seconds`. Works in blocks of 20 s: beside the audio and the result,
    memory does not grow with length. Raises `BadInput` for audio that is not one row of finite numbers.
    """
    heard = features.check_audio(audio)
    if frame_count < 0 or rate <= 0:
        raise BadInput(f"{frame_count} frames at {rate} frames/s were asked for; expected a positive rate, no negative count")
    length = int(frame_count / rate * features.RATE)
    unheard = max(0.0, (len(heard) - length) / features.RATE)
    times = np.array([float(i * STEP_RATE / rate) for i in range(frame_count)])  # in steps
    steps = int(times[-1]) + 2 if frame_count else 0
    blocks = list(_blocks(heard[:length], steps, model))
    if not blocks:
        width = _width(_session(model)[0])
        return SpeechMotion(np.zeros(0), np.zeros((0, width - 1)), np.zeros(0), unheard)
    motion = np.concatenate([m for m, _ in blocks])[:steps].astype(np.float64)
    voice = voice_envelope(np.concatenate([v for _, v in blocks])[:steps])
    at_frames = _interpolate(np.column_stack([motion, voice]), times)
    return SpeechMotion(at_frames[:, 0], at_frames[:, 1:-1], at_frames[:, -1], unheard)


def _interpolate(values: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of `values` (n, C) at fractional `positions` (m,) in 0..n-1, linearly. Returns (m, C)."""
    low = np.minimum(positions.astype(int), len(values) - 2)
    weight = (positions - low)[:, None]
    return np.asarray(values[low] * (1 - weight) + values[low + 1] * weight)
