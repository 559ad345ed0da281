"""A dub of a clip in which a hand, or something else, comes before the mouth."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie, write_squeezed
from numpy.typing import NDArray

from visualdub.actor.package import load_actor
from visualdub.cli import run
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.face.track import Performance
from visualdub.measure.drawn_occluders import (
    HAND_POINTS,
    Sprite,
    cup_sprite,
    hand_sprite,
    microphone_sprite,
    paste,
)
from visualdub.media.frame import Frame
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.records import read_provenance
from visualdub.render.holdout import Holdouts
from visualdub.render.occluders import search_shot
from visualdub.render.shot_renderer import ShotRenderer
from visualdub.speech.performance import EASE_SECONDS, FADE_SECONDS, pass_through
from visualdub.timing import FrameRange

COUNT = 32
COMES, GOES = 14, 20  # first and last frame in which it is at the mouth
MOUTH = (165, 195)  # x, y in the portrait's picture
HAND, ASIDE = 170, 30  # pixels along its sprite, and that it lies to the right of the mouth


def vdub(*args: str | Path | int) -> None:
    """Run a command that must succeed."""
    assert run([str(a) for a in args]) == 0


def corner(sprite: Sprite, i: int) -> tuple[float, float] | None:
    """Where the sprite's left top corner is in frame `i`: it comes up in three frames, and goes."""
    away = max(0, COMES - i, i - GOES)
    size = sprite.rgb.shape[0]
    left = MOUTH[0] - size / 2 + 3 * np.sin(i) + (ASIDE if size == HAND else 0)
    return None if away > 3 else (left, MOUTH[1] - 0.4 * size + 60 * away)


def covered_clip(path: Path, sprite: Sprite) -> tuple[Path, list[NDArray[np.float32]]]:
    """A movie of the portrait with the sprite before its mouth, and how much it covers in each frame."""
    pictures, covers = portrait_pictures(COUNT), []
    for i, picture in enumerate(pictures):
        place = corner(sprite, i)
        nothing = np.zeros(picture.shape[:2], np.float32)
        covers.append(nothing if place is None else paste(picture, sprite, *place))
    return write_movie(path, pictures), covers


def frames_of(path: Path) -> list[Frame]:
    with open_source(path) as source:
        return list(source.frames())


def same(a: Frame, b: Frame) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


def kept(done: Frame, plate: Frame) -> NDArray[np.bool_]:
    """(H, W) pixels whose samples, chroma too, are the plate's."""
    out = np.ones(plate.planes[0].shape[:2], np.bool_)
    for p, q in zip(done.planes, plate.planes, strict=True):
        y, x = (-(-n // m) for n, m in zip(out.shape, p.shape, strict=True))
        out &= (p == q).repeat(y, 0).repeat(x, 1)[: out.shape[0], : out.shape[1]]
    return out


def flagged(report: dict[str, Any]) -> set[int]:
    """The frames that a report lists as occluded."""
    return {i for run in report["occluded"] for i in FrameRange.parse(run["frames"])}


@pytest.fixture(scope="module")
def hand_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[NDArray[np.float32]]]:
    return covered_clip(tmp_path_factory.mktemp("hand") / "hand.mkv", hand_sprite(HAND))


@pytest.fixture(scope="module")
def microphone_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[NDArray[np.float32]]]:
    return covered_clip(tmp_path_factory.mktemp("microphone") / "microphone.mkv", microphone_sprite(70))


def reenacted(clip: Path, actor: Path, out: Path, *options: str | Path) -> tuple[list[Frame], dict[str, Any]]:
    """The frames of a re-enactment, and its report."""
    vdub("reenact", clip, "--actor", actor, "--frames", f"0:{COUNT}", "-o", out, *options)
    return frames_of(out), json.loads(out.with_name(out.name + ".report.json").read_text())


