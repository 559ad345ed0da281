"""How one actor speaks: the last layer of the speech model, fitted to the actor's own clip without making the
mouth mumble.
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

LEAST_SECONDS = 2.0  # of speech over a tracked mouth below which the generic way of speaking stands
HELD = 10.0  # of each hidden number's variance: how much the generic layer resists, at HELD_SECONDS of speech
HELD_SECONDS = 5.0
GENERIC = "the actor speaks in the generic way, within the mouth's own range"


def source_style(clip: Path, track: Track, offset: float | None) -> tuple[SpeechStyle, str]:
    """`actor_style` by the clip's own sound. offset: seconds its picture is late; None: the sound is not
    known to be the actor's.

    The generic way of speaking stands, with the actor's own range, where there is no such sound.
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
    """The style of the actor of `track` with a layer of its own, and a line that says what it was fitted to.

    audio: (n,) mono at 16 kHz, -1..1, sample 0 at the track's first frame. Under LEAST_SECONDS of speech: the
    generic way of speaking with the actor's statistics. model, face, record: the speech model, its face model
    and record; by default the built-in speech model and the track's face model.
    """
    style = fit_style(track, record)
    hidden, voice = hear_frames(check_audio(audio), track, model)
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
    layer = fit_layer(hidden[known], last_layer(model), motion, HELD * HELD_SECONDS / seconds, slope)
    rows = tuple(tuple(map(float, row)) for row in layer)
    return replace(style, adapter=rows, speech_model=model_hash(model)), (
        f"{track.source}: the way of speaking was learned from {seconds:.1f} s of speech"
    )


def hear_frames(audio: NDArray[np.float32], track: Track, model: Path) -> tuple[Array, Array]:
    """What the model hears at each frame of a track: hidden (n, H), voice (n,)."""
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


def fit_layer(hidden: Array, last: Array, motion: Array, held: float, slope: Array) -> Array:
    """(H + 1, m) what to add to the model's own last layer `last` (H + 1, m): ridge regression of what it
    misses.

    hidden: (n, H). motion: (n, m) real, in units of the actor. held: how much the generic layer resists, in
    units of the hidden numbers' mean variance. slope: (m,) opening by each parameter. Least squares buys its
    error by a mouth that hardly moves, or of one that overdoes what it learned by heart: the opening keeps
    the deviation that the generic layer gives it.
    """
    heard = np.column_stack([hidden, np.ones(len(hidden))])
    scale = np.append(np.full(hidden.shape[1], hidden.var(0).mean()), 1.0)
    missed = heard.T @ (motion - heard @ last) / len(heard)
    adapted = last + np.linalg.solve(heard.T @ heard / len(heard) + held * np.diag(scale), missed)
    before, after = (float((heard @ layer @ slope).std()) for layer in (last, adapted))
    if after > 0:
        spoken = heard @ adapted - (heard @ adapted).mean(0)
        adapted = adapted @ stretched(spoken, slope, before / after)
    return np.asarray(adapted - last)


def stretched(motion: Array, slope: Array, gain: float) -> Array:
    """(m, m) matrix for rows of motion: the part that goes with the lip opening times `gain`, the rest as it
    is.

    motion: (n, m) around its mean; slope: (m,) opening by each parameter. Only the opening is stretched: what
    cannot be predicted would wander.
    """
    opening = motion @ slope
    pattern = motion.T @ opening / (opening @ opening)
    return np.asarray(np.eye(len(slope)) + (gain - 1) * np.outer(slope, pattern) / (slope @ pattern))
