"""Measures of a predicted mouth against the tracked one: opening and lip vertices, clip by clip."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.speech.clips import SpeechClip
from visualdub.face.landmarks import LIPS, lip_opening
from visualdub.face.models import FaceModel, posed_landmarks
from visualdub.speech.closure import close_lips
from visualdub.speech.predict import SpeechMotion

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SpeechFigures:
    """The measures of one clip, or their mean over several."""

    correlation: float  # of inner-lip opening, predicted against tracked
    # mean over frames of the largest squared lip-vertex error, over that of a mouth still at its mean
    lip_error: float
    deviation_ratio: float  # standard deviation of opening, predicted / tracked
    correlation_best_lag: float  # the same correlation at the lag (within 0.2 s) where it is largest
    lag: float  # that lag in seconds; positive: the audio leads the video by more than the clip's offset


def mouth_shape(clip: SpeechClip, values: Array, model: FaceModel) -> tuple[Array, Array]:
    """Opening (n,) and lip landmarks (n, L, 3) of the clip's actor with jaw and speech components `values`
    (n, m), upper face neutral, pose removed.
    """
    expression = np.zeros((len(values), model.n_expression))
    expression[:, : model.n_speech] = values[:, 1:]
    opening, lips = np.zeros(len(values)), np.zeros((len(values), len(LIPS), 3))
    for rows, mesh in posed_landmarks(model, clip.track.identity, values[:, 0], expression):
        opening[rows], lips[rows] = lip_opening(mesh), mesh[:, list(LIPS)]
    return opening, lips


def lip_error(real: Array, found: Array) -> float:
    """Mean over frames of the largest squared distance between the lips of two faces, (n, L, 3) each, in
    squared model units.
    """
    return float(((real - found) ** 2).sum(-1).max(-1).mean())


def best_lag(real: Array, found: Array, rate: float, reach: float = 0.2) -> tuple[float, float]:
    """The lag in seconds, within `reach`, by which `real` (n,) must be moved to earlier times to correlate
    best with `found` (n,), and the correlation there. rate: samples per second.
    """
    times = np.arange(len(real)) / rate
    lags = np.arange(-reach, reach + 0.001, 0.02)
    scores = []
    for lag in lags:
        inside = (times + lag >= 0) & (times + lag <= times[-1])
        scores.append(np.corrcoef(np.interp(times[inside] + lag, times, real), found[inside])[0, 1])
    best = int(np.argmax(scores))
    return float(lags[best]), float(scores[best])


def measure_clip(clip: SpeechClip, values: Array, model: FaceModel) -> tuple[SpeechFigures, Array, Array]:
    """Figures of predicted `values` (n, m) against the track; and both openings (n,), tracked and
    predicted.
    """
    (opening, real), (guess, found) = (mouth_shape(clip, v, model) for v in (clip.values, values))
    mean = clip.values[clip.usable].mean(0, keepdims=True)
    _, still = mouth_shape(clip, np.repeat(mean, len(values), 0), model)
    ok = clip.usable
    lag, at_lag = best_lag(opening[ok], guess[ok], float(clip.rate))
    figures = SpeechFigures(
        float(np.corrcoef(opening[ok], guess[ok])[0, 1]),
        lip_error(real[ok], found[ok]) / lip_error(real[ok], still[ok]),
        float(guess[ok].std() / opening[ok].std()),
        at_lag,
        lag,
    )
    return figures, opening, guess


def mean_figures(rows: list[SpeechFigures]) -> dict[str, float]:
    """Mean over clips of every figure."""
    table: dict[str, Any] = {k: [asdict(r)[k] for r in rows] for k in asdict(rows[0])}
    return {k: round(float(np.mean(v)), 4) for k, v in table.items()}


def style_values(clip: SpeechClip, motion: SpeechMotion, model: FaceModel) -> Array:
    """(n, m) the clip's actor speaking `motion`, with the actor's own statistics; in silence the mean of the
    rest frames.
    """
    spoken = clip.mean + clip.scale * np.column_stack([motion.jaw, motion.expression])
    rest = clip.mean - clip.offset_from_rest
    return close_lips(
        model,
        clip.track.identity,
        rest + motion.speech_activity[:, None] * (spoken - rest),
        motion.closure,
        clip.scale,
    )
