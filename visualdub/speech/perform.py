"""What the actor's face does in a dub: the dialogue's mouth over the tracked performance, eased where one gives way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt

from visualdub.errors import BadInput
from visualdub.face.models import load_face_model
from visualdub.face.track import Performance, Track
from visualdub.speech.lips import bring_together
from visualdub.speech.moving import mouth_moving
from visualdub.speech.predict import SpeechMotion
from visualdub.speech.style import SpeechStyle, speech_parameters
from visualdub.speech.voice import drop_bursts, fill_gaps

EASE_SECONDS = 0.2  # parameters go from the dub's to the tracked ones in this time
FADE_SECONDS = 0.12  # then pixels cross-fade in this time, both mouths being the same
HOLD_SECONDS = 0.4  # both must be silent this much longer than two eases and fades before real pixels come back


def perform(track: Track, motion: SpeechMotion, style: SpeechStyle, rest_jaw: float,
            rest_expression: NDArray[np.floating[Any]], gain: float = 1.0) -> Performance:
    """The performance that dubs `track` with `motion`; n frames, of which the upper face stays the actor's own.

    rest_jaw: radians. rest_expression: (n_speech,) or longer, of which the speech components are taken.
    gain: of the way from the rest pose to the spoken mouth; lips that touch still touch, whatever it is.

    Where the dialogue speaks: the style's mouth, its lips together where the motion says that they touch. Where it is silent
    and the actor's mouth moves: the rest pose. Where both are silent, or no face is usable: draw is 0 and the tracked
    parameters stand. Toward such frames the parameters ease to the tracked ones first (draw 1), then draw falls to 0. Silence
    too short for that is drawn at rest. Raises `BadInput` where the motion has not as many frames as the track, or the models
    differ.
    """
    if len(motion) != len(track):
        raise BadInput(f"{track.source}: the dialogue's motion has {len(motion)} frames; expected the track's {len(track)}")
    spoken = style.apply(motion)
    count = spoken.shape[1]
    tracked = speech_parameters(track, count)
    rest = np.concatenate([[rest_jaw], np.asarray(rest_expression, np.float64)[:count - 1]])
    if len(rest) != count or tracked.shape[1] != count:
        found = f"{len(rest)} and {tracked.shape[1]}"
        raise BadInput(f"{track.source}: rest pose and track have {found} mouth parameters; expected {count} each")
    dubbed = rest + gain * motion.voice[:, None] * (spoken - rest)
    dubbed = bring_together(load_face_model(), track.identity, dubbed, motion.contact, np.asarray(style.gain))
    rate = float(track.rate)
    ease, fade = (max(1, round(seconds * rate)) for seconds in (EASE_SECONDS, FADE_SECONDS))
    passes = passing_frames((motion.voice > 0) | mouth_moving(track), track.usable, ease + fade, round(HOLD_SECONDS * rate))
    distance = frames_to(passes)
    weight = smoothstep((distance - fade) / (ease + 1.0))[:, None]
    mixed = np.where(weight > 0, weight * dubbed + (1 - weight) * tracked, tracked)
    expression = track.expression.copy()
    expression[:, :count - 1] = mixed[:, 1:]
    return Performance(mixed[:, 0].copy(), expression, np.clip(distance / (fade + 1.0), 0.0, 1.0))


def passing_frames(busy: NDArray[np.bool_], usable: NDArray[np.bool_], margin: int, hold: int) -> NDArray[np.bool_]:
    """Frames (n,) that keep their pixels: those without a usable face, and silence further than `margin` from busy frames.

    Silence between busy frames must last more than `2 * margin + hold` frames; at the ends of the shot `margin` will do.
    """
    busy = drop_bursts(busy, 2)
    pad = 2 * margin + hold + 1
    joined = fill_gaps(np.pad(busy, pad), 2 * margin + hold)
    near = np.convolve(joined, np.ones(2 * margin + 1), "same") > 0.5
    return ~near[pad:len(near) - pad] | ~usable


def frames_to(targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) distance in frames to the nearest True; 0 there, infinite where there is none at all."""
    if not targets.any():
        return np.full(len(targets), np.inf)
    return np.asarray(distance_transform_cdt(~targets), np.float64)


def smoothstep(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """0 below 0, 1 above 1, 3x² - 2x³ between."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x), np.float64)
