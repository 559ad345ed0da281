"""Passages: what is known of a person and what is drawn with it."""

from __future__ import annotations

import numpy as np
import pytest
from training_scene import TINY, disc_frames, tiny_config

from training.data.segments import LONGEST, SHORTEST, choose_passages
from training.data.windows import UNSEEN, WindowSampler

FACES = [(0, i) for i in range(200)] + [(1, i) for i in range(100)]
STARTS = [(c, i) for c, i in FACES if (c, i + 4) in set(FACES)]


def test_a_passage_is_one_to_four_seconds_and_what_is_drawn_lies_outside() -> None:
    passages = choose_passages(FACES, STARTS, 5, 200, np.random.default_rng(0))
    lengths = [len(p.known) for p in passages]
    assert SHORTEST <= min(lengths) < 30 and 90 < max(lengths) <= LONGEST
    assert np.median(lengths) == pytest.approx(
        (SHORTEST * LONGEST) ** 0.5, rel=0.15
    )  # as many short ones as long ones
    for p in passages:
        known = set(p.known)
        first = FACES.index(p.known[0])
        assert list(p.known) == FACES[first : first + len(known)]
        assert not known & set(p.faces)
        assert (
            0 <= len(FACES) - len(known) - len(p.faces) < 9
        )  # rests of one clip that are too short for a window
        assert p.starts and not any((c, f + k) in known for c, f in p.starts for k in range(5))


def test_half_of_a_short_clip_is_left_to_draw() -> None:
    faces = [(0, i) for i in range(20)]
    for p in choose_passages(faces, [(0, i) for i in range(16)], 5, 20, np.random.default_rng(0)):
        assert len(p.known) == 10 and len(p.faces) == 10


def test_windows_fall_back_to_all_frames_where_a_passage_leaves_none() -> None:
    (p,) = choose_passages([(0, 0)], [(0, 0)], 1, 1, np.random.default_rng(0))
    assert list(p.faces) == [(0, 0)] and list(p.starts) == [(0, 0)]


def test_a_clip_without_a_window_outside_the_passage_is_not_drawn_from() -> None:
    """One clip of neighbours, one of every other frame: where the passage takes the first, any window will
    do.
    """
    faces = [(0, i) for i in range(25)] + [(1, i) for i in range(0, 60, 2)]
    passages = choose_passages(faces, [(0, i) for i in range(21)], 5, 300, np.random.default_rng(0))
    assert all({c for c, _ in p.starts} <= {c for c, _ in p.faces} for p in passages)
    assert any(len(p.faces) == len(faces) for p in passages)


def test_windows_show_mostly_unseen_frames_and_references_are_known_ones() -> None:
    sampler = WindowSampler([[disc_frames(80)]], tiny_config(passages=3))
    plans = [sampler.plan(n) for n in range(300)]
    assert {p.passage for p in plans} == {0, 1, 2}
    unseen = 0
    for p in plans:
        known = set(sampler.passages[0][p.passage].known)
        assert set(p.references) <= known and len(p.references) == TINY.references
        unseen += not any((p.clip, f) in known for f in p.rows)
    assert UNSEEN - 0.08 < unseen / 300 < UNSEEN + 0.12  # some of the others meet no known frame by chance


def test_without_passages_everything_is_known() -> None:
    sampler = WindowSampler([[disc_frames(30)]], tiny_config())
    (only,) = sampler.passages[0]
    assert list(only.known) == list(only.faces) == sampler.faces[0] and list(only.starts) == sampler.starts[0]
