"""A filmed voice actor's mouth as the motion of another actor: from the driver's own rest and range to the
actor's.

Times are seconds after the first frame of the driver's movie, by the clock of its sound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from visualdub.arrays import smoothstep
from visualdub.edit.shot import DialogueCue, Shot
from visualdub.errors import BadInput, NoFace
from visualdub.face.models import FaceModel
from visualdub.face.track import Track
from visualdub.speech.activity import STEP_RATE, fill_gaps, mouth_activity, speech_activity_envelope
from visualdub.speech.closure import lip_offsets
from visualdub.speech.performance import (
    AS_PREDICTED,
    EASE_SECONDS,
    PerformanceAdjustments,
    frames_to,
)
from visualdub.speech.predict import SpeechMotion
from visualdub.speech.style import SpeechStyle, fit_style, rest_of, speech_parameters

Array = NDArray[np.float64]

MOST_RATIO = 2.0  # by which a motion is made larger or smaller; a range beyond it is badly measured
LONGEST_MISS_S = 0.12  # frames in which the driver is lost for so long are bridged
# Gap between the lips over rest, as a share of the driver's mean gap over rest while speaking: the lips touch
# up to the first, and are apart from the second on.
TOUCHING, APART = 0.08, 0.2
SLACK_S = 1e-6  # of times that should be equal
LENGTHS_DIFFER_S = 0.1  # seconds by which a recording and the driver's movie may differ without a note


# ---- the driver --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DriverMouth:
    """The mouth of a filmed voice actor in n frames of a movie: curves alone, nothing of the pictures.

    m = 1 + n_speech mouth parameters as `SpeechStyle` has them. A gap is the mean distance between the inner
    lips, downwards, in distances between the outer eye corners; it is below 0 where the lips overlap.
    """

    path: Path
    hash: str  # of the movie's bytes, for the record
    times_s: Array  # (n,) when each frame comes on screen, ascending
    start_s: float  # from when on they are played: the first of them, or a cue's in point
    end_s: float  # up to when: the last of them leaves the screen, or a cue ends
    movie_s: float  # the length of the whole movie
    values: Array  # (n, m); interpolated where the driver is not visible
    visible: NDArray[np.bool_]  # (n,) whether this person's mouth is seen
    active: NDArray[np.bool_]  # (n,) whether it moves or is held open
    gap: Array  # (n,)
    style: SpeechStyle  # the driver's own
    rest: Array  # (m,) the driver's closed mouth
    rest_gap: float
    speaking_gap: float  # mean while speaking
    face_model: str
    people: int = 1  # seen in the movie, the driver included

    def __len__(self) -> int:
        return len(self.times_s)


def driver_mouth(
    path: Path,
    track: Track,
    times_s: Array,
    hidden: NDArray[np.bool_] | None = None,
    movie_s: float | None = None,
) -> DriverMouth:
    """The mouth of the person in `track`, whose n frames of the movie `path` come on screen at `times_s`.

    hidden: (n,) True where something covers the mouth. movie_s: the movie's length where it is more than the
    track. Raises `NoFace` where the mouth is visible in no frame, `BadInput` for a track of a face model that
    the speech model was not made for.
    """
    style, model = fit_style(track), track.model
    visible = track.usable if hidden is None else track.usable & ~hidden
    values = speech_parameters(track, len(style.mean))
    visible = visible & np.isfinite(values).all(1)
    period = 1 / float(track.rate)
    if not visible.any():
        raise NoFace(
            f"{path}: the driver's mouth is seen in none of {len(track)} frames; expected one at least"
        )
    frames = np.arange(len(track))
    values = np.column_stack([np.interp(frames, frames[visible], c[visible]) for c in values.T])
    gap = lip_gap(model, track.identity, values)
    rest = rest_of(values[visible], gap[visible])
    mean = np.array(style.mean)
    rest_gap, speaking_gap = lip_gap(model, track.identity, np.stack([rest, mean]))
    bridged = fill_gaps(visible, round(LONGEST_MISS_S / period))
    return DriverMouth(
        path,
        track.source_hash,
        times_s,
        float(times_s[0]),
        float(times_s[-1] + period),
        movie_s or float(times_s[-1] + period),
        values,
        bridged,
        mouth_activity(track) & visible,
        gap,
        style,
        rest,
        float(rest_gap),
        float(speaking_gap),
        track.face_model,
        people=len({face.person for face in track.faces}) or 1,
    )


def lip_gap(model: FaceModel, identity: Array, values: Array) -> Array:
    """(n,) the gap between the inner lips of mouths `values` (n, m), as `DriverMouth` has it. identity: (V,
    3) neutral mesh.
    """
    return np.asarray(lip_offsets(model, identity, values)[..., 0].mean(1))


# ---- the driver's mouth in the actor's numbers -------------------------------------------------------------


@dataclass(frozen=True)
class DrivenMotion:
    """The motion of an actor that does what a driver does, at the driver's n frames."""

    driver: DriverMouth
    motion: SpeechMotion  # in units of the actor's style

    def placed(self, cue: DialogueCue) -> DrivenMotion:
        """The same by the clock of the shot that `cue`, a piece of the driver's movie or of a recording in
        step with it, is laid into; what the cue leaves out is not visible.
        """
        driver, start_s = self.driver, float(cue.in_point_s)
        end_s = driver.end_s if cue.duration_s is None else start_s + float(cue.duration_s)
        shift_s = float(cue.place_s) - start_s
        placed = replace(
            driver,
            times_s=driver.times_s + shift_s,
            start_s=max(driver.start_s, start_s) + shift_s,
            end_s=min(driver.end_s, end_s) + shift_s,
        )
        return replace(self, driver=placed)

    def weight(self, times_s: Array, rate: Fraction) -> Array:
        """(k,) how much the driver decides at k frames, `rate` a second, that are shown at `times_s`: 1 where
        the driver is visible, 0 where not, with edges of EASE_SECONDS inside the visible frames.

        Where the shot begins or ends within the visible frames there is no edge.
        """
        driver = self.driver
        inside = (times_s > driver.start_s - SLACK_S) & (times_s < driver.end_s - SLACK_S)
        seen = np.interp(times_s, driver.times_s, driver.visible.astype(float)) > 1 - 1e-3
        ease = max(1, round(EASE_SECONDS * float(rate)))
        return smoothstep(frames_to(~(inside & seen)) / (ease + 1.0))

    def over(self, spoken: SpeechMotion, times_s: Array, rate: Fraction) -> SpeechMotion:
        """`spoken` (k frames, `rate` a second, shown at `times_s`) with the driver's mouth in its place where
        the driver is visible.
        """
        weight = self.weight(times_s, rate)
        if not weight.any():
            return spoken
        driven = self.at(times_s, rate)

        def mixed(driven: Array, spoken: Array, weight: Array) -> Array:
            return np.asarray(np.where(weight > 0, weight * driven, 0) + (1 - weight) * spoken)

        return SpeechMotion(
            mixed(driven.jaw, spoken.jaw, weight),
            mixed(driven.expression, spoken.expression, weight[:, None]),
            mixed(driven.speech_activity, spoken.speech_activity, weight),
            mixed(driven.closure, spoken.closure, weight),
            None if spoken.parted is None else (1 - weight) * spoken.parted,
        )

    def at(self, times_s: Array, rate: Fraction) -> SpeechMotion:
        """The motion at `times_s` (k,) of frames at `rate` a second, interpolated in time; held outside the
        driver's frames.

        Lips that touch in any frame of the driver touch in the frame that is shown at the same time, whatever
        the two rates.
        """
        own = self.driver.times_s
        times = np.clip(times_s, own[0], own[-1])
        values = np.column_stack([self.motion.jaw, self.motion.expression, self.motion.speech_activity])
        values = PchipInterpolator(own, values)(times) if len(own) > 1 else values.repeat(len(times), 0)
        closure = np.interp(times, own, self.motion.closure)
        period = max(1 / float(rate), float(np.diff(own).min()) if len(own) > 1 else 0.0)
        first, last = (np.searchsorted(own, times + side * period / 2) for side in (-1 + 1e-6, 1 + 1e-6))
        for k in np.flatnonzero(last > first):
            closure[k] = max(closure[k], self.motion.closure[first[k] : last[k]].max())
        return SpeechMotion(values[:, 0], values[:, 1:-1], np.clip(values[:, -1], 0, 1), closure)


