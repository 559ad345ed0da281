"""Frames through the cache are those of the renderer, bit for bit; an edit reaches no further than needed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from daemon.frame_cache import FrameCache
from daemon.shot_frames import ShotFrames, _rgb, bounds
from visualdub.actor.package import load_actor
from visualdub.dub import track_shot
from visualdub.edit.shot import plan_shot
from visualdub.media.frame import Frame
from visualdub.media.movie_writer import picture_info
from visualdub.render.shot_renderer import RenderedFrame, ShotRenderer
from visualdub.stages import Progress
from visualdub.timing import FrameRange


@pytest.fixture(scope="module")
def renderer(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> ShotRenderer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISUALDUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        tracked = track_shot(plan_shot(talking, FrameRange(3, 40)))
    from visualdub.face.track import Performance

    track = tracked.track
    still = Performance(track.jaw, track.expression, np.ones(len(track)))
    return ShotRenderer(tracked.shot, load_actor(flat_actor), track=track, performance=still)


def same(a: RenderedFrame, b: RenderedFrame) -> bool:
    pairs = zip((a.matte, *a.frame.planes), (b.matte, *b.frame.planes), strict=True)
    light = (
        np.array_equal(a.inputs.light, b.inputs.light)
        if a.inputs.light is not None
        else b.inputs.light is None
    )
    return light and a.inputs.drawn == b.inputs.drawn and all(np.array_equal(x, y) for x, y in pairs)


def test_frames_come_back_bit_for_bit(renderer: ShotRenderer, tmp_path: Path) -> None:
    frames = ShotFrames(renderer, FrameCache(tmp_path / "c", 1 << 30))
    part, direct = FrameRange(10, 30), list(renderer.frames(FrameRange(10, 30)))
    fresh = list(frames.frames(part, Progress()))
    assert frames.rendered == 20 and all(map(same, fresh, direct))
    stored = list(frames.frames(part, Progress()))
    assert frames.rendered == 20 and all(map(same, stored, direct))
    assert [f.frame.index for f in stored] == list(part)


def test_frames_that_are_there_are_joined_with_those_that_are_not(
    renderer: ShotRenderer, tmp_path: Path
) -> None:
    frames = ShotFrames(renderer, FrameCache(tmp_path / "c", 1 << 30))
    list(frames.frames(FrameRange(12, 15), Progress()))
    list(frames.frames(FrameRange(20, 21), Progress()))
    damaged = frames.cache.path(frames.key(13))
    damaged.chmod(0o600)
    damaged.write_bytes(b"damaged")
    direct = list(renderer.frames(FrameRange(10, 24)))
    assert all(map(same, frames.frames(FrameRange(10, 24), Progress()), direct))
    assert frames.rendered == 4 + 14 - 3


def test_an_edit_changes_the_keys_of_the_frames_it_reaches(renderer: ShotRenderer, tmp_path: Path) -> None:
    """Whatever key stays, its picture stays: what comes through the cache is what is rendered."""
    cache = FrameCache(tmp_path / "c", 1 << 30)
    before = ShotFrames(renderer, cache)
    list(before.frames(renderer.shot.frames, Progress()))
    jaw = renderer.performance.jaw.copy()
    jaw[15] += 0.15
    edited = ShotRenderer(
        renderer.shot,
        renderer.actor,
        track=renderer.track,
        performance=replace(renderer.performance, jaw=jaw),
    )
    edited.watermark = renderer.watermark  # a job keeps its mark when its performance is edited
    after = ShotFrames(edited, cache)
    changed = [n for n in renderer.shot.frames if before.key(n) != after.key(n)]
    assert 18 in changed and len(changed) < 12
    through = list(after.frames(renderer.shot.frames, Progress()))
    assert after.rendered == len(changed)
    direct = list(edited.frames())
    assert all(map(same, through, direct))
    assert not all(map(same, direct, renderer.frames()))


def test_another_mark_changes_every_key(renderer: ShotRenderer, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path / "c", 1 << 30)
    jaw = renderer.performance.jaw + 0.0
    jaw[0] += 0.01
    other = ShotRenderer(
        renderer.shot,
        renderer.actor,
        track=renderer.track,
        performance=replace(renderer.performance, jaw=jaw),
    )
    one, two = ShotFrames(renderer, cache), ShotFrames(other, cache)
    assert all(one.key(n) != two.key(n) for n in renderer.shot.frames)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], (0, 0, 0, 0)),
        ([(5, 9)], (8, 4, 12, 8)),
        ([(0, 0), (10, 22)], (0, 0, 23, 11)),
        ([(3, 4)], (4, 0, 8, 4)),
    ],
)
def test_bounds_lie_on_whole_chroma_samples(
    where: list[tuple[int, int]], expected: tuple[int, int, int, int]
) -> None:
    matte = np.zeros((11, 23), np.uint8)
    for row, column in where:
        matte[row, column] = 1
    assert bounds(matte) == expected


def test_single_frames_are_those_of_the_shot_in_any_order(renderer: ShotRenderer, tmp_path: Path) -> None:
    """In a row, with frames left out, back again, beside a run for a job: always the same picture."""
    frames = ShotFrames(renderer, FrameCache(tmp_path / "c", 1 << 30))
    direct = {f.frame.index: f for f in renderer.frames()}
    job = frames.frames(FrameRange(30, 40), Progress())
    for number in (5, 6, 7, 10, 11, 20, 12, 13, 8, 39, 3, 14):
        head, entry = frames.picture(number, "dub", "native", False)
        assert head["number"] == number
        assert all(map(np.array_equal, entry.arrays, direct[number].frame.planes))
        next(job, None)
    frames.rest()


def test_frames_in_a_row_come_from_one_run(renderer: ShotRenderer, tmp_path: Path) -> None:
    frames = ShotFrames(renderer, FrameCache(tmp_path / "c", 1 << 30))
    for number in range(5, 25):
        frames.picture(number, "dub", "native", False)
    run = frames._asked.clock.stages["render"].frames
    assert run < 70, "a frame by itself takes two windows, 8 frames"
    assert frames._ahead is not None
    frames.rest()
    assert frames._ahead is None
    frames.rest()


def test_a_frame_uses_the_windows_that_its_neighbours_took(renderer: ShotRenderer, tmp_path: Path) -> None:
    frames = ShotFrames(renderer, FrameCache(tmp_path / "c", 1 << 30))
    run = []
    for number in (21, 20, 17):  # none of which follows the one before
        frames.picture(number, "dub", "native", False)
        run.append(frames._asked.clock.stages["render"].frames)
    first, again, one_more = run
    assert first == again == one_more - 4, "a window finishes four frames"
    frames.forget_plates()
    frames.picture(19, "dub", "native", False)
    assert frames._asked.clock.stages["render"].frames >= one_more + 8


def test_what_is_needed_next_is_made_ready_while_nobody_asks(renderer: ShotRenderer, tmp_path: Path) -> None:
    direct = {f.frame.index: f for f in renderer.frames()}
    frames = ShotFrames(renderer, FrameCache(tmp_path / "c", 1 << 30))
    assert not frames.fill(), "nobody has asked for a frame"
    frames.picture(20, "dub", "native", False)
    turns = 0
    while frames.fill():
        turns += 1
        assert turns < 60
    assert all(frames.plates.holds(n) for n in renderer.shot.frames)
    begun = frames._recent.inputs.get(35)
    assert begun is not None
    _, entry = frames.picture(33, "dub", "native", False)
    assert all(map(np.array_equal, entry.arrays, direct[33].frame.planes))
    assert frames._recent.inputs.get(35) is begun, "it was not worked out again"


@pytest.mark.parametrize("pixels", ["rgb8", "rgb"])
def test_a_box_has_the_pixels_of_the_whole_picture(
    renderer: ShotRenderer, tmp_path: Path, pixels: str
) -> None:
    frames = ShotFrames(renderer, FrameCache(tmp_path / "c", 1 << 30))
    for kind in ("dub", "plate"):
        (boxed, part), (_, whole) = (frames.picture(12, kind, pixels, b) for b in (True, False))
        left, top, right, bottom = boxed["box"]
        assert 0 < left < right < boxed["width"] and boxed["pixels"] == "rgb8"  # the clip has 8 bits
        assert np.array_equal(part.arrays[0], whole.arrays[0][top:bottom, left:right])


def test_a_deeper_clip_is_given_in_sixteen_bits(tmp_path: Path) -> None:
    """A ramp of 10 bits in grey: every code of it is another one."""
    spec = replace(picture_info(tmp_path / "a.mkv", 64, 32, Fraction(25), 1).image, pix_fmt="yuv420p10le")
    ramp = np.tile(np.arange(400, 464, dtype=np.uint16), (32, 1))
    grey = np.full((16, 32), 512, np.uint16)
    frame = Frame(0, (ramp, grey, grey), spec)
    deep = _rgb(frame, (4, 4, 60, 28), True)
    assert deep.dtype == np.uint16 and len(np.unique(deep)) == 56
    shallow = _rgb(frame, (4, 4, 60, 28), False)
    assert shallow.dtype == np.uint8 and np.abs(deep / 65535 - shallow / 255).max() < 1 / 255
