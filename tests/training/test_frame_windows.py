"""Windows of frames: what is trained on, what is held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_scene import TINY, disc_frames, tiny_config

from training.data.frames import lips_box
from training.data.uvmap import pack_uv, unpack_uv
from training.data.windows import (
    Batch,
    Window,
    WindowSampler,
    box_mask,
    feed,
    hold_out,
    make_batch,
    pick_references,
    still_windows,
)
from visualdub.errors import NoFace


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_uv_survives_packing() -> None:
    uv = np.random.default_rng(0).random((7, 5, 2)).astype(np.float32)
    uv[0] = -1
    back = unpack_uv(pack_uv(uv))
    assert np.abs(back - uv).max() < 1 / 131000 and (back[0] == -1).all()


def test_held_out_blocks_are_spread_and_there_is_one_even_of_few() -> None:
    assert hold_out([disc_frames(60)], 5, 4) == [(0, 10), (0, 30), (0, 50)]
    assert hold_out([disc_frames(25)], 5, 10) == [(0, 10)]
    assert hold_out([disc_frames(24)], 5, 10) == [(0, 10)] and hold_out([disc_frames(19)], 5, 10) == []


def test_training_windows_never_hold_a_held_out_frame() -> None:
    clip = disc_frames(60)
    held_out = hold_out([clip], 5, 4)
    sampler = WindowSampler([[clip]], tiny_config(), held_out)
    excluded = {f for _, start in held_out for f in range(start, start + 5)}
    plans = [sampler.plan(n) for n in range(200)]
    assert (
        not {f for p in plans for f in p.rows} & excluded
        and not {f for p in plans for _, f in p.references} & excluded
    )
    assert {f for p in plans for f in p.rows} == set(range(60)) - excluded


def test_windows_skip_frames_without_a_face() -> None:
    clip = disc_frames(30)
    usable = clip.usable.copy()
    usable[7] = False
    starts = WindowSampler([[replace(clip, usable=usable)]], tiny_config()).starts[0]
    assert (0, 2) in starts and not {(0, i) for i in range(3, 8)} & set(starts) and (0, 8) in starts


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(NoFace, match="5 consecutive"):
        WindowSampler([[disc_frames(4)]], tiny_config())


def test_a_window_depends_on_seed_and_number_alone() -> None:
    clip = disc_frames(30, sound=True)
    a, b = (WindowSampler([[clip], [clip]], tiny_config(seed=7)) for _ in range(2))
    a.draw([0, 1, 2])
    assert same(a.draw([5, 6]), b.draw([5, 6]))
    assert not same(a.draw([5]), WindowSampler([[clip], [clip]], tiny_config(seed=8)).draw([5]))
    people = [a.person(n) for n in range(20)]
    assert people == [a.plan(n).person for n in range(20)] and set(people) == {0, 1}


def test_mixed_windows_alternate_between_the_actor_and_the_others() -> None:
    sampler = WindowSampler([[disc_frames(30)]] * 3, tiny_config(), mixed=True)
    people = [sampler.person(n) for n in range(40)]
    assert set(people[::2]) == {0} and set(people[1::2]) == {1, 2}


def test_people_are_drawn_by_weight() -> None:
    sampler = WindowSampler([[disc_frames(30)]] * 2, tiny_config(), weights=[3.0, 1.0])
    assert sum(sampler.person(n) == 0 for n in range(400)) == pytest.approx(300, abs=35)


def test_two_processes_see_what_one_with_twice_the_batch_sees() -> None:
    clip = disc_frames(30)
    one = feed(WindowSampler([[clip]], tiny_config(batch=4)), 8)
    halves = [feed(WindowSampler([[clip]], tiny_config(batch=2)), 8, rank, 2) for rank in (0, 1)]
    for _ in range(2):
        whole, parts = next(one), [next(h) for h in halves]
        assert same(whole[:2], parts[0]) and same(whole[2:], parts[1])


def test_workers_draw_the_same_windows() -> None:
    sampler = WindowSampler([[disc_frames(30)]], tiny_config(batch=2))
    alone, helped = feed(sampler, 3), feed(sampler, 3, workers=2)
    assert all(same(next(alone), next(helped)) for _ in range(3))


def test_a_batch_is_cut_to_the_view() -> None:
    clip = disc_frames(30)
    window = Window(0, 0, [3, 4, 5, 6, 7], [], np.zeros((5, 2), np.float32), 2, True)
    batch = make_batch(clip, window, [(clip, 1), (clip, 2)], TINY)
    assert batch.frames.shape == (1, 5, 3, 48, 64) and batch.references.shape == (1, 2, 3, 48, 64)
    assert np.allclose(batch.frames[0, 2].permute(1, 2, 0).numpy() * 255, clip.crops[5, 16:], atol=1e-3)
    assert batch.boxes[0, 0].tolist() == [24, 22, 40, 34] and not batch.mel.any()
    assert batch.mouth[0, 0].nonzero().amin(0).tolist() == [22, 24] and batch.mouth[0, 0].sum() == 16 * 12


def test_windows_to_measure_on_are_still() -> None:
    clip = disc_frames(30, sound=True)
    batch = still_windows([clip], [(0, 10)], TINY)
    assert bool(batch.silent.all()) and torch.equal(
        batch.uv[0, 1], torch.from_numpy(unpack_uv(clip.uv[11, 16:]))
    )


def test_scattered_windows_hold_frames_that_are_no_neighbours() -> None:
    clip = disc_frames(30)
    near, apart = (WindowSampler([[clip]], tiny_config(scattered=s)) for s in (0.0, 1.0))
    assert all(np.diff(near.plan(n).rows).tolist() == [1, 1, 1, 1] for n in range(20))
    assert sum(np.diff(apart.plan(n).rows).tolist() != [1, 1, 1, 1] for n in range(20)) > 15


def test_references_are_spread_and_fixed() -> None:
    assert pick_references([disc_frames(30)], 3) == [(0, 5), (0, 15), (0, 25)]


def test_boxes() -> None:
    assert box_mask(np.array([1, 0, 3, 2]), 3, 4).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    landmarks = np.full((478, 3), 50.0)
    landmarks[61, 0], landmarks[291, 0] = 40.0, 60.0  # mouth corners: 20 wide, so a margin of 3
    assert lips_box(landmarks, np.array([[1.0, 0, 0], [0, 1, 10]]), 256).tolist() == [37, 57, 63, 63]
