"""The performance of a dub: the mouth of the dialogue, adjusted and blended over the tracked performance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, find_objects, gaussian_filter1d, label

from visualdub.arrays import smoothstep
from visualdub.errors import BadInput, InternalError
from visualdub.face.track import Performance, Track
from visualdub.speech.activity import drop_bursts, fill_gaps, mouth_activity
from visualdub.speech.closure import close_lips, part_lips
from visualdub.speech.predict import SpeechMotion
from visualdub.speech.style import SpeechStyle, speech_parameters

# ---- adjustments of the prediction -------------------------------------------------------------------------

MOST_GAIN = 3.0
MOST_SMOOTH_MS = 500.0
MOST_OFFSET_MS = 1000.0


@dataclass(frozen=True)
class PerformanceAdjustments:
    """What an artist changes in the predicted performance. Raises `BadInput` for values out of range."""

    gain: float = 1.0  # 0..MOST_GAIN: 0 is the rest pose, 1 the predicted mouth, more exaggerates it
    smooth_ms: float = 0.0  # 0..MOST_SMOOTH_MS: standard deviation of a Gaussian over time
    offset_ms: float = 0.0  # -MOST_OFFSET_MS..MOST_OFFSET_MS: positive moves the mouth later

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--mouth-gain", self.gain, 0.0, MOST_GAIN),
            ("--smooth", self.smooth_ms, 0.0, MOST_SMOOTH_MS),
            ("--offset-ms", self.offset_ms, -MOST_OFFSET_MS, MOST_OFFSET_MS),
        ):
            if not low <= value <= high:  # false for NaN, too
                raise BadInput(f"{name} {value:g} was asked for; expected {low:g} to {high:g}")

    def describe(self) -> str:
        """What is changed, as a phrase for the report."""
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


AS_PREDICTED = PerformanceAdjustments()


def smooth_motion(motion: SpeechMotion, deviation: float) -> SpeechMotion:
    """`motion` low-passed by a Gaussian whose standard deviation is `deviation` frames; 0 changes nothing.

    Each stretch of speech is smoothed by itself: it keeps its mean and does not affect any other. The speech
    activity, and with it the borders of silence, stays as it is.
    """
    if deviation == 0:
        return motion
    values = np.column_stack([motion.jaw, motion.expression])
    stretches, _ = label(motion.speech_activity > 0)
    for (stretch,) in find_objects(stretches):
        values[stretch] = gaussian_filter1d(values[stretch], deviation, axis=0, mode="reflect")
    return replace(motion, jaw=values[:, 0], expression=values[:, 1:])


def motion_at(motion: SpeechMotion, positions: NDArray[np.float64]) -> SpeechMotion:
    """`motion` of n frames, interpolated linearly at the fractional frames `positions` (m,).

    Outside 0..n-1 nobody speaks.
    """
    frames = np.arange(len(motion))

    def at(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(positions, frames, values)

    return replace(
        motion,
        jaw=at(motion.jaw),
        expression=np.stack([at(column) for column in motion.expression.T], 1),
        speech_activity=np.interp(positions, frames, motion.speech_activity, left=0.0, right=0.0),
        closure=np.interp(positions, frames, motion.closure, left=0.0, right=0.0),
        parted=None
        if motion.parted is None
        else np.interp(positions, frames, motion.parted, left=0.0, right=0.0),
    )


# ---- the performance of a dub ------------------------------------------------------------------------------

EASE_SECONDS = 0.2  # in this time the parameters ease from the dub's to the tracked ones
FADE_SECONDS = 0.12  # then the pixels cross-fade in this time, while both mouths are the same
PARTED = 0.03  # least gap of the lips, in distances between the outer eye corners, where a script parts them
HOLD_SECONDS = 0.4  # a silence must last this much longer than two eases and two fades to show filmed pixels


def blend_performance(
    track: Track,
    motion: SpeechMotion,
    style: SpeechStyle,
    rest_jaw: float,
    rest_expression: NDArray[np.floating[Any]],
    gain: float = 1.0,
) -> Performance:
    """The performance of n frames that dubs `track` with `motion`; the upper face stays the actor's own.

    rest_jaw: radians. rest_expression: (n_speech,) or longer, of which the speech components are used. gain:
    0 is the rest pose, 1 the predicted mouth; lips that touch still touch, whatever it is.

    Where the dialogue speaks, the mouth is the style's, with its lips closed, and parted, where the motion
    says so. Where it is silent and the filmed mouth is active, the mouth rests. Where both are silent, or no
    face is usable, draw is 0 and the tracked parameters stand. Towards such frames the parameters first ease
    to the tracked ones (draw 1), then draw falls to 0. A silence too short for that is drawn at rest. Nothing
    is eased across a cut. Raises `BadInput` where the models differ, `InternalError` where the motion does
    not have as many frames as the track.
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
        counts = f"{len(rest)} and {tracked.shape[1]}"
        raise BadInput(
            f"{track.source}: rest pose and track have {counts} mouth parameters; expected {count} each"
        )
    dubbed = rest + gain * motion.speech_activity[:, None] * (spoken - rest)
    scale = np.asarray(style.scale)
    dubbed = close_lips(track.model, track.identity, dubbed, motion.closure, scale)
    if motion.parted is not None:
        least = min(gain, 1.0) * PARTED
        dubbed = part_lips(track.model, track.identity, dubbed, motion.parted, least, scale)
    rate = float(track.rate)
    ease, fade = (max(1, round(seconds * rate)) for seconds in (EASE_SECONDS, FADE_SECONDS))
    busy = (motion.speech_activity > 0) | mouth_activity(track)
    hold, usable = round(HOLD_SECONDS * rate), track.usable
    passes = [passing_frames(busy[part], usable[part], ease + fade, hold) for part in track.parts]
    distance = np.concatenate([frames_to(frames) for frames in passes])
    weight = smoothstep((distance - fade) / (ease + 1.0))[:, None]
    blended = np.where(weight > 0, weight * dubbed + (1 - weight) * tracked, tracked)
    expression = track.expression.copy()
    expression[:, : count - 1] = blended[:, 1:]
    return Performance(blended[:, 0].copy(), expression, np.clip(distance / (fade + 1.0), 0.0, 1.0))


