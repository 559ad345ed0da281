"""The light on the face against the light that the actor's texture was filmed in, and pictures brought from
one to the other.

A network that learned an actor in one light draws that light. So the frame is brought to the light of the
actor's texture before the network sees it, and the drawn picture back to the light of the frame. The gain
goes in and comes out again: an error of its measurement cancels but for what the network makes of it, so that
it is taken from each frame alone, follows a flash or a fade as they are and knows of no cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import InternalError
from visualdub.media.transfer import Curve, TransferFunction

# ---- the ratio of two lights -------------------------------------------------------------------------------

# Stops are powers of two of linear light: +1 is twice the light of the reference, -1 half of it.
DARKEST, BRIGHTEST = -12.0, 4.0  # stops; beyond, a plate of 8 bits shows nothing that could be measured
FLOOR = 2.0**-19  # linear; the smallest code of 8 bits
OUTLIER = 0.7  # stops from the median at which a pixel counts half: a hair, a highlight, a hand
CLIPPED, CLIPPED_WEIGHT = 0.96, 0.1  # share of white from which a value says only "at least", and its weight


def light_ratio(plate: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) stops from `reference` to `plate`, one for each channel.

    plate, reference: (N, 3) linear light of the same N > 0 places, 1.0 = white. The median finds what most
    places agree on, the ratio of weighted sums near it is finer than the plate's codes. Clipped values hardly
    count where there are others, and a channel of many is taken to be as bright as the one that is clipped
    least, unless it is known to be brighter.
    """
    if plate.shape != reference.shape or plate.ndim != 2 or plate.shape[1] != 3 or len(plate) == 0:
        raise InternalError(
            f"plate {plate.shape}, reference {reference.shape}; expected (N, 3) twice, N at least 1"
        )
    stops = np.log2(np.maximum(plate, FLOOR)) - np.log2(np.maximum(reference, FLOOR))
    clipped = plate > CLIPPED
    seen = np.where(clipped, np.float32(CLIPPED_WEIGHT), np.float32(1))
    middle = np.array([_weighted_median(stops[:, c], seen[:, c]) for c in range(3)], np.float32)
    weight = seen / (1 + np.square((stops - middle) / np.float32(OUTLIER)).sum(1, keepdims=True))
    sums = (weight * plate).sum(0, dtype=np.float64), (weight * reference).sum(0, dtype=np.float64)
    total = weight.sum(0, dtype=np.float64)
    ratio = np.log2(np.maximum(sums[0] / total, FLOOR) / np.maximum(sums[1] / total, FLOOR))
    lost = clipped.mean(0)
    ratio += lost * np.maximum(ratio[np.argmin(lost)] - ratio, 0)
    return np.asarray(ratio.clip(DARKEST, BRIGHTEST), np.float32)


