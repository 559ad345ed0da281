"""Shot boundaries inside a clip, found on a stream of pictures one frame behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.mediapipe_models import Rgb

SIDE = 64  # pixels of the square picture on which two frames are compared
SHORT_SIDE = 128  # pixels the shorter side keeps when a picture is thinned out
FLAT = 9.0  # square of the code values below which two pictures are equally flat
CUT_FROM = 0.05  # difference of two neighbouring frames that may be a cut ...
CUT_OVER_MOTION = 4.0  # ... where it is so many times the differences before and after it
LARGE = 0.45, 1.5  # difference that no camera reaches that shakes, and the times that are enough for it
CUT_FOR_SURE = 0.8  # difference that is a cut whatever moves around it
UNSURE = 0.25  # difference that may be a cut even where everything moves
MEMORY = 8  # frames before a cut whose motion counts
FLASH_RETURNS = 0.25  # a frame is a flash where those around it differ by less than this share of the jump

Small = NDArray[np.float32]


def small_picture(rgb: Rgb) -> Small:
    """(SIDE, SIDE) the green of a picture (H, W, 3), thinned out and low-passed."""
    step = max(1, min(rgb.shape[:2]) // SHORT_SIDE)
    thin = np.ascontiguousarray(rgb[::step, ::step, 1])
    return np.asarray(cv2.resize(thin, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)


def difference(a: Small, b: Small) -> float:
    """How unlike two small pictures are, 0..2: 1 - their correlation, so that gain and offset of the light do
    not count.
    """
    x, y = a - a.mean(), b - b.mean()
    return float(1 - ((x * y).mean() + FLAT) / (np.sqrt((x * x).mean() * (y * y).mean()) + FLAT))


@dataclass(frozen=True)
class Change:
    """How a frame differs from the one before it."""

    difference: float  # 0 for the first frame
    cut: bool  # whether a shot may begin with this frame; faces have the last word, see `people`
    unsure: bool = False  # not taken for a cut, but too large to take a face for the same without looking


class CutDetector:
    """Finds cuts among pictures that come one by one; a frame is judged once the next one is known."""

    def __init__(self) -> None:
        self._before: Small | None = None  # the frame before the one that waits
        self._waiting: Small | None = None
        self._step = 0.0  # difference of these two
        self._flashed = False  # the frame before the one that waits was a flash
        self._motion: deque[float] = deque(maxlen=MEMORY)  # differences of the frames before, cuts left out

    def add(self, small: Small) -> Change | None:
        """Take the next picture, judge the one before it; None for the first."""
        if self._waiting is None:
            self._waiting = small
            return None
        step = difference(self._waiting, small)
        judged = self._judge(step, None if self._before is None else difference(self._before, small))
        self._before, self._waiting, self._step = self._waiting, small, step
        return judged

    def finish(self) -> Change:
        """Judge the last picture."""
        return self._judge(0.0, None)

    def _judge(self, after: float, around: float | None) -> Change:
        """after: difference of the waiting frame and the next. around: of those before and after it."""
        step = self._step
        if self._flashed:
            self._flashed = False  # the way back from the flash
            return Change(step, False)
        if around is not None and step > CUT_FROM and around < FLASH_RETURNS * min(step, after):
            self._flashed = True
            return Change(step, False)
        motion = max([*self._motion, after])
        times = 0.0 if step > CUT_FOR_SURE else LARGE[1] if step > LARGE[0] else CUT_OVER_MOTION
        cut = step > max(CUT_FROM, times * motion)
        if not cut:
            self._motion.append(step)
        return Change(step, cut, unsure=step > UNSURE and not cut)


def with_changes(frames: Iterable[Rgb]) -> Iterator[tuple[Rgb, Change]]:
    """Every picture (H, W, 3) with its change, one picture behind `frames`."""
    detector, waiting = CutDetector(), None
    for rgb in frames:
        change = detector.add(small_picture(rgb))
        if waiting is not None and change is not None:
            yield waiting, change
        waiting = rgb
    if waiting is not None:
        yield waiting, detector.finish()