def retarget(
    driver: DriverMouth, model: FaceModel, identity: Array, style: SpeechStyle, rest: Array
) -> DrivenMotion:
    """The driver's mouth as the motion of an actor.

    model, identity (V, 3): the actor's face. rest: (m,) the actor's closed mouth. The way from the driver's
    rest is taken from the actor's, all parameters in one ratio: that in which the lips' gap would vary more
    than the driver's if each parameter went from the driver's standard deviation to the actor's. With a ratio
    for each parameter the mouth would have other shapes than the driver's. Raises `BadInput` where driver and
    actor are of different face models.
    """
    if driver.face_model != model.name or len(driver.rest) != len(style.mean):
        raise BadInput(
            f"{driver.path}: tracked with {driver.face_model}, {len(driver.rest)} mouth parameters; the actor"
            f" has {model.name}, {len(style.mean)}"
        )
    mean, scale = np.array(style.mean), np.array(style.scale)
    way = driver.values - driver.rest
    each = np.clip(scale / np.array(driver.style.scale), 1 / MOST_RATIO, MOST_RATIO)
    moving = driver.active if driver.active.any() else driver.visible
    gap = lip_gap(model, identity, rest + each * way)
    ratio = gap[moving].std() / max(float(driver.gap[moving].std()), 1e-6)
    values = rest + ratio * way
    z = (values - mean) / scale
    share = (driver.gap - driver.rest_gap) / max(driver.speaking_gap - driver.rest_gap, 1e-6)
    closure = smoothstep((APART - share) / (APART - TOUCHING)) * driver.visible
    return DrivenMotion(driver, SpeechMotion(z[:, 0], z[:, 1:], _activity(driver), closure))


