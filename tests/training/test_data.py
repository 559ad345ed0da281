"""Windows of frames: what is trained on, what is kept aside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_scene import TINY, disc_frames

from training.data import WindowSampler, box_mask, mouth_box, pack_uv, pick_references, unpack_uv
from visualdub.errors import NoFace


def test_uv_survives_packing() -> None:
    uv = np.random.default_rng(0).random((7, 5, 2)).astype(np.float32)
    uv[0] = -1
    back = unpack_uv(pack_uv(uv))
    assert np.abs(back - uv).max() < 1 / 131000 and (back[0] == -1).all()


def test_training_windows_never_hold_a_held_out_frame() -> None:
    sampler = WindowSampler([disc_frames(60)], TINY, every=4)
    assert sampler.held_out == [(0, 10), (0, 30), (0, 50)]
    kept = {f for _, start in sampler.held_out for f in range(start, start + 5)}
    assert not any(set(range(i, i + 5)) & kept for _, i in sampler.starts)
    assert not {f for _, f in sampler.faces} & kept and len(sampler.starts) > 20


def test_windows_skip_frames_without_a_face() -> None:
    clip = disc_frames(30)
    usable = clip.usable.copy()
    usable[7] = False
    sampler = WindowSampler([replace(clip, usable=usable)], TINY, every=1000)
    assert (0, 2) in sampler.starts and not {(0, i) for i in range(3, 8)} & set(sampler.starts) and (0, 8) in sampler.starts


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(NoFace, match="5 consecutive"):
        WindowSampler([disc_frames(4)], TINY, every=10)


def test_a_batch_is_cut_to_the_view() -> None:
    clip = disc_frames(30)
    batch = WindowSampler([clip], TINY, every=1000).batch([(0, [3, 4, 5, 6, 7])], [[(0, 1), (0, 2)]])
    assert batch.frames.shape == (1, 5, 3, 48, 64) and batch.references.shape == (1, 2, 3, 48, 64)
    assert np.allclose(batch.frames[0, 2].permute(1, 2, 0).numpy() * 255, clip.crops[5, 16:], atol=1e-3)
    assert batch.boxes[0, 0].tolist() == [24, 22, 40, 34]
    assert batch.mouth[0, 0].nonzero().amin(0).tolist() == [22, 24] and batch.mouth[0, 0].sum() == 16 * 12


def test_scattered_windows_hold_frames_that_are_no_neighbours() -> None:
    clip = disc_frames(30)
    clip.crops[:] = np.arange(30, dtype=np.uint8)[:, None, None, None]

    def frames(scattered: float) -> list[int]:
        sampler = WindowSampler([clip], TINY, every=1000, scattered=scattered)
        return (sampler.draw(1, torch.Generator().manual_seed(5)).frames[0, :, 0, 0, 0] * 255).round().int().tolist()

    assert np.diff(frames(0.0)).tolist() == [1, 1, 1, 1] and np.diff(frames(1.0)).tolist() != [1, 1, 1, 1]


def test_references_are_spread_and_fixed() -> None:
    assert pick_references([disc_frames(30)], 3) == [(0, 5), (0, 15), (0, 25)]


def test_boxes() -> None:
    assert box_mask(np.array([1, 0, 3, 2]), 3, 4).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    landmarks = np.full((478, 3), 50.0)
    landmarks[61, 0], landmarks[291, 0] = 40.0, 60.0  # mouth corners: 20 wide, so a margin of 3
    assert mouth_box(landmarks, np.array([[1.0, 0, 0], [0, 1, 10]]), 256).tolist() == [37, 57, 63, 63]
