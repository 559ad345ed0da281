"""What the actor's face does in a dub: the dialogue's mouth over the tracked performance, adjusted and
eased.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, find_objects, gaussian_filter1d, label

from visualdub.errors import BadInput, InternalError
from visualdub.face.track import Performance, Track
from visualdub.speech.activity import drop_bursts, fill_gaps, mouth_moving
from visualdub.speech.closure import bring_together
from visualdub.speech.predict import SpeechMotion
from visualdub.speech.style import SpeechStyle, speech_parameters

# ---- adjustments of the prediction -------------------------------------------------------------------------

MOST_GAIN = 3.0
MOST_SMOOTH_MS = 500.0
MOST_OFFSET_MS = 1000.0


@dataclass(frozen=True)
class Shaping:
    """What is done to the prediction before it is merged with the track. Raises `BadInput` outside the
    ranges.
    """

    gain: float = 1.0  # 0..MOST_GAIN, of the way from the rest pose to the predicted mouth
    smooth_ms: float = 0.0  # 0..MOST_SMOOTH_MS, standard deviation of a Gaussian over time
    offset_ms: float = 0.0  # -MOST_OFFSET_MS..MOST_OFFSET_MS, positive = the mouth comes later

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--mouth-gain", self.gain, 0.0, MOST_GAIN),
            ("--smooth", self.smooth_ms, 0.0, MOST_SMOOTH_MS),
            ("--offset-ms", self.offset_ms, -MOST_OFFSET_MS, MOST_OFFSET_MS),
        ):
            if not low <= value <= high:  # also not a number
                raise BadInput(f"{name} {value:g} was asked for; expected {low:g} to {high:g}")

    def describe(self) -> str:
        """What is changed, for the report."""
        parts = []
        if self.gain != 1:
            parts.append(f"gain {self.gain:g}")
        if self.smooth_ms:
            parts.append(f"smoothed over {self.smooth_ms:g} ms")
        if self.offset_ms:
            parts.append(
                f"{abs(self.offset_ms):g} ms {'later' if self.offset_ms > 0 else 'earlier'} than predicted"
            )
        return ", ".join(parts) or "as predicted"


AS_PREDICTED = Shaping()


def smooth_motion(motion: SpeechMotion, deviation: float) -> SpeechMotion:
    """`motion` low-passed by a Gaussian of standard deviation `deviation` in frames, within each stretch of
    speech by itself.

    A stretch keeps its mean, no other is felt in it, and the voice and with it the edges of silence stay as
    they are.
    """
    if deviation == 0:
        return motion
    values = np.column_stack([motion.jaw, motion.expression])
    stretches, _ = label(motion.voice > 0)
    for (stretch,) in find_objects(stretches):
        values[stretch] = gaussian_filter1d(values[stretch], deviation, axis=0, mode="reflect")
    return replace(motion, jaw=values[:, 0], expression=values[:, 1:])


def motion_at(motion: SpeechMotion, positions: NDArray[np.float64]) -> SpeechMotion:
    """`motion` of n frames at fractional frames `positions` (m,), linearly between them; silence outside
    0..n-1.
    """
    frames = np.arange(len(motion))

    def at(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(positions, frames, values)

    voice = np.interp(positions, frames, motion.voice, left=0.0, right=0.0)
    expression = np.stack([at(column) for column in motion.expression.T], 1)
    contact = np.interp(positions, frames, motion.contact, left=0.0, right=0.0)
    return replace(motion, jaw=at(motion.jaw), expression=expression, voice=voice, contact=contact)


# ---- the performance of a dub ------------------------------------------------------------------------------

EASE_SECONDS = 0.2  # parameters go from the dub's to the tracked ones in this time
FADE_SECONDS = 0.12  # then pixels cross-fade in this time, both mouths being the same
HOLD_SECONDS = (
    0.4  # both must be silent this much longer than two eases and fades before real pixels come back
)


def perform(
    track: Track,
    motion: SpeechMotion,
    style: SpeechStyle,
    rest_jaw: float,
    rest_expression: NDArray[np.floating[Any]],
    gain: float = 1.0,
) -> Performance:
    """The performance that dubs `track` with `motion`; n frames, of which the upper face stays the actor's
    own.

    rest_jaw: radians. rest_expression: (n_speech,) or longer, of which the speech components are taken. gain:
    of the way from the rest pose to the spoken mouth; lips that touch still touch, whatever it is.

    Where the dialogue speaks: the style's mouth, its lips together where the motion says that they touch.
    Where it is silent and the actor's mouth moves: the rest pose. Where both are silent, or no face is
    usable: draw is 0 and the tracked parameters stand. Toward such frames the parameters ease to the tracked
    ones first (draw 1), then draw falls to 0. Silence too short for that is drawn at rest. Raises `BadInput`
    where the models differ, `InternalError` where the motion has not as many frames as the track.
    """
    if len(motion) != len(track):
        raise InternalError(
            f"{track.source}: the dialogue's motion has {len(motion)} frames; expected the track's"
            f" {len(track)}"
        )
    spoken = style.apply(motion)
    count = spoken.shape[1]
    tracked = speech_parameters(track, count)
    rest = np.concatenate([[rest_jaw], np.asarray(rest_expression, np.float64)[: count - 1]])
    if len(rest) != count or tracked.shape[1] != count:
        found = f"{len(rest)} and {tracked.shape[1]}"
        raise BadInput(
            f"{track.source}: rest pose and track have {found} mouth parameters; expected {count} each"
        )
    dubbed = rest + gain * motion.voice[:, None] * (spoken - rest)
    dubbed = bring_together(track.model, track.identity, dubbed, motion.contact, np.asarray(style.gain))
    rate = float(track.rate)
    ease, fade = (max(1, round(seconds * rate)) for seconds in (EASE_SECONDS, FADE_SECONDS))
    passes = passing_frames(
        (motion.voice > 0) | mouth_moving(track), track.usable, ease + fade, round(HOLD_SECONDS * rate)
    )
    distance = frames_to(passes)
    weight = smoothstep((distance - fade) / (ease + 1.0))[:, None]
    mixed = np.where(weight > 0, weight * dubbed + (1 - weight) * tracked, tracked)
    expression = track.expression.copy()
    expression[:, : count - 1] = mixed[:, 1:]
    return Performance(mixed[:, 0].copy(), expression, np.clip(distance / (fade + 1.0), 0.0, 1.0))


def passing_frames(
    busy: NDArray[np.bool_], usable: NDArray[np.bool_], margin: int, hold: int
) -> NDArray[np.bool_]:
    """Frames (n,) that keep their pixels: those without a usable face, and silence further than `margin` from
    busy frames.

    Silence between busy frames must last more than `2 * margin + hold` frames; at the ends of the shot
    `margin` will do.
    """
    busy = drop_bursts(busy, 2)
    pad = 2 * margin + hold + 1
    joined = fill_gaps(np.pad(busy, pad), 2 * margin + hold)
    near = np.convolve(joined, np.ones(2 * margin + 1), "same") > 0.5
    return ~near[pad : len(near) - pad] | ~usable


def frames_to(targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) distance in frames to the nearest True; 0 there, infinite where there is none at all."""
    if not targets.any():
        return np.full(len(targets), np.inf)
    return np.asarray(distance_transform_cdt(~targets), np.float64)


def smoothstep(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """0 below 0, 1 above 1, 3x² - 2x³ between."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x), np.float64)
