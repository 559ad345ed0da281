"""An actor's way of speaking: the per-actor linear adapter of the speech model, fitted to the actor's own
clip while the mouth keeps its range of motion.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.face.models import FaceModel
from visualdub.face.track import Track
from visualdub.media.audio import AudioMissing, read_audio
from visualdub.speech.activity import STEP_RATE
from visualdub.speech.closure import offset_slopes
from visualdub.speech.features import RATE, check_audio
from visualdub.speech.predict import MODEL, encode_blocks, last_layer, model_hash
from visualdub.speech.style import SpeechStyle, fit_style, speech_parameters
from visualdub.speech.sync import shifted_sound

Array = NDArray[np.float64]

LEAST_SECONDS = 2.0  # of speech with a tracked mouth, below which no adapter is fitted
# Ridge penalty at RIDGE_SECONDS of speech, in units of the hidden features' mean variance.
RIDGE = 10.0
RIDGE_SECONDS = 5.0
GENERIC = "the actor speaks in the generic way, within the mouth's own range"


def source_style(clip: Path, track: Track, offset: float | None) -> tuple[SpeechStyle, str]:
    """The style of the actor of `track`, fitted to the clip's own audio, and a line that says to what.

    offset: seconds by which the audio leads the video; None: the audio is not known to be the actor's.
    Without such audio the style is the generic way of speaking with the actor's own range.
    """
    if offset is None:
        return fit_style(track), f"{track.source}: {GENERIC}: its sound could not be matched to this mouth"
    try:
        sound = shifted_sound(read_audio(clip, RATE), offset, RATE)
        return actor_style(track, sound[round(track.start / float(track.rate) * RATE) :])
    except AudioMissing as e:
        return fit_style(track), f"{track.source}: {GENERIC}: {e}"


def actor_style(
    track: Track,
    audio: NDArray[np.float32],
    model: Path = MODEL,
    face: FaceModel | None = None,
    record: dict[str, Any] | None = None,
) -> tuple[SpeechStyle, str]:
    """The style of the actor of `track` with a per-actor linear adapter, and a line that says to what it was
    fitted.

    audio: (n,) mono at 16 kHz, -1..1, sample 0 at the track's first frame. With less than LEAST_SECONDS of
    speech the style is the generic way of speaking with the actor's statistics. model, face, record: the
    speech model, its face model and record; by default the built-in ones and the track's face model.
    """
    style = fit_style(track, record)
    hidden, voice = encode_frames(check_audio(audio), track, model)
    values = speech_parameters(track, len(style.mean))
    known = track.usable & np.isfinite(values).all(1) & (voice > 0.5)
    seconds = float(known.sum() / track.rate)
    if seconds < LEAST_SECONDS:
        return (
            style,
            f"{track.source}: {GENERIC}: it holds {seconds:.1f} s of speech, under {LEAST_SECONDS:g} s",
        )
    centre, gain = np.array(style.mean), np.array(style.scale)
    slope = offset_slopes(face or track.model, track.identity, centre, gain)[..., 0].mean(1)
    motion = (values[known] - centre) / gain
    ridge = RIDGE * RIDGE_SECONDS / seconds
    adapter = fit_linear_adapter(hidden[known], last_layer(model), motion, ridge, slope)
    rows = tuple(tuple(map(float, row)) for row in adapter)
    return replace(style, adapter=rows, speech_model=model_hash(model)), (
        f"{track.source}: the way of speaking was fitted to {seconds:.1f} s of speech"
    )


def encode_frames(audio: NDArray[np.float32], track: Track, model: Path) -> tuple[Array, Array]:
    """The model's hidden features (n, H) and speech activity (n,) at each frame of a track."""
    at = np.arange(len(track)) / float(track.rate) * STEP_RATE
    length = int(len(track) / track.rate * RATE)
    parts = zip(
        *encode_blocks(audio[:length], int(at[-1]) + 2, model, ("hidden", "speech_activity")), strict=True
    )
    hidden, voice = (np.concatenate(p).astype(np.float64) for p in parts)
    low = at.astype(int)
    weight = (at - low)[:, None]

    def frames(values: Array) -> Array:
        return np.asarray(values[low] * (1 - weight) + values[low + 1] * weight)

    return frames(hidden), frames(voice[:, None])[:, 0]


def fit_linear_adapter(hidden: Array, last: Array, motion: Array, ridge: float, slope: Array) -> Array:
    """(H + 1, m) the per-actor linear adapter, which is added to the model's last layer `last` (H + 1, m):
    ridge regression of the generic layer's residual.

    hidden: (n, H). motion: (n, m) tracked, relative to the actor's mean and standard deviation. ridge:
    penalty in units of the hidden features' mean variance. slope: (m,) opening by each parameter. Least
    squares alone gives a mouth that hardly moves, or one that exaggerates what it memorised; so the opening
    keeps the deviation that the generic layer gives it.
    """
    inputs = np.column_stack([hidden, np.ones(len(hidden))])
    scale = np.append(np.full(hidden.shape[1], hidden.var(0).mean()), 1.0)
    residual = inputs.T @ (motion - inputs @ last) / len(inputs)
    adapted = last + np.linalg.solve(inputs.T @ inputs / len(inputs) + ridge * np.diag(scale), residual)
    before, after = (float((inputs @ layer @ slope).std()) for layer in (last, adapted))
    if after > 0:
        centred = inputs @ adapted - (inputs @ adapted).mean(0)
        adapted = adapted @ stretched(centred, slope, before / after)
    return np.asarray(adapted - last)


def stretched(motion: Array, slope: Array, gain: float) -> Array:
    """(m, m) matrix by which to multiply rows of motion: the part that goes with the lip opening is
    multiplied by `gain`, the rest is unchanged.

    motion: (n, m) around its mean. slope: (m,) opening by each parameter. The rest is not multiplied because
    its errors would grow with it.
    """
    opening = motion @ slope
    pattern = motion.T @ opening / (opening @ opening)
    return np.asarray(np.eye(len(slope)) + (gain - 1) * np.outer(slope, pattern) / (slope @ pattern))
