"""The windows that an export is checked on: crops of a real face, with the mouth moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.crops import calibrated_on, held_out, random_windows, reference_windows
from visualdub.face.crop import crop_of, stable_crop
from visualdub.face.geometry import mask_of
from visualdub.face.models import DEFAULT_FACE_MODEL
from visualdub.face.tracker import track_clip
from visualdub.media.source import open_source
from visualdub.timing import FrameRange


@pytest.fixture(scope="module")
def crops(talking: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Two crops of the portrait as an actor's references are cut, and the mask of the first."""
    track = track_clip(talking, FrameRange(0, 4))
    crop = stable_crop(track)
    with open_source(talking) as source:
        pictures = [crop_of(f, crop.affine[f.index]) for f in source.frames(FrameRange(0, 2))]
    return np.stack(pictures), mask_of(track, crop, 0)


def test_windows_of_an_actors_references(crops: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    references, mask = crops
    first, second, *_, fifth = reference_windows(references, DEFAULT_FACE_MODEL, 5, 5)
    assert all(np.array_equal(frame, references[0]) for frame in first.frames)
    assert all(np.array_equal(frame, references[1]) for frame in second.frames)
    darker = (references[0] * 0.85).astype(np.uint8)
    assert all(np.array_equal(frame, darker) for frame in fifth.frames)
    both = (first.mask[0] > 0) & (mask > 0)
    assert both.sum() > 0.8 * max(first.mask[0].sum(), mask.sum())  # where the tracked clip has it
    covered = first.uv[0, first.mask[0] > 0]
    assert covered.shape[1] == 2 and (covered >= 0).all(-1).mean() > 0.9 and covered.max() <= 1
    assert np.array_equal(first.mask[0], first.mask[2])  # the mask does not know how far the mouth opens
    assert np.abs(first.uv[0] - first.uv[2]).max() > 0.01  # and the texture moves with it


def test_the_feed_is_what_the_graph_takes() -> None:
    (window,) = random_windows(5, 64, 1)
    feed = window.feed
    assert [feed[k].shape for k in feed] == [(1, 5, 3, 64, 64), (1, 5, 64, 64, 2), (1, 5, 64, 64)]
    assert feed["frame"][0, 2, 1, 3, 4] == np.float32(window.frames[2, 3, 4, 1]) / np.float32(255)
    assert {a.dtype for a in feed.values()} == {np.dtype(np.float32)}


def test_the_feed_of_a_network_with_aligned_references() -> None:
    (window,) = random_windows(5, 64, 1, aligned=True)
    assert window.aligned is not None and list(window.feed)[-1] == "aligned"
    assert window.feed["aligned"].shape == (1, 5, 4, 64, 64)
    assert window.feed["aligned"][0, 2, 3, 5, 6] == np.float32(window.aligned[2, 5, 6, 3]) / np.float32(255)


def test_what_is_checked_is_not_what_was_calibrated_on() -> None:
    windows = list(random_windows(5, 64, 8))
    checked, calibrated = held_out(windows), calibrated_on(windows)
    assert [w is windows[k] for w, k in zip(checked, (3, 7), strict=True)] == [True, True]
    assert len(calibrated) == 6 and not {id(w) for w in checked} & {id(w) for w in calibrated}
    assert len(held_out(windows[:2])) == len(calibrated_on(windows[:2])) == 2


def test_no_face_no_window() -> None:
    assert reference_windows(np.full((2, 256, 256, 3), 90, np.uint8), DEFAULT_FACE_MODEL, 5, 2) == []