def _weighted_median(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    order = np.argsort(values)
    rising = np.cumsum(weights[order], dtype=np.float64)
    return float(values[order[np.searchsorted(rising, rising[-1] / 2)]])


def beyond_tolerance(stops: NDArray[np.float32], tolerance: float) -> NDArray[np.float32]:
    """`stops`, 0 up to `tolerance` on either side and whole from twice of it, without a step between."""
    size = np.abs(stops)
    kept = np.minimum(size, 2 * np.maximum(size - np.float32(tolerance), 0))
    return np.asarray(np.copysign(kept, stops), np.float32)


def relit(
    rgb: NDArray[np.float32], stops: NDArray[np.float32], curve: TransferFunction
) -> NDArray[np.float32]:
    """R'G'B' (..., 3) under `stops` (3,) more light in each channel; not clipped above, negative values are
    0.
    """
    out: NDArray[np.float32] = curve.from_linear(curve.to_linear(rgb) * np.exp2(stops, dtype=np.float32))
    return out


# ---- the light of a frame ----------------------------------------------------------------------------------

AROUND = 63  # crop pixels: the mask is grown by half of this to find the skin around it
STRIDE = 3  # every third pixel of every third row is looked at
FEWEST = 64  # pixels; with fewer the light is not measured
# Stops. Within it the network has seen the light, or next to it: four actors' own clips stay below.
TOLERANCE = 0.35
HEADROOM = 1.5  # times white: the most that a network is shown


class ActorLight:
    """Measures the light on the actor's face in crops of one clip against the actor's texture.

    colours: (S, S, 3) R'G'B' by texture coordinates, NaN where nothing is known, see `Actor.colours`. curve:
    the clip's, which the texture is read with too.
    """

    def __init__(self, colours: NDArray[np.float32], curve: TransferFunction) -> None:
        self._curve = curve
        self._known = np.isfinite(colours).all(-1)
        self._linear: NDArray[np.float32] = curve.to_linear(np.nan_to_num(colours).clip(0, 1))
        self._codes = _code_values(curve.to_linear)

    def measure(
        self, crop: NDArray[np.uint8], uv: NDArray[np.float32], mask: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        """(3,) stops from the light of the texture to that of the frame; None where too little skin shows.

        crop: (s, s, 3) R'G'B'. uv: (s, s, 2) texture coordinates 0..1, -1 off the mesh. mask: (s, s) 0 or 1;
        the skin just outside it is looked at.
        """
        part = (slice(None, None, STRIDE), slice(None, None, STRIDE))
        inside = np.ascontiguousarray(mask[part] >= 0.5).view(np.uint8)
        around = cv2.dilate(inside, np.ones((AROUND // STRIDE,) * 2, np.uint8))
        where = (around > inside) & (uv[part][..., 0] >= 0)
        size = np.array([self._linear.shape[1], self._linear.shape[0]])
        columns, rows = (uv[part][where] * size).astype(np.int64).clip(0, size - 1).T
        known = self._known[rows, columns]
        if int(known.sum()) < FEWEST:
            return None
        return light_ratio(self._codes[crop[part][where][known]], self._linear[rows[known], columns[known]])

    def normalised(self, crop: NDArray[np.uint8], stops: NDArray[np.float32]) -> NDArray[np.float32]:
        """The crop in the light of the texture, code values 0 .. 255 * `HEADROOM`, not rounded.

        crop: (s, s, 3) R'G'B'. stops: (3,) from the light of the texture to that of the frame.
        """
        codes = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
        table = relit(np.repeat(codes, 3, 1), -stops, self._curve).clip(0, HEADROOM) * np.float32(255)
        return np.stack([table[:, c][crop[..., c]] for c in range(3)], -1)


def _code_values(curve: Curve) -> NDArray[np.float32]:
    """(256,) linear light of the codes of 8 bits."""
    return curve(np.arange(256, dtype=np.float32) / np.float32(255))


# ---- what is said of it ------------------------------------------------------------------------------------

REPORTED, REPORTED_TINT = 1.0, 0.5  # stops of all channels together, and of one against the others
JOINED = 5  # frames; runs that are as near to each other are reported as one
MOST_RUNS = 4  # in one note
NAMES = ("red", "green", "blue")


@dataclass
class _Run:
    start: int
    end_exclusive: int
    level: float  # stops of the frame that is furthest
    tint: NDArray[np.float32]  # (3,) stops of the frame that is furthest


@dataclass
class LightReport:
    """Which frames' light leaves what the actor was adapted on, and how far; add the frames in order."""

    _runs: list[_Run] = field(default_factory=list)

    def add(self, number: int, stops: NDArray[np.float32] | None) -> None:
        """Take frame `number` of the clip. stops: (3,), as `ActorLight.measure` gives them."""
        if stops is None:
            return
        level = float(stops.mean())
        tint = np.asarray(stops - stops.mean(), np.float32)
        if abs(level) < REPORTED and float(np.abs(tint).max()) < REPORTED_TINT:
            return
        if not self._runs or number > self._runs[-1].end_exclusive + JOINED:
            self._runs.append(_Run(number, number + 1, level, tint))
            return
        run = self._runs[-1]
        run.end_exclusive = number + 1
        run.level = max(run.level, level, key=abs)
        run.tint = max(run.tint, tint, key=lambda t: float(np.abs(t).max()))

    def notes(self) -> list[str]:
        """One line that names the frames, half open, and how far their light is away; empty where none is."""
        if not self._runs:
            return []
        parts = [f"frames {r.start}:{r.end_exclusive} {_distance(r)}" for r in self._runs[:MOST_RUNS]]
        more = sum(r.end_exclusive - r.start for r in self._runs[MOST_RUNS:])
        if more:
            parts.append(f"and up to {more} frames after them")
        return [f"the light is not the one that the actor was adapted in: {'; '.join(parts)}; look at them"]


def _distance(run: _Run) -> str:
    """How far a run's light is away, in words."""
    parts = []
    if abs(run.level) >= REPORTED:
        parts.append(f"up to {abs(run.level):.1f} stops {'darker' if run.level < 0 else 'brighter'}")
    channel = int(np.argmax(np.abs(run.tint)))
    if abs(run.tint[channel]) >= REPORTED_TINT:
        sign = "more" if run.tint[channel] > 0 else "less"
        parts.append(f"up to {abs(run.tint[channel]):.1f} stops {sign} {NAMES[channel]}")
    return " and ".join(parts)