# ---- hands -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hand_keeps_its_pixels_and_the_mouth_around_it_is_drawn(
    hand_clip: tuple[Path, list[NDArray[np.float32]]], flat_actor: Path, tmp_path: Path
) -> None:
    clip, covers = hand_clip
    frames, report = reenacted(clip, flat_actor, tmp_path / "held.mkv")
    plates = frames_of(clip)
    for i in range(COMES, GOES + 1):
        place = corner(hand_sprite(HAND), i)
        assert place is not None
        hand = covers[i] > 0.9
        hand[int(HAND_POINTS[0, 1] * HAND + place[1]) :] = False  # the wrist, where the landmarks end
        assert kept(frames[i], plates[i])[hand].mean() > 0.97
        assert not same(frames[i], plates[i])
    assert set(range(COMES, GOES + 1)) <= flagged(report) <= set(range(COMES - 4, GOES + 5))
    assert {run["reason"] for run in report["occluded"]} >= {"a hand covers the mouth"}
    assert report["drawn"] == COUNT and all(run["treatment"] == "hold" for run in report["occluded"])


@pytest.mark.slow
def test_such_frames_pass_through_where_that_is_asked_for(
    hand_clip: tuple[Path, list[NDArray[np.float32]]], flat_actor: Path, tmp_path: Path
) -> None:
    clip, _ = hand_clip
    frames, report = reenacted(clip, flat_actor, tmp_path / "passed.mkv", "--occluded", "pass")
    occluded = flagged(report)
    for i, (done, plate) in enumerate(zip(frames, frames_of(clip), strict=True)):
        assert same(done, plate) == (i in occluded)
    listed = {i for run in report["passed"] for i in FrameRange.parse(run["frames"])}
    assert listed == occluded and all("cover" in run["reason"] for run in report["passed"])
    assert read_provenance(tmp_path / "passed.mkv").occluded == "pass"


@pytest.mark.slow
def test_or_are_drawn_as_if_nothing_were_there(
    hand_clip: tuple[Path, list[NDArray[np.float32]]], flat_actor: Path, tmp_path: Path
) -> None:
    clip, covers = hand_clip
    frames, report = reenacted(clip, flat_actor, tmp_path / "drawn.mkv", "--occluded", "draw")
    mouth = np.zeros_like(covers[17], np.bool_)
    mouth[170:190, 150:190] = covers[17][170:190, 150:190] > 0.95
    assert mouth.sum() > 200 and kept(frames[17], frames_of(clip)[17])[mouth].mean() < 0.2
    assert 17 in flagged(report) and report["drawn"] == COUNT


@pytest.mark.slow
def test_a_hand_is_found_in_pixels_that_are_not_square(
    hand_clip: tuple[Path, list[NDArray[np.float32]]], tracked_hand: TrackedShot, tmp_path: Path
) -> None:
    """Half of the columns are gone; the hands lie where they lay, in square pixels."""
    with open_source(hand_clip[0]) as source:
        pictures = [frame_rgb(f) for f in source.frames()]
    tracked = track_shot(plan_shot(write_squeezed(tmp_path / "wide.mkv", pictures, Fraction(2))))
    found = search_shot(tracked.shot, tracked.track)
    assert (
        set(range(COMES, GOES + 1)) <= set(np.flatnonzero(found.kind & 1)) <= set(range(COMES - 4, GOES + 5))
    )
    square = search_shot(tracked_hand.shot, tracked_hand.track)
    for i in range(COMES, GOES + 1):
        (there,), (expected,) = found.hands_at(i), square.hands_at(i)
        assert np.linalg.norm(there - expected, axis=1).mean() < 0.05 * HAND