def _activity(driver: DriverMouth) -> Array:
    """(n,) 1 where the driver's mouth is active, 0 where it rests, with the soft edges of speech between."""
    steps = np.arange(driver.times_s[0], driver.end_s, 1 / STEP_RATE)
    active = np.interp(steps, driver.times_s, driver.active.astype(float))
    return np.interp(driver.times_s, steps, speech_activity_envelope(active))


# ---- what a dub takes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DrivenMouth:
    """A mouth that a filmed voice actor moves, and what an artist changes of it."""

    driver: DriverMouth
    adjustments: PerformanceAdjustments = AS_PREDICTED

    @property
    def gain(self) -> float:
        """As in `PerformanceAdjustments`."""
        return self.adjustments.gain

    def describe(self) -> str:
        """Where the mouth comes from, for the report."""
        driven = f"driven by {self.driver.path.name}"
        changed = self.adjustments.describe().replace("predicted", "filmed")
        return driven if self.adjustments == AS_PREDICTED else f"{driven}, {changed}"


# ---- what there is to say ----------------------------------------------------------------------------------


def driver_notes(heard_s: float, shot: Shot, driven: DrivenMotion) -> list[str]:
    """What the user should know of a driver: how many frames show the mouth, how long movie and dialogue
    are, and whether there was a choice of people. heard_s: seconds of sound from the shot's first frame on.
    """
    driver, cue = driven.driver, shot.cues[0]
    decides = driven.weight(shot.part.frame_times(), shot.rate) > 0.5
    notes = [f"{driver.path.name} drives the mouth in {int(decides.sum())} of {len(decides)} frames"]
    if not decides.all():
        notes[0] += "; it is predicted from the sound where the driver's mouth is not visible"
    sound_s = heard_s + float(cue.in_point_s - cue.place_s)
    if cue.recording != driver.path and abs(sound_s - driver.movie_s) > LENGTHS_DIFFER_S:
        notes.append(
            f"{cue.recording.name} is {sound_s:.2f} s long and {driver.path.name} {driver.movie_s:.2f} s;"
            " expected one length, the mouth and the sound start together"
        )
    if driver.people > 1:
        notes.append(
            f"{driver.path.name} shows {driver.people} people; --driver-face chooses the one who drives"
        )
    return notes
