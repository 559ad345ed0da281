"""Where the dialogue speaks and where the actor's mouth moves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening, convolve1d, maximum_filter1d, minimum_filter1d

from visualdub.face.landmarks import lip_opening
from visualdub.face.track import Track

# ---- speech activity ---------------------------------------------------------------------------------------

STEP_RATE = 50  # scores per second
ON = 0.3  # score above which a step is speech
GAP_SECONDS = (
    0.5  # speakers do not close their lips in shorter pauses: at 0.24 the correlation of opening fell by 0.1
)
BURST_SECONDS = 0.08  # a shorter sound is a click, not speech
TOUCH = (0.16, 0.32)  # scores of touching lips between which they close
EDGE_SECONDS = (
    0.8  # from rest to speech and back: lips part well before the first sound; 0.2 cost 0.08 of the lip error
)


def fill_gaps(active: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    """Join stretches of True that are at most `longest` apart. (n,) -> (n,)."""
    if longest < 1:
        return active
    padded = np.pad(active, longest + 1)
    return np.asarray(
        binary_closing(padded, np.ones(longest + 1, bool))[longest + 1 : len(padded) - longest - 1]
    )


def drop_bursts(active: NDArray[np.bool_], shortest: int) -> NDArray[np.bool_]:
    """Remove stretches of True shorter than `shortest`. (n,) -> (n,)."""
    return np.asarray(binary_opening(active, np.ones(max(shortest, 1), bool))) if len(active) else active


def voice_envelope(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Scores (n,) at STEP_RATE -> (n,) in 0..1: 1 in speech, exactly 0 in silence, raised-cosine edges.

    The edge lies outside the speech, so that the first and last sounds are drawn in full.
    """
    active = drop_bursts(np.asarray(scores) > ON, round(BURST_SECONDS * STEP_RATE))
    if not len(active):
        return np.zeros(0)
    active = fill_gaps(active, round(GAP_SECONDS * STEP_RATE))
    half = round(EDGE_SECONDS * STEP_RATE / 2)
    window = np.hanning(2 * half + 3)[1:-1]
    grown = _grow(active, half).astype(np.float64)
    return np.asarray(
        np.clip(np.round(convolve1d(grown, window / window.sum(), mode="nearest"), 9), 0.0, 1.0)
    )  # 1 is 1


def contact_envelope(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Scores (n,) at STEP_RATE that the lips touch -> (n,) in 0..1 how far they are brought together: 0 up to
    TOUCH[0], 1 from TOUCH[1] on. Lips that nearly touch look like a lisp, so there is little between.
    """
    x = np.clip((np.asarray(scores, np.float64) - TOUCH[0]) / (TOUCH[1] - TOUCH[0]), 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def _grow(active: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Lengthen every stretch of True by `by` on both sides. (n,) -> (n,)."""
    return np.asarray(np.convolve(np.pad(active, by), np.ones(2 * by + 1), "valid") > 0.5)


# ---- mouth activity ----------------------------------------------------------------------------------------

WINDOW_SECONDS = 0.4  # the range of the opening is taken over this long
RANGE = 0.04  # of the eye distance: a still mouth stays below, measured noise of the landmarks is about 0.01
BLOCK = 1024  # frames whose landmarks are held in double precision at once
OPEN = 0.12  # of the eye distance: a mouth open this far does not rest, however still it is held


def tracked_opening(track: Track) -> NDArray[np.float64]:
    """(n,) inner-lip opening over eye distance; gaps without landmarks bridged linearly, 0 where there are
    none at all.
    """
    blocks = range(0, max(len(track), 1), BLOCK)
    opening = np.concatenate([lip_opening(track.landmarks[i : i + BLOCK].astype(np.float64)) for i in blocks])
    seen = np.isfinite(opening)
    if not seen.any():
        return np.zeros(len(track))
    return np.interp(np.arange(len(opening)), np.flatnonzero(seen), opening[seen])


def mouth_moving(track: Track) -> NDArray[np.bool_]:
    """(n,) True where the actor's mouth moves or is held open. False where no face was found."""
    opening = tracked_opening(track)
    size = 2 * round(float(track.rate) * WINDOW_SECONDS / 2) + 1
    spread = maximum_filter1d(opening, size, mode="nearest") - minimum_filter1d(opening, size, mode="nearest")
    return np.asarray(((spread > RANGE) | (opening > OPEN)) & track.usable)
