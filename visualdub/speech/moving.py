"""Where the actor's own mouth moves, seen in the tracked landmarks alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from visualdub.face.landmarks import lip_opening
from visualdub.face.track import Track

WINDOW_SECONDS = 0.4  # the range of the opening is taken over this long
RANGE = 0.04  # of the eye distance: a still mouth stays below, measured noise of the landmarks is about 0.01
OPEN = 0.12  # of the eye distance: a mouth open this far does not rest, however still it is held


def tracked_opening(track: Track) -> NDArray[np.float64]:
    """(n,) inner-lip opening over eye distance; gaps without landmarks bridged linearly, 0 where there are none at all."""
    opening = lip_opening(track.landmarks.astype(np.float64))
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