def test_another_word_is_refused_in_one_line(
    hand_clip: tuple[Path, list[NDArray[np.float32]]],
    flat_actor: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = ["reenact", str(hand_clip[0]), "--actor", str(flat_actor), "--frames", "0:9", "--occluded", "keep"]
    assert run([*args, "-o", str(tmp_path / "out.mkv")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--occluded 'keep' was asked for; expected hold, pass or draw" in line


# ---- other things ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("sprite", [microphone_sprite(70), cup_sprite(75), cup_sprite(75, (60, 90, 160))])
def test_a_microphone_or_a_cup_is_found_by_the_colours_it_hides(sprite: Sprite, tmp_path: Path) -> None:
    clip, _ = covered_clip(tmp_path / "clip.mkv", sprite)
    tracked = track_shot(plan_shot(clip))
    found = search_shot(tracked.shot, tracked.track)
    frames = set(np.flatnonzero(found.kind).tolist())
    assert set(range(COMES, GOES + 1)) <= frames <= set(range(COMES - 4, GOES + 5))
    assert found.reasons()[17] == "something covers the mouth" and found.reasons()[5] is None


def test_nothing_is_found_where_nothing_is(talking: Path) -> None:
    tracked = track_shot(plan_shot(talking))
    assert not search_shot(tracked.shot, tracked.track).kind.any()


@pytest.mark.slow
def test_a_microphone_keeps_its_pixels(
    microphone_clip: tuple[Path, list[NDArray[np.float32]]], flat_actor: Path, tmp_path: Path
) -> None:
    clip, covers = microphone_clip
    frames, _ = reenacted(clip, flat_actor, tmp_path / "held.mkv")
    plates = frames_of(clip)
    for i in range(COMES, GOES + 1):
        unchanged = kept(frames[i], plates[i])
        assert unchanged[covers[i] > 0.99].mean() > 0.95 and not unchanged.all()


# ---- ranges and keys ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracked_hand(
    hand_clip: tuple[Path, list[NDArray[np.float32]]], tmp_path_factory: pytest.TempPathFactory
) -> TrackedShot:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISUALDUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        return track_shot(plan_shot(hand_clip[0]))


@pytest.mark.slow
def test_any_range_holds_out_what_the_whole_run_does(tracked_hand: TrackedShot, flat_actor: Path) -> None:
    shot, track = tracked_hand.shot, tracked_hand.track
    held = Holdouts(occlusion=search_shot(shot, track))
    performance = Performance.of_track(track)
    actor = load_actor(flat_actor)
    renderer = ShotRenderer(shot, actor, track=track, performance=performance, holdouts=held)
    whole = {f.frame.index: f for f in renderer.frames(FrameRange(8, 28))}
    for wanted in (FrameRange(12, 13), FrameRange(17, 24)):
        for part in renderer.frames(wanted):
            assert same(part.frame, whole[part.frame.index].frame)
            assert np.array_equal(part.matte, whole[part.frame.index].matte)
    plain = ShotRenderer(shot, actor, track=track, performance=performance)
    assert renderer.key(17).options != plain.key(17).options
    assert renderer.key(17).job_hashes | {"options": ""} == plain.key(17).job_hashes | {"options": ""}


def test_towards_frames_that_pass_the_mouth_eases_to_the_filmed_one(tracked_hand: TrackedShot) -> None:
    track = tracked_hand.track
    wide = Performance.of_track(track)
    wide = replace(wide, jaw=wide.jaw + 0.2)
    passes = np.zeros(COUNT, bool)
    passes[15:17] = True
    eased = pass_through(track, wide, passes)
    fade, ease = round(FADE_SECONDS * 25), round(EASE_SECONDS * 25)
    assert (eased.draw == 0).tolist() == passes.tolist()
    np.testing.assert_allclose(eased.draw[17 : 17 + fade], np.arange(1, fade + 1) / (fade + 1))
    extra = eased.jaw - track.jaw
    np.testing.assert_allclose(extra[15 - fade : 17 + fade], 0, atol=1e-12)
    assert (np.diff(extra[16 + fade : 17 + fade + ease]) > 0).all()
    assert np.array_equal(eased.jaw[17 + fade + ease :], wide.jaw[17 + fade + ease :])
    assert pass_through(track, wide, np.zeros(COUNT, bool)) is wide