def pass_through(track: Track, performance: Performance, passes: NDArray[np.bool_]) -> Performance:
    """`performance` of n frames with draw 0 in the frames `passes` (n,).

    Towards them the parameters ease to the tracked ones, then draw falls to 0, as at the ends of speech.
    """
    if not passes.any():
        return performance
    rate = float(track.rate)
    ease, fade = (max(1, round(seconds * rate)) for seconds in (EASE_SECONDS, FADE_SECONDS))
    distance = frames_to(passes)
    weight = smoothstep((distance - fade) / (ease + 1.0)).astype(np.float64)

    def eased(
        drawn: NDArray[np.float64], tracked: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        between = np.where(weight > 0, weight * drawn + (1 - weight) * tracked, tracked)
        return np.where(weight < 1, between, drawn)

    return Performance(
        eased(performance.jaw, track.jaw, weight),
        eased(performance.expression, track.expression, weight[:, None]),
        np.minimum(performance.draw, np.clip(distance / (fade + 1.0), 0.0, 1.0)),
    )


def passing_frames(
    busy: NDArray[np.bool_], usable: NDArray[np.bool_], margin: int, hold: int
) -> NDArray[np.bool_]:
    """(n,) True for the frames that keep their filmed pixels.

    These are the frames that are not `usable` (n,), and those further than `margin` frames from every `busy`
    (n,) frame. A silence between busy frames must last more than `2 * margin + hold` frames to keep any; at
    the ends of the shot more than `margin` is enough.
    """
    busy = drop_bursts(busy, 2)
    pad = 2 * margin + hold + 1
    joined = fill_gaps(np.pad(busy, pad), 2 * margin + hold)
    near = np.convolve(joined, np.ones(2 * margin + 1), "same") > 0.5
    return ~near[pad : len(near) - pad] | ~usable


def frames_to(targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) distance in frames to the nearest True of `targets` (n,); infinite where there is none at all."""
    if not targets.any():
        return np.full(len(targets), np.inf)
    return np.asarray(distance_transform_cdt(~targets), np.float64)
