"""Measures of a predicted mouth against the tracked one: opening and lip vertices, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.speech.clips import SpeechClip
from visualdub.face.landmarks import LIPS, lip_opening
from visualdub.face.models import FaceModel, posed_landmarks
from visualdub.speech.closure import close_lips, part_lips
from visualdub.speech.performance import PARTED
from visualdub.speech.phones import PhoneSpan
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


# ---- closures ----------------------------------------------------------------------------------------------

CLOSED_SHARE = 0.2  # of the real mouth's median opening: below it lips count as closed
SLACK_S = 0.04  # a closure this far from a bilabial still belongs to it: times of phones are no better


@dataclass(frozen=True)
class ClosureCounts:
    """The closures of a mouth beside the bilabials (p, b, m) that were spoken; sums over clips by `+`."""

    bilabials: int = 0
    closed: int = 0  # of them, in which the lips touch
    closures: int = 0  # stretches of frames with speech in which the lips touch
    right: int = 0  # of them, at a bilabial
    frames: int = 0  # with speech
    touching: int = 0  # of them, in which the lips touch
    spoken: int = 0  # of them, within a bilabial

    def __add__(self, other: ClosureCounts) -> ClosureCounts:
        return ClosureCounts(**{k: v + getattr(other, k) for k, v in asdict(self).items()})

    @property
    def recall(self) -> float:
        """The share of the bilabials in which the lips touch; NaN where none were spoken."""
        return self.closed / self.bilabials if self.bilabials else float("nan")

    @property
    def precision(self) -> float:
        """The share of the closures that are at a bilabial; NaN where there are none."""
        return self.right / self.closures if self.closures else float("nan")

    @property
    def f1(self) -> float:
        """The harmonic mean of recall and precision; NaN where either is."""
        return 2 / (1 / self.recall + 1 / self.precision) if self.closed and self.right else float("nan")


def count_closures(
    opening: Array,
    closed_below: float,
    times: Array,
    speech: Sequence[PhoneSpan],
    bilabials: Sequence[PhoneSpan],
) -> ClosureCounts:
    """The closures of a mouth `opening` (n,) at `times` (n,) in seconds, ascending.

    closed_below: opening under which the lips touch. speech: the phones that are spoken, without pauses;
    bilabials: those of them in which lips touch. A bilabial counts where it lies within the times, as closed
    where the lips touch in it or at most half a frame outside it; a closure counts as right at most SLACK_S
    outside one.
    """
    half = float(np.median(np.diff(times))) / 2 if len(times) > 1 else 0.0
    inside = [p for p in bilabials if times[0] <= p.start and p.end <= times[-1]]
    touches, spoken, at, near = opening < closed_below, *np.zeros((3, len(times)), bool)
    for spans, mask, slack in ((speech, spoken, 0.0), (bilabials, at, 0.0), (bilabials, near, SLACK_S)):
        for p in spans:
            mask |= (times >= p.start - slack) & (times <= p.end + slack)
    edges = np.flatnonzero(np.diff(np.pad(touches & spoken, 1).astype(int)))
    stretches = list(zip(edges[::2], edges[1::2], strict=True))
    return ClosureCounts(
        len(inside),
        sum(bool(touches[(times >= p.start - half) & (times <= p.end + half)].any()) for p in inside),
        len(stretches),
        sum(bool(near[a:b].any()) for a, b in stretches),
        int(spoken.sum()),
        int((touches & spoken).sum()),
        int((at & spoken).sum()),
    )


# ---- the mouth of a clip -----------------------------------------------------------------------------------


def style_values(clip: SpeechClip, motion: SpeechMotion, model: FaceModel) -> Array:
    """(n, m) the clip's actor speaking `motion`, with the actor's own statistics; in silence the mean of the
    rest frames.
    """
    spoken = clip.mean + clip.scale * np.column_stack([motion.jaw, motion.expression])
    rest = clip.mean - clip.offset_from_rest
    values = rest + motion.speech_activity[:, None] * (spoken - rest)
    values = close_lips(model, clip.track.identity, values, motion.closure, clip.scale)
    if motion.parted is None:
        return values
    return part_lips(model, clip.track.identity, values, motion.parted, PARTED, clip.scale)
