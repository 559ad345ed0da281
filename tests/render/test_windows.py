"""The window grid: where it lies, what is averaged, and that a frame's bits know nothing of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from visualdub.errors import InternalError
from visualdub.render.recent import Latest
from visualdub.render.windows import RenderInput, frames_needed, render_shot, window_count, windows_of
from visualdub.timing import FrameRange

T = 5


def given(
    count: int,
    start: int = 0,
    end: int | None = None,
    holes: tuple[int, ...] = (),
    undrawn: tuple[int, ...] = (),
) -> Iterator[RenderInput]:
    for i in range(start, count if end is None else end):
        crop = None if i in holes else np.full((2, 2, 3), i, np.uint8)
        yield RenderInput(
            i, crop, np.zeros((2, 2, 2), np.float32), np.ones((2, 2), np.float32), i not in undrawn
        )


def neighbours(frames: NDArray[np.uint8], *_: object) -> NDArray[np.float32]:
    """A made-up network whose output depends on the whole window: own value + 1000 * first of window + 0.001
    * sum of window.
    """
    f = frames.astype(np.float32)
    return f + 1000 * f[:1] + np.float32(0.001) * f.sum(0, keepdims=True)


def test_grid_is_worked_out_by_hand() -> None:
    assert [window_count(n, T) for n in (1, 2, 5, 6, 9, 10)] == [1, 1, 1, 2, 2, 3]
    assert [windows_of(i, 10, T) for i in (0, 3, 4, 5, 8, 9)] == [(0,), (0,), (0, 1), (1,), (1, 2), (2,)]
    assert windows_of(8, 9, T) == (
        1,
    )  # the last frame of a shot that ends on the grid opens no window of its own
    assert frames_needed(FrameRange(4, 5), 20, T) == FrameRange(0, 9)
    assert frames_needed(FrameRange(5, 8), 20, T) == FrameRange(4, 9)
    assert frames_needed(FrameRange(17, 18), 19, T) == FrameRange(16, 19)


def test_border_frame_is_the_mean_of_both_windows_and_the_tail_repeats_the_last_frame() -> None:
    seen: list[list[int]] = []

    def record(frames: NDArray[np.uint8], *_: object) -> NDArray[np.float32]:
        seen.append(frames[:, 0, 0, 0].tolist())
        return frames.astype(np.float32) + 100 * len(seen)

    out = [float(r.rgb[0, 0, 0]) for r in render_shot(record, T, given(7), 7) if r.rgb is not None]
    assert seen == [[0, 1, 2, 3, 4], [4, 5, 6, 6, 6]]
    assert out == [100, 101, 102, 103, 154, 205, 206]  # frame 4: the mean of 104 and 204


@pytest.mark.parametrize("count", [1, 2, 5, 6, 9, 13, 20])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_every_frame_comes_once_in_order(count: int, at_once: int) -> None:
    plain = list(render_shot(neighbours, T, given(count), count))
    assert [r.inputs.index for r in plain] == list(range(count))
    together = list(render_shot(neighbours, T, given(count), count, at_once=at_once))
    assert [r.inputs.index for r in together] == list(range(count))
    pairs = [(a.rgb, b.rgb) for a, b in zip(plain, together, strict=True)]
    assert all(a is not None and b is not None and np.array_equal(a, b) for a, b in pairs)


def test_bits_of_a_frame_do_not_depend_on_the_chunk() -> None:
    count = 19
    whole = {r.inputs.index: r.rgb for r in render_shot(neighbours, T, given(count), count)}
    for a in range(count):
        for b in range(a + 1, count + 1):
            chunk = FrameRange(a, b)
            need = frames_needed(chunk, count, T)
            part = list(
                render_shot(neighbours, T, given(count, need.start, need.end_exclusive), count, chunk)
            )
            assert [r.inputs.index for r in part] == list(chunk)
            assert all(np.array_equal(r.rgb, whole[r.inputs.index]) for r in part if r.rgb is not None)


def test_frames_without_a_face_stay_in_place_and_lend_their_neighbour() -> None:
    seen: list[list[int]] = []

    def record(frames: NDArray[np.uint8], *_: object) -> NDArray[np.float32]:
        seen.append(frames[:, 0, 0, 0].tolist())
        return frames.astype(np.float32)

    holes = (0, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12)
    out = list(render_shot(record, T, given(13, holes=holes), 13))
    assert seen == [[1, 1, 1, 4, 4], [4, 4, 4, 4, 4]]  # the third window, 8..12, has no face and is not run
    assert [r.inputs.index for r in out if r.rgb is not None] == [1, 4]
    assert len(out) == 13


def test_aligned_references_go_with_their_frame() -> None:
    seen: list[list[int] | None] = []

    def record(
        frames: NDArray[np.uint8], uv: object, mask: object, aligned: NDArray[np.uint8] | None
    ) -> NDArray[np.float32]:
        seen.append(None if aligned is None else aligned[:, 0, 0, 0].tolist())
        return frames.astype(np.float32)

    references = {i: np.full((2, 2, 4), 10 + i, np.uint8) for i in (1, 3, 4)}
    list(render_shot(record, T, (replace(x, aligned=references.get(x.index)) for x in given(13)), 13))
    assert seen == [[0, 11, 0, 13, 14], [14, 0, 0, 0, 0], None]


def test_windows_with_nothing_to_draw_are_not_run() -> None:
    runs = 0

    def counted(frames: NDArray[np.uint8], *_: object) -> NDArray[np.float32]:
        nonlocal runs
        runs += 1
        return frames.astype(np.float32)

    out = list(render_shot(counted, T, given(13, undrawn=tuple(i for i in range(13) if i != 6)), 13))
    assert runs == 1
    assert [r.inputs.index for r in out if r.rgb is not None] == [6]


def test_windows_that_are_kept_are_not_run_again() -> None:
    seen: list[int] = []

    def record(frames: NDArray[np.uint8], *_: object) -> NDArray[np.float32]:
        seen.append(int(frames[0, 0, 0, 0]))
        return neighbours(frames)

    kept: Latest[int, NDArray[np.float32]] = Latest(2)
    whole = [r.rgb for r in render_shot(neighbours, T, given(13), 13)]
    again = [[r.rgb for r in render_shot(record, T, given(13), 13, kept=kept)] for _ in range(2)]
    assert seen == [0, 4, 8] * 2, "two are kept, the third one pushes the first out"
    kept = Latest(3)
    again += [[r.rgb for r in render_shot(record, T, given(13), 13, kept=kept)] for _ in range(2)]
    assert seen[6:] == [0, 4, 8]
    assert all(np.array_equal(a, b) for row in again for a, b in zip(row, whole, strict=True))
    kept.clear()
    list(render_shot(record, T, given(13), 13, kept=kept))
    assert seen[9:] == [0, 4, 8]


def test_a_drawn_border_frame_is_the_same_whether_or_not_its_neighbours_are_drawn() -> None:
    full = {r.inputs.index: r.rgb for r in render_shot(neighbours, T, given(13), 13)}
    alone = {
        r.inputs.index: r.rgb
        for r in render_shot(neighbours, T, given(13, undrawn=tuple(i for i in range(13) if i != 4)), 13)
    }
    assert np.array_equal(full[4], alone[4])


def test_one_window_is_held_at_a_time() -> None:
    taken = 0

    def counting() -> Iterator[RenderInput]:
        nonlocal taken
        for x in given(100):
            taken += 1
            yield x

    for r in render_shot(neighbours, T, counting(), 100):
        assert taken <= r.inputs.index + T


def test_a_gap_in_the_inputs_is_refused() -> None:
    with pytest.raises(InternalError, match="frame 1 of the shot was expected next, 2 came"):
        list(render_shot(neighbours, T, (x for x in given(6) if x.index != 1), 6))
    with pytest.raises(InternalError, match="frame 3 of the shot was expected next, the end came"):
        list(render_shot(neighbours, T, given(3), 6))
