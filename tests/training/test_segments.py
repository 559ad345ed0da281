"""Segments: the frames from which a person is known, and those that are rendered from them."""

from __future__ import annotations

import numpy as np
import pytest
from training_scene import TINY, disc_frames, tiny_config

from training.data.segments import LONGEST, SHORTEST, choose_segments
from training.data.windows import OUTSIDE_SHARE, WindowSampler

FRAMES = [(0, i) for i in range(200)] + [(1, i) for i in range(100)]
STARTS = [(c, i) for c, i in FRAMES if (c, i + 4) in set(FRAMES)]


def test_a_segment_lasts_one_to_four_seconds_and_its_targets_lie_outside() -> None:
    segments = choose_segments(FRAMES, STARTS, 5, 200, np.random.default_rng(0))
    lengths = [len(s.reference_pool) for s in segments]
    assert SHORTEST <= min(lengths) < 30 and 90 < max(lengths) <= LONGEST
    assert np.median(lengths) == pytest.approx(
        (SHORTEST * LONGEST) ** 0.5, rel=0.15
    )  # short ones are as likely as long ones
    for s in segments:
        pool = set(s.reference_pool)
        first = FRAMES.index(s.reference_pool[0])
        assert list(s.reference_pool) == FRAMES[first : first + len(pool)]
        assert not pool & set(s.targets)
        # what is in neither is the rest of a clip that is too short for a window
        assert 0 <= len(FRAMES) - len(pool) - len(s.targets) < 9
        assert s.starts and not any((c, f + k) in pool for c, f in s.starts for k in range(5))


def test_half_of_a_short_clip_is_left_to_render() -> None:
    frames = [(0, i) for i in range(20)]
    for s in choose_segments(frames, [(0, i) for i in range(16)], 5, 20, np.random.default_rng(0)):
        assert len(s.reference_pool) == 10 and len(s.targets) == 10


def test_windows_fall_back_to_all_frames_where_a_segment_leaves_none() -> None:
    (s,) = choose_segments([(0, 0)], [(0, 0)], 1, 1, np.random.default_rng(0))
    assert list(s.targets) == [(0, 0)] and list(s.starts) == [(0, 0)]


def test_a_clip_without_a_window_outside_the_segment_is_not_used() -> None:
    """One clip has neighbours, the other every other frame: where the segment takes the first clip, any
    window will do.
    """
    frames = [(0, i) for i in range(25)] + [(1, i) for i in range(0, 60, 2)]
    segments = choose_segments(frames, [(0, i) for i in range(21)], 5, 300, np.random.default_rng(0))
    assert all({c for c, _ in s.starts} <= {c for c, _ in s.targets} for s in segments)
    assert any(len(s.targets) == len(frames) for s in segments)


def test_windows_show_mostly_frames_outside_the_segment_and_references_inside() -> None:
    sampler = WindowSampler([[disc_frames(80)]], tiny_config(segments=3))
    plans = [sampler.plan(n) for n in range(300)]
    assert {p.segment for p in plans} == {0, 1, 2}
    outside = 0
    for p in plans:
        pool = set(sampler.segments[0][p.segment].reference_pool)
        assert set(p.references) <= pool and len(p.references) == TINY.references
        outside += not any((p.clip, f) in pool for f in p.rows)
    # some of the other windows hold no frame of the pool by chance
    assert OUTSIDE_SHARE - 0.08 < outside / 300 < OUTSIDE_SHARE + 0.12


def test_without_segments_a_person_is_known_from_all_frames() -> None:
    sampler = WindowSampler([[disc_frames(30)]], tiny_config())
    (only,) = sampler.segments[0]
    assert list(only.reference_pool) == list(only.targets) == sampler.frames[0]
    assert list(only.starts) == sampler.starts[0]
