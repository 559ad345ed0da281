"""The table of a shot, by hand and against the same measures of whole arrays."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from array_reference import array_table, numbers_of

from visualdub.errors import InternalError
from visualdub.face.landmarks import (
    EYE_CORNERS,
    FACE_LEFT,
    FACE_RIGHT,
    INNER_LIP_PAIRS,
    LIPS_OUTER,
    SOURCE_BOX,
    lip_opening,
)
from visualdub.measure.mouth import lip_distances
from visualdub.measure.shot import MeasuredFrame, OutputMouth, ShotMeasures, Table

N, S, WINDOW = 20, 64, 5


def landmarks(opening: np.ndarray) -> np.ndarray:
    """Faces in a 64 x 64 picture whose inner lips are `opening` x 20 pixels apart."""
    marks = np.full((len(opening), 478, 3), 32.0, np.float32)
    marks[..., 2] = 0
    marks[:, FACE_LEFT, 0], marks[:, FACE_RIGHT, 0] = 7, 57
    marks[:, EYE_CORNERS[0], 0], marks[:, EYE_CORNERS[1], 0] = 22, 42
    for i, j in zip(SOURCE_BOX, ((-8, -8), (8, 8)) * 4, strict=True):
        marks[:, i, :2] = 40 + np.array(j)
    for k, i in enumerate(LIPS_OUTER):
        marks[:, i, :2] = 40 + 6 * np.array([np.cos(k), np.sin(k)])
    for upper, lower in INNER_LIP_PAIRS:
        marks[:, upper, :2] = (40, 40)
        marks[:, lower, 0], marks[:, lower, 1] = 40, 40 + 20 * opening
    return marks


def shot() -> list[MeasuredFrame]:
    """Frames whose raw picture is 10 brighter everywhere, and whose composite is inside the mask."""
    rng = np.random.default_rng(0)
    opening = rng.uniform(0, 0.4, N)
    marks = landmarks(opening)
    mask = np.zeros((S, S), np.float32)
    mask[24:56, 16:48] = 1
    frames = []
    for i in range(N):
        real = rng.integers(60, 200, (S, S, 3)).astype(np.uint8)
        composite = real.copy()
        composite[24:56, 16:48] += 10
        frames.append(
            MeasuredFrame(
                i, real, real + np.uint8(10), composite, mask, marks[i], np.eye(2, 3), opening[i], 12.0
            )
        )
    return frames


def marks_of(frames: list[MeasuredFrame]) -> np.ndarray:
    return np.stack([f.landmarks for f in frames])


def table_of(frames: list[MeasuredFrame], output: np.ndarray, own_performance: bool = True) -> Table:
    """The streamed table; output: (n, 478, 3) landmarks measured on the finished frames."""
    measures = ShotMeasures(WINDOW, own_performance=own_performance)
    for frame in frames:
        measures.add(frame)
    opening = lip_opening(output.astype(np.float64))
    return measures.table(OutputMouth(np.asarray(opening), lip_distances(marks_of(frames), output)))


# ---- by hand -----------------------------------------------------------------------------------------------


def test_self_reenactment() -> None:
    frames = shot()
    table = table_of(frames, marks_of(frames))
    ten = 20 * np.log10(255 / 10)
    # The raw picture differs by 10 everywhere, but only its masked quarter counts.
    assert table["raw"]["psnr_crop"] == pytest.approx(ten + 10 * np.log10(4), abs=1e-6)
    assert table["raw"]["psnr_mask"] == pytest.approx(ten)
    assert table["composite"]["psnr_mask"] == pytest.approx(ten)
    assert table["composite"]["psnr_crop"] == pytest.approx(ten + 10 * np.log10(4), abs=1e-6)
    assert table["mask_share"] == 0.25 and table["frames"] == N
    assert table["composite"]["flicker"] == pytest.approx(1) and table["composite"]["sharpness"] > 0.9
    assert table["mouth"]["lmd"] == 0 and table["mouth"]["control"] == pytest.approx(1)
    assert table["by_yaw"]["psnr"]["10-20"]["frames"] == N
    assert "leak" not in table["mouth"]  # the source is the command
    json.dumps(table, allow_nan=False)


def test_another_performance_is_not_compared_pixel_by_pixel() -> None:
    other = np.random.default_rng(5).uniform(0, 0.4, N)
    noisy = landmarks(other + np.random.default_rng(6).normal(0, 0.01, N))
    frames = [replace(f, commanded=c) for f, c in zip(shot(), other, strict=True)]
    table = table_of(frames, noisy, own_performance=False)
    assert "psnr_crop" not in table["raw"] and "lmd" not in table["mouth"] and "by_yaw" not in table
    assert table["mouth"]["control"] > 0.95 and abs(table["mouth"]["leak"]) < 0.6
    assert table["mouth"]["open_share"] == pytest.approx((lip_opening(noisy) > 0.05).mean())


def test_frames_without_a_face_give_null_not_nan() -> None:
    none = np.full((478, 3), np.nan, np.float32)
    frames = [replace(f, landmarks=none) for f in shot()]
    table = table_of(frames, marks_of(frames))
    assert table["mouth"] == {"open_share": None, "faces_found": 0, "lmd": None, "control": None}
    assert table["raw"]["psnr_source_box"] is None and table["raw"]["psnr_mask"] is not None
    json.dumps(table, allow_nan=False)


def test_a_shot_without_frames_has_no_figures() -> None:
    table = ShotMeasures(WINDOW).table(OutputMouth(np.zeros(0), np.zeros(0)))
    assert table["frames"] == 0 and table["mask_share"] is None and table["raw"]["flicker"] is None


def test_pictures_and_mouths_that_do_not_belong_together_are_refused() -> None:
    frame = shot()[3]
    with pytest.raises(InternalError, match=r"raw of frame 3 is \(32, 64, 3\); expected \(64, 64, 3\)"):
        replace(frame, raw=frame.raw[:32])
    with pytest.raises(InternalError, match=r"mask of frame 3 is \(64,\); expected \(64, 64\)"):
        replace(frame, mask=frame.mask[0])
    measures = ShotMeasures(WINDOW)
    measures.add(frame)
    with pytest.raises(InternalError, match="measured in 2 frames; expected 1"):
        measures.table(OutputMouth(np.zeros(2), np.zeros(2)))


# ---- against whole arrays ----------------------------------------------------------------------------------


def random_frames(seed: int) -> tuple[list[MeasuredFrame], np.ndarray]:
    """Noise with gaps between the frames, masks and crops that move, and faces that are lost now and then."""
    rng = np.random.default_rng(seed)
    count = 60
    numbers = np.sort(rng.choice(90, count, replace=False))
    real_marks, output_marks = (landmarks(rng.uniform(0, 0.4, count)) for _ in range(2))
    real_marks[rng.random(count) < 0.1] = np.nan
    output_marks[rng.random(count) < 0.1] = np.nan
    frames = []
    for i in range(count):
        pictures = [rng.integers(0, 256, (S, S, 3)).astype(np.uint8) for _ in range(3)]
        mask = np.zeros((S, S), np.float32)
        left, top = rng.integers(4, 24, 2)
        if rng.random() > 0.05:  # a mask may be empty, too
            mask[top : top + 30, left : left + 30] = 1
        affine = np.array([[1.0, 0, rng.uniform(-20, 20)], [0, 1.0, rng.uniform(-20, 20)]])
        frames.append(
            MeasuredFrame(
                int(numbers[i]), *pictures, mask, real_marks[i], affine, rng.uniform(), rng.uniform(-35, 35)
            )
        )
    return frames, output_marks


@pytest.mark.slow
@pytest.mark.parametrize("own_performance", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_frame_by_frame_is_the_whole_array(seed: int, own_performance: bool) -> None:
    """Worst difference measured: 5e-15."""
    frames, output = random_frames(seed)
    streamed = numbers_of(table_of(frames, output, own_performance))
    expected = numbers_of(array_table(frames, output, WINDOW, own_performance))
    assert streamed == pytest.approx(expected, abs=1e-9) and None not in streamed.values()


@pytest.mark.slow
def test_memory_does_not_grow_by_pictures() -> None:
    """A frame's pictures are 40 KB here; what is kept of it is some numbers."""
    frames = shot()

    def held_after(count: int) -> int:
        tracemalloc.start()
        measures = ShotMeasures(WINDOW)
        for i in range(count):
            frame = frames[i % N]
            measures.add(replace(frame, number=i, real=frame.real.copy(), raw=frame.raw.copy()))
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return held

    held_after(10)
    assert (held_after(310) - held_after(10)) / 300 < 1500
