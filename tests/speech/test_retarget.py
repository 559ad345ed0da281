"""A driver's mouth in an actor's numbers, on synthetic tracks: in time, at any rate, with lips that touch."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from speech_scene import scene_track

from visualdub.edit import DialogueCue
from visualdub.errors import BadInput, NoFace
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.face.track import Track
from visualdub.speech.performance import PerformanceAdjustments, blend_performance
from visualdub.speech.predict import SpeechMotion
from visualdub.speech.retarget import (
    DrivenMotion,
    DrivenMouth,
    DriverMouth,
    driver_mouth,
    lip_gap,
    retarget,
)
from visualdub.speech.style import SpeechStyle

MODEL = face_model(DEFAULT_FACE_MODEL)
N = MODEL.n_speech
MOVIE, PAL = Path("voice_actor.mp4"), Fraction(25)
REST = np.array([0.02, *[0.1] * N])
STYLE = SpeechStyle((0.09, *[0.1] * N), (0.03, *[0.3] * N), 9.0, DEFAULT_FACE_MODEL)


def talking(t: np.ndarray) -> np.ndarray:
    """A mouth that closes every half second, at 0.25 s, 0.75 s, ... ."""
    return 0.15 * (1 + np.sin(4 * np.pi * t)) * (1 + 0.3 * np.sin(1.3 * t))


def driver_track(rate: Fraction, seconds: float, usable: np.ndarray | None = None) -> Track:
    times = np.arange(int(seconds * rate)) / float(rate)
    track = scene_track(talking(times), rate, usable)
    return replace(track, expression=np.zeros_like(track.expression))  # the jaw alone opens the mouth


def driver_of(rate: Fraction, seconds: float, usable: np.ndarray | None = None) -> DriverMouth:
    track = driver_track(rate, seconds, usable)
    return driver_mouth(MOVIE, track, np.arange(len(track)) / float(rate))


def driven_of(rate: Fraction = PAL, seconds: float = 4.0, usable: np.ndarray | None = None) -> DrivenMotion:
    return retarget(driver_of(rate, seconds, usable), MODEL, MODEL.template, STYLE, REST)


def silence(count: int) -> SpeechMotion:
    return SpeechMotion(np.zeros(count), np.zeros((count, N)), np.zeros(count), np.zeros(count))


def table(motion: SpeechMotion) -> np.ndarray:
    return np.column_stack([motion.jaw, motion.expression, motion.speech_activity, motion.closure])


def gap_of(values: np.ndarray) -> np.ndarray:
    return lip_gap(MODEL, MODEL.template, values)


# ---- from face to face -------------------------------------------------------------------------------------


def test_rest_goes_to_rest_and_the_range_to_the_actors() -> None:
    driver = driver_of(PAL, 4.0)
    values = STYLE.apply(retarget(driver, MODEL, MODEL.template, STYLE, REST).motion)
    at_rest = int(np.abs(driver.values - driver.rest).max(1).argmin())
    assert values[at_rest] == pytest.approx(REST, abs=0.02)
    assert np.corrcoef(gap_of(values), driver.gap)[0, 1] > 0.999
    small = replace(STYLE, scale=(0.02, *[0.3] * N))  # two thirds as lively
    smaller = small.apply(retarget(driver, MODEL, MODEL.template, small, REST).motion)
    assert np.ptp(smaller[:, 0]) / np.ptp(values[:, 0]) == pytest.approx(2 / 3, rel=0.05)


def test_a_range_that_is_hardly_there_is_not_blown_up() -> None:
    driver = driver_of(PAL, 4.0)
    lively = replace(STYLE, scale=(0.5, *[0.3] * N))
    values = lively.apply(retarget(driver, MODEL, MODEL.template, lively, REST).motion)
    assert np.ptp(values[:, 0]) / np.ptp(driver.values[:, 0]) == pytest.approx(2.0, rel=0.1)


def test_lips_that_touch_in_the_driver_touch_in_the_actor_and_no_others() -> None:
    driver, driven = driver_of(PAL, 4.0), driven_of()
    clip = scene_track(0.1 + 0.08 * np.sin(np.arange(100)))
    spoken = driven.over(silence(100), np.arange(100) / 25, PAL)
    done = blend_performance(clip, spoken, STYLE, REST[0], REST[1:])
    gap = gap_of(np.column_stack([done.jaw, done.expression[:, :N]]))
    share = (driver.gap - driver.rest_gap) / (driver.speaking_gap - driver.rest_gap)
    assert (share < 0.02).sum() >= 4
    assert np.abs(gap[share < 0.02]).max() < 0.004
    assert gap[share > 0.3].min() > 0.03


def test_a_track_of_another_face_model_is_refused() -> None:
    with pytest.raises(BadInput, match=r"voice_actor\.mp4: tracked with other-1, .* the actor has face468-1"):
        retarget(replace(driver_of(PAL, 1.0), face_model="other-1"), MODEL, MODEL.template, STYLE, REST)


def test_a_mouth_that_is_always_covered_is_refused() -> None:
    track = driver_track(PAL, 1.0)
    with pytest.raises(NoFace, match=r"voice_actor\.mp4: the driver's mouth is seen in none of 25 frames"):
        driver_mouth(MOVIE, track, np.arange(25) / 25, np.ones(25, bool))


# ---- in time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), Fraction(30), Fraction(50)])
def test_curves_are_resampled_in_time(rate: Fraction) -> None:
    times = np.arange(100) / 25
    driven, same = driven_of(rate, 5.0), driven_of(PAL, 5.0)
    fit = np.corrcoef(driven.at(times, PAL).jaw, same.at(times, PAL).jaw)[0, 1]
    by_index = np.corrcoef(driven.motion.jaw[:100], same.motion.jaw[:100])[0, 1]
    assert fit > 0.999
    if rate in (24, 30, 50):
        assert by_index < 0.9


@pytest.mark.parametrize(("driver_rate", "rate"), [(24, 25), (25, 24), (60, 24), (25, 60)])
def test_a_closure_of_one_frame_is_not_lost_between_two_rates(driver_rate: int, rate: int) -> None:
    driven = driven_of(Fraction(driver_rate), 3.0)
    closed = [7, 23, 41]
    once = np.zeros(len(driven.driver))
    once[closed] = 1
    driven = replace(driven, motion=replace(driven.motion, closure=once))
    times = np.arange(3 * rate - 2) / rate
    found = times[driven.at(times, Fraction(rate)).closure == 1]
    for frame in closed:
        assert np.abs(found - frame / driver_rate).min() <= 0.5 / min(rate, driver_rate) + 1e-6
    assert len(found) <= 3 * -(-rate // driver_rate) + 1


def test_a_cue_places_the_mouth_with_its_sound() -> None:
    driven = driven_of()
    times = np.arange(60) / 25
    cue = DialogueCue(MOVIE, in_point_s=Fraction(1, 2), place_s=Fraction(1, 5), duration_s=Fraction(2))
    placed = driven.placed(cue)
    assert placed.at(times, PAL).jaw[10] == pytest.approx(driven.at(times + 0.3, PAL).jaw[10])
    heard = placed.weight(times, PAL) > 0
    assert np.flatnonzero(heard)[[0, -1]].tolist() == [5, 54]  # 0.2 s up to 2.2 s
    assert driven.placed(DialogueCue(MOVIE)).weight(times, PAL) == pytest.approx(np.ones(60))


# ---- where the driver is not visible -----------------------------------------------------------------------


def test_speech_fills_where_the_driver_is_not_visible_without_a_jump() -> None:
    usable = np.ones(100, bool)
    usable[40:60] = False
    driven = driven_of(usable=usable)
    times = np.arange(130) / 25  # longer than the driver's movie
    spoken = replace(silence(130), jaw=np.full(130, 2.5), speech_activity=np.ones(130))
    done, weight = driven.over(spoken, times, PAL), driven.weight(times, PAL)
    filled = np.zeros(130, bool)
    filled[40:60] = filled[100:] = True
    assert (table(done)[filled] == table(spoken)[filled]).all()
    assert np.flatnonzero(weight == 0).tolist() == np.flatnonzero(filled).tolist()
    assert (weight[:35] == 1).all() and (weight[65:95] == 1).all()
    assert np.abs(np.diff(weight)).max() < 0.26  # five frames of ease
    alone = driven.at(times, PAL)
    assert table(done)[:35] == pytest.approx(table(alone)[:35])
    largest = max(np.abs(np.diff(alone.jaw)).max(), 0.26 * np.abs(alone.jaw - 2.5).max())
    assert np.abs(np.diff(done.jaw)).max() < 1.5 * largest


def test_a_short_miss_is_bridged() -> None:
    usable = np.ones(100, bool)
    usable[40:43] = False
    driver = driver_of(PAL, 4.0, usable)
    assert driver.visible.all() and np.isfinite(driver.values).all()
    assert driver.values[41] == pytest.approx((driver.values[39] + driver.values[43]) / 2)
    usable[40:44] = False
    assert not driver_of(PAL, 4.0, usable).visible[40:44].any()


def test_a_driver_at_rest_leaves_the_mouth_to_rest() -> None:
    times = np.arange(200) / 25
    opening = np.where(times > 5, talking(times), 0.0)
    track = scene_track(opening)
    driven = retarget(driver_mouth(MOVIE, track, times), MODEL, MODEL.template, STYLE, REST)
    assert (driven.motion.speech_activity[:90] == 0).all() and (
        driven.motion.speech_activity[135:] == 1
    ).all()


# ---- in words ----------------------------------------------------------------------------------------------


def test_it_says_where_the_mouth_comes_from() -> None:
    driver = driver_of(PAL, 1.0)
    assert DrivenMouth(driver, PerformanceAdjustments()).describe() == "driven by voice_actor.mp4"
    late = DrivenMouth(driver, PerformanceAdjustments(gain=1.2, offset_ms=40))
    assert late.describe() == "driven by voice_actor.mp4, gain 1.2, 40 ms later than filmed"
    assert late.gain == 1.2
