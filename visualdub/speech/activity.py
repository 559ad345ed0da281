"""Speech activity of the dialogue, mouth activity of the filmed actor.

Both are series over time: that of the dialogue at STEP_RATE, mouth activity at the clip's frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening, convolve1d, maximum_filter1d, minimum_filter1d

from visualdub.face.landmarks import lip_opening
from visualdub.face.track import Track

# ---- speech activity ---------------------------------------------------------------------------------------

STEP_RATE = 50  # scores of the speech model per second
SPEECH_THRESHOLD = 0.3  # a step with a higher score is speech
# Speakers do not close their lips in shorter pauses: at 0.24 s the correlation of the opening fell by 0.1.
GAP_SECONDS = 0.5
BURST_SECONDS = 0.08  # a shorter sound is a click, not speech
# From rest to speech and back: lips part well before the first sound; 0.2 s cost 0.08 of the lip error.
EDGE_SECONDS = 0.8


def fill_gaps(active: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    """Join stretches of True that are at most `longest` samples apart. (n,) -> (n,)."""
    if longest < 1:
        return active
    padded = np.pad(active, longest + 1)
    return np.asarray(
        binary_closing(padded, np.ones(longest + 1, bool))[longest + 1 : len(padded) - longest - 1]
    )


def drop_bursts(active: NDArray[np.bool_], shortest: int) -> NDArray[np.bool_]:
    """Remove stretches of True that are shorter than `shortest` samples. (n,) -> (n,)."""
    return np.asarray(binary_opening(active, np.ones(max(shortest, 1), bool))) if len(active) else active


def speech_activity_envelope(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """How much the speech drives the mouth: 1 in speech, exactly 0 in silence, raised-cosine edges between.

    scores: (n,) of speech activity in 0..1, at STEP_RATE. Returns (n,). The edges lie outside the speech, so
    that the mouth is already fully driven at the first sound and still is at the last.
    """
    active = drop_bursts(np.asarray(scores) > SPEECH_THRESHOLD, round(BURST_SECONDS * STEP_RATE))
    if not len(active):
        return np.zeros(0)
    active = fill_gaps(active, round(GAP_SECONDS * STEP_RATE))
    half = round(EDGE_SECONDS * STEP_RATE / 2)
    window = np.hanning(2 * half + 3)[1:-1]
    grown = _grow(active, half).astype(np.float64)
    smooth = convolve1d(grown, window / window.sum(), mode="nearest")
    return np.asarray(np.clip(np.round(smooth, 9), 0.0, 1.0))  # rounded, so that full speech is exactly 1


def _grow(active: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Lengthen every stretch of True by `by` samples on both sides. (n,) -> (n,)."""
    return np.asarray(np.convolve(np.pad(active, by), np.ones(2 * by + 1), "valid") > 0.5)


# ---- mouth activity ----------------------------------------------------------------------------------------

WINDOW_SECONDS = 0.4  # the range of the opening is taken over this time
# The rest are in distances between the outer eye corners.
ACTIVE_RANGE = 0.04  # a still mouth stays below this range; the landmarks' own noise is about 0.01
OPEN_MOUTH = 0.12  # a mouth that is open this far is not at rest, however still it is held
BLOCK = 1024  # frames whose landmarks are in memory in double precision at once


def tracked_opening(track: Track) -> NDArray[np.float64]:
    """(n,) inner-lip opening of every frame, in distances between the outer eye corners.

    Frames without landmarks are interpolated linearly; all are 0 where no frame has landmarks.
    """
    blocks = range(0, max(len(track), 1), BLOCK)
    opening = np.concatenate([lip_opening(track.landmarks[i : i + BLOCK].astype(np.float64)) for i in blocks])
    measured = np.isfinite(opening)
    if not measured.any():
        return np.zeros(len(track))
    return np.interp(np.arange(len(opening)), np.flatnonzero(measured), opening[measured])


def mouth_activity(track: Track) -> NDArray[np.bool_]:
    """(n,) True where the actor's mouth moves or is held open, every shot looked at by itself; False in
    frames without a usable face.
    """
    if track.cuts:
        return np.concatenate([mouth_activity(track.span(shot)) for shot in track.shots])
    opening = tracked_opening(track)
    size = 2 * round(float(track.rate) * WINDOW_SECONDS / 2) + 1
    highest, lowest = (f(opening, size, mode="nearest") for f in (maximum_filter1d, minimum_filter1d))
    return np.asarray(((highest - lowest > ACTIVE_RANGE) | (opening > OPEN_MOUTH)) & track.usable)
